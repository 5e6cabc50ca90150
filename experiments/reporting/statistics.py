"""From the lines fitted to many neurons to the numbers a study reports: functions of flat arrays.

P is one (prompt, neuron) pair an entry. Shares and quantiles are None where there is nothing to
take them of.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments import paper
from negjax.measurements.linearity import fit_changes

RANGES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Shift ranges that a study of linearity reports, as far as it swept."""

LINEAR, VERY_LINEAR = 0.95, 0.99
"""|r| from which a neuron is called linear."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

# A ΔP is the difference of two outputs, each with rounding noise s: its own is √2 s. With normal
# noise one point in 16,000 lies beyond 4 of those, so of neurons that do nothing fewer than 1 in
# 100 gets over the bound at any of the paper's 100 shifts.
NOISE_DEVIATIONS = 4 * math.sqrt(2)

# A change of which a series' error may be half says little of slope or r.
ERROR_SHARE = 0.5

# Two points always lie on a line, and four say little: a series is read at no fewer on each side.
LEAST_POINTS_A_SIDE = 5
# Fewer points than this have no Pearson r worth a share.
LEAST_POINTS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fits:
    """Lines through the changes of P neurons within one range."""

    points: int
    """Shifts that the lines were fitted to."""
    slope: np.ndarray
    """[P], NEG."""
    pearson: np.ndarray
    """[P]."""
    largest_change: np.ndarray
    """[P], largest |ΔP|."""


def fit(shifts: np.ndarray, changes: np.ndarray) -> Fits:
    """Fits lines to changes [..., X] at shifts [X]; P counts their leading axes, flat."""
    slope, pearson = fit_changes(shifts, changes)
    return Fits(
        points=shifts.size,
        slope=slope.reshape(-1),
        pearson=pearson.reshape(-1),
        largest_change=np.abs(changes).max(-1).reshape(-1),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shares:
    """How linear some neurons are, and which way they push."""

    neurons: int
    linear: float | None
    """Share with |r| ≥ LINEAR."""
    very_linear: float | None
    """Share with |r| ≥ VERY_LINEAR."""
    pearson: dict[str, float] | None
    """Quantiles of |r|."""
    positive: float | None
    """Share with NEG > 0."""
    negative: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How close a prediction comes to NEG."""

    neurons: int
    pearson: float | None
    mae: float | None
    """Mean |prediction - NEG|, output per unit of activation."""
    mean_size: float | None
    """Mean |NEG|, to judge the error by."""
    same_sign: float | None
    """Share with the sign of NEG."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RangeStatistics:
    """A study's numbers for one shift range."""

    radius: float
    points: int
    """Shifts that the lines were fitted to."""
    within_noise: int
    """Neurons whose largest |ΔP| lies within the rounding noise."""
    within_error: int
    """Of the others, those whose largest |ΔP| the error of their curve may make half of."""
    every: Shares
    resolved: Shares
    """Of neurons that are within neither."""
    predictions: dict[str, Agreement]
    """By name, over every neuron."""
    resolved_predictions: dict[str, Agreement]
    """The same over resolved neurons: one steep curve that its error hides can rule a Pearson r."""


def noise_bound(noise: np.ndarray) -> np.ndarray:
    """Largest |ΔP| that rounding alone explains, of the noise (standard deviation) of an output."""
    return NOISE_DEVIATIONS * np.asarray(noise, np.float64)


def is_resolved(
    largest_change: np.ndarray, bound: np.ndarray, error: np.ndarray | None = None
) -> np.ndarray:
    """Where [P] neither rounding nor a curve's error hides a neuron's change within a range.

    Args:
        largest_change: [P], largest |ΔP| of that range.
        bound: [P], `noise_bound`.
        error: [P], largest of the curve that it was read off, at any shift (`Response.error`): it
            may be half of the change at most; None: every shift was replayed.
    """
    above = largest_change >= bound
    return above if error is None else above & ~(ERROR_SHARE * largest_change < error)


def ranges_within(radius: float) -> list[float]:
    """The ranges a study reports when it swept ±radius: the usual ones, and its own."""
    below = [r for r in RANGES if r < radius * (1 - 1e-9)]
    return [*below, radius]


def headline(ranges: Sequence[float]) -> float:
    """Returns the range that figures of one range show: the paper's, if it was swept."""
    return max(r for r in ranges if r <= paper.RADIUS or r == min(ranges))


def reading_step(radius: float, step: float) -> float:
    """Step at which a series is read over ±radius: `step`, finer where few points would be left."""
    return min(step, radius / LEAST_POINTS_A_SIDE)


def range_statistics(
    radius: float,
    fits: Fits,
    bound: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    error: np.ndarray | None = None,
) -> RangeStatistics:
    """Returns the numbers of one shift range.

    Args:
        radius: the range is ±radius.
        fits: of P neurons.
        bound: [P], `noise_bound`.
        predictions: [P] each, of NEG.
        error: [P], of the curves, as `is_resolved` takes it.
    """
    above = fits.largest_change >= bound
    resolved = is_resolved(fits.largest_change, bound, error)
    slope, pearson = fits.slope, fits.pearson
    return RangeStatistics(
        radius=radius,
        points=fits.points,
        within_noise=int((~above).sum()),
        within_error=int((above & ~resolved).sum()),
        every=shares(slope, pearson, fits.points),
        resolved=shares(slope[resolved], pearson[resolved], fits.points),
        predictions={name: agreement(value, slope) for name, value in predictions.items()},
        resolved_predictions={
            name: agreement(value[resolved], slope[resolved]) for name, value in predictions.items()
        },
    )


def shares(slope: np.ndarray, pearson: np.ndarray, points: int) -> Shares:
    """Returns shares of linear and of positive neurons; slope, pearson [P] of `points` shifts."""
    size = np.abs(pearson)
    enough = points >= LEAST_POINTS
    return Shares(
        neurons=len(slope),
        linear=share(size >= LINEAR) if enough else None,
        very_linear=share(size >= VERY_LINEAR) if enough else None,
        pearson=quantiles(size) if enough else None,
        positive=share(slope > 0),
        negative=share(slope < 0),
    )


def agreement(prediction: np.ndarray, slope: np.ndarray) -> Agreement:
    """Returns how close predictions [P] come to slopes [P]."""
    prediction, slope = (np.asarray(a, np.float64) for a in (prediction, slope))
    return Agreement(
        neurons=len(slope),
        pearson=correlation(prediction, slope),
        mae=_mean(np.abs(prediction - slope)),
        mean_size=_mean(np.abs(slope)),
        same_sign=share(np.sign(prediction) == np.sign(slope)),
    )


def correlation(left: np.ndarray, right: np.ndarray) -> float | None:
    """Pearson r of two arrays [P]; None where one of them does not vary."""
    if len(left) < 2 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    a, b = left - left.mean(), right - right.mean()
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0))


def explained(prediction: np.ndarray, measured: np.ndarray) -> float | None:
    """Share of the variance of measured [P] that a prediction [P] explains, 1 - SSE / SST.

    None where what was measured does not vary. Not r²: a prediction of the wrong size is wrong.
    """
    spread = measured - np.mean(measured) if len(measured) else measured
    total = float(spread @ spread)
    if total == 0:
        return None
    return 1 - float(np.square(measured - prediction).sum()) / total


def share(true: np.ndarray) -> float | None:
    """Share of True among [P]."""
    return _mean(np.asarray(true, bool))


def quantiles(
    values: np.ndarray, probabilities: Sequence[float] = QUANTILES
) -> dict[str, float] | None:
    """Quantiles of [P], by their probability as text."""
    if not len(values):
        return None
    points = np.quantile(np.asarray(values, np.float64), probabilities)
    return {f"{p:g}": float(q) for p, q in zip(probabilities, points, strict=True)}


def layer_quantiles(
    layer: np.ndarray, values: np.ndarray, layers: int, probabilities: Sequence[float] = QUANTILES
) -> np.ndarray:
    """Quantiles [L, Q] of values [P] in each layer; NaN for a layer without any."""
    result = np.full((layers, len(probabilities)), np.nan)
    for number in range(layers):
        inside = values[layer == number]
        if len(inside):
            result[number] = np.quantile(inside, probabilities)
    return result


def layer_shares(layer: np.ndarray, true: np.ndarray, layers: int) -> np.ndarray:
    """Share [L] of True among those of each layer; NaN for a layer without any."""
    count = np.bincount(layer, minlength=layers)
    hits = np.bincount(layer, weights=np.asarray(true, np.float64), minlength=layers)
    return np.divide(hits, count, out=np.full(layers, np.nan), where=count > 0)


def most_and_least_linear(
    pearson: np.ndarray, largest_change: np.ndarray, eligible: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the `count` neurons of largest and of smallest |r| among the eligible.

    Among equal |r| the larger change goes first, then the lower number.
    """
    among = np.flatnonzero(eligible)
    size, change = np.abs(pearson[among]), largest_change[among]
    most = among[np.lexsort((-change, -size))][:count]
    least = among[np.lexsort((-change, size))]
    return most, least[~np.isin(least, most)][:count]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two ways of measuring the same curves, at the same shifts."""

    neurons: int
    curve: dict[str, float] | None
    """Quantiles of the largest |difference of ΔP|, in units of the rounding noise of a ΔP."""
    curve_relative: dict[str, float] | None
    """Quantiles of the same over the range of ΔP, above the noise."""
    slope: dict[str, float] | None
    """Quantiles of |difference of NEG| / |NEG|, above the noise."""
    pearson: dict[str, float] | None
    """Quantiles of the difference of |r|, above the noise."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """P curves measured in two ways at the same shifts."""

    difference: np.ndarray
    """[P], largest |difference of ΔP|."""
    extent: np.ndarray
    """[P], range of the second's ΔP."""
    largest_change: np.ndarray
    """[P], largest |ΔP| of the second."""
    slope: np.ndarray
    """[P, 2], NEG of the first and of the second."""
    pearson: np.ndarray
    """[P, 2]."""


def paired(shifts: np.ndarray, first: np.ndarray, second: np.ndarray) -> Pairs:
    """Sums up changes [P, X] at shifts [X], measured in two ways; the second judges the first."""
    fits = [fit(shifts, changes) for changes in (first, second)]
    return Pairs(
        difference=np.abs(first - second).max(-1),
        extent=np.ptp(second, axis=-1),
        largest_change=fits[1].largest_change,
        slope=np.stack([of.slope for of in fits], axis=-1),
        pearson=np.stack([of.pearson for of in fits], axis=-1),
    )


def comparison(pairs: Pairs, noise: np.ndarray) -> Comparison:
    """How far two ways of measuring differ, with rounding noise [P] of an output."""
    above = pairs.largest_change >= noise_bound(noise)
    positive = noise > 0
    slope, pearson = pairs.slope[above], np.abs(pairs.pearson[above])
    return Comparison(
        neurons=len(noise),
        curve=quantiles(pairs.difference[positive] / (math.sqrt(2) * noise[positive])),
        curve_relative=quantiles(pairs.difference[above] / pairs.extent[above]),
        slope=quantiles(np.abs(slope[:, 0] - slope[:, 1]) / np.abs(slope[:, 1])),
        pearson=quantiles(np.abs(pearson[:, 0] - pearson[:, 1])),
    )


def median(values: np.ndarray) -> float | None:
    """Median of [P]."""
    return float(np.median(values)) if len(values) else None


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def distinct_pairs(ids: np.ndarray) -> float:
    """Share of different ones among the pairs of neighbouring tokens [N]; 1 of a single token."""
    pairs = list(zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True))
    return len(set(pairs)) / len(pairs) if pairs else 1.0
