"""Cumulative curves: exact where there are few values, thinned where there are many."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments.reporting.figures import STEPS, cumulative


def points(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = Figure().subplots()
    cumulative(axes, values)
    [line] = axes.lines
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


@pytest.mark.parametrize("count", [1, 2, 7, STEPS])
def test_few_values_are_all_there(count: int) -> None:
    values = np.random.default_rng(0).normal(size=count)
    at, share = points(values)
    np.testing.assert_array_equal(at, np.sort(values))
    np.testing.assert_allclose(share, np.arange(1, count + 1) / count)


@pytest.mark.parametrize("count", [STEPS + 1, 3 * STEPS, 10_007])
def test_of_many_values_every_point_is_exact(count: int) -> None:
    values = np.random.default_rng(0).normal(size=count)
    at, share = points(values)
    assert len(at) == STEPS and share[-1] == 1 and at[-1] == values.max()
    np.testing.assert_allclose(share, [(values <= x).mean() for x in at])


def test_nothing_of_no_values() -> None:
    axes = Figure().subplots()
    cumulative(axes, np.empty(0))
    assert not axes.lines
