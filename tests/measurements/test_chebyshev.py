"""Responses: known functions, tiny models against exact interventions, noise, refinement."""

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from negjax.inputs.neurons import all_neurons
from negjax.measurements.chebyshev import (
    missed_at_zero,
    response,
    series_through,
    truncation_error,
)
from negjax.measurements.gradients import neurgrad
from negjax.measurements.rounding import rounding_noise
from negjax.measurements.sweeps import sweep
from tests.support.block_shapes import (
    JOINT_TARGETS,
    error,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import joint_scores

FINE = np.linspace(-1, 1, 1001)
FUNCTIONS = {
    "exp": lambda x: np.exp(2 * x),
    "odd": lambda x: np.tanh(3 * x),
    "even": lambda x: 1 / (1 + 25 * x**2),
    "wave": lambda x: np.sin(5 * x + 0.3),
    "logistic": lambda x: 1 / (1 + np.exp(-(4 * x + 1))),
}
ROUNDING = {"float32": 1e-5, "float64": 1e-11}

# ---- The series of known functions.


@pytest.mark.parametrize("nodes", [4, 5, 12])
def test_polynomials_are_met_exactly(nodes):
    expected = np.random.default_rng(0).normal(size=(2, 3, nodes))
    points = chebyshev.chebpts1(nodes)
    values = chebyshev.chebval(points, np.moveaxis(expected, -1, 0))
    np.testing.assert_allclose(series_through(values), expected, atol=1e-14)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("nodes", [8, 12, 16])
def test_the_error_estimate_of_analytic_functions(function, nodes):
    coefficients = series_through(function(chebyshev.chebpts1(nodes)))
    np.testing.assert_allclose(
        coefficients, chebyshev.chebinterpolate(function, nodes - 1), atol=1e-14
    )
    true = np.abs(chebyshev.chebval(FINE, coefficients) - function(FINE)).max()
    assert true < truncation_error(coefficients) < 50 * true


def test_the_error_estimate_of_special_series():
    # Nothing is left out of a line, and a constant has no error.
    assert truncation_error(np.asarray([0.5, 1, 0, 0, 0, 0, 0, 0])) == 0
    assert truncation_error(np.asarray([1.0, 0, 0, 0])) == 0
    # Coefficients that fall as 2^-k: 2 · Σ of those left out, whatever the number of terms.
    for m in (6, 9, 12):
        assert truncation_error(0.5 ** np.arange(m)) == pytest.approx(4 * 0.5**m * 2, rel=0.5)
    # Those that do not fall leave much out, but not infinitely much.
    assert 10 < truncation_error(np.ones(8)) < 100
    assert truncation_error(np.ones((2, 3, 8))).shape == (2, 3)


def test_what_a_series_says_without_a_shift_is_a_known_error():
    # At its nodes T_12 is 0 and looks like a constant: only the change without a shift, measured,
    # tells it from one.
    m, points = 12, chebyshev.chebpts1(12)
    wave = 0.25 * (chebyshev.chebval(points, [0] * m + [1]) - 1)
    coefficients = series_through(np.stack([wave, np.sinh(points)]))
    assert truncation_error(coefficients[0]) < 1e-14
    found = missed_at_zero(coefficients, 0.0)
    assert found[0] == pytest.approx(0.25) and found[1] < 1e-9
    # Odd numbers of nodes contain 0; so nothing is missed there.
    assert missed_at_zero(series_through(np.tanh(9 * chebyshev.chebpts1(9))), 0.0) < 1e-15
    # What rounding may have made is no error of the series.
    generator = np.random.default_rng(0)
    noise = np.asarray([1e-3, 1e-6])
    rounded = noise[:, None, None] * generator.normal(size=(2, 10_000, m))
    rounded -= noise[:, None, None] * generator.normal(size=(2, 10_000, 1))
    seen = missed_at_zero(series_through(rounded), noise[:, None])
    assert (np.abs((seen > 0).mean(1) - 0.0027) < 0.0015).all()
    assert (seen[seen > 0].min() > 2.9e-6) and seen[1].max() < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_curve_that_misses_its_baseline_says_so(dtype):
    """All neurons far from where they are resolved, many by too few nodes."""
    with precision(dtype):
        lm = tiny("gated", dtype)
        probes = tiny_probes(lm)
        curve = response(lm, probes, all_neurons(lm.config), 20.0, 4, max_nodes=12, target=0)
        missed = np.abs(curve(np.zeros(1))[..., 0] - curve.baseline[:, None])
        # Sums with the baseline round in float64.
        assert (missed - 1e-15 <= np.maximum(curve.error, 6 * curve.noise[:, None])).all()
        used = np.arange(curve.coefficients.shape[-1]) < curve.nodes[..., None]
        decay = np.asarray(
            [
                truncation_error(series[kept])
                for series, kept in zip(
                    curve.coefficients.reshape(-1, used.shape[-1]),
                    used.reshape(-1, used.shape[-1]),
                    strict=True,
                )
            ]
        ).reshape(missed.shape)
        # The decay alone does not say it of some.
        assert 0.005 < (decay < missed - 6 * curve.noise[:, None]).mean() < 0.5


@pytest.mark.parametrize("sigma", [1e-7, 1e-3])
def test_the_noise_of_known_noise(sigma):
    generator = np.random.default_rng(0)
    smooth = np.exp(np.tile(np.arange(-4, 5) * 1e-2, (2, 200)))
    noisy = smooth + sigma * generator.normal(size=smooth.shape)
    np.testing.assert_allclose(rounding_noise(noisy), sigma, rtol=0.1)
    assert (rounding_noise(smooth) < 1e-8).all()


# ---- Tiny models.


@pytest.mark.parametrize("shape", ["gated", "gpt2", "bert"])
def test_responses_are_exact_interventions(shape):
    """On and between the nodes, in all outputs, within the estimated error."""
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        shifts = np.concatenate([np.linspace(-5, 5, 21), 5 * chebyshev.chebpts1(12)])
        exact = sweep(lm, probes, neurons, shifts, target=0)
        for output in ("probability", "log_probability", "logit"):
            curve = response(lm, probes, neurons, 5.0, 12, output=output, max_nodes=12, target=0)
            values = exact.values(output)
            assert error(curve(shifts)[..., 21:], values[..., 21:]) < ROUNDING["float64"]
            difference = np.abs(curve(shifts) - values).max(-1)
            assert (difference < 2 * curve.error + 1e-14).all()
            assert (curve.error < 1e3 * difference + 1e-14).all()
            difference = np.abs(curve.change(shifts) - exact.change(output)).max(-1)
            assert (difference < 4 * curve.error + 1e-14).all()
            assert (curve.change(np.zeros(1)) == 0).all()
        assert error(curve.baseline, exact.baseline_logit[:, 0]) < ROUNDING["float64"]
        np.testing.assert_array_equal(curve.activation, exact.activation)
        np.testing.assert_array_equal(curve.neurons, exact.neurons)
        assert (curve.site, curve.convention) == (exact.site, "signed")
        assert (curve.nodes == 12).all()


@pytest.mark.parametrize(("convention", "site"), [("signed", "up"), ("additive", "product")])
def test_the_derivative_is_the_gradient(convention, site):
    """NeurGrad is the slope at 0 of the signed response; CG that of the additive one."""
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        curve = response(lm, probes, neurons, 0.25, 20, convention, site, target=1)
        gradients = neurgrad(lm, probes, site)
        every = gradients.neurgrad if convention == "signed" else gradients.computed
        expected = every[:, 1, *neurons.T]
        assert error(curve.derivative(np.zeros(1))[..., 0], expected) < 1e-11
        assert (gradients.activation[:, *neurons.T] < 0).any()


def test_higher_derivatives():
    with precision("float64"):
        lm = tiny("gated", "float64")
        curve = response(lm, tiny_probes(lm), one_neuron_a_layer(lm), 2.0, 24, target=0)
        at, step = np.asarray([-1.5, 0.0, 0.7]), 1e-3
        for order in (1, 2):
            ends = [
                curve(at + end * step) if order == 1 else curve.derivative(at + end * step)
                for end in (1, -1)
            ]
            assert error(curve.derivative(at, order), (ends[0] - ends[1]) / (2 * step)) < 1e-5


def test_responses_of_joint_targets():
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm, JOINT_TARGETS, "all").select([1])
        curve = response(lm, probes, np.asarray([[1, 7]]), 1.0, 16, "additive", target=0)
        shift = np.zeros((3, 20))
        shift[1, 7] = 0.61
        expected = np.exp(joint_scores(lm, probes, 0, 0, "up", shift)[0])
        assert curve(np.asarray([0.61]))[0, 0, 0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_noise_is_that_of_rounding(dtype):
    with precision(dtype):
        lm = tiny("gated", dtype)
        probes = tiny_probes(lm)
        neurons = np.stack(np.divmod(np.arange(0, 60, 4), 20), -1)
        shifts = np.asarray([-2.0, 3.0])
        found = sweep(lm, probes, neurons, shifts, "additive", target=0).probability
        expected = np.empty(found.shape)
        for b, n, x in np.ndindex(found.shape):
            shift = np.zeros((3, 20))
            shift[tuple(neurons[n])] = shifts[x]
            expected[b, n, x] = np.exp(joint_scores(lm, probes, b, 0, "up", shift)[0])
        rounding = (found - expected).std(axis=(1, 2))
        noise = response(lm, probes, neurons[:3], target=0).noise
        assert ((rounding / 2.5 < noise) & (noise < rounding * 2.5)).all()


# ---- Refinement.


def test_rough_neurons_get_three_times_the_nodes():
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        neurons = np.stack(np.divmod(np.arange(0, 60, 5), 20), -1)
        few, many = (
            response(lm, probes, neurons, 10.0, nodes, max_nodes=nodes, target=0)
            for nodes in (8, 24)
        )
        found = response(lm, probes, neurons, 10.0, 8, target=0)
        refined = found.nodes == 24
        assert 0.1 < refined.mean() < 0.9
        assert refined.any(1).all() and len(set(refined.sum(1))) > 1
        # Refined, it is the series through 24 nodes from the start; otherwise it is as before.
        assert error(found.coefficients[refined], many.coefficients[refined]) < 1e-12
        assert error(found.coefficients[~refined][:, :8], few.coefficients[~refined]) < 1e-12
        assert (found.coefficients[~refined][:, 8:] == 0).all()
        np.testing.assert_array_equal(found.error[~refined], few.error[~refined])
        assert error(found.error[refined], many.error[refined]) < 1e-9
        # The rule: those whose estimate is above a hundredth of the range of their output.
        change = few.change(10 * chebyshev.chebpts1(8))
        np.testing.assert_array_equal(refined, few.error > 1e-2 * np.ptp(change, axis=-1))
        truth = sweep(lm, probes, neurons, 10 * FINE[::50], target=0).probability
        before, after = (np.abs(c(10 * FINE[::50]) - truth).max(-1) for c in (few, found))
        assert (after[refined] < before[refined] / 2).all()


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"max_nodes": 4}, 4),
        ({"max_nodes": 11}, 4),
        ({}, 12),
        ({"max_nodes": 36}, 36),
        ({"max_nodes": 36, "tolerance": 1e9}, 4),
    ],
)
def test_refinement_has_its_limits(options, most):
    with precision("float64"):
        lm = tiny("gated", "float64")
        curve = response(lm, tiny_probes(lm), one_neuron_a_layer(lm), 30.0, 4, target=0, **options)
        assert curve.nodes.max() == most == curve.coefficients.shape[-1]


def test_what_lies_within_the_noise_is_not_refined():
    """More nodes make nothing better where the last coefficients are rounding's."""
    lm = tiny("gated")
    found = response(lm, tiny_probes(lm), all_neurons(lm.config), 0.01, 8, target=0)
    noisy = found.error > 1e-2 * np.ptp(found.change(0.01 * FINE[::50]), axis=-1)
    assert noisy.mean() > 0.2 and (found.nodes[noisy] == 8).mean() > 0.8
    # Without that noise as small an error is worth more nodes.
    with precision("float64"):
        lm = tiny("gated", "float64")
        neurons = one_neuron_a_layer(lm)
        found = response(lm, tiny_probes(lm), neurons, 0.01, 5, tolerance=0.0, target=0)
        assert (found.nodes == 15).mean() > 0.8


# ---- What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 0.0}, r"radius is 0\.0, expected a positive number"),
        ({"radius": -1.0}, r"radius is -1\.0, expected a positive number"),
        ({"radius": np.nan}, r"radius is nan, expected a positive number"),
        ({"radius": np.inf}, r"radius is inf, expected a positive number"),
        ({"nodes": 3}, r"nodes is 3, expected a whole number, 4 or more, 10000 at most"),
        ({"target": None}, r"target is None, and each prompt has 2"),
        ({"output": "odds"}, r"output is 'odds', expected one of"),
        ({"site": "act"}, r"site 'act': "),
        ({"convention": "plus"}, r"convention is 'plus', expected one of"),
        ({"neurons": [[9, 0]]}, r"neuron \(layer 9, index 0\) does not exist"),
        ({"budget_bytes": 9}, r"budget_bytes=9 is too small: one prompt of 8 tokens takes"),
    ],
)
def test_refused(options, message):
    lm = tiny("gated")
    with pytest.raises(ValueError, match=message):
        response(lm, tiny_probes(lm), **{"neurons": [[0, 1]], "target": 0} | options)


def test_shifts_outside_the_radius_are_refused():
    lm = tiny("gated")
    curve = response(lm, tiny_probes(lm), one_neuron_a_layer(lm), 0.7, target=0)
    assert curve(np.asarray([-0.7, 0.7])).shape == (3, 3, 2)
    for read in (curve, curve.change, curve.derivative):
        for shifts, message in (
            ([0.0, 0.71], r"shifts \[0.0, 0.71\] must be a list within ±0\.7, "),
            ([np.nan], "shifts holds nan: expected finite numbers"),
            ([[0.1]], r"shifts is an array float64\[1, 1\], expected a list of finite numbers"),
        ):
            with pytest.raises(ValueError, match=message):
                read(np.asarray(shifts))
