"""Tasks with three labels whose prompts a tiny model was asked, as the studies of skills get them.

What is asked are random tokens, not the tasks' texts, which a tiny vocabulary does not hold.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import skills_inputs
from experiments.skills_inputs import Measured
from negjax import mceval8k, skills
from negjax.gradients import neurgrad
from tests.block_shapes import precision, tiny
from tests.few_shot import probes_of
from tests.made_up_mceval8k import write_task

SIZES = {"train": 48, "valid": 24, "test": 24}
WINDOW = 24
"""Of every batch, so that one program runs them all."""
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
    generator = np.random.default_rng(TASKS.index(name))
    with precision("float64"):
        for part, size in SIZES.items():
            probes = probes_of(generator.integers(2, 24, (size, 6)).tolist())
            gold = np.arange(size, dtype=np.int32) % 3  # Labels take turns, as in a task's parts.
            found[part] = skills.extract(
                *(folder / "features", lm, probes, gold),
                activations=True,
                counts=skills_inputs.training_counts(size) if part == "train" else (),
                window=WINDOW,
            )
            windows = [
                neurgrad(lm, probes.select(range(start, start + WINDOW)))
                for start in range(0, size, WINDOW)
            ]
            memory[part] = InMemory(
                np.concatenate([one.neurgrad.reshape(WINDOW, 3, -1) for one in windows]),
                np.concatenate([one.activation.reshape(WINDOW, -1) for one in windows]),
                np.concatenate([one.probability for one in windows]),
                gold,
            )
    return Measured(mceval8k.load(name, folder / "root"), found), memory
