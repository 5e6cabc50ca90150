"""Numbers over prompts, facts or pairs, with the intervals that drawing those anew gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from experiments.reporting.tables import NOTHING, counted, written

LEVEL, DRAWS = 0.95, 2000
"""Of intervals; and how often groups are drawn anew for one."""
FEW = 5
"""Groups, of which fewer say nothing of others."""


@dataclass(frozen=True)
class Estimate:
    """A number over groups (prompts, facts, pairs), with its interval.

    Formatted with a number's format it is a text: "0.98 (0.97 to 0.99 over 24 prompts)".
    """

    value: float | None
    low: float | None
    high: float | None
    count: int
    """Of groups."""
    noun: str = "prompt"
    """What a group is."""

    def __format__(self, form: str) -> str:
        groups = counted(self.count, self.noun)
        if self.value is None:
            return NOTHING
        ends = [written(end, form) for end in (self.low, self.high)]
        shown = f"{' to '.join(ends)} over {groups}" if self.low is not None else groups
        few = ": too few to say" if self.count < FEW else ""
        return f"{written(self.value, form)} ({shown}{few})"


def share(true: Sequence[bool], noun: str) -> Estimate:
    """A share of groups with Wilson's interval, which a share of 0 or 1 has, too."""
    if not true:
        return Estimate(None, None, None, 0, noun)
    bounds = binomtest(sum(true), len(true)).proportion_ci(LEVEL, "wilson")
    return Estimate(sum(true) / len(true), float(bounds.low), float(bounds.high), len(true), noun)


def drawn(
    values: np.ndarray, of: Callable[[np.ndarray], float], noun: str, seed: int = 0
) -> Estimate:
    """A statistic of groups' values [n], which may be infinite, and its percentile interval."""
    if not values.size:
        return Estimate(None, None, None, 0, noun)
    draws = np.random.default_rng(seed).choice(values, (DRAWS, values.size))
    ends = np.quantile([of(some) for some in draws], _ENDS, method="inverted_cdf")
    low, high = map(_finite, ends)
    return Estimate(_finite(of(values)), low, high, values.size, noun)


def shares(true: np.ndarray, group: np.ndarray, noun: str = "prompt") -> Estimate:
    """Share of True among [P], over the groups [P] that they belong to.

    Where all are True, or none, drawing groups anew changes nothing: then it is their `share`.
    """
    if np.all(true) or not np.any(true):
        return share([bool(np.any(true))] * len(np.unique(group)), noun)
    return ratio(true, np.ones(len(true)), group, noun)


def ratio(part: np.ndarray, whole: np.ndarray, group: np.ndarray, noun: str) -> Estimate:
    """Sum of parts [P] over the sum of wholes [P], over the groups [P] that they belong to."""
    return _of_sums([part, whole], group, lambda sums: sums[..., 0] / sums[..., 1], noun)


def pearson(x: np.ndarray, y: np.ndarray, group: np.ndarray, noun: str = "prompt") -> Estimate:
    """Pearson r of [P] and [P], over the groups [P] that they belong to."""
    if not len(x):
        return Estimate(None, None, None, 0, noun)
    a, b = x - np.mean(x), y - np.mean(y)
    return _of_sums([np.ones(len(a)), a, b, a * a, b * b, a * b], group, _correlation, noun)


def explained(
    predicted: np.ndarray, measured: np.ndarray, group: np.ndarray, noun: str = "prompt"
) -> Estimate:
    """Share of the variance of measured [P] that predicted [P] explains, over groups [P]."""
    if not len(measured):
        return Estimate(None, None, None, 0, noun)
    spread, error = measured - np.mean(measured), measured - predicted
    sums = [np.ones(len(spread)), spread, spread**2, error**2]
    return _of_sums(sums, group, _explained, noun)


_ENDS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


def _of_sums(
    columns: Sequence[np.ndarray],
    group: np.ndarray,
    of: Callable[[np.ndarray], np.ndarray],
    noun: str,
) -> Estimate:
    """A function of sums [..., S] over everything, whose groups are drawn anew."""
    _, place = np.unique(group, return_inverse=True)
    sums = np.stack([np.bincount(place, weights=column) for column in columns], axis=-1)
    count = len(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        value, draws = float(of(sums.sum(0))), of(_draws(count) @ sums)
    known = draws[np.isfinite(draws)]
    low, high = np.quantile(known, _ENDS) if known.size and count > 1 else (np.nan, np.nan)
    return Estimate(_finite(value), _finite(low), _finite(high), count, noun)


def _draws(count: int) -> np.ndarray:
    """How often each of so many groups is drawn [DRAWS, count]."""
    return np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)


def _correlation(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    found: np.ndarray = (xy - x * y / n) / np.sqrt((xx - x * x / n) * (yy - y * y / n))
    return found


def _explained(sums: np.ndarray) -> np.ndarray:
    n, y, yy, error = np.moveaxis(sums, -1, 0)
    found: np.ndarray = 1 - error / (yy - y * y / n)
    return found


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
