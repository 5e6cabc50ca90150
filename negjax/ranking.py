"""Rankings of many values against each other: rank correlation and shared top entries."""

import numpy as np

from negjax.study import correlation


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 of values [P], ascending; equal values share the mean of their ranks."""
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[group]


def spearman(left: np.ndarray, right: np.ndarray) -> float | None:
    """Spearman ρ of two arrays [P], Pearson r of their ranks; None where one does not vary."""
    return correlation(ranks(left), ranks(right))


def top(values: np.ndarray, count: int) -> np.ndarray:
    """Flat indices of the `count` largest values [...], largest first; ties to the lowest index.

    Raises:
        ValueError: more than there are, or fewer than 1.
    """
    flat = np.ravel(values)
    if not 1 <= count <= flat.size:
        raise ValueError(f"top {count} of {flat.size} values: expected 1 to {flat.size}")
    return np.argsort(-flat, kind="stable")[:count]


def top_overlap(left: np.ndarray, right: np.ndarray, count: int) -> float:
    """Share of the `count` largest values of one array [...] that are also those of the other.

    Raises:
        ValueError: different shapes, more than there are, or fewer than 1.
    """
    if np.shape(left) != np.shape(right):
        raise ValueError(f"values of shapes {np.shape(left)} and {np.shape(right)}: expected equal")
    return float(np.isin(top(left, count), top(right, count)).mean())
