"""NEG by quadrature against the line through the whole grid; its rules against their degrees."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import negjax
from negjax.inputs.neurons import all_neurons
from negjax.measurements.linearity import fit_changes, linear_fit, paper_grid
from negjax.measurements.quadrature import radau_rule
from negjax.measurements.sweeps import sweep
from tests.support.block_shapes import (
    JOINT_TARGETS,
    error,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_of,
    tiny_probes,
)
from tests.support.feature_shapes import FEATURES


@given(st.integers(1, 40), st.floats(0.01, 3.0), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_rules_are_exact_for_their_degrees(points, step, pairs, seed):
    """Of any polynomial up to degree 4n + 1, whatever its even part; not of the next odd one."""
    grid = paper_grid(points * step, step)
    positive = grid[len(grid) // 2 :]
    pairs = min(pairs, len(positive))
    rule = radau_rule(positive, pairs)
    assert (np.diff(rule.shift) > 0).all() and (rule.weight > 0).all()
    assert rule.shift[0] > 0 and rule.shift[-1] <= positive[-1] * (1 + 1e-9)
    assert abs(rule.weight.sum() + rule.at_zero - 1) < 1e-12 and rule.at_zero > -1e-12
    scaled = np.random.default_rng(seed).normal(size=4 * pairs + 2)
    scaled[0] = 0
    # Of x / R, so that all terms count alike.
    poly = np.polynomial.Polynomial(scaled, domain=[-positive[-1], positive[-1]], window=[-1, 1])
    slope = fit_changes(grid, poly(grid))[0]
    odd = (poly(rule.shift) - poly(-rule.shift)) / (2 * rule.shift)
    size = np.abs(scaled).max() / positive[-1]
    assert abs(rule.slope(odd, np.asarray(poly.deriv()(0))) - slope) < 1e-9 * size
    # The rule of lower order, without the derivative, is right up to degree 2n - 1.
    low = np.polynomial.Polynomial(
        scaled[: 2 * pairs], domain=[-positive[-1], positive[-1]], window=[-1, 1]
    )
    odd = (low(rule.shift) - low(-rule.shift)) / (2 * rule.shift)
    assert abs(odd @ rule.without - fit_changes(grid, low(grid))[0]) < 1e-9 * size
    if pairs < len(positive):
        beyond = (positive / positive[-1]) ** (4 * pairs + 4)
        exact = beyond.sum() / (positive**2).sum() * positive[-1] ** 2
        found = rule.weight @ (rule.shift / positive[-1]) ** (4 * pairs + 2)
        assert found < exact * (1 - 1e-9)


@pytest.mark.parametrize("shape", ["gated", "gpt2", "bert"])
@pytest.mark.parametrize("convention", ["signed", "additive"])
def test_a_pair_or_two_in_place_of_the_grid(shape: str, convention: Any) -> None:
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        neurons, grid = all_neurons(lm.config)[::2], paper_grid(2.0, 0.2)
        for site in lm.config.sites:
            whole = sweep(lm, probes, neurons, grid, convention, site, target=1)
            for output in ("probability", "log_probability", "logit"):
                fit = linear_fit(whole, output=output)
                rough = np.inf
                for pairs in (1, 2, 3):
                    found = negjax.neg(
                        lm,
                        probes,
                        neurons,
                        2.0,
                        0.2,
                        convention,
                        site,
                        pairs=pairs,
                        output=output,
                        target=1,
                    )
                    wrong = np.abs(found.slope - fit.slope)
                    # Errors fall from rule to rule; those that are named hold for nearly all. Which
                    # curves a random model has depends on JAX's version.
                    assert np.median(wrong) < rough / 5
                    rough = np.median(wrong)
                    assert (wrong <= found.error + 1e-14).mean() > 0.8
                assert rough < 1e-5 * np.abs(fit.slope).max()
                assert found.site == site and found.convention == convention
                np.testing.assert_array_equal(found.polarity, np.sign(found.slope))
                pearson, largest = found.linearity()
                assert np.quantile(np.abs(pearson - fit.pearson), 0.9) < 2e-2
                assert error(largest, fit.largest_change) < 5e-2
                assert error(found.curve(grid), whole.change(output)) < 5e-2


def test_all_pairs_of_a_grid_are_the_grid() -> None:
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes, neurons, grid = tiny_probes(lm), one_neuron_a_layer(lm), paper_grid(3.0, 1.0)
        found = negjax.neg(lm, probes, neurons, 3.0, 1.0, pairs=3, target=0)
        np.testing.assert_allclose(found.shifts, grid, rtol=1e-12)
        fit = linear_fit(sweep(lm, probes, neurons, grid, target=0))
        assert error(found.slope, fit.slope) < 1e-12
        assert error(found.linearity()[0], fit.pearson) < 1e-9
        np.testing.assert_allclose(found.linearity()[1], fit.largest_change, rtol=1e-9)


def test_neurons_by_prompt_and_targets_of_several_tokens() -> None:
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm, JOINT_TARGETS, "all")
        own = np.asarray([one_neuron_a_layer(lm) + np.asarray([0, b]) for b in range(3)])
        found = negjax.neg(lm, probes, own, 1.0, 0.25, pairs=2, target=0)
        fit = linear_fit(sweep(lm, probes, own, paper_grid(1.0, 0.25), target=0))
        assert error(found.slope, fit.slope) < 1e-7
        for b in range(3):
            alone = negjax.neg(lm, probes.select([b]), own[b], 1.0, 0.25, pairs=2, target=0)
            assert error(alone.slope[0], found.slope[b]) < 1e-12


def test_rounding_is_as_large_as_is_said() -> None:
    lm, radius = tiny("gated"), 0.02
    probes, neurons = tiny_probes(lm), all_neurons(lm.config)
    found = negjax.neg(lm, probes, neurons, radius, radius / 4, target=0)
    assert found.slope.dtype == found.error.dtype == np.float64
    with precision("float64"):
        exact = negjax.neg(tiny("gated", "float64"), probes, neurons, radius, radius / 4, target=0)
    for b in range(len(probes)):
        deviation = np.sqrt(np.mean((found.slope[b] - exact.slope[b]) ** 2))
        assert 0.3 * found.slope_noise[b] < deviation < 3 * found.slope_noise[b]


def test_neurons_of_experts() -> None:
    """Those that the token does not pass have none; rounding is measured on those that it does."""
    with precision("float64"):
        lm = tiny_of(FEATURES["experts"], "float64")
        probes, neurons = tiny_probes(lm), all_neurons(lm.config)
        found = negjax.neg(lm, probes, neurons, target=0)
        routed = negjax.neurgrad(lm, probes).routed
        assert routed is not None and found.routed is not None
        np.testing.assert_array_equal(found.routed, routed.reshape(len(probes), -1))
        assert (found.slope[~found.routed] == 0).all() and (found.slope[found.routed] != 0).all()
        assert (found.noise > 0).all()
        fit = linear_fit(sweep(lm, probes, neurons, paper_grid(2.0, 0.2), target=0))
        assert error(found.slope, fit.slope) < 1e-3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"radius": 0.0}, "radius is 0.0, expected a positive number"),
        ({"radius": 1e39}, "radius"),
        ({"step": 3.0}, "step is 3 and radius 2: expected 0 < step"),
        ({"pairs": 0}, "pairs is 0, expected a whole number, 1 or more"),
        ({"pairs": 11}, "pairs=11: the grid has 10"),
        ({"convention": "both"}, "convention is 'both'"),
        ({"output": "odds"}, "output is 'odds'"),
        ({"site": "act"}, "site"),
        ({"target": 5}, "target is 5"),
        ({"seed": -1}, "seed is -1"),
        ({"neurons": [(9, 0)]}, "layer"),
    ],
)
def test_bad_input_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    lm = tiny("gated")
    arguments: dict[str, Any] = {"neurons": [(0, 0)], "target": 0, "step": 0.2} | given
    with pytest.raises(ValueError, match=message):
        negjax.neg(lm, tiny_probes(lm), **arguments)
