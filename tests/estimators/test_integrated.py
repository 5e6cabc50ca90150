"""Integrated gradients against sums of central differences in float64, and their completeness.

Differences are in units of the largest expected value.
"""

from unittest import mock

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from negjax.estimators import estimate, integrated
from negjax.execution import batching
from negjax.execution.passes import run_split
from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes
from negjax.measurements.gradients import neurgrad
from negjax.model.language_model import LanguageModel
from negjax.replay.shifted_suffixes import replay_suffix
from negjax.replay.suffixes import take_scored
from negjax.replay.targets import target_scores
from tests.support.block_shapes import JOINT_TARGETS, SHAPES, error, precision, tiny, tiny_probes
from tests.support.reference import joint_scores, read_states, shifted_probabilities

STEP = 1e-4
SITES = [(shape, site) for shape, config in SHAPES.items() for site in config.sites]


def slow_integrated(
    lm: LanguageModel, probes: Probes, prompt: int, site: str, steps: int
) -> np.ndarray:
    """[K, L, F]: gradients by central differences at each scaling of one layer's activations."""
    activation = read_states(lm, probes, prompt)[site]
    total = np.zeros((probes.target_count, *activation.shape))
    for layer, step in np.ndindex(len(activation), steps):
        scaled = np.zeros_like(activation)
        scaled[layer] = ((step + 0.5) / steps - 1) * activation[layer]
        for index in range(activation.shape[1]):
            ends = []
            for sign in (1, -1):
                shift = scaled.copy()
                shift[layer, index] += sign * STEP
                ends.append(shifted_probabilities(lm, probes, prompt, site, shift))
            total[:, layer, index] += (ends[0] - ends[1]) / (2 * STEP)
    return activation * total / steps


@pytest.mark.parametrize(("shape", "site"), SITES)
def test_every_neuron(shape, site):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        found = estimate(lm, probes, "ig", site, steps=3)
        assert error(found[1], slow_integrated(lm, probes, 1, site, steps=3)) < 5e-8
        # Scaling `up` scales the product: one definition at all sites.
        np.testing.assert_array_equal(estimate(lm, probes, "ig", steps=3), found)


def test_one_step_is_the_gradient_halfway():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    found = estimate(lm, probes, "ig", steps=1)
    assert error(found[1], slow_integrated(lm, probes, 1, "up", steps=1)) < 5e-6
    assert error(found, estimate(lm, probes, "cgxa")) > 0.01


# Seen: 4.5e-5, 6.1e-5, 1.2e-3.
@pytest.mark.parametrize(("shape", "limit"), [("gated", 1e-4), ("gpt2", 1e-4), ("bert", 2e-3)])
def test_completeness(shape, limit):
    """Summed over a layer: the probability less that with the layer at 0, to the rule's error."""
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes, site = tiny_probes(lm).select([2]), lm.config.sites[0]
        activation = read_states(lm, probes, 0)[site]
        before = shifted_probabilities(lm, probes, 0, site, np.zeros((3, 20)))
        expected = np.empty((2, 3))
        for layer in range(3):
            shift = np.zeros((3, 20))
            shift[layer] = -activation[layer]
            expected[:, layer] = before - shifted_probabilities(lm, probes, 0, site, shift)
        coarse, fine = (
            error(estimate(lm, probes, "ig", steps=steps).sum(-1)[0], expected)
            for steps in (20, 80)
        )
        assert coarse < limit
        # The midpoint rule's error falls as the square of the steps.
        assert 12 < coarse / fine < 20


@pytest.mark.slow
def test_completeness_on_the_embedded_model(smollm2):
    """Of all 30 layers: against replays with a whole layer's activations at 0.

    20 steps are too few for the first layer alone, which turns the answer over.
    """
    lm = smollm2
    probes = encode(lm, ["The capital of France is"], ["Paris"])
    fine, coarse = (estimate(lm, probes, "ig", steps=m).sum(-1)[0, 0] for m in (80, 20))
    split = batching.split_probes(lm.config, probes, np.asarray([0]))
    passed = run_split(lm, split)
    # Row l has layer l's activations at 0.
    layers = np.arange(lm.config.layers)
    shift = np.zeros((lm.config.layers, 1, lm.config.layers, lm.config.neurons), np.float32)
    shift[layers, 0, layers] = -np.asarray(passed.trace.at_positions["up"])[:, 0, 0]
    model = nnx.merge(lm.graphdef, lm.params)
    with lm.numerics():
        resid = replay_suffix(model, passed.prefix, split.suffix, None, jnp.asarray(shift), "up")
        scored = take_scored(resid, split.suffix, 1)
        log_probability, _ = target_scores(model, scored, split.targets, split.real)
    before = neurgrad(lm, probes).probability[0, 0]
    expected = before - np.exp(np.asarray(log_probability)[0, :, 0])
    assert error(fine, expected) < 5e-3
    assert np.abs(coarse - expected)[1:].max() < 1e-3 < np.abs(coarse - expected)[0]


@pytest.mark.parametrize("shape", ["gated", "gpt2"])
def test_joint_targets(shape):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes, site = tiny_probes(lm, JOINT_TARGETS, "all"), lm.config.sites[0]
        found = estimate(lm, probes, "ig", steps=1)[1, 0]
        activation = read_states(lm, probes, 1)[site]
        for layer, index in ((0, 3), (1, 17), (2, 8)):
            ends = []
            for step in (STEP, -STEP):
                shift = np.zeros((3, 20))
                shift[layer] = -activation[layer] / 2
                shift[layer, index] += step
                ends.append(np.exp(joint_scores(lm, probes, 1, 0, site, shift)[0]))
            expected = activation[layer, index] * (ends[0] - ends[1]) / (2 * STEP)
            assert abs(found[layer, index] - expected) < 5e-8 * np.abs(found).max()


def test_rows_go_in_several_buffers_of_one_call(monkeypatch):
    """Buffers of few rows, cut within a layer."""
    # A context of its own: nothing compiled for others serves it.
    lm = tiny("gated", context_length=29)
    probes = tiny_probes(lm).select([2])
    together = estimate(lm, probes, "ig")
    called = mock.Mock(wraps=integrated._integrated)
    monkeypatch.setattr(integrated, "_integrated", called)
    monkeypatch.setattr("negjax.execution.row_plans.CHUNK_TOKENS", 6)
    assert error(estimate(lm, probes, "ig", budget_bytes=80_000), together) < 1e-5
    [call] = called.call_args_list
    buffers, rows = call.args[4].shape
    assert buffers > 3
    assert rows % 20 != 0
