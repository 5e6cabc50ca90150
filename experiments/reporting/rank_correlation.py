"""Rank correlation of many values with each other."""

import numpy as np

from experiments.reporting.statistics import correlation


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 of values [P], ascending; equal values share the mean of their ranks."""
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[group]


def spearman(left: np.ndarray, right: np.ndarray) -> float | None:
    """Spearman ρ of two arrays [P], Pearson r of their ranks; None where one does not vary."""
    return correlation(ranks(left), ranks(right))
