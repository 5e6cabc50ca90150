"""Polar and Magn: the neurons whose scores' signs, or order, follow the gold label most often."""

import abc
import dataclasses
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from negjax.checks import is_whole, shown
from negjax.records import readable
from negjax.skills.checks import (
    check_count,
    check_gold,
    check_labels,
    check_scores,
    check_trained,
)
from negjax.skills.probes.fitted import ScoreProbe
from negjax.skills.probes.rankings import (
    MAGN,
    POLAR,
    Rule,
    Variant,
    magn_label_votes,
    polar_label_votes,
    rank_neurons,
)


@readable
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PolarProbe(ScoreProbe):
    """Predicts argmax over labels of Σ polarity · sign(g); of ties, the first label."""

    def _label_votes(self, chosen: np.ndarray) -> np.ndarray:
        return polar_label_votes(chosen, self.polarity)


@readable
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class MagnProbe(ScoreProbe):
    """Each neuron votes for every label tied at the maximum of polarity · g; of ties, the first."""

    def _label_votes(self, chosen: np.ndarray) -> np.ndarray:
        return magn_label_votes(chosen, self.polarity)

    def predict_training(self, scores: ArrayLike) -> np.ndarray:
        """The labels [B] that Magn predicts of its training prompts: argmax Σ polarity · g.

        It adds scores up, so their codes do not give it.
        """
        array = check_scores(scores, labels=self.labels, total=self.total)[..., self.neurons]
        result: np.ndarray = (array.astype(np.float64) * self.polarity).sum(-1).argmax(1)
        return result


Made = TypeVar("Made", PolarProbe, MagnProbe)


@dataclasses.dataclass(frozen=True)
class _Ranked(abc.ABC, Generic[Made]):
    """What Polar and Magn have in common."""

    k: int = 64
    """Neurons of the probe."""
    variant: Variant = "both"
    """`both`: the largest |R|, of either polarity. `positive`: the largest R; neurons with R ≤ 0,
    where more are wanted than have R > 0, have polarity 0 and do not vote."""
    skip: int = 0
    """Better ranked neurons to leave out: n · k gives the (n + 1)th disjoint set of k neurons."""

    def fit(self, scores: ArrayLike, gold: ArrayLike) -> Made:
        """Ranks the neurons by R over training prompts.

        Args:
            scores: [B, K, L, F] or [B, K, N], of every label of the task.
            gold: [B], the labels' numbers.

        Raises:
            ValueError: by name: no prompts, scores that are not finite, shapes that disagree, gold
                out of range, a label without a prompt, more neurons than there are.
        """
        array = check_scores(scores)
        prompts, labels = array.shape[:2]
        checked = check_gold(gold, prompts, labels, every=True)
        return self.from_votes(np.asarray(self._kind()[0].votes(array, checked)), labels)

    def from_votes(self, votes: np.ndarray, labels: int) -> Made:
        """The probe of sums made elsewhere.

        Args:
            votes: [N], R: batches' `polar_votes` or `magn_votes`, added up.
            labels: K.

        Raises:
            ValueError: votes of another shape or type, more neurons than there are.
        """
        total = len(check_trained(votes))
        check_count("k", self.k, total, "neurons")
        if not is_whole(self.skip) or not 0 <= self.skip <= total - self.k:
            raise ValueError(
                f"skip is {shown(self.skip)}, expected 0 to {total - self.k}: {self.k} of {total} "
                "neurons must be left"
            )
        ranking = rank_neurons(votes, self.variant, self.skip + self.k)
        return self._kind()[1](
            neurons=ranking.neurons[self.skip :],
            polarity=ranking.polarity[self.skip :],
            labels=check_labels(labels),
            total=total,
        )

    @abc.abstractmethod
    def _kind(self) -> tuple[Rule, type[Made]]:
        """How it ranks, and the probe it makes."""


@readable
@dataclasses.dataclass(frozen=True)
class Polar(_Ranked[PolarProbe]):
    """The k neurons with the largest |R|, R = Σ (2 · sign(g_gold) − Σ over labels sign(g))."""

    def _kind(self) -> tuple[Rule, type[PolarProbe]]:
        return POLAR, PolarProbe


@readable
@dataclasses.dataclass(frozen=True)
class Magn(_Ranked[MagnProbe]):
    """The k neurons with the largest |R|, R = Σ Σ over labels sign(g_gold − g)."""

    def _kind(self) -> tuple[Rule, type[MagnProbe]]:
        return MAGN, MagnProbe
