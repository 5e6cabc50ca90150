"""Tasks of three labels whose prompts a tiny model was asked: as files, and as scores in memory.

What is asked are random tokens, not the tasks' texts, which a tiny vocabulary does not hold.
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies.inputs import Measured
from negjax import mceval8k, skills
from negjax.inputs.probes import Probes
from negjax.mceval8k.benchmark import Item
from negjax.measurements.gradients import neurgrad
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import precision, tiny
from tests.support.few_shot import HEAD, probes_of
from tests.support.made_up_mceval8k import write_task

ALIKE = dict.fromkeys(skills_inputs.PARTS, 24)
SIZES = {"train": 48, "valid": 24, "test": 24}
TASKS = ("stereoset", "mnli")


class Memory(NamedTuple):
    """What the files of a part hold, with scores as they are."""

    scores: np.ndarray
    """[B, 3, N], NeurGrad."""
    activation: np.ndarray
    """[B, N]."""
    probability: np.ndarray
    """[B, 3]."""
    gold: np.ndarray
    """[B]."""


def random_prompts(count: int, seed: int) -> Probes:
    """Prompts of one length with one head, and three labels."""
    tokens = np.random.default_rng(seed).integers(2, 24, (count, 4)).tolist()
    return probes_of([(*HEAD, *own) for own in tokens])


def made_up(
    root: Path, lm: LanguageModel, name: str = "mnli", seed: int = 0
) -> tuple[Measured, dict[str, Memory]]:
    """A task of three labels; another seed is another way of asking, with the same answers."""
    spec = mceval8k.TASKS[name]
    task = mceval8k.Task(
        name=name,
        genre=spec.genre,
        labels=spec.labels[:3],
        train=(),
        valid=(),
        test=(),
        demonstrations=(),
        template=f"{name}-0-v1",
        split="disjoint",
        shots=1,
        seed=seed,
        notes=(),
        key=f"{name}{seed}",
    )
    return _asked(root, lm, task, ALIKE, seed)


def measured_task(folder: Path, name: str = TASKS[0]) -> tuple[Measured, dict[str, Memory]]:
    """A task with files of its own, in float64, in which nothing is tied by rounding.

    Args:
        folder: to be written in.
    """
    write_task(folder / "root", name)
    task = mceval8k.load(name, folder / "root")
    with precision("float64"):
        lm = tiny("gated", "float64")
        return _asked(folder / "features", lm, task, SIZES, TASKS.index(name))


def _asked(
    folder: Path, lm: LanguageModel, task: mceval8k.Task, sizes: Mapping[str, int], seed: int
) -> tuple[Measured, dict[str, Memory]]:
    parts, memory = {}, {}
    for number, (part, size) in enumerate(sizes.items()):
        probes = random_prompts(size, 10 * seed + number)
        gold = np.arange(size, dtype=np.int32) % 3  # Labels take turns, as in a task's parts.
        counts = skills_inputs.training_counts(size) if part == "train" else ()
        parts[part] = skills.extract(folder, lm, probes, gold, activations=True, counts=counts)
        found = neurgrad(lm, probes)
        memory[part] = Memory(
            found.neurgrad.reshape(size, 3, -1),
            found.activation.reshape(size, -1),
            found.probability,
            gold,
        )
    about = skills_inputs.about_task(task, sizes)
    return Measured(task=task, parts=parts, about=about), memory


def encode_as_tokens(lm: LanguageModel, items: Sequence[Item], labels: Sequence[str]) -> Probes:
    """Stands for `encode_items` where a tiny model knows no words: three labels, other tokens for
    other prompts."""
    assert lm.config.causal and len(labels) == 3
    return random_prompts(len(items), zlib.crc32(items[0].prompt.encode()))
