"""Each estimator against a slow NumPy version in float64, written out here from its definition.

Differences are in units of the largest expected value.
"""

import dataclasses
from typing import Any, cast

import numpy as np
import pytest
from flax import nnx

from negjax.estimators import ESTIMATORS, estimate
from negjax.estimators.each_neuron import ablations
from negjax.execution.passes import activations
from negjax.inputs.neurons import random_neurons
from negjax.measurements.gradients import neurgrad
from negjax.measurements.sweeps import sweep
from tests.support.block_shapes import (
    JOINT_TARGETS,
    SHAPES,
    TARGETS,
    error,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import (
    float64_weights,
    joint_scores,
    normed,
    read_out,
    read_states,
    shifted_probabilities,
    softmax,
)

STEP = 1e-4
SITES = [(shape, site) for shape, config in SHAPES.items() for site in config.sites]
ROUNDING = {"float32": 3e-6, "float64": 1e-13}


# ---- One backward pass.


@pytest.mark.parametrize(("shape", "site"), SITES)
def test_gradients_and_what_they_are_multiplied_by(shape, site):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        found = {
            name: estimate(lm, probes, name, site)[2, 1] for name in ("cg", "neurgrad", "cgxa")
        }
        inner = read_states(lm, probes, 2)
        slope = np.empty((3, 20))
        for neuron in np.ndindex(slope.shape):
            ends = []
            for step in (STEP, -STEP):
                shift = np.zeros(slope.shape)
                shift[neuron] = step
                ends.append(shifted_probabilities(lm, probes, 2, site, shift)[1])
            slope[neuron] = (ends[0] - ends[1]) / (2 * STEP)
        assert error(found["cg"], slope) < 5e-8
        assert error(found["neurgrad"], slope * np.where(inner[site] > 0, 1, -1)) < 5e-8
        assert error(found["cgxa"], slope * inner[site]) < 5e-8


# ---- Log-probability increase.


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ROUNDING)
def test_log_probability_increase(shape, dtype):
    with precision(dtype):
        lm = tiny(shape, dtype)
        probes = tiny_probes(lm)
        found = estimate(lm, probes, "lpi")
        c, weights = lm.config, float64_weights(lm)
        expected = np.empty((3, 2, 3, 20))
        for b, layer in np.ndindex(3, 3):
            inner = read_states(lm, probes, b)
            write = inner[c.sites[-1]][layer][:, None] * weights["blocks.ffn.down.kernel"][layer]
            resid = inner["mid"][layer] + np.concatenate([write, np.zeros_like(write[:1])])
            if c.norm_placement == "post":
                resid = normed(c, weights, resid, "blocks.ffn_norm", layer)
            logits = read_out(c, weights, resid)
            log_probability = np.log(softmax(logits))[:, probes.target_ids[b, :, 0]]
            expected[b, :, layer] = (log_probability[:-1] - log_probability[-1]).T
        assert error(found, expected) < {"float32": 5e-6, "float64": 1e-13}[dtype]
        for site in lm.config.sites:
            np.testing.assert_array_equal(estimate(lm, probes, "lpi", site), found)


def test_lpi_refuses_what_one_residual_cannot_say():
    lm = tiny("gated")
    joint = tiny_probes(lm, JOINT_TARGETS, "all")
    with pytest.raises(
        ValueError, match=r'"lpi" reads one residual.*up to 3 .*target_mode="first"'
    ):
        estimate(lm, joint, "lpi")
    first = estimate(lm, tiny_probes(lm, JOINT_TARGETS, "first"), "lpi")
    starts = tuple(tuple(text.split()[0] for text in texts) for texts in JOINT_TARGETS)
    np.testing.assert_array_equal(first, estimate(lm, tiny_probes(lm, starts), "lpi"))


# ---- Ablation.


@pytest.mark.parametrize(("shape", "site"), SITES)
def test_ablation_is_a_sweep_to_zero(shape, site):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        found = estimate(lm, probes, "ablation", site)
        activation = activations(lm, probes, site)
        for layer, index in ((0, 3), (1, 19), (2, 0)):
            swept = sweep(
                lm,
                probes.select([2]),
                np.asarray([[layer, index]]),
                -activation[2, layer, [index]],
                "additive",
                site,
                target=1,
            )
            change = swept.change()[0, 0, 0]
            assert found[2, 1, layer, index] == pytest.approx(change, abs=1e-15, rel=1e-11)
        # And against a forward in which the activation is 0.
        inner = read_states(lm, probes, 1)
        shift = np.zeros((3, 20))
        before = shifted_probabilities(lm, probes, 1, site, shift)
        shift[1, 4] = -inner[site][1, 4]
        expected = shifted_probabilities(lm, probes, 1, site, shift) - before
        assert error(found[1, :, 1, 4], expected) < 1e-11


@pytest.mark.parametrize("targets", [TARGETS, JOINT_TARGETS])
def test_ablation_of_some_neurons(targets):
    """Those of all neurons, of each prompt's own."""
    lm = tiny("gated")
    probes = tiny_probes(lm, targets, "single" if targets == TARGETS else "all")
    neurons = random_neurons(lm.config, 7, 3, 0)
    found = ablations(lm, probes, neurons=neurons)
    assert found.shape == (3, 2, 7)
    every = estimate(lm, probes, "ablation")
    for b in range(3):
        assert error(found[b], every[b][:, neurons[b, :, 0], neurons[b, :, 1]]) < 1e-4


def test_ablation_of_joint_targets():
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm, JOINT_TARGETS, "all")
        found = estimate(lm, probes, "ablation")
        activation = read_states(lm, probes, 1)["up"]
        for k, layer, index in ((0, 0, 3), (1, 2, 8)):
            ends = []
            for share in (0, -1):
                shift = np.zeros((3, 20))
                shift[layer, index] = share * activation[layer, index]
                ends.append(np.exp(joint_scores(lm, probes, 1, k, "up", shift)[0]))
            expected = ends[1] - ends[0]
            assert abs(found[1, k, layer, index] - expected) < 1e-13


def test_ablation_to_a_mean():
    with precision("float64"):
        lm = tiny("bert", "float64")
        probes = tiny_probes(lm)
        reference = probes.select([0, 2])
        found = estimate(lm, probes, "ablation", reference=reference)
        mean = np.mean([read_states(lm, probes, b)["act"] for b in (0, 2)], axis=0)
        inner = read_states(lm, probes, 1)
        for neuron in ((0, 3), (1, 11), (2, 19)):
            shift = np.zeros((3, 20))
            before = shifted_probabilities(lm, probes, 1, "act", shift)
            shift[neuron] = mean[neuron] - inner["act"][neuron]
            expected = shifted_probabilities(lm, probes, 1, "act", shift) - before
            assert np.abs(found[1, :, *neuron] - expected).max() < 1e-15
        # A reference of the prompt alone changes nothing.
        own = estimate(lm, probes.select([1]), "ablation", reference=probes.select([1]))
        assert np.abs(own).max() < 1e-15


def test_signs_of_differences():
    """Where feed-forward layers write little the output is linear in what they write: all that tell
    differences agree, ablation with the other sign."""
    with precision("float64"):
        lm = tiny("gpt2", "float64")
        model = nnx.clone(nnx.merge(lm.graphdef, lm.params))
        model.blocks.ffn.down.kernel[...] = model.blocks.ffn.down.kernel[...] * 1e-5
        quiet = dataclasses.replace(lm, params=nnx.state(model))
        probes = tiny_probes(lm)
        found = {name: estimate(quiet, probes, name) for name in ("cgxa", "ig", "ablation")}
        assert error(found["ig"], found["cgxa"]) < 1e-3
        assert error(-found["ablation"], found["cgxa"]) < 1e-3


# ---- Chunks and batches, other outputs, refusals.


@pytest.mark.parametrize(
    ("method", "shape"),
    [*((method, "gated") for method in ESTIMATORS), ("ig", "bert"), ("lpi", "bert")],
)
def test_results_do_not_depend_on_chunks_or_batches(method, shape):
    lm = tiny(shape)
    probes = tiny_probes(lm)
    together = estimate(lm, probes, method)
    assert together.shape == (3, 2, 3, 20) and together.dtype == np.float32
    tight = {"gated": 140_000, "bert": 400_000}[shape]
    small = estimate(lm, probes, method, budget_bytes=tight)
    alone = estimate(lm, probes.select([2]), method)
    assert error(small, together) < 1e-5
    # An ablation is a difference of two probabilities below 1, each rounded.
    rounding = 2 * np.finfo(np.float32).eps / np.abs(together[2:]).max()
    assert error(alone, together[2:]) < (rounding if method == "ablation" else 1e-5)


@pytest.mark.parametrize("method", ["cg", "neurgrad", "cgxa", "ig", "ablation"])
def test_other_outputs(method):
    """P' = P · (log P)', and a logit is no probability."""
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        plain, log, logit = (
            estimate(lm, probes, method, output=cast(Any, output))
            for output in ("probability", "log_probability", "logit")
        )
        np.testing.assert_array_equal(plain, estimate(lm, probes, method))
        probability = neurgrad(lm, probes).probability[..., None, None]
        if method == "ablation":
            assert error(plain, probability * np.expm1(log)) < 1e-11
        elif method != "ig":
            assert error(plain, probability * log) < 1e-12
        assert error(logit, log) > 0.01


def test_the_table_of_methods():
    assert list(ESTIMATORS) == ["cg", "neurgrad", "ig", "lpi", "relp", "cgxa", "ablation"]
    lm = tiny("gpt2")
    probes = tiny_probes(lm).select([0])
    found = [estimate(lm, probes, method) for method in ESTIMATORS]
    for number, left in enumerate(found):
        for right in found[:number]:
            assert error(left, right) > 1e-3


def test_activations():
    for shape, site in SITES:
        lm = tiny(shape)
        probes = tiny_probes(lm)
        found = activations(lm, probes, site)
        expected = np.stack([read_states(lm, probes, b)[site] for b in range(3)])
        assert error(found, expected) < ROUNDING["float32"]
        np.testing.assert_array_equal(
            activations(lm, probes), activations(lm, probes, lm.config.sites[0])
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"method": "lime"},
            r"method is 'lime', expected one of cg, neurgrad, ig, lpi, relp, cgxa",
        ),
        ({"method": "CG"}, r"method is 'CG', expected one of"),
        ({"site": "act"}, r"site 'act': .* gated .* has the sites up, product"),
        ({"method": "lpi", "site": "act"}, r"site 'act': "),
        ({"output": "odds"}, r"output is 'odds', expected one of probability, log_p"),
        (
            {"method": "lpi", "output": "logit"},
            r'"lpi" is of the log_probability, not of the logit',
        ),
        (
            {"method": "lpi", "output": "probability"},
            r'"lpi" is of the log_probability, not of the',
        ),
        ({"steps": 0}, r"steps is 0, expected a whole number, 1 or more"),
        ({"steps": 2.0}, r"steps is 2\.0, expected a whole number"),
        ({"method": "ablation", "budget_bytes": 999}, r"budget_bytes=999 is too small: one prompt"),
        ({"method": "lpi", "budget_bytes": 999}, r"budget_bytes=999 is too small"),
        ({"budget_bytes": 999}, r"budget_bytes=999 is too small: one prompt of 8 tokens takes"),
    ],
)
def test_refused(arguments, message):
    lm = tiny("gated")
    given = {"method": "ig"} | arguments
    with pytest.raises(ValueError, match=message):
        estimate(lm, tiny_probes(lm), **given)


def test_a_reference_belongs_to_ablation():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    for method in ESTIMATORS:
        if method != "ablation":
            with pytest.raises(
                ValueError, match=rf"'{method}' has no reference; only \"ablation\""
            ):
                estimate(lm, probes, method, reference=probes)
