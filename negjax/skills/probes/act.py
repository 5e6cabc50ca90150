"""Act: the neurons whose activation, above or below its mean, goes with the gold label.

Two labels: a neuron's threshold is its mean activation over the training prompts, its accuracy that
of (a > threshold) == (gold is the second label). The k neurons of largest |accuracy − 0.5| are
taken, with the sign for polarity and −1 for 0; the second label is predicted where more of their
votes are for it than for the first. More labels are halved again and again, the first ⌊n/2⌋ to the
left, with neurons of each half-and-half's own: K labels have K − 1 of these nodes. Source: Zhao,
Jiang, Yoshinaga, Neuron Empirical Gradient, ACL 2025, arXiv 2412.18053.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from negjax.inputs.ranking import top
from negjax.records import readable
from negjax.skills.checks import (
    check_activations,
    check_count,
    check_gold,
    check_labels,
    check_maker,
    labels_of,
)
from negjax.skills.probes.fitted import FittedProbe

Batches = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""Makes the batches anew: activations [B, N] and gold [B]."""


class Halves(NamedTuple):
    """The labels of every node, the first node first, then its left half's nodes, then its right's.

    A node's halves come after it.
    """

    left: np.ndarray
    """[nodes, K], True for the labels of the left half."""
    right: np.ndarray
    """[nodes, K]."""


@readable
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ActProbe(FittedProbe):
    """Votes of thresholded activations, node by node.

    `neurons` and `polarity` are those of all nodes, one after the other, k of each.
    """

    threshold: np.ndarray
    """[nodes · k], float64."""

    @property
    def k(self) -> int:
        """Neurons of a node."""
        return len(self.neurons) // (self.labels - 1)

    def first(self, k: int) -> "ActProbe":
        """The probe of each node's first k neurons, as if fitted with that k.

        Raises:
            ValueError: more than each node has.
        """
        check_count("k", k, self.k, "neurons of each node")
        some = {
            name: getattr(self, name).reshape(-1, self.k)[:, :k].ravel()
            for name in ("neurons", "polarity", "threshold")
        }
        return dataclasses.replace(self, **some)

    def votes(self, activations: ArrayLike) -> np.ndarray:
        """Which half each neuron votes for: 1 for the labels of that half.

        Args:
            activations: [B, L, F] or [B, N].

        Returns:
            [B, K, nodes · k], int8.

        Raises:
            ValueError: activations of another shape or of other neurons, or not finite.
        """
        right = self._rightward(activations).reshape(-1, 1, self.labels - 1, self.k) > 0
        halves = halve(self.labels)
        sides = [side.T[None, :, :, None] for side in halves]
        return (
            np.where(right, sides[1], sides[0]).astype(np.int8).reshape(len(right), self.labels, -1)
        )

    def predict(self, activations: ArrayLike) -> np.ndarray:
        """The predicted labels [B] of activations, as `votes` takes them."""
        votes = self._rightward(activations)
        to_right = votes.reshape(len(votes), -1, self.k).sum(-1) > 0
        possible = np.ones((len(votes), self.labels), bool)
        for node, (left, right) in enumerate(zip(*halve(self.labels), strict=True)):
            here = (possible == (left | right)).all(1)
            possible[here] = np.where(to_right[here, node, None], right, left)
        result: np.ndarray = possible.argmax(1)
        return result

    def _rightward(self, activations: ArrayLike) -> np.ndarray:
        """[B, nodes · k], +1 for a vote for the right half, −1 for the left."""
        array = check_activations(activations, total=self.total)[:, self.neurons]
        return np.where(array > self.threshold, 1, -1) * self.polarity.astype(np.int64)


@readable
@dataclasses.dataclass(frozen=True)
class Act:
    """The k neurons, of each node, with the largest |accuracy − 0.5|."""

    k: int = 64

    def fit(self, activations: ArrayLike, gold: ArrayLike, labels: int | None = None) -> ActProbe:
        """Fits to training prompts.

        Args:
            activations: [B, L, F] or [B, N].
            gold: [B], the labels' numbers.
            labels: K, of the task. Activations do not tell it: without it, it is that of `gold`,
                and a last label that no prompt has goes unnoticed.

        Raises:
            ValueError: by name: no prompts, activations that are not finite, shapes that disagree,
                gold out of range, a label without a prompt, more neurons than there are.
        """
        array = check_activations(activations)
        number = labels_of(gold, labels)
        checked = check_gold(gold, len(array), number, every=True)
        return self.fit_batches(lambda: [(array, checked)], number)

    def fit_batches(self, batches: Batches, labels: int) -> ActProbe:
        """The same from two passes over batches: thresholds first, then accuracies.

        However the prompts are cut into batches, the probe is the same to the last bit.

        Raises:
            ValueError: as `fit`; what is no function that makes batches.
        """
        halves, batches = halve(check_labels(labels)), check_maker(batches)
        threshold, prompts = mean_activations(batches(), halves)
        right = right_answers(batches(), halves, threshold)
        k = check_count("k", self.k, threshold.shape[1], "neurons")
        # Twice the prompts' number times (accuracy − 0.5): integers, so that ties are ties.
        lead = 2 * right - prompts[:, None]
        neurons = np.stack([top(np.abs(node), k) for node in lead])
        polarity = np.where(np.take_along_axis(lead, neurons, 1) > 0, 1, -1).astype(np.int8)
        return ActProbe(
            neurons=neurons.ravel(),
            polarity=polarity.ravel(),
            labels=int(labels),
            total=threshold.shape[1],
            threshold=np.take_along_axis(threshold, neurons, 1).ravel(),
        )


def halve(labels: int) -> Halves:
    """The nodes of K labels."""

    def nodes(some: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        if len(some) == 1:
            return []
        left, right = np.split(some, [len(some) // 2])
        return [(left, right), *nodes(left), *nodes(right)]

    every = np.arange(labels)
    pairs = nodes(every)
    left, right = (np.stack([np.isin(every, pair[i]) for pair in pairs]) for i in (0, 1))
    return Halves(left, right)


def mean_activations(
    batches: Iterable[tuple[np.ndarray, np.ndarray]], halves: Halves
) -> tuple[np.ndarray, np.ndarray]:
    """Means over each node's prompts, [nodes, N], float64, and how many they are, [nodes].

    Raises:
        ValueError: no prompts, activations or gold as `Act.fit` refuses them.
    """
    nodes, labels = halves.left.shape
    total, counts = np.zeros((nodes, 0)), np.zeros(labels, np.int64)
    for activations, gold in batches:
        array, checked = _checked(activations, gold, labels, total.shape[1] or None)
        if not total.size:
            total = np.zeros((nodes, array.shape[1]))
        of_node = (halves.left | halves.right)[:, checked]
        # Prompt by prompt: sums of floats depend on how they are grouped.
        for row, its_nodes in zip(array, of_node.T, strict=True):
            for node in np.flatnonzero(its_nodes):
                total[node] += row
        counts += np.bincount(checked, minlength=labels)
    # Named as `fit` would name it.
    check_gold(np.repeat(np.arange(labels), counts), int(counts.sum()), labels, every=True)
    prompts = (halves.left | halves.right) @ counts
    return total / prompts[:, None], prompts


def right_answers(
    batches: Iterable[tuple[np.ndarray, np.ndarray]], halves: Halves, threshold: np.ndarray
) -> np.ndarray:
    """How often (a > threshold) == (gold is in the right half), of each node's prompts: [nodes, N].

    Args:
        threshold: [nodes, N].
    """
    right = np.zeros(threshold.shape, np.int64)
    for activations, gold in batches:
        array, checked = _checked(activations, gold, halves.left.shape[1], threshold.shape[1])
        for node, (left_half, right_half) in enumerate(zip(*halves, strict=True)):
            here = (left_half | right_half)[checked]
            above = array[here] > threshold[node]
            right[node] += (above == right_half[checked[here], None]).sum(0)
    return right


def _checked(
    activations: np.ndarray, gold: np.ndarray, labels: int, total: int | None
) -> tuple[np.ndarray, np.ndarray]:
    array = check_activations(activations, total=total)
    return array, check_gold(gold, len(array), labels)
