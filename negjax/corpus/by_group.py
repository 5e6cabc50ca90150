"""Neurons that tell groups of texts apart: of languages by firing, of two groups by their means."""

import dataclasses
import math
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from negjax import checks
from negjax.corpus.summaries import CorpusStatistics, check_groups
from negjax.errors import Argument, ArgumentError
from negjax.inputs.neurons import NeuronSets
from negjax.records import readable

How = Literal["shift", "scale"]


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageNeurons:
    """Neurons that fire in few of G languages, by activation probability entropy (LAPE)."""

    labels: tuple[str, ...]
    """G, the languages."""
    site: str
    level: float
    """Share of a language's tokens at which a neuron must fire to count as firing there."""
    entropy: Float[np.ndarray, "L F"]
    """Of the firing probabilities, normalised over languages, in nats: 0 for one language, ln G for
    all alike; NaN of neurons that fire in none, or in none often enough."""
    chosen: Bool[np.ndarray, "L F"]
    """The share of lowest entropy."""
    masks: Bool[np.ndarray, "G L F"]
    """The chosen neurons of each language, those that fire there often enough; one may be of
    several languages."""


def language_neurons(
    statistics: CorpusStatistics, share: float = 0.01, quantile: float = 0.95
) -> LanguageNeurons:
    """Neurons of single languages, by the entropy of where they fire (LAPE).

    For each neuron the probabilities of firing in each language, divided by their sum, are a
    distribution over languages. Of the neurons that fire often enough in at least one language, the
    share of lowest entropy is chosen; a neuron belongs to every language in which it fires often
    enough. Often enough is above a quantile of all neurons' probabilities in all languages.

    Source: Tang et al. 2024 (arXiv 2402.16438), whose numbers are the defaults; used for steering
    in arXiv 2507.22608.

    Args:
        statistics: with languages as `groups`, two or more. The site plays no part: a gated
            neuron fires where act(gate) is above 0.
        share: of all neurons, to choose; of equal entropies the lowest (layer, index) first.
        quantile: of the probabilities, from 0 to 1.

    Raises:
        ArgumentError: fewer than two groups, or a group without counted tokens; an impossible
            share or quantile.
    """
    statistics, groups = check_groups(statistics, 2)
    share = checks.real_number(share, "share", above=0, most=1)
    quantile = checks.real_number(quantile, "quantile", least=0, most=1)
    empty = [label for label, n in zip(groups.labels, groups.tokens, strict=True) if not n]
    if empty:
        raise ArgumentError(
            Argument("statistics"),
            f": group {checks.shown(empty[0])} has no token that counts; leave its texts out",
        )
    firing = groups.firing
    ordered = np.sort(firing, axis=None)
    level = float(ordered[max(0, math.ceil(quantile * ordered.size) - 1)])
    often = firing > level
    total = firing.sum(0)
    distribution = firing / np.where(total > 0, total, 1)
    # 0 · log 0 is 0.
    logarithm = np.log(np.where(distribution > 0, distribution, 1))
    entropy = np.where(often.any(0), -(distribution * logarithm).sum(0), np.nan)
    wanted = max(1, round(share * entropy.size))
    # NaN stands last, whichever way it is sorted.
    order = np.argsort(entropy, axis=None, kind="stable")[:wanted]
    chosen = np.zeros(entropy.size, bool)
    chosen[order] = ~np.isnan(entropy.reshape(-1)[order])
    of_model = chosen.reshape(entropy.shape)
    return LanguageNeurons(
        labels=groups.labels,
        site=statistics.site,
        level=level,
        entropy=entropy + 0.0,
        chosen=of_model,
        masks=often & of_model,
    )


def contrast(
    statistics: CorpusStatistics,
    toward: str,
    away: str,
    share: float = 0.01,
    scales: ArrayLike = 1.0,
    how: How = "shift",
    left_out: Bool[np.ndarray, "L F"] | None = None,
) -> NeuronSets:
    """The neurons whose means differ most between two groups of texts, to be shifted or scaled.

    The groups are sets of prompts that differ in one respect, such as harmful and harmless ones.

    Source: Herring et al. 2026 (arXiv 2605.12290) choose by |difference| of `product` at prompts'
    last tokens a share of 0.001, without neurons that lead for unrelated prompts too, and scale
    what they choose: 0 ablates. Here means are of all counted tokens, and a shift by the difference
    leads from one group to the other.

    Args:
        statistics: with both as `groups`.
        toward, away: their labels.
        share: of all neurons, to choose, by |difference|; of equal ones the lowest (layer, index)
            first.
        scales: R factors, or one: on the differences, negative ones lead back; or on activations.
        how: `shift`: values are the mean of `toward` minus that of `away`, times the factor, in
            units of the activation, for `joint(…, convention="additive", site=statistics.site)`;
            `scale`: the factor itself, for `Intervention(sets, "scale")`.
        left_out: true for neurons that are not chosen, such as those that any contrast finds.

    Returns:
        R sets.

    Raises:
        ArgumentError: no such groups, or twice the same; an impossible share; a factor that is no
            finite number; a mask of another shape, or that leaves no neuron.
    """
    statistics, groups = check_groups(statistics, 2)
    first, second = groups.number(toward, "toward"), groups.number(away, "away")
    if first == second:
        raise ArgumentError(
            Argument("away"), f" is {checks.shown(away)}, as toward is: expected another group"
        )
    share = checks.real_number(share, "share", above=0, most=1)
    given = checks.real_numbers(scales, "scales")
    # A wrong one is shown as it was given.
    several = scales if given.ndim else given[None]
    factors = checks.shift_list(several, "scales", np.dtype(np.float64))
    difference = (groups.mean[first] - groups.mean[second]).reshape(-1)
    free = ~_left_out(left_out, statistics.shape).reshape(-1)
    count = max(1, round(share * difference.size))
    order = np.argsort(-np.abs(difference), kind="stable")
    flat = np.sort(order[free[order]][:count])
    moved = difference[flat] if checks.one_of(how, "how", get_args(How)) == "shift" else 1.0
    values = np.broadcast_to(factors[:, None] * moved, (len(factors), len(flat)))
    pairs = np.stack(np.divmod(flat, statistics.shape[1]), -1).astype(np.int32)
    return NeuronSets(
        neurons=np.broadcast_to(pairs, (len(factors), *pairs.shape)).copy(),
        values=values,
        levels=values,
        model_shape=statistics.shape,
    )


def _left_out(value: object, shape: tuple[int, ...]) -> Bool[np.ndarray, "L F"]:
    """A mask of neurons that are not chosen, checked."""
    if value is None:
        return np.zeros(shape, bool)
    mask = checks.truths(value, "left_out")
    if mask.shape != shape or mask.all():
        raise ArgumentError(
            Argument("left_out"),
            f" is {checks.described(mask)}, expected true and false {list(shape)}, not all of them "
            "true: a mask of neurons that are not chosen",
        )
    return mask
