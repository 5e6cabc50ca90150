"""The search for the smallest shift, on functions whose smallest shift is known."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from negjax.control.rays import LOOKS, first_crossings
from negjax.control.search import Found, minimal_shifts

SHAPE = (2, 3)
Function = Callable[[np.ndarray], np.ndarray]


class Analytic:
    """f and its gradient, of flat shifts [..., 6], as a search sees them; counts what is asked."""

    def __init__(self, function: Function, gradient: Function) -> None:
        self.function, self.gradient = function, gradient
        self.looks = self.slopes = 0

    def along(self, base: np.ndarray, direction: np.ndarray, steps: np.ndarray) -> np.ndarray:
        self.looks += 1
        shifts = base[:, None] + steps[..., None, None] * direction[:, None]
        return self.function(shifts.reshape(*steps.shape, -1))

    def slope(self, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.slopes += 1
        flat = shift.reshape(len(shift), -1)
        return self.function(flat), self.gradient(flat).reshape(shift.shape)


def search(
    surface: Analytic,
    goal: Sequence[float],
    project: Callable[[np.ndarray], np.ndarray] = lambda shift: shift,
    turns: int = 40,
) -> Found:
    return minimal_shifts(
        surface, np.asarray(goal), SHAPE, project, tolerance=1e-9, turns=turns, cosine=1 - 1e-12
    )


def norms(found: Found) -> np.ndarray:
    return np.linalg.norm(found.shift.reshape(len(found.shift), -1), axis=1)


COEFFICIENTS = np.asarray([1.0, -2.0, 0.5, 3.0, 0.0, -1.0])


def test_a_plane():
    """f = c·s: the smallest shift is goal · c / |c|², and the first prediction is exact."""
    surface = Analytic(lambda s: s @ COEFFICIENTS, lambda s: np.broadcast_to(COEFFICIENTS, s.shape))
    found = search(surface, [2.0, -1.0, 0.0])
    expected = np.outer([2.0, -1.0, 0.0], COEFFICIENTS) / (COEFFICIENTS @ COEFFICIENTS)
    np.testing.assert_allclose(found.shift.reshape(3, -1), expected, atol=1e-9)
    np.testing.assert_allclose(found.predicted, np.linalg.norm(expected, axis=1), rtol=1e-12)
    np.testing.assert_allclose(found.cosine, 1)
    assert found.reached.all()
    assert [len(path) for path in found.paths] == [2, 2, 1]


CENTRE = np.asarray([1.0, 0.5, -1.0, 2.0, 0.3, 0.8])
WEIGHTS = np.asarray([1.0, 5.0, 0.2, 2.0, 10.0, 0.5])


def test_an_ellipsoid():
    """f = −Σ w (s − c)²: at the smallest shift s + λ w (s − c) = 0, λ by a scalar root."""

    def value(s: np.ndarray) -> np.ndarray:
        return -((s - CENTRE) ** 2) @ WEIGHTS

    surface = Analytic(value, lambda s: -2 * WEIGHTS * (s - CENTRE))
    start = value(np.zeros(6))
    goals = [0.5 * float(start), 0.05 * float(start)]
    found = search(surface, goals)
    for row, goal in enumerate(goals):

        def at(multiplier: float) -> np.ndarray:
            return multiplier * WEIGHTS * CENTRE / (1 + multiplier * WEIGHTS)

        best = brentq(lambda m, goal=goal: float(value(at(m)) - goal), 0, 1e6, xtol=1e-14)
        np.testing.assert_allclose(found.shift[row].ravel(), at(best), atol=1e-5)
        assert found.cosine[row] > 1 - 1e-9
    # The gradient at 0 points elsewhere: rays along gradients end further out, turns shorten.
    straight = search(surface, goals, turns=0)
    assert (norms(straight) > 1.02 * norms(found)).all()
    assert (straight.cosine < 0.97).all()
    for path, goal in zip(found.paths, goals, strict=True):
        lengths = [point.norm for point in path if abs(point.level - goal) < 1e-8]
        assert lengths == sorted(lengths, reverse=True)
        assert len(lengths) > 2


def test_it_is_the_optimum_that_another_optimiser_finds():
    """A curved f without a closed form, against SLSQP."""
    mixing = np.random.default_rng(5).normal(size=(4, 6))

    def value(s: np.ndarray) -> np.ndarray:
        return np.tanh(s @ mixing.T).sum(-1) + 0.3 * np.sin(2 * s).sum(-1)

    def gradient(s: np.ndarray) -> np.ndarray:
        return (1 - np.tanh(s @ mixing.T) ** 2) @ mixing + 0.6 * np.cos(2 * s)

    found = search(Analytic(value, gradient), [2.0, -1.5])
    for row, goal in enumerate([2.0, -1.5]):
        best = minimize(
            lambda s: s @ s,
            found.shift[row].ravel() * 1.3 + 0.05,
            jac=lambda s: 2 * s,
            constraints={
                "type": "eq",
                "fun": lambda s, goal=goal: value(s) - goal,
                "jac": gradient,
            },
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert best.success
        assert norms(found)[row] == pytest.approx(np.sqrt(best.fun), rel=1e-6)


def test_a_goal_around_a_corner_takes_several_rays():
    """Along the first gradient f turns back before the goal; from its best point it goes on."""

    def value(s: np.ndarray) -> np.ndarray:
        return s[..., 0] - 0.5 * s[..., 0] ** 2 + 0.4 * s[..., 0] * s[..., 1]

    def gradient(s: np.ndarray) -> np.ndarray:
        found = np.zeros_like(s)
        found[..., 0] = 1 - s[..., 0] + 0.4 * s[..., 1]
        found[..., 1] = 0.4 * s[..., 0]
        return found

    surface = Analytic(value, gradient)
    found = search(surface, [0.9])
    assert found.reached[0]
    # On the first ray, along the first axis, f has its maximum 0.5.
    assert found.paths[0][1].level == pytest.approx(0.5, abs=0.01)
    assert found.cosine[0] > 1 - 1e-6


def test_out_of_reach_is_said_with_the_best_reached():
    def value(s: np.ndarray) -> np.ndarray:
        return np.tanh(s.sum(-1))

    def gradient(s: np.ndarray) -> np.ndarray:
        slope = 1 - np.tanh(s.sum(-1)) ** 2
        return np.broadcast_to(slope[..., None], s.shape)

    found = search(Analytic(value, gradient), [1.5, 0.5, -2.0])
    assert found.reached.tolist() == [False, True, False]
    np.testing.assert_allclose(found.level, [1.0, 0.5, -1.0], atol=1e-6)
    # What is said to have been reached is what the shift gives.
    np.testing.assert_allclose(found.level, value(found.shift.reshape(3, -1)), atol=1e-12)


def test_without_a_gradient_there_is_no_way():
    surface = Analytic(lambda s: np.full(s.shape[:-1], 0.25), np.zeros_like)
    found = search(surface, [1.0, 0.25])
    assert found.reached.tolist() == [False, True]
    assert found.predicted.tolist() == [np.inf, 0]
    assert (found.shift == 0).all()


def test_forbidden_directions_are_not_taken():
    surface = Analytic(lambda s: s @ COEFFICIENTS, lambda s: np.broadcast_to(COEFFICIENTS, s.shape))
    allowed = np.asarray([[True, False, True], [False, False, True]])
    found = search(surface, [2.0], lambda shift: np.where(allowed, shift, 0))
    kept = np.where(allowed.ravel(), COEFFICIENTS, 0)
    np.testing.assert_allclose(found.shift.ravel(), 2 * kept / (kept @ kept), atol=1e-9)


def test_overflow_is_not_a_crossing():
    def value(s: np.ndarray) -> np.ndarray:
        total = s.sum(-1)
        return np.where(total < 1.0, total, np.nan)

    surface = Analytic(value, np.ones_like)
    found = search(surface, [0.9, 2.0])
    assert found.reached.tolist() == [True, False]
    assert found.level[0] == pytest.approx(0.9)
    assert found.level[1] == pytest.approx(1, abs=1e-3)


def test_the_first_of_several_roots_is_taken():
    """sin(x) − 0.5 on rays whose guess lies before, at and beyond the first root, π/6."""
    guess = np.asarray([0.05, np.pi / 6, 0.8])
    calls = []

    def value(steps: np.ndarray) -> np.ndarray:
        calls.append(steps)
        assert (np.diff(steps, axis=1) >= 0).all()
        return np.sin(steps) - 0.5

    found = first_crossings(value, np.full(3, -0.5), guess, np.ones(3, bool), 1e-10)
    np.testing.assert_allclose(found.step, np.pi / 6, atol=1e-9)
    assert (np.abs(found.value) <= 1e-10).all()
    assert len(calls) < LOOKS


def test_unwanted_rays_cost_nothing():
    def value(steps: np.ndarray) -> np.ndarray:
        raise AssertionError("nothing was wanted")

    found = first_crossings(value, np.asarray([-1.0]), np.ones(1), np.zeros(1, bool), 1e-3)
    assert (found.step.tolist(), found.value.tolist()) == ([0.0], [-1.0])
