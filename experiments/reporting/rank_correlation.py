"""Rank correlation of many values with each other."""

import numpy as np
from scipy.stats import rankdata

from experiments.reporting.statistics import correlation


def spearman(left: np.ndarray, right: np.ndarray) -> float | None:
    """Returns Spearman ρ of two arrays [P], Pearson r of their ranks; None where one is constant.

    Equal values share the mean of their ranks.
    """
    return correlation(rankdata(left), rankdata(right))
