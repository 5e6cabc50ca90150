"""Where a function that is measured, not known, first meets 0 on each of many rays."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Points of a ray that are measured together, as multiples of where the line predicts the goal.
FIRST_LOOK = np.asarray([0.5, 0.8, 0.95, 1.0, 1.05, 1.25, 1.6, 3.0])
# Further out, as multiples of the last of those, where that was the best.
FURTHER = np.asarray([1.2, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 16.0])
# Around the best, in units of the distance to what was measured on either side of it; it may be the
# start, and the maximum next to it.
BESIDE = np.asarray([0.01, 0.1, 0.3, 0.6])
# Around the secant's root, in units of the bracket; the last stands for its middle.
AROUND = np.asarray([-0.2, -0.05, -0.01, 0.0, 0.01, 0.05, 0.2, np.nan])
# Looks at one ray: without a crossing, before it is given up, and altogether.
LOOKS_OUTWARD, LOOKS = 4, 12
# Stands for an f that overflowed: far below the goal.
NOWHERE = -1e9


class Crossing(NamedTuple):
    """Where the search on P rays ended."""

    step: np.ndarray
    """[P]."""
    value: np.ndarray
    """[P], of the function there: the nearest to 0 that was measured."""


def first_crossings(
    function: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    guess: np.ndarray,
    wanted: np.ndarray,
    tolerance: float,
) -> Crossing:
    """Searches the first root of each wanted ray: outward until a sign changes, then within.

    Args:
        function: of ascending steps [P, R], values [P, R]; a value that is not finite counts as
            below 0.
        start: [P], values at step 0, below 0.
        guess: [P], positive, where the roots may be.
        wanted: [P], True for the rays that matter.
        tolerance: largest |value| of a root.
    """
    rays = _Rays(start)
    for look in range(LOOKS):
        going_on = wanted & (np.abs(rays.nearest_value) > tolerance)
        going_on &= rays.crossed | (look < LOOKS_OUTWARD)
        if not going_on.any():
            break
        steps = rays.look(guess, first=look == 0)
        rays.add(steps, function(steps))
    return Crossing(rays.nearest, rays.nearest_value)


class _Rays:
    """What was measured of a function on P rays that start below 0; ascending steps."""

    def __init__(self, start: np.ndarray) -> None:
        self.steps, self.values = np.zeros((len(start), 1)), start[:, None]
        self.rows = np.arange(len(start))
        self.crossed: np.ndarray = np.zeros(len(start), bool)
        self.nearest, self.nearest_value = self.steps[:, 0], start

    def look(self, guess: np.ndarray, *, first: bool) -> np.ndarray:
        """[P, R], ascending, where to measure next."""
        if first:
            result: np.ndarray = guess[:, None] * FIRST_LOOK
            return result
        return np.where(self.crossed[:, None], self._in_bracket(), self._for_maximum())

    def add(self, steps: np.ndarray, values: np.ndarray) -> None:
        """Takes in values [P, R] measured at ascending steps [P, R]."""
        values = np.where(np.isfinite(values), values, NOWHERE)
        steps = np.concatenate([self.steps, steps], axis=1)
        values = np.concatenate([self.values, values], axis=1)
        order = np.argsort(steps, axis=1, kind="stable")
        self.steps, self.values = (np.take_along_axis(a, order, axis=1) for a in (steps, values))
        self.crossed = np.any(self.values >= 0, axis=1)
        best = np.abs(self.values).argmin(1)
        self.nearest = self.steps[self.rows, best]
        self.nearest_value = self.values[self.rows, best]

    def _in_bracket(self) -> np.ndarray:
        """Around where a secant through the first change of sign has its root."""
        at = np.maximum(1, (self.values >= 0).argmax(1))
        low, high = (self.steps[self.rows, i][:, None] for i in (at - 1, at))
        below, above = (self.values[self.rows, i][:, None] for i in (at - 1, at))
        width = high - low
        # Rays that have not crossed are not asked here: their bracket only has to be finite.
        root = low - below * width / np.where(above > below, above - below, 1.0)
        inside = np.where(np.isnan(AROUND), (low + high) / 2, root + AROUND * width)
        return np.sort(np.clip(inside, low + 1e-3 * width, high - 1e-3 * width), axis=1)

    def _for_maximum(self) -> np.ndarray:
        """Beyond the last step where that was the best so far, else on either side of the best."""
        best, last = self.values.argmax(1), self.steps.shape[1] - 1
        before, here, after = (
            self.steps[self.rows, np.clip(i, 0, last)][:, None] for i in (best - 1, best, best + 1)
        )
        beside = np.concatenate(
            [here - BESIDE[::-1] * (here - before), here + BESIDE * (after - here)], axis=1
        )
        return np.where((best == last)[:, None], here * FURTHER, beside)
