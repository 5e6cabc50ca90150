"""Rank correlation and top lists on values whose answers are known."""

import numpy as np
import pytest

from experiments.reporting.rank_correlation import spearman
from negjax.inputs.ranking import top, top_overlap


def test_spearman():
    x = np.asarray([1.0, 2.0, 3.0, 4.0, 5.0])
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)
    # Without ties: 1 - 6 Σ d² / (n (n² - 1)), here with Σ d² = 1 + 1 + 0 + 1 + 1.
    assert spearman(x, np.asarray([2.0, 1.0, 3.0, 5.0, 4.0])) == pytest.approx(1 - 6 * 4 / 120)
    # With ties it is Pearson r of the shared ranks 1.5, 1.5, 3 and 1, 2, 3.
    assert spearman(np.asarray([0.0, 0, 1]), np.asarray([0.0, 1, 2])) == pytest.approx(0.75**0.5)
    assert spearman(x, np.ones(5)) is None


def test_ties_go_to_the_lowest_index():
    values = np.asarray([[1.0, 5.0, 5.0], [7.0, 5.0, 0.0]])
    assert top(values, 3).tolist() == [3, 1, 2]
    assert top(values, 6).tolist() == [3, 1, 2, 4, 0, 5]


def test_overlap():
    left = np.asarray([9.0, 8, 7, 1, 0])
    assert top_overlap(left, left, 3) == 1
    assert top_overlap(left, np.asarray([0.0, 8, 1, 7, 9]), 3) == pytest.approx(1 / 3)
    assert top_overlap(left, -left, 2) == 0
    assert top_overlap(left, -left, 5) == 1
    # Where all are equal, both take the first ones.
    assert top_overlap(np.zeros(5), np.asarray([3.0, 2, 1, 0, 0]), 3) == 1


@pytest.mark.parametrize("count", [0, -1, 4])
def test_more_than_there_are(count):
    with pytest.raises(ValueError, match=rf"top {count} of 3 values: expected 1 to 3"):
        top(np.zeros(3), count)


def test_other_shapes():
    with pytest.raises(ValueError, match=r"values of shapes \(3,\) and \(3, 1\): expected equal"):
        top_overlap(np.zeros(3), np.zeros((3, 1)), 1)
