"""The largest of many values, and how many of them two arrays share."""

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike


def top(values: ArrayLike, count: int) -> Int[np.ndarray, " {count}"]:
    """Flat indices of the `count` largest values [...], largest first; ties to the lowest index.

    Raises:
        ValueError: more than there are, or fewer than 1.
    """
    flat = np.ravel(values)
    if not 1 <= count <= flat.size:
        raise ValueError(f"top {count} of {flat.size} values: expected 1 to {flat.size}")
    return np.argsort(-flat, kind="stable")[:count]


def top_overlap(left: ArrayLike, right: ArrayLike, count: int) -> float:
    """Share of the `count` largest values of one array [...] that are also those of the other.

    Raises:
        ValueError: different shapes, more than there are, or fewer than 1.
    """
    if np.shape(left) != np.shape(right):
        raise ValueError(f"values of shapes {np.shape(left)} and {np.shape(right)}: expected equal")
    return float(np.isin(top(left, count), top(right, count)).mean())
