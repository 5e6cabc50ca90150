"""What a probe has to beat: the model's own answer, random neurons, the most frequent label."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from negjax.checks import as_array, described, shown
from negjax.records import readable
from negjax.skills.checks import (
    check_count,
    check_gold,
    check_labels,
    check_scores,
    check_trained,
    labels_of,
)
from negjax.skills.probes.fitted import FittedProbe
from negjax.skills.probes.polarity import PolarProbe
from negjax.skills.probes.rankings import random_ranking
from negjax.skills.probes.votes import polar_votes


@readable
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LMProbProbe(FittedProbe):
    """Predicts the label whose token the model gives the largest probability; no neurons."""

    def predict(self, probabilities: ArrayLike) -> np.ndarray:
        """The predicted labels [B], of ties the first, of output probabilities [B, K].

        Raises:
            ValueError: probabilities of another shape, or not finite.
        """
        array = as_array(probabilities)
        if array.ndim != 2 or array.shape[1] != self.labels or array.dtype.kind != "f":
            raise ValueError(
                f"probabilities are {described(probabilities)}, expected floats [B, {self.labels}]"
            )
        if not np.isfinite(array).all():
            row = np.argwhere(~np.isfinite(array))[0, 0]
            raise ValueError(f"probabilities of prompt {row} are {array[row].tolist()}")
        result: np.ndarray = array.argmax(1)
        return result


@readable
@dataclasses.dataclass(frozen=True)
class LMProb:
    """The model's own answer, among the label tokens only. Nothing is fitted."""

    def fit(self, probabilities: ArrayLike, gold: ArrayLike) -> LMProbProbe:
        """A probe of as many labels as probabilities [B, K] have; gold [B] is checked alone.

        Raises:
            ValueError: probabilities of another shape, or not finite; gold out of range.
        """
        array = as_array(probabilities)
        if array.ndim != 2 or array.shape[1] < 2:
            raise ValueError(
                f"probabilities are {described(probabilities)}, expected floats [B, K], of two "
                "labels or more"
            )
        labels = check_labels(array.shape[1])
        probe = LMProbProbe(
            neurons=np.zeros(0, np.int64), polarity=np.zeros(0, np.int8), labels=labels, total=0
        )
        check_gold(gold, len(probe.predict(array)), labels)
        return probe


@readable
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class MajorityProbe(FittedProbe):
    """Predicts one label whatever it is shown; no neurons."""

    label: int
    """The most frequent one of the training prompts, of ties the first."""

    def predict(self, values: ArrayLike) -> np.ndarray:
        """The label, once for each of B prompts; only the length of `values` [B, …] counts."""
        return np.full(_length(values), self.label)


@readable
@dataclasses.dataclass(frozen=True)
class Majority:
    """The most frequent label."""

    def fit(self, values: ArrayLike, gold: ArrayLike, labels: int | None = None) -> MajorityProbe:
        """Counts gold [B] of a task of K labels; only the length of `values` [B, …] is looked at.

        Without `labels`, K is that of `gold`.

        Raises:
            ValueError: no prompts, gold of another shape or out of range.
        """
        prompts = _length(values)
        number = labels_of(gold, labels)
        most = int(np.bincount(check_gold(gold, prompts, number), minlength=number).argmax())
        return MajorityProbe(
            neurons=np.zeros(0, np.int64),
            polarity=np.zeros(0, np.int8),
            labels=number,
            total=0,
            label=most,
        )


@readable
@dataclasses.dataclass(frozen=True)
class Random:
    """k neurons drawn at random, with Polar's polarities and votes: Polar without its choice.

    One seed is one draw: an accuracy is the mean over several.
    """

    k: int = 64
    seed: int = 0

    def fit(self, scores: ArrayLike, gold: ArrayLike) -> PolarProbe:
        """Draws the neurons and reads their polarity off training prompts, as `Polar.fit`."""
        array = check_scores(scores)
        checked = check_gold(gold, len(array), array.shape[1], every=True)
        return self.from_votes(np.asarray(polar_votes(array, checked)), array.shape[1])

    def from_votes(self, votes: np.ndarray, labels: int) -> PolarProbe:
        """The probe of Polar's sums [N], made elsewhere, as `Polar.from_votes`."""
        total = len(check_trained(votes))
        count = check_count("k", self.k, total, "neurons")
        ranking = random_ranking(votes, self.seed, count)
        return PolarProbe(
            neurons=ranking.neurons,
            polarity=ranking.polarity,
            labels=check_labels(labels),
            total=total,
        )


def _length(values: ArrayLike) -> int:
    """B of values [B, …]."""
    array = as_array(values)
    if not array.ndim:
        raise ValueError(f"values is {shown(values)}, expected an array [B, …], of each prompt one")
    return len(array)
