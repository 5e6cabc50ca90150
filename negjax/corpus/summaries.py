"""What is known of every neuron over a corpus, as a record, and its quantiles."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from negjax import checks
from negjax.corpus.accumulating import FARTHEST, Accumulated, Largest
from negjax.corpus.histograms import quantiles_of
from negjax.errors import Argument, ArgumentError
from negjax.model.language_model import check_model
from negjax.records import readable

SIGNS = ("++", "+-", "-+", "--")
"""Classes of `CorpusStatistics.signs`: whether act(gate) and up are above 0."""


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Extremes:
    """The k tokens at which each neuron's activation is largest, or smallest; equal activations
    stand in the order of the corpus."""

    value: Float[np.ndarray, "L F k"]
    """Activations, the most extreme first; NaN where the corpus has fewer tokens."""
    text: Int[np.ndarray, "L F k"]
    """Numbers of the texts, as they were given; −1 where there are fewer tokens."""
    token: Int[np.ndarray, "L F k"]
    """Numbers of the tokens among all tokens of their text, BOS included; −1 likewise."""


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupStatistics:
    """Activations of every neuron by label of the text, over the tokens that count."""

    labels: tuple[str, ...]
    """G, in the order in which they were first seen."""
    texts: tuple[int, ...]
    """Of each group, those with tokens."""
    tokens: Int[np.ndarray, " G"]
    mean: Float[np.ndarray, "G L F"]
    variance: Float[np.ndarray, "G L F"]
    firing: Float[np.ndarray, "G L F"]
    """Share of the group's tokens at which the neuron fires."""

    def __len__(self) -> int:
        """G."""
        return len(self.labels)

    def number(self, label: str, name: str = "label") -> int:
        """The number of a group.

        Args:
            name: of the argument, for the error.

        Raises:
            ArgumentError: there is none of that label.
        """
        return self.labels.index(checks.one_of(label, name, self.labels))


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusStatistics:
    """Activations of every neuron over the counted tokens of a corpus, without any shift.

    In a mixture of experts a neuron counts as 0 at tokens that are not routed to its expert. A
    neuron fires where act(gate) is above 0, in plain feed-forward layers where its activation is.
    """

    model: str
    """What the model was loaded as."""
    fingerprint: str
    """Of its weights."""
    site: str
    window: int
    """Tokens that the model read at once, at most."""
    special: bool
    """Whether special tokens (BOS and the like) count."""
    texts: int
    """With tokens."""
    tokens: int
    """That count."""
    mean: Float[np.ndarray, "L F"]
    """Float64, like all numbers here, in units of the activation."""
    variance: Float[np.ndarray, "L F"]
    """Mean squared distance from the mean."""
    lowest: Float[np.ndarray, "L F"]
    highest: Float[np.ndarray, "L F"]
    firing: Float[np.ndarray, "L F"]
    """Share of the tokens at which the neuron fires."""
    signs: Float[np.ndarray, "4 L F"] | None
    """Shares of the tokens by the signs of act(gate) and up, in the order of `SIGNS`; what is not
    above 0 is −. None in models without gates."""
    top: Extremes
    """The largest activations."""
    bottom: Extremes
    """The smallest."""
    histogram: Int[np.ndarray, "L F bins"] | None
    """How many tokens fall into the bins of `negjax.corpus.histograms`; None: not asked for."""
    groups: GroupStatistics | None
    """None where no labels were given."""

    @property
    def shape(self) -> tuple[int, int]:
        """(L, F)."""
        layers, neurons = self.mean.shape
        return layers, neurons

    @property
    def deviation(self) -> Float[np.ndarray, "L F"]:
        """Standard deviation."""
        result: np.ndarray = np.sqrt(self.variance)
        return result

    def quantiles(self, levels: ArrayLike) -> Float[np.ndarray, "Q L F"]:
        """Quantiles, from a histogram: the activation at whose token a share of all is reached.

        Between 2^−10 and 2^10 in size a quantile is wrong by 4.5% at most, around 0 by 2^−10; of
        larger ones it is no more than known to be larger. None lies beyond the extremes.

        Args:
            levels: Q shares from 0 to 1, or one.

        Returns:
            quantiles [Q, L, F], of one level too.

        Raises:
            ArgumentError: a level is not from 0 to 1; the statistics have no histogram.
        """
        wanted = np.atleast_1d(checks.real_numbers(levels, "levels"))
        if wanted.ndim != 1 or not wanted.size or not ((wanted >= 0) & (wanted <= 1)).all():
            raise ArgumentError(
                Argument("levels"), f" is {checks.shown(levels)}, expected shares from 0 to 1"
            )
        if self.histogram is None:
            raise ArgumentError(
                "levels: these statistics have no histogram to read quantiles from; pass ",
                Argument("quantiles", True),
                " to corpus_statistics",
            )
        return quantiles_of(self.histogram, self.lowest, self.highest, wanted)


def check_statistics(value: object) -> CorpusStatistics:
    """Refuses what is none.

    Raises:
        ArgumentError: naming the argument.
    """
    return checks.instance(
        value, "statistics", CorpusStatistics, "what negjax.corpus_statistics returns"
    )


def check_of_model(lm: object, value: object) -> CorpusStatistics:
    """Refuses what is no model, no statistics, and statistics of another model.

    Raises:
        ArgumentError: naming the argument.
    """
    model, statistics = check_model(lm), check_statistics(value)
    if model.fingerprint != statistics.fingerprint:
        raise ArgumentError(
            Argument("statistics"),
            f" are of a model {checks.shown(statistics.model)} with other weights than "
            f"{checks.shown(model.name)}: pass those of this model",
        )
    return statistics


def check_groups(value: object, least: int) -> tuple[CorpusStatistics, GroupStatistics]:
    """Refuses what is none, and statistics of fewer groups.

    Raises:
        ArgumentError: naming the argument.
    """
    statistics = check_statistics(value)
    count = 0 if statistics.groups is None else len(statistics.groups)
    if statistics.groups is None or count < least:
        raise ArgumentError(
            Argument("statistics"),
            f" are of {count} groups of texts, expected {least} or more; pass ",
            Argument("groups"),
            " to corpus_statistics, a label of each text",
        )
    return statistics, statistics.groups


def summary_of(found: Accumulated, *, labelled: bool, about: dict[str, Any]) -> CorpusStatistics:
    """The record of what was accumulated.

    Args:
        labelled: whether texts have labels; else there is one group, which is not named.
        about: model, fingerprint, site, window, special.
    """
    weights = found.tokens / found.tokens.sum()
    mean = np.tensordot(weights, found.mean, 1)
    # The mean of the variances, and the variance of the means.
    own = np.maximum(found.tokens, 1)[:, None, None]
    within = np.tensordot(weights, found.squares / own, 1)
    between = np.tensordot(weights, np.square(found.mean - mean), 1)
    total = int(found.tokens.sum())
    by_label = GroupStatistics(
        labels=tuple(found.groups),
        texts=tuple(found.texts),
        tokens=found.tokens,
        mean=found.mean,
        variance=found.squares / own,
        firing=found.fired / own,
    )
    return CorpusStatistics(
        **about,
        texts=sum(found.texts),
        tokens=total,
        mean=mean,
        variance=within + between,
        lowest=found.lowest.astype(np.float64),
        highest=found.highest.astype(np.float64),
        firing=found.fired.sum(0) / total,
        signs=found.signs / total if len(found.signs) else None,
        top=_extremes(found.top, 1.0),
        bottom=_extremes(found.bottom, -1.0),
        histogram=found.histogram if found.histogram.shape[-1] else None,
        groups=by_label if labelled else None,
    )


def _extremes(found: Largest, sign: float) -> Extremes:
    missing = found.text == FARTHEST
    return Extremes(
        value=np.where(missing, np.nan, sign * found.value),
        text=np.where(missing, -1, found.text),
        token=np.where(missing, -1, found.place),
    )
