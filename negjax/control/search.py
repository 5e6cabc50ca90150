"""The smallest shift of many activations that moves a quantity to a wanted value.

Minimise |s| subject to f(s) = goal. At the minimum s is parallel to ∇f(s), the Karush-Kuhn-Tucker
condition; reliability engineers know the problem as that of the most probable failure point, and
its classical iteration (Hasofer and Lind, 1974; Rackwitz and Fiessler, 1978) as this one: the next
direction is the gradient at the current point, the length what the constraint needs. Here the
length is measured, not extrapolated, and a direction is taken only if it is shorter: from the first
point on the constraint, which rays along conjugate gradients lead to, the norm never grows.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from negjax.control.rays import first_crossings
from negjax.process import bars

# What a bar counts: gradients, and rows of one ray or several.
LOOK = "look"
# Rays from ever better points, before a goal is given up.
RAYS = 30
# A ray that closes less of the distance to the goal than this leads nowhere.
LEAST_PROGRESS = 0.01
# Directions that a new one is mixed of.
MIXED = 8
# Share of the way to the gradient's direction below which a step is not worth its measurements.
LEAST_TURN = 1 / 64


class Surface(Protocol):
    """A quantity f of each of P independent problems, as a function of a shift [L, F]."""

    def along(self, base: np.ndarray, direction: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """f [P, R] at base + step · direction, of base and direction [P, L, F], steps [P, R]."""
        ...

    def slope(self, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """f [P] and its gradient [P, L, F] at shifts [P, L, F]."""
        ...


class Point(NamedTuple):
    """A point of a search."""

    norm: float
    """L2 norm of the shift."""
    level: float
    """f there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """Where a search ended, for each of P problems."""

    shift: np.ndarray
    """[P, L, F], float64."""
    start: np.ndarray
    """[P], f without a shift."""
    predicted: np.ndarray
    """[P], norm of the shift that the gradient there asks for, f taken to be linear; infinite where
    the gradient is 0."""
    level: np.ndarray
    """[P], f at the shift."""
    reached: np.ndarray
    """[P], whether that is the goal, within the tolerance."""
    cosine: np.ndarray
    """[P], of the shift with the gradient there that points to the goal; 1 for no shift."""
    paths: tuple[tuple[Point, ...], ...]
    """The accepted points of each problem, from no shift on."""


def minimal_shifts(
    surface: Surface,
    goal: np.ndarray,
    shape: tuple[int, int],
    project: Callable[[np.ndarray], np.ndarray],
    *,
    tolerance: float,
    turns: int,
    cosine: float,
) -> Found:
    """Searches each problem's smallest shift.

    Args:
        goal: [P], wanted values of f.
        shape: (L, F), or whatever two sizes a shift has.
        project: orthogonal projection of gradients [P, L, F] on the shifts that are allowed.
        tolerance: largest |f - goal| at the end.
        turns: most directions that are tried to shorten a shift; 0 keeps the first that is
            found.
        cosine: of shift and gradient, above which a shift counts as the shortest.
    """
    walk = _Walk(surface, goal, shape, project, tolerance)
    walk.reach()
    walk.shorten(turns, cosine)
    return walk.found()


class _Walk:
    """The state of a search; arrays over its P problems."""

    def __init__(
        self,
        surface: Surface,
        goal: np.ndarray,
        shape: tuple[int, int],
        project: Callable[[np.ndarray], np.ndarray],
        tolerance: float,
    ) -> None:
        self.surface, self.project, self.tolerance = surface, project, tolerance
        self.goal = np.asarray(goal, np.float64)
        self.shift = self.gradient_at = np.zeros((len(goal), *shape))
        level, gradient = surface.slope(self.shift)
        self.level, self.gradient = level.astype(np.float64), self._projected(gradient)
        self.start, slope = self.level, _norm(self.gradient)
        missing = np.abs(self.goal - self.start)
        never = np.where(missing > 0, np.inf, 0.0)
        self.predicted = np.divide(missing, slope, out=never, where=slope > 0)
        self.sign = np.where(self.goal >= self.start, 1.0, -1.0)
        self.paths = [[Point(0.0, float(level))] for level in self.start]

    @property
    def reached(self) -> np.ndarray:
        """[P]."""
        return np.abs(self.level - self.goal) <= self.tolerance

    def reach(self) -> None:
        """Moves along conjugate gradients until f is the goal, or nothing brings it nearer.

        The first of them is the gradient at 0; later ones keep part of the direction before (Polak
        and Ribière, 1969, and no less than none of it), without which a narrow ridge is climbed in
        ever shorter zigzags.
        """
        moving = ~self.reached
        before, direction = np.zeros_like(self.shift), np.zeros_like(self.shift)
        for _ in range(RAYS):
            self._linearise()
            uphill = self._uphill()
            moving &= _norm(uphill) > 0
            if not moving.any():
                return
            kept = np.divide(
                _dot(uphill, uphill - before),
                _dot(before, before),
                out=np.zeros_like(self.goal),
                where=before.any((1, 2)),
            )
            direction = uphill + _wide(np.maximum(0, kept)) * direction
            direction = np.where(_wide(_dot(direction, uphill) > 0), direction, uphill)
            before, size = uphill, _norm(direction)
            ray = _over(direction, size)
            missing = np.abs(self.goal - self.level)
            slope = _dot(ray, uphill)
            guess = np.divide(missing, slope, out=np.ones_like(slope), where=moving)
            step, level = self._cross(self.shift, ray, guess, self.level, moving)
            moving &= step > 0
            self._move(moving, self.shift + _wide(step) * ray, level)
            left = np.abs(self.goal - self.level)
            moving &= ~self.reached & (left < (1 - LEAST_PROGRESS) * missing)
            moving &= self.sign * (self.goal - self.level) > 0

    def shorten(self, turns: int, cosine: float) -> None:
        """Turns reached shifts towards the gradient as long as that makes them shorter."""
        share = np.ones(len(self.goal))
        mixes = [_Mix() for _ in share]
        moving = self.reached & (_norm(self.shift) > 0)
        for _ in range(turns):
            self._linearise()
            moving &= (share >= LEAST_TURN) & (self.cosine() < cosine)
            if not moving.any():
                return
            norm = _norm(self.shift)
            along = _over(self.shift, norm)
            uphill = _over(self._uphill(), _norm(self.gradient))
            aim = np.stack(
                [mix.aim(*pair) for mix, *pair in zip(mixes, along, uphill, strict=True)]
            )
            turned = along + _wide(share) * (aim - along)
            turned = _over(turned, _norm(turned))
            # Where the tangent plane of f = goal at the shift cuts the new direction's ray.
            ahead = _dot(uphill, turned)
            guess = norm * np.divide(
                _dot(uphill, along), ahead, out=np.ones_like(ahead), where=ahead > 0
            )
            guess = np.where((guess > 0) & (guess < 2 * norm), guess, norm)
            zero = np.zeros_like(self.shift)
            step, level = self._cross(zero, turned, guess, self.start, moving)
            shorter = moving & (step < norm) & (np.abs(level - self.goal) <= self.tolerance)
            self._move(shorter, _wide(step) * turned, level)
            share = np.where(shorter, np.minimum(1.0, 2 * share), share / 2)
            for number in np.flatnonzero(moving & ~shorter):
                mixes[number].forget()

    def cosine(self) -> np.ndarray:
        """[P], of each shift with the last gradient taken, towards the goal; 1 for no shift."""
        norm = _norm(self.shift)
        sizes = norm * _norm(self.gradient)
        found = _dot(self.shift, self._uphill())
        none = np.where(norm > 0, 0.0, 1.0)
        result: np.ndarray = np.divide(found, sizes, out=none, where=sizes > 0)
        return result

    def found(self) -> Found:
        """The result."""
        self._linearise()
        return Found(
            shift=self.shift,
            start=self.start,
            predicted=self.predicted,
            level=self.level,
            reached=self.reached,
            cosine=self.cosine(),
            paths=tuple(map(tuple, self.paths)),
        )

    def _linearise(self) -> None:
        """Takes the gradient at the shifts, unless they are where it was taken last."""
        if self.gradient_at is not self.shift:
            self.gradient = self._projected(self.surface.slope(self.shift)[1])
            bars.current().count(1, LOOK)
            self.gradient_at = self.shift

    def _projected(self, gradient: np.ndarray) -> np.ndarray:
        return self.project(gradient.astype(np.float64))

    def _uphill(self) -> np.ndarray:
        result: np.ndarray = _wide(self.sign) * self.gradient
        return result

    def _move(self, moving: np.ndarray, shift: np.ndarray, level: np.ndarray) -> None:
        if not moving.any():
            return
        self.shift = np.where(_wide(moving), shift, self.shift)
        self.level = np.where(moving, level, self.level)
        for number in np.flatnonzero(moving):
            norm = float(np.linalg.norm(self.shift[number]))
            self.paths[number].append(Point(norm, float(self.level[number])))

    def _cross(
        self,
        base: np.ndarray,
        direction: np.ndarray,
        guess: np.ndarray,
        level: np.ndarray,
        wanted: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Step and f [P] where rays from base, where f is level, meet the goal or come nearest."""

        def value(steps: np.ndarray) -> np.ndarray:
            found = self.surface.along(base, direction, steps).astype(np.float64)
            bars.current().count(1, LOOK)
            return self.sign[:, None] * (found - self.goal[:, None])

        start = self.sign * (level - self.goal)
        step, value_there = first_crossings(value, start, guess, wanted, self.tolerance)
        return step, self.goal + self.sign * value_there


class _Mix:
    """Anderson's mixing of a fixed-point iteration: the next direction, of those that were tried.

    Where x → g(x) converges slowly or not at all, the combination of the last g(x) whose residuals
    g(x) − x nearly cancel is nearer to the fixed point (Anderson, 1965).
    """

    def __init__(self) -> None:
        self.points: list[tuple[np.ndarray, np.ndarray]] = []

    def forget(self) -> None:
        """Starts anew."""
        self.points = []

    def aim(self, along: np.ndarray, uphill: np.ndarray) -> np.ndarray:
        """[L, F], where to turn from the direction of a shift, given that of the gradient there."""
        self.points = [*self.points[-(MIXED - 1) :], (along, uphill)]
        if len(self.points) < 2:
            return uphill
        residual = uphill - along
        changes = np.stack([(residual - (g - x)).ravel() for x, g in self.points[:-1]], axis=1)
        weights = np.linalg.lstsq(changes, residual.ravel(), rcond=1e-6)[0]
        moves = sum(w * (uphill - g) for w, (_, g) in zip(weights, self.points, strict=False))
        mixed = uphill - moves
        return mixed if np.vdot(mixed, uphill) > 0 else uphill


def _wide(values: np.ndarray) -> np.ndarray:
    return values[:, None, None]


def _norm(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.sqrt(np.einsum("plf,plf->p", values, values))
    return result


def _dot(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.einsum("plf,plf->p", left, right)
    return result


def _over(values: np.ndarray, size: np.ndarray) -> np.ndarray:
    result: np.ndarray = values / _wide(np.where(size > 0, size, 1.0))
    return result
