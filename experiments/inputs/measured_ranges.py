"""How far a measured curve follows its tangent."""

import numpy as np

# Distances from 0 at which a curve is compared with its tangent: from a thousandth of the range
# on, each 3.5% further than the last.
DISTANCES, SMALLEST = 200, 1e-3


def distances(radius: float) -> np.ndarray:
    """[X], ascending to the radius."""
    return radius * np.geomspace(SMALLEST, 1.0, DISTANCES)


def measured_range(
    shifts: np.ndarray,
    changes: np.ndarray,
    first: np.ndarray,
    tolerance: float,
    allowance: np.ndarray,
) -> np.ndarray:
    """Largest distance [P] up to which a curve stays within a share of its tangent's change.

    At every distance x up to it, on both sides, |ΔP(±x) ∓ f'x| ≤ tolerance · |f'x| + allowance. 0
    where the smallest distance is too far; the largest where none is.

    Args:
        shifts: [X], distances from 0, ascending.
        changes: [P, 2, X], ΔP at −shifts and at +shifts.
        first: [P], f', slope at no shift.
        allowance: [P], what rounding alone may add.
    """
    tangent = np.abs(first)[:, None] * shifts
    line = first[:, None, None] * np.stack([-shifts, shifts])
    deviation = np.abs(changes - line).max(1)
    strayed = deviation > tolerance * tangent + allowance[:, None]
    straight = np.where(strayed.any(1), strayed.argmax(1), len(shifts))
    return np.concatenate([[0.0], shifts])[straight]
