"""NEG and Pearson r against lines worked out by hand, and grids."""

from typing import Any, cast

import numpy as np
import pytest

from negjax.measurements.chebyshev import response
from negjax.measurements.linearity import fit_changes, linear_fit, paper_grid
from negjax.measurements.sweeps import Sweep, sweep
from tests.support.block_shapes import error, one_neuron_a_layer, precision, tiny, tiny_probes


def swept(shifts: list[float], probability: list[float], baseline: float) -> Sweep:
    """One neuron of one prompt."""
    values = np.log(np.asarray(probability))[None, None]
    before = np.log(np.full((1, 1), baseline))
    return Sweep(
        site="act",
        convention="signed",
        output="probability",
        value=np.exp(values),
        baseline_value=np.exp(before),
        neurons=np.zeros((1, 1, 2), int),
        shifts=np.asarray(shifts, float),
        activation=np.ones((1, 1)),
        log_probability=values,
        logit=10 * values,
        baseline_log_probability=before,
        baseline_logit=10 * before,
    )


def test_a_line_by_hand():
    # Δ = (-0.1, 0, 0.3) at x = (-1, 1, 2): slope Σ x Δ / Σ x² = (0.1 + 0 + 0.6) / 6.
    fit = linear_fit(swept([-1, 1, 2], [0.1, 0.2, 0.5], 0.2))
    assert fit.slope[0, 0] == pytest.approx(0.7 / 6)
    # Centred: x (-5, 1, 4)/3, Δ (-5, -2, 7)/30, so r = (25 - 2 + 28) / √(42 · 78).
    assert fit.pearson[0, 0] == pytest.approx(51 / np.sqrt(42 * 78))
    assert fit.largest_change[0, 0] == pytest.approx(0.3)
    assert fit.polarity.tolist() == [[1]]
    assert fit.shifts.tolist() == [-1, 1, 2]


def test_many_lines_as_numpy_draws_them():
    generator = np.random.default_rng(0)
    x, changes = paper_grid(2.0, 0.5), generator.normal(size=(3, 4, 8))
    slope, pearson = fit_changes(x, changes)
    for b, n in np.ndindex(3, 4):
        expected = np.linalg.lstsq(x[:, None], changes[b, n], rcond=None)[0][0]
        assert slope[b, n] == pytest.approx(expected, rel=1e-12)
        assert pearson[b, n] == pytest.approx(np.corrcoef(x, changes[b, n])[0, 1], rel=1e-12)


def test_straight_lines():
    slope, pearson = fit_changes(np.asarray([-2.0, 1, 3]), np.asarray([[-4.0, 2, 6], [2, -1, -3]]))
    assert slope.tolist() == [2, -1]
    np.testing.assert_allclose(pearson, [1, -1], atol=1e-15)
    assert (np.abs(pearson) <= 1).all()


def test_a_constant_change_has_no_linearity():
    # A rise of 0.3 everywhere: not 0/0, and no slope on a symmetric grid.
    slope, pearson = fit_changes(paper_grid(1.0, 0.5), np.full((2, 4), 0.3))
    assert pearson.tolist() == [0, 0]
    np.testing.assert_allclose(slope, 0, atol=1e-16)


def test_zero_is_left_out_and_the_range_narrowed():
    measured = swept([-2, -1, 0, 1, 2], [0.9, 0.1, 0.7, 0.3, 0.9], 0.2)
    narrow = linear_fit(measured, within=1.0)
    assert narrow.shifts.tolist() == [-1, 1]
    assert (narrow.slope[0, 0], narrow.pearson[0, 0]) == (pytest.approx(0.1), pytest.approx(1))
    assert linear_fit(measured).shifts.tolist() == [-2, -1, 1, 2]
    # 3 · 0.2 is not 0.6 in floating point, and belongs to ±0.6.
    tenths = paper_grid(1.0, 0.2)
    kept = linear_fit(swept(tenths.tolist(), (0.5 + tenths / 4).tolist(), 0.5), within=0.6).shifts
    np.testing.assert_allclose(kept, [-0.6, -0.4, -0.2, 0.2, 0.4, 0.6])


def test_the_output_that_is_fitted():
    measured = swept([-1, 1], [0.1, 0.4], 0.2)
    assert linear_fit(measured).slope[0, 0] == pytest.approx(0.15)
    logs = linear_fit(measured, output="log_probability").slope
    assert logs[0, 0] == pytest.approx(np.log(2))
    assert linear_fit(measured, output="logit").slope == pytest.approx(10 * logs)


def test_a_response_on_a_grid_is_a_sweep():
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes, neurons = tiny_probes(lm), one_neuron_a_layer(lm)
        grid = paper_grid(2.0, 0.2)
        plain = linear_fit(sweep(lm, probes, neurons, grid, target=0))
        series = linear_fit(response(lm, probes, neurons, 2.0, 24, target=0), grid)
        assert error(series.slope, plain.slope) < 1e-6
        assert error(series.pearson, plain.pearson) < 1e-6
        assert error(series.largest_change, plain.largest_change) < 1e-6
        np.testing.assert_array_equal(series.polarity, plain.polarity)


@pytest.mark.parametrize(
    ("radius", "step", "count"), [(10.0, 0.2, 100), (2.0, 0.2, 20), (0.3, 0.1, 6), (1.0, 1.0, 2)]
)
def test_the_papers_grid(radius, step, count):
    grid = paper_grid(radius, step)
    assert len(grid) == count
    np.testing.assert_array_equal(grid, -grid[::-1])
    assert grid[-1] == pytest.approx(radius)
    assert grid[count // 2] == pytest.approx(step)
    assert (np.diff(grid) > 0).all() and 0 not in grid


def test_a_radius_between_two_steps():
    np.testing.assert_allclose(paper_grid(0.5, 0.2), [-0.4, -0.2, 0.2, 0.4])


@pytest.mark.parametrize(("radius", "step"), [(1.0, 0.0), (1.0, -0.1), (0.1, 0.2), (np.nan, 0.1)])
def test_impossible_grids_are_refused(radius, step):
    with pytest.raises(
        ValueError,
        match=r"^(step|radius) is .*, expected a positive number|expected 0 < step ≤ radius",
    ):
        paper_grid(radius, step)


def test_refused():
    measured = swept([-1, 0, 1], [0.1, 0.2, 0.4], 0.2)
    with pytest.raises(ValueError, match="a sweep has its own shifts; pass within="):
        linear_fit(measured, paper_grid(1.0, 0.5))
    with pytest.raises(ValueError, match=r"fewer than two shifts other than 0 within ±0\.5"):
        linear_fit(measured, within=0.5)
    with pytest.raises(ValueError, match="output is 'odds', expected one of"):
        linear_fit(measured, output=cast(Any, "odds"))
    lm = tiny("gated")
    curve = response(lm, tiny_probes(lm), one_neuron_a_layer(lm), 0.7, target=0)
    with pytest.raises(ValueError, match=r"a response is read on a grid: pass shifts="):
        linear_fit(curve)
    with pytest.raises(ValueError, match="the response is of the probability, not of the logit"):
        linear_fit(curve, paper_grid(0.5, 0.1), output="logit")
    with pytest.raises(ValueError, match=r"shifts .* must be a list within ±0\.7"):
        linear_fit(curve, paper_grid(1.0, 0.2))
