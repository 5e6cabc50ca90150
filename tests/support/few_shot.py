"""Prompts that begin with the same tokens, as token ids, and what their features' folder holds."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from negjax.inputs.probes import Probes
from negjax.storage import progress

OWN = ((4, 8, 8, 2, 21), (9,), (12, 13, 9, 9, 20, 3, 7), (8, 5))
HEAD = (3, 5, 7, 11, 2, 19, 6, 14, 9, 4, 17)


def probes_of(rows: Sequence[Sequence[int]], followers: int = 0, pad_left: int = 0) -> Probes:
    """Token rows as probes with three targets each; of `1 + followers` tokens."""
    b, longest = len(rows), max(map(len, rows)) + pad_left
    tokens, mask = np.full((b, longest), 1, np.int32), np.zeros((b, longest), bool)
    for at, row in enumerate(rows):
        there = slice(pad_left, pad_left + len(row))
        tokens[at, there], mask[at, there] = row, True
    generator = np.random.default_rng(0)
    target_ids = generator.integers(2, 24, (b, 3, 1 + followers)).astype(np.int32)
    # No two targets of a prompt are the same.
    target_ids[..., 0] = generator.permuted(np.tile(np.arange(2, 24), (b, 1)), axis=1)[:, :3]
    return Probes(
        prompts=tuple(map(str, rows)),
        targets=(("",) * 3,) * b,
        tokens=tokens,
        mask=mask,
        read=np.asarray([pad_left + len(row) - 1 for row in rows], np.int32),
        target_ids=target_ids,
        target_mask=np.ones(target_ids.shape, bool),
    )


def few_shot(head: int = len(HEAD), **arguments: int) -> Probes:
    """Four probes that begin with `head` tokens."""
    return probes_of([(*HEAD[:head], *own) for own in OWN], **arguments)


def task_prompts(count: int, seed: int = 0) -> tuple[Probes, np.ndarray]:
    """Prompts of a task in two languages, each with a head of its own, and gold labels of three."""
    generator = np.random.default_rng(seed)
    heads = (HEAD, HEAD[::-1])
    rows = [
        (*heads[number % 2], *generator.integers(2, 24, generator.integers(1, 8)).tolist())
        for number in range(count)
    ]
    return probes_of(rows), generator.integers(0, 3, count).astype(np.int32)


def content(path: Path) -> dict[str, bytes]:
    """Files of a run's folder, but for the seconds that it took."""
    found = {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
    recorded = json.loads(found[progress.PROGRESS])
    found[progress.PROGRESS] = json.dumps(recorded["sha256"], sort_keys=True).encode()
    return found
