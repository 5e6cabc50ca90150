"""Few shifts in place of a grid: rules that give the slope of the line through a grid's points.

On a grid ±x_j, the line through the origin that minimises Σ (Δ(x) − s x)² has

    s = Σ x Δ(x) / Σ x² = Σ_j w_j g(u_j),   u = x²,   w_j = u_j / Σ u,

with sums over the positive points and g(u) = (Δ(√u) − Δ(−√u)) / (2 √u): the even part of Δ cancels,
and what is left is a mean of g under weights that add up to 1. Where Δ(x) = Σ c_k x^k, g is a
polynomial in u, Σ c_(2k+1) u^k. Gauss's rule takes its mean from n points u*, for degrees up to
2n − 1, which is degree 4n − 1 of Δ; each point is a pair of shifts ±√u*. The derivative is a value
of g for nothing, g(0) = Δ'(0): with it as a fixed point, Gauss and Radau's rule is right for
degrees of g up to 2n, degree 4n + 1 of Δ.

Source: Golub and Welsch, Calculation of Gauss quadrature rules, 1969; Golub, Some modified matrix
eigenvalue problems, 1973.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float


class Rule(NamedTuple):
    """Shifts and weights: s ≈ at_zero · Δ'(0) + Σ weight · (Δ(shift) − Δ(−shift)) / (2 · shift)."""

    shift: Float[np.ndarray, " n"]
    """Ascending, positive."""
    weight: Float[np.ndarray, " n"]
    at_zero: float
    without: Float[np.ndarray, " n"]
    """Weights of a rule of lower order that does without the derivative, at the same shifts."""

    @property
    def shifts(self) -> Float[np.ndarray, " X"]:
        """±, ascending."""
        return np.concatenate([-self.shift[::-1], self.shift])

    def slope(
        self, odd: Float[np.ndarray, "*axes n"], derivative: Float[np.ndarray, "*axes"]
    ) -> Float[Any, "*axes"]:
        """Of curves whose odd parts over the shift are `odd`, and whose derivative is given."""
        return odd @ self.weight + self.at_zero * derivative


def radau_rule(grid: Float[np.ndarray, " X"], pairs: int) -> Rule:
    """The rule of n pairs and the derivative for a grid, of which the positive shifts are given."""
    u = np.asarray(grid, np.float64) ** 2
    share = u / u.sum()
    # Free points of a rule with a fixed one at 0 are Gauss's for the weights w · u.
    points, weight = _gauss(u / u.max(), share * u / u.max(), pairs)
    weight = weight / points
    # Exact for degrees below n, as a rule of n points can be.
    powers = np.arange(pairs)
    moments = ((u / u.max()) ** powers[:, None]) @ share
    without = np.linalg.solve(points ** powers[:, None], moments)
    shift = np.sqrt(points * u.max())
    return Rule(shift, weight, float(1 - weight.sum()), without)


def _gauss(
    points: np.ndarray, weights: np.ndarray, count: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Gauss's rule for a sum over points with weights, by Stieltjes' recurrence."""
    before, polynomial = np.zeros_like(points), np.ones_like(points)
    diagonal, beside, norm = [], [], 1.0
    for number in range(count):
        square = float(weights @ polynomial**2)
        diagonal.append(float(weights @ (points * polynomial**2)) / square)
        beside.append(square / norm if number else 0.0)
        following = (points - diagonal[-1]) * polynomial - beside[-1] * before
        before, polynomial, norm = polynomial, following, square
    off = np.diag(np.sqrt(beside[1:]), 1)
    roots, vectors = np.linalg.eigh(np.diag(diagonal) + off + off.T)
    return roots, weights.sum() * vectors[0] ** 2
