"""Pairs of prompts that differ in one place, and what their tokens are to that place."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from negjax.inputs.positions import read_index
from negjax.inputs.probes import Probes

ROLES = (
    "before the subject",
    "the subject's first token",
    "the subject's inner tokens",
    "the subject's last token",
    "after the subject",
    "where the prompt is read",
)
"""Of tokens; the subject is what tells the two prompts apart."""
SHARED = 0.5
"""Of their tokens, that two prompts of one form have in common at least."""


class Pair(NamedTuple):
    """Two prompts, by their numbers, with the tokens that tell them apart."""

    clean: int
    corrupted: int
    start: int
    stop: int


def pairs_of(probes: Probes) -> list[Pair]:
    """For each prompt the one that is most like it but has another answer, if there is one.

    Both have as many tokens, and differ in one run of them that does not end the prompt.
    """
    lengths = probes.mask.sum(1)
    read = read_index(probes)
    found = []
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        tokens = np.stack([probes.tokens[row, probes.mask[row]] for row in rows])
        for own, row in enumerate(rows.tolist()):
            same = tokens == tokens[own]
            first = np.cumprod(same, axis=1).sum(1)
            last = np.cumprod(same[:, ::-1], axis=1).sum(1)
            apart = length - first - last
            answers = (probes.target_ids[rows] != probes.target_ids[row]).any((1, 2))
            other = (apart > 0) & (last > 0) & (apart <= (1 - SHARED) * length)
            fitting = other & answers & (read[rows] == read[row])
            # What is read is no part of the subject: a mask is the same in both prompts.
            if fitting.any():
                best = int(np.where(fitting, apart, length).argmin())
                stop = length - int(last[best])
                found.append(Pair(row, int(rows[best]), int(first[best]), stop))
    return sorted(found)


def asked(probes: Probes, pair: Pair) -> Probes:
    """The clean prompt and the corrupted one, each with both answers, the clean one's first."""
    index = [pair.clean, pair.corrupted]
    both = probes.select(index)
    answers = tuple(targets[0] for targets in both.targets)
    return dataclasses.replace(
        both,
        targets=(answers, answers),
        target_ids=np.broadcast_to(both.target_ids[:, 0], (2, *both.target_ids[:, 0].shape)),
        target_mask=np.broadcast_to(both.target_mask[:, 0], (2, *both.target_mask[:, 0].shape)),
    )


def roles(pair: Pair, length: int, read: int) -> Int[np.ndarray, " T"]:
    """Of each token, the number of its role."""
    at = np.arange(length)
    found = np.where(at < pair.start, 0, np.where(at < pair.stop, 2, 4))
    found[pair.start] = 1
    found[pair.stop - 1] = 3
    found[read] = 5
    return found
