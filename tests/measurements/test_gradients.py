"""Activations, CG, NeurGrad and effects of the three block shapes against plain NumPy forwards.

Differences are in units of the largest expected value. The reference computes in float64 from the
same weights; central differences of it are good to about 1e-9.
"""

import itertools
from typing import Any
from unittest import mock

import jax.numpy as jnp
import numpy as np
import pytest

from negjax.execution import interventions
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Sizes
from negjax.execution.common_heads import run_groups
from negjax.execution.conventions import sign
from negjax.inputs.encoding import encode
from negjax.inputs.neurons import all_neurons
from negjax.inputs.probes import Probes
from negjax.measurements import gradient_runs, token_effects
from negjax.measurements.gradients import NeurGrad, gradient_batches, neurgrad
from negjax.measurements.sweeps import sweep
from negjax.measurements.token_effects import effects
from negjax.model.language_model import LanguageModel
from negjax.replay.targets import output_of
from tests.support.block_shapes import (
    JOINT_TARGETS,
    SHAPES,
    error,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import full_forward, joint_scores, softmax

STEP = 1e-4
ROUNDING = {"float32": 3e-6, "float64": 1e-13}
DERIVATIVE = {"float32": 3e-6, "float64": 5e-8}
SITES = [(shape, site) for shape, config in SHAPES.items() for site in config.sites]
# In float32 the embedded model's references cover the site `product`.
CASES = [(*case, dtype) for case in SITES for dtype in ROUNDING if case[1] != "product"]
CASES.append(("gated", "product", "float64"))


def central_differences(
    lm: LanguageModel, probes: Probes, prompt: int, site: str, output: str = "probability"
) -> np.ndarray:
    """[K, L, F] of one prompt, by shifting every neuron up and down by STEP."""
    sizes = (lm.config.layers, lm.config.neurons)
    result = np.empty((probes.target_count, *sizes))
    for k, (layer, index) in itertools.product(range(len(result)), np.ndindex(*sizes)):
        shift = np.zeros(sizes)
        values = []
        for step in (STEP, -STEP):
            shift[layer, index] = step
            log_probability, logit = joint_scores(lm, probes, prompt, k, site, shift)
            values.append(
                {
                    "probability": np.exp(log_probability),
                    "log_probability": log_probability,
                    "logit": logit,
                }[output]
            )
        result[k, layer, index] = (values[0] - values[1]) / (2 * STEP)
    return result


def activations(lm: LanguageModel, probes: Probes, site: str) -> np.ndarray:
    """[B, L, F]."""
    found = []
    for b in range(len(probes)):
        _, sites = full_forward(lm, probes.tokens[b, probes.mask[b]])
        found.append(sites[site][:, probes.read[b]])
    return np.stack(found)


@pytest.mark.parametrize(("shape", "site", "dtype"), CASES)
def test_gradients_of_every_neuron(shape, site, dtype):
    with precision(dtype):
        lm = tiny(shape, dtype)
        probes = tiny_probes(lm)
        found = neurgrad(lm, probes, site)
        assert (found.site, found.output) == (site, "probability")
        assert {a.dtype for a in (found.probability, found.activation, found.computed)} == {
            np.dtype(dtype)
        }
        expected = np.exp(
            [[joint_scores(lm, probes, b, k)[0] for k in range(2)] for b in range(len(probes))]
        )
        assert error(found.probability, expected) < ROUNDING[dtype]
        assert error(found.activation, activations(lm, probes, site)) < ROUNDING[dtype]
        for prompt in range(len(probes)):
            expected = central_differences(lm, probes, prompt, site)
            assert error(found.computed[prompt], expected) < DERIVATIVE[dtype]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_prompt_of_one_token(shape):
    """Before its read position there is nothing."""
    lm = tiny(shape)
    probes = encode(lm, ["w6" if lm.config.causal else "[MASK]"], [["w11", "w15"]])
    found = neurgrad(lm, probes)
    assert error(found.activation, activations(lm, probes, found.site)) < ROUNDING["float32"]
    expected = central_differences(lm, probes, 0, found.site)
    assert error(found.computed[0], expected) < DERIVATIVE["float32"]
    shift = np.zeros((3, 20))
    shift[0, 4] = 2.0
    swept = sweep(lm, probes, np.asarray([[0, 4]]), np.asarray([2.0]), "additive", target=1)
    log_probability = joint_scores(lm, probes, 0, 1, found.site, shift)[0]
    assert swept.log_probability[0, 0, 0] == pytest.approx(log_probability, rel=1e-6)


@pytest.mark.parametrize("output", ["log_probability", "logit"])
def test_gradients_of_other_outputs(output):
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        found = neurgrad(lm, probes, output=output)
        expected = central_differences(lm, probes, 0, "up", output)
        assert error(found.computed[0], expected) < DERIVATIVE["float64"]
        # Whatever is differentiated, the probability is the probability.
        assert error(found.probability, neurgrad(lm, probes).probability) < ROUNDING["float64"]


@pytest.mark.parametrize("shape", ["gated", "gpt2"])
def test_gradients_of_joint_targets(shape):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm, JOINT_TARGETS, "all")
        assert probes.target_mask.sum(-1).tolist() == [[2, 1], [3, 2], [1, 3]]
        found = neurgrad(lm, probes)
        for b, k in np.ndindex(3, 2):
            expected = np.exp(joint_scores(lm, probes, b, k)[0])
            assert found.probability[b, k] == pytest.approx(expected, rel=1e-12)
        expected = central_differences(lm, probes, 1, found.site)
        assert error(found.computed[1], expected) < DERIVATIVE["float64"]


def test_effects_in_float64_take_twice_as_much():
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        sizes = Sizes(config=lm.config, length=8, targets=1, suffix=1, itemsize=8)
        one = sizes.prefix_bytes + sizes.effects_bytes
        with pytest.raises(ValueError, match=rf"one neuron takes about {one:,} bytes"):
            effects(lm, probes, one_neuron_a_layer(lm), budget_bytes=one - 1)


def test_the_sites_of_gated_models_differ_by_the_gate():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    up, product = neurgrad(lm, probes, "up"), neurgrad(lm, probes, "product")
    # product = gate · up, so ∂P/∂up = gate · ∂P/∂product.
    gate = product.activation / up.activation
    assert error(up.computed, gate[:, None] * product.computed) < 1e-5
    assert error(product.computed, up.computed) > 0.1
    assert error(product.activation, up.activation) > 0.1


def test_the_default_site():
    gated, plain = tiny("gated"), tiny("gpt2")
    assert neurgrad(gated, tiny_probes(gated)).site == "up"
    assert neurgrad(plain, tiny_probes(plain)).site == "act"
    # A plain layer's product is its activation: one site, under one name.
    assert plain.config.sites == tiny("bert").config.sites == ("act",)


@pytest.mark.parametrize("shape", SHAPES)
def test_effects_are_the_gradients(shape):
    """Forward derivatives along a neuron and backward ones of a target meet in one number."""
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        found = effects(lm, probes, neurons)
        gradients = neurgrad(lm, probes).computed
        for b, k in np.ndindex(3, 2):
            along = found[b, :, probes.target_ids[b, k, 0]]
            assert error(along, gradients[b, k][tuple(neurons.T)]) < 5e-14
        assert np.abs(found.sum(-1)).max() < 1e-14 < 1e-4 < np.abs(found).max()


def test_effects_on_every_token():
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        [found] = effects(lm, probes.select([2]), np.asarray([[[1, 7]]]), "product")[0]
        tokens, read = probes.tokens[2, probes.mask[2]], int(probes.read[2])
        shift = np.zeros((3, 20))
        ends = []
        for step in (STEP, -STEP):
            shift[1, 7] = step
            logits, _ = full_forward(lm, tokens, site="product", shift=shift, read=read)
            ends.append(softmax(logits[read]))
        assert error(found, (ends[0] - ends[1]) / (2 * STEP)) < DERIVATIVE["float64"]


def test_effects_take_neurons_in_any_number_and_any_order(monkeypatch):
    lm = tiny("gated")
    probes = tiny_probes(lm)
    neurons = all_neurons(lm.config)[::-1]
    together = effects(lm, probes, neurons)
    each = np.stack([neurons[b : b + 5] for b in range(3)])
    # Room for a prompt's pass and two neurons: five go in three turns.
    sizes = Sizes(config=lm.config, length=8, targets=1, suffix=1)
    budget = sizes.prefix_bytes + 2 * sizes.effects_bytes
    turns = mock.Mock(wraps=token_effects._effects)
    monkeypatch.setattr(token_effects, "_effects", turns)
    apart = effects(lm, probes, each, budget_bytes=budget)
    assert [call.args[4].layer.size for call in turns.call_args_list] == 3 * [2, 2, 1]
    one = sizes.prefix_bytes + sizes.effects_bytes
    with pytest.raises(ValueError, match=rf"one neuron takes about {one:,} bytes"):
        effects(lm, probes, each, budget_bytes=one - 1)
    for b in range(3):
        assert error(apart[b], together[b, b : b + 5]) < 1e-5


def test_effects_do_not_read_joint_targets():
    lm = tiny("gated")
    joint = tiny_probes(lm, JOINT_TARGETS, "all")
    neurons = one_neuron_a_layer(lm)
    assert error(effects(lm, joint, neurons), effects(lm, tiny_probes(lm), neurons)) < 1e-6


def test_the_sign_rule():
    activation = np.asarray([[[2.0, 0.0], [-0.0, -3.0]]])
    assert sign(activation).tolist() == [[[1, -1], [-1, -1]]]
    computed = np.asarray([[[[1.0, 2.0], [3.0, 4.0]], [[-1.0, 0.5], [0.25, 0.125]]]])
    gradients = NeurGrad(
        site="act",
        output="probability",
        probability=np.ones((1, 2)),
        activation=activation,
        computed=computed,
    )
    assert gradients.neurgrad.tolist() == [
        [[[1, -2], [-3, -4]], [[-1, -0.5], [-0.25, -0.125]]],
    ]


def test_the_sign_rule_is_that_of_interventions(monkeypatch):
    lm = tiny("gated")
    probes, neurons = tiny_probes(lm), one_neuron_a_layer(lm)
    shifts = np.asarray([0.5, 2.0])
    expected = sweep(lm, probes, neurons, shifts, "additive", target=0)
    assert error(sweep(lm, probes, neurons, shifts, target=0).logit, expected.logit) > 0.01
    monkeypatch.setattr(interventions, "sign", np.ones_like)
    found = sweep(lm, probes, neurons, shifts, target=0)
    np.testing.assert_array_equal(found.logit, expected.logit)


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_outputs_of_either_kind_of_array(kind: Any):
    log_probability, logit = kind(np.log([0.25, 0.5])), kind([1.0, 2.0])
    found = output_of("probability", log_probability, logit)
    assert type(found) is type(logit) and found.dtype == log_probability.dtype
    np.testing.assert_allclose(found, [0.25, 0.5], rtol=1e-6)
    assert output_of("log_probability", log_probability, logit) is log_probability
    assert output_of("logit", log_probability, logit) is logit


def test_batches_cover_every_prompt_once():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    whole = neurgrad(lm, probes)
    seen = []
    for index, probability, activation, computed in gradient_batches(lm, probes):
        seen += index.tolist()
        assert error(np.asarray(probability), whole.probability[index]) == 0
        assert error(np.asarray(activation), whole.activation[index]) == 0
        assert error(np.asarray(computed), whole.computed[index]) == 0
    assert sorted(seen) == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"site": "act"}, r"site 'act': .* gated .* \(llama\) has the sites up, product"),
        ({"output": "odds"}, r"output is 'odds', expected one of probability, log_p"),
        (
            {"budget_bytes": 1000},
            r"budget_bytes=1,000 is too small: one prompt of 8 tokens takes about [\d,]+ bytes",
        ),
    ],
)
def test_refused(arguments, message):
    lm = tiny("gated")
    with pytest.raises(ValueError, match=message):
        neurgrad(lm, tiny_probes(lm), **arguments)


def test_plain_models_have_no_gated_sites():
    lm = tiny("bert")
    for site in ("up", "product", "ACT", ""):
        with pytest.raises(ValueError, match=rf"site '{site}': .* plain .* \(bert\) has the site "):
            neurgrad(lm, tiny_probes(lm), site)


def test_effects_refuse_what_they_cannot_do():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    with pytest.raises(ValueError, match=r"site 'act': "):
        effects(lm, probes, one_neuron_a_layer(lm), "act")
    with pytest.raises(ValueError, match=r"neuron \(layer 3, index 0\) does not exist"):
        effects(lm, probes, np.asarray([[3, 0]]))
    with pytest.raises(ValueError, match=r"budget_bytes=9 is too small: one neuron takes about"):
        effects(lm, probes, one_neuron_a_layer(lm), budget_bytes=9)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_go_back_no_further_than_to_the_lowest_layer_asked_for(shape: str) -> None:
    lm = tiny(shape)
    probes = tiny_probes(lm)

    def gradients(lowest: int | None) -> np.ndarray:
        found = np.empty((len(probes), probes.target_count, lm.config.layers, lm.config.neurons))
        for index, batch in gradient_runs.device_batches(
            lm,
            probes,
            run_groups(lm, probes, None),
            site=lm.config.site(None),
            output="probability",
            lowest=lowest,
            budget_bytes=DEFAULT_BUDGET_BYTES,
        ):
            found[index] = batch.gradient[:, :, 0]
        return found

    every, upper = gradients(None), gradients(1)
    assert not upper[:, :, 0].any() and every[:, :, 0].any()
    assert error(upper[:, :, 1:], every[:, :, 1:]) < ROUNDING["float32"]
