"""Tasks with three labels whose prompts a tiny model was asked, as the studies of skills get them.

What is asked are random tokens, not the tasks' texts, which a tiny vocabulary does not hold.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import skills_inputs
from experiments.skills_inputs import PARTS, Measured
from negjax import mceval8k, skills
from negjax.gradients import neurgrad
from tests.block_shapes import precision, tiny
from tests.few_shot import task_prompts
from tests.made_up_mceval8k import write_task

SIZES = {"train": 40, "valid": 12, "test": 24}
TASKS = ("stereoset", "mnli")


class InMemory(NamedTuple):
    """Of a part, what its features were made of."""

    scores: np.ndarray
    """[B, K, N], NeurGrad."""
    activation: np.ndarray
    """[B, N]."""
    probability: np.ndarray
    """[B, K]."""
    gold: np.ndarray
    """[B]."""


def measured_task(folder: Path, name: str = TASKS[0]) -> tuple[Measured, dict[str, InMemory]]:
    """A task's features, and the same in memory; in float64, in which nothing is tied by rounding.

    Args:
        folder: to be written in.
    """
    write_task(folder / "root", name)
    lm, found, memory = tiny("gated", "float64"), {}, {}
    with precision("float64"):
        for number, part in enumerate(PARTS):
            probes, gold = task_prompts(SIZES[part], seed=number + 10 * TASKS.index(name))
            # Labels take turns, as in a task's parts.
            gold = np.arange(len(gold), dtype=np.int32) % 3
            counts = skills_inputs.training_counts(len(gold)) if part == "train" else ()
            found[part] = skills.extract(
                *(folder / "features", lm, probes, gold),
                activations=True,
                counts=counts,
                window=16,
                about={"task": name, "part": part},
            )
            whole = neurgrad(lm, probes)
            memory[part] = InMemory(
                whole.neurgrad.reshape(*whole.probability.shape, -1),
                whole.activation.reshape(len(gold), -1),
                whole.probability,
                gold,
            )
    return Measured(mceval8k.load(name, folder / "root"), found), memory
