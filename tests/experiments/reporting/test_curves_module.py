"""The module that evaluates responses in a browser, against the library."""

from pathlib import Path

import numpy as np
import pytest
from numpy.polynomial import chebyshev

import experiments.reporting
import negjax
from tests.support.block_shapes import tiny, tiny_probes
from tests.support.node import evaluated

MODULE = Path(experiments.reporting.__file__).parent / "static" / "curves.mjs"
SHIFTS = np.linspace(-2.0, 2.0, 41)
READ = """console.log(JSON.stringify({
  values: given.shifts.map((shift) => its.values(given.curves, shift)),
  tangents: given.shifts.map((shift) => its.tangents(given.curves, shift)),
  grid: its.grid(given.curves, given.shifts.length),
}));"""
REFUSE = """const said = given.shifts.map((shift) => {
  try { return String(its.values(given.curves, shift)); } catch (error) { return error.message; }
});
console.log(JSON.stringify(said));"""


def test_series_of_measured_tokens_are_what_the_library_says() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm).select([0])
    neuron = [[1, 3]]
    curve = negjax.response(lm, probes, neuron, radius=2.0, tokens=5)
    assert curve.tokens is not None
    slopes = negjax.effects(lm, probes, neuron)[0, 0][curve.tokens[0]]
    curves = {
        "radius": curve.radius,
        "coefficients": curve.coefficients[0, 0].tolist(),
        "baseline": curve.baseline[0].tolist(),
        "slopes": slopes.tolist(),
    }
    found = evaluated(MODULE, READ, {"curves": curves, "shifts": SHIFTS.tolist()})
    np.testing.assert_allclose(found["values"], curve(SHIFTS)[0, 0].T, rtol=0, atol=1e-12)
    predicted = curve.baseline[0] + SHIFTS[:, None] * slopes
    np.testing.assert_allclose(found["tangents"], predicted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["grid"], SHIFTS, rtol=0, atol=1e-12)
    assert np.ptp(found["values"], axis=0).max() > 1e-4


@pytest.mark.parametrize("count", [1, 2, 3, 12, 36])
def test_series_of_any_length(count: int) -> None:
    drawn = np.random.default_rng(count).normal(size=(3, count))
    zeros = [0.0] * 3
    curves = {"radius": 2.0, "coefficients": drawn.tolist(), "baseline": zeros, "slopes": zeros}
    found = evaluated(MODULE, READ, {"curves": curves, "shifts": SHIFTS.tolist()})
    expected = chebyshev.chebval(SHIFTS / 2, drawn.T)
    np.testing.assert_allclose(found["values"], expected.T, rtol=0, atol=1e-12)


def test_shifts_outside_of_what_was_measured_are_refused() -> None:
    curves = {"radius": 2.0, "coefficients": [[0.5]], "baseline": [0.5], "slopes": [0.0]}
    shifts = [2.0, 2.0 + 1e-10, 2.1, -3, "x"]
    found = evaluated(MODULE, REFUSE, {"curves": curves, "shifts": shifts})
    assert found[:2] == ["0.5", "0.5"]
    assert all("outside ±2, the range measured" in said for said in found[2:])
