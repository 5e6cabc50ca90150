"""One ranking, many probes: predictions by number of neurons and of disjoint sets, R by prompts.

A probe of the first k neurons of a ranking adds up their votes, so that the votes of any number of
k come from one pass over the test prompts, and rankings of the first 2³ … all training prompts
from one pass over those.
"""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from negjax.checks import integers, shown
from negjax.skills.checks import check_batches, check_codes, check_count, check_labels
from negjax.skills.probes.codes import decode_scores
from negjax.skills.probes.rankings import Ranking, Rule, check_ranking, check_rule


def predict_by_neurons(
    rule: Rule, ranking: Ranking, counts: Sequence[int], codes: np.ndarray, labels: int
) -> np.ndarray:
    """The labels that the first k neurons of a ranking predict, for many k at once.

    Args:
        rule: `POLAR` or `MAGN`.
        ranking: M neurons or more.
        counts: G numbers of neurons, ascending.
        codes: [B, N] of a batch.
        labels: K.

    Returns:
        [G, B].

    Raises:
        ValueError: counts that do not ascend, or more neurons than the ranking has.
    """
    result: np.ndarray = _group_votes(rule, ranking, counts, codes, labels).cumsum(-1).argmax(1).T
    return result


def predict_by_set(
    rule: Rule, ranking: Ranking, size: int, codes: np.ndarray, labels: int
) -> np.ndarray:
    """The labels that each disjoint set of `size` neurons predicts, the best ranked set first.

    Neurons that are left over at the ranking's end form no set.

    Returns:
        [sets, B]; arguments and errors are those of `predict_by_neurons`.
    """
    most = len(check_ranking(ranking).neurons)
    ends = range(check_count("size", size, most, "ranked neurons"), most + 1, size)
    result: np.ndarray = _group_votes(rule, ranking, ends, codes, labels).argmax(1).T
    return result


def votes_by_prompts(
    rule: Rule, counts: Sequence[int], batches: Iterable[tuple[np.ndarray, np.ndarray]], labels: int
) -> np.ndarray:
    """R of the first prompts, for many numbers of prompts at once.

    Args:
        rule: `POLAR` or `MAGN`.
        counts: C numbers of prompts, ascending.
        batches: codes [B, N] and gold [B] of prompts in their order.
        labels: K.

    Returns:
        [C, N], int32.

    Raises:
        ValueError: counts that do not ascend, or more than there are prompts.
    """
    check_rule(rule)
    counts = _check_ascending(counts)
    check_labels(labels)
    found = {}
    running, seen = np.zeros((), np.int32), 0
    for codes, gold in check_batches(batches):
        codes = check_codes(codes)
        scores, row = decode_scores(codes, labels), np.arange(len(codes))
        edges = [count - seen for count in counts if 0 < count - seen < len(codes)]
        for start, end in itertools.pairwise([0, *edges, len(codes)]):
            counted = (row >= start) & (row < end)
            running = running + np.asarray(rule.votes(scores, gold, counted))
            found[seen + end] = running
        seen += len(codes)
        found = {count: found[count] for count in counts if count in found}
    if counts[-1] > seen:
        raise ValueError(f"{counts[-1]} prompts are asked for, there are {seen} in the batches")
    return np.stack([found[count] for count in counts])


def _group_votes(
    rule: Rule, ranking: Ranking, ends: Sequence[int], codes: np.ndarray, labels: int
) -> np.ndarray:
    """[B, K, G], votes of the neurons from one end to the next."""
    check_rule(rule)
    ranking = check_ranking(ranking)
    ends = _check_ascending(ends)
    codes = check_codes(codes, least=int(ranking.neurons.max()) + 1)
    most = check_count("the largest number", ends[-1], len(ranking.neurons), "ranked neurons")
    chosen = np.asarray(decode_scores(codes[:, ranking.neurons[:most]], labels))
    votes = rule.label_votes(chosen, ranking.polarity[:most])
    return np.add.reduceat(votes, [0, *ends[:-1]], axis=-1, dtype=np.int32)


def _check_ascending(counts: Sequence[int]) -> list[int]:
    expected = "ascending whole numbers from 1, one or more"
    array = integers(counts, "counts", expected)
    if array.ndim != 1 or not array.size or array[0] < 1 or (np.diff(array) <= 0).any():
        raise ValueError(f"counts are {shown(counts)}, expected {expected}")
    return [int(count) for count in array]
