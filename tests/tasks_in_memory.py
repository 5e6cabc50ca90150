"""Tasks of made-up prompts, measured by a tiny model: as files, and as scores in memory."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.skills_inputs import Measured
from negjax import mceval8k, skills
from negjax.gradients import neurgrad
from negjax.language_model import LanguageModel
from negjax.mceval8k.benchmark import Item
from negjax.probes import Probes
from tests.few_shot import HEAD, probes_of

PARTS = ("train", "valid", "test")
PROMPTS = 24
"""Of each part: one shape, compiled once."""


class Memory(NamedTuple):
    """What the files of a part hold, with scores as they are."""

    scores: np.ndarray
    """[B, 3, N]."""
    activations: np.ndarray
    """[B, N]."""
    probability: np.ndarray
    gold: np.ndarray


def random_prompts(count: int, seed: int) -> Probes:
    """Prompts of one length with one head, and three labels."""
    tokens = np.random.default_rng(seed).integers(2, 24, (count, 4)).tolist()
    return probes_of([(*HEAD, *own) for own in tokens])


def made_up(
    root: Path, lm: LanguageModel, name: str = "mnli", seed: int = 0
) -> tuple[Measured, dict[str, Memory]]:
    """A task of three labels; another seed is another way of asking, with the same answers."""
    parts, memory = {}, {}
    for number, part in enumerate(PARTS):
        probes = random_prompts(PROMPTS, 10 * seed + number)
        gold = np.arange(PROMPTS, dtype=np.int32) % 3
        counts = (8, 16) if part == "train" else ()
        parts[part] = skills.extract(root, lm, probes, gold, activations=True, counts=counts)
        found = neurgrad(lm, probes)
        signed = found.computed * np.where(found.activation > 0, 1, -1)[:, None]
        memory[part] = Memory(
            signed.reshape(PROMPTS, 3, -1),
            found.activation.reshape(PROMPTS, -1),
            found.probability,
            gold,
        )
    spec = mceval8k.TASKS[name]
    task = mceval8k.Task(
        *(name, spec.genre, spec.labels[:3], (), (), (), (), f"{name}-0-v1", "disjoint", 1, seed),
        notes=(),
        key=f"{name}{seed}",
    )
    return Measured(task, parts), memory


def encode_as_tokens(lm: LanguageModel, items: Sequence[Item], labels: Sequence[str]) -> Probes:
    """Stands for `encode_items` where a tiny model knows no words: three labels, other tokens for
    other prompts."""
    assert lm.config.causal and len(labels) == 3
    return random_prompts(len(items), zlib.crc32(items[0].prompt.encode()))
