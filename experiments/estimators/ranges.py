"""Curvature and saturation: how far a curve follows its tangent, predicted and measured.

P is one (prompt, neuron) pair an entry.
"""

from dataclasses import dataclass

import numpy as np

from experiments.inputs.measured_ranges import DISTANCES, SMALLEST, distances
from experiments.reporting import statistics
from experiments.reporting.rank_correlation import spearman

# NEG / slope at 0 between these: the line of least squares is about the tangent.
STRAIGHT = (0.8, 1.25)
RATIOS = ("turned", "flattened", "straight", "steepened")
"""Kinds of curve by the ratio of NEG to the slope at 0, ascending."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """How well first and second derivative predict the range in which a curve is straight."""

    tolerance: float
    neurons: int
    beyond: int
    """Whose predicted range is as wide as the sweep or wider."""
    beyond_and_straight: int
    """Of these, straight throughout the sweep."""
    too_small: int
    """Of the others, those whose bend at the end of the predicted range noise would hide, or whose
    range is narrower than the smallest distance."""
    checked: int
    """The rest: whose predicted range ends within the sweep, above the noise."""
    holds: float | None
    """Share of the checked with a measured range at least as wide as the predicted one."""
    holds_at_twice: float | None
    """The same, if twice the tolerance is granted."""
    within_factor_2: float | None
    """Share of the checked with a measured range between half and twice the predicted one."""
    ratio: dict[str, float] | None
    """Quantiles of measured / predicted among the checked; at most what the sweep shows."""
    spearman: float | None
    """Of predicted and measured range, among the checked."""


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Predicted and measured ranges of P neurons."""

    predicted: np.ndarray
    """[P], units of the activation; infinite where there is no curvature."""
    measured: np.ndarray
    """[P]; the sweep's radius where the curve stays straight."""
    checked: np.ndarray
    """[P], True where the prediction can be checked."""
    radius: float
    check: Check


def check_ranges(
    radius: float,
    first: np.ndarray,
    predicted: np.ndarray,
    measured: np.ndarray,
    granted: np.ndarray,
    bound: np.ndarray,
    tolerance: float,
) -> Ranges:
    """Predicted linear ranges [P] against those measured at `distances(radius)`.

    Args:
        first: [P], slope at no shift.
        predicted: [P], `negjax.linear_range` at the tolerance.
        measured, granted: [P], `measured_range` at the tolerance and at twice as much.
        bound: [P], largest |ΔP| that rounding explains.
    """
    beyond = predicted >= radius
    # At the end of its range a parabola is off its tangent by the tolerated share.
    end = np.where(beyond, 0, predicted)
    smallest = distances(radius)[0]
    too_small = ~beyond & ((tolerance * np.abs(first) * end < bound) | (end < smallest))
    checked = ~beyond & ~too_small
    ratio = measured[checked] / predicted[checked]
    # Between one distance and the next nothing is known: the measured range may end at either.
    step = SMALLEST ** (-1 / (DISTANCES - 1))
    check = Check(
        tolerance=tolerance,
        neurons=len(first),
        beyond=int(beyond.sum()),
        beyond_and_straight=int((measured[beyond] == radius).sum()),
        too_small=int(too_small.sum()),
        checked=int(checked.sum()),
        holds=statistics.share(ratio * step > 1),
        holds_at_twice=statistics.share(granted[checked] * step > predicted[checked]),
        within_factor_2=statistics.share((ratio >= 0.5) & (ratio <= 2)),
        ratio=statistics.quantiles(ratio),
        spearman=spearman(predicted[checked], measured[checked]),
    )
    return Ranges(
        predicted=predicted, measured=measured, checked=checked, radius=radius, check=check
    )


def slope_ratio(slope: np.ndarray, first: np.ndarray) -> np.ndarray:
    """NEG / slope at 0 [P] under the same convention; NaN where that slope is 0.

    Even derivatives have no part in it: of points at ±x, Σ x ΔP(x) is that of the curve's odd part
    alone. Below 1 the curve flattens on the whole, below 0 it turns back, above 1 it steepens.
    """
    none = np.full(slope.shape, np.nan)
    return np.divide(slope, first, out=none, where=first != 0)


def ratio_shares(ratio: np.ndarray) -> dict[str, float | None]:
    """Shares of the curves by `RATIOS`, of ratios [P] with NaN left out."""
    kind = np.searchsorted([0.0, *STRAIGHT], ratio[np.isfinite(ratio)], side="right")
    return {name: statistics.share(kind == number) for number, name in enumerate(RATIOS)}
