"""First and second derivatives along neurons, against differences of plain NumPy forwards."""

from typing import Any, cast

import numpy as np
import pytest

from negjax.measurements.chebyshev import response
from negjax.measurements.gradients import neurgrad
from negjax.measurements.second_order import curvature, linear_range
from negjax.measurements.sweeps import sweep
from negjax.replay.targets import Output
from tests.support.block_shapes import (
    JOINT_TARGETS,
    SHAPES,
    error,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import joint_scores

SITES = [(shape, site) for shape, config in SHAPES.items() for site in config.sites]
# f'' to an error of order h² f'''' and 1e-16 / h².
STEP = 1e-3
OUTPUTS: tuple[Output, ...] = ("probability", "log_probability", "logit")


def differences(lm, probes, prompt, target, site, neuron) -> dict[str, tuple[float, float]]:
    """First and second derivative by central differences, of each output."""
    found = []
    for step in (-STEP, 0.0, STEP):
        shift = np.zeros((3, 20))
        shift[tuple(neuron)] = step
        log_probability, logit = joint_scores(lm, probes, prompt, target, site, shift)
        found.append((np.exp(log_probability), log_probability, logit))
    below, at, above = np.asarray(found)
    first, second = (above - below) / (2 * STEP), (above - 2 * at + below) / STEP**2
    return dict(zip(OUTPUTS, zip(first, second, strict=True), strict=True))


@pytest.mark.parametrize(("shape", "site"), SITES)
@pytest.mark.parametrize("output", OUTPUTS)
def test_derivatives_from_every_layer(shape, site, output):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        found = curvature(lm, probes, neurons, site, output=output, target=1)
        assert (found.site, found.output) == (site, output)
        assert found.first.shape == found.second.shape == found.activation.shape == (3, 3)
        expected = np.asarray(
            [
                [differences(lm, probes, b, 1, site, neuron)[output] for neuron in neurons]
                for b in range(3)
            ]
        )
        assert error(found.first, expected[..., 0]) < 1e-5
        assert error(found.second, expected[..., 1]) < 1e-5
        gradients = neurgrad(lm, probes, site, output=output)
        assert error(found.first, gradients.computed[:, 1][:, *neurons.T]) < 1e-12
        assert error(found.activation, gradients.activation[:, *neurons.T]) < 1e-13


@pytest.mark.parametrize("shape", SHAPES)
def test_derivatives_of_the_response(shape):
    """The curve through exact interventions bends as the jvp of the jvp says."""
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        curve = response(lm, probes, neurons, 0.25, 12, "additive", target=0)
        found = curvature(lm, probes, neurons, target=0)
        assert error(found.first, curve.derivative(np.zeros(1))[..., 0]) < 1e-9
        assert error(found.second, curve.derivative(np.zeros(1), order=2)[..., 0]) < 1e-7


def test_joint_targets():
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm, JOINT_TARGETS, "all")
        found = curvature(lm, probes, np.asarray([[0, 7], [2, 3]]), target=0)
        for b, (n, neuron) in ((0, (0, (0, 7))), (1, (1, (2, 3)))):
            first, second = differences(lm, probes, b, 0, "up", neuron)["probability"]
            assert found.first[b, n] == pytest.approx(first, rel=1e-5)
            assert found.second[b, n] == pytest.approx(second, rel=1e-5)


def test_float32_and_small_budgets():
    with precision("float64"):
        double = tiny("bert", "float64")
        exact = curvature(double, tiny_probes(double), one_neuron_a_layer(double), target=0)
    lm = tiny("bert")
    probes = tiny_probes(lm)
    neurons = np.stack([one_neuron_a_layer(lm)] * 3)
    found = curvature(lm, probes, neurons, target=0)
    assert found.second.dtype == np.float32
    assert error(found.first, exact.first) < 1e-5
    assert error(found.second, exact.second) < 2e-5
    small = curvature(lm, probes, neurons, target=0, budget_bytes=400_000)
    assert error(small.second, found.second) < 1e-5
    for b in range(3):
        alone = curvature(lm, probes.select([b]), neurons[b, ::-1], target=0)
        assert error(alone.second[0, ::-1], found.second[b]) < 1e-5


def test_the_range_of_a_parabola():
    """Of f'x + ½ f''x² the quadratic term is the tolerated share of the linear one at its end."""
    first, second = np.asarray([[2.0, -3.0]]), np.asarray([[0.5, 6.0]])
    for tolerance in (0.05, 0.5):
        reach = linear_range(first, second, tolerance)
        np.testing.assert_allclose(
            np.abs(second * reach**2 / 2), tolerance * np.abs(first * reach), rtol=1e-14
        )
    assert linear_range(first, second, 0.05).tolist() == [[0.4, pytest.approx(0.05)]]


def test_ranges_without_curvature_or_slope():
    found = linear_range(np.asarray([1.0, 0.0, 0.0]), np.asarray([0.0, 0.0, 2.0]), 0.1)
    assert found.tolist() == [np.inf, np.inf, 0]
    assert linear_range(np.ones(1, np.float32), np.full(1, 2, np.float32), 0.1).dtype == np.float32


def test_the_range_holds_for_small_shifts():
    """Well inside the predicted range, the change leaves the line by the share foretold."""
    with precision("float64"):
        lm = tiny("gpt2", "float64")
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        found = curvature(lm, probes, neurons, target=0)
        reach = linear_range(found.first, found.second, 1e-5)
        for b, n in np.ndindex(3, 3):
            x = np.asarray([-reach[b, n], reach[b, n]])
            swept = sweep(lm, probes.select([b]), neurons[n : n + 1], x, "additive", target=0)
            line = found.first[b, n] * x
            share = np.abs(swept.change()[0, 0] - line) / np.abs(line)
            np.testing.assert_allclose(share, 1e-5, rtol=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"site": "act"}, r"site 'act': .* gated .* has the sites up, product"),
        ({"output": "odds"}, r"output is 'odds', expected one of"),
        ({"target": None}, r"target is None, and each prompt has 2; pass target=0 … 1"),
        ({"neurons": [[3, 0]]}, r"neuron \(layer 3, index 0\) does not exist"),
        ({"neurons": np.zeros((0, 2), int)}, r"no neurons: expected at least one"),
        ({"budget_bytes": 1000}, r"budget_bytes=1,000 is too small: one prompt of 8 tokens"),
    ],
)
def test_refused(arguments, message):
    lm = tiny("gated")
    given = {"neurons": [[0, 1]], "target": 0} | arguments
    with pytest.raises(ValueError, match=message):
        curvature(lm, tiny_probes(lm), **cast(Any, given))


@pytest.mark.parametrize("tolerance", [0.0, -0.1, float("nan")])
def test_no_tolerance(tolerance):
    with pytest.raises(ValueError, match=r"tolerance is .*, expected a positive number"):
        linear_range(np.ones(1), np.ones(1), tolerance)
