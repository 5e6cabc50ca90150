"""What blocks learned for further families, against plain NumPy forwards in float64.

Every feature under every kind of question: the pass, gradients, sweeps, sets of neurons, targets of
several tokens, padding, shared first tokens, the spread over the vocabulary. Prompts are longer
than the windows.
"""

import dataclasses

import numpy as np
import pytest

import negjax
from negjax.execution import common_heads
from negjax.inputs.probes import Probes
from negjax.measurements.writes import summed_writes, write_norms
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import (
    JOINT_TARGETS,
    TARGETS,
    error,
    one_neuron_a_layer,
    precision,
    tiny_of,
    tiny_probes,
)
from tests.support.feature_shapes import FEATURES
from tests.support.few_shot import few_shot
from tests.support.reference import (
    float64_weights,
    full_forward,
    joint_scores,
    read_out,
    read_states,
    shifted_probabilities,
    softmax,
)
from tests.support.residual_sums import assert_sums_hold

ROUNDING = 1e-13
SHIFTS = np.asarray([-2.0, 0.5, 3.0])
STEP = 1e-5
# A central difference leaves out a third derivative times STEP²; rounding adds 1e-16 / STEP.
DIFFERENCE = 2e-9

everywhere = pytest.mark.parametrize("feature", FEATURES)


def model(feature: str, dtype: str = "float64") -> LanguageModel:
    return tiny_of(FEATURES[feature], dtype)


@everywhere
@pytest.mark.parametrize("left", [False, True])
def test_the_pass_and_gradients(feature: str, left: bool) -> None:
    with precision("float64"):
        lm = model(feature)
        probes = tiny_probes(lm)
        if left:
            probes = padded_left(probes)
        for site in lm.config.sites:
            found = negjax.neurgrad(lm, probes, site)
            for b in range(len(probes)):
                tokens = probes.tokens[b, probes.mask[b]]
                read = int(probes.mask[b, : probes.read[b]].sum())
                logits, states = full_forward(lm, tokens)
                expected = softmax(logits[read])[probes.target_ids[b, :, 0]]
                assert error(found.probability[b], expected) < ROUNDING
                assert error(found.activation[b], states[site][:, read]) < ROUNDING
            for layer, index in one_neuron_a_layer(lm):
                shift = np.zeros((lm.config.layers, lm.config.neurons))
                shift[layer, index] = STEP
                up, down = (shifted_probabilities(lm, probes, 1, site, s) for s in (shift, -shift))
                slope = (up - down) / (2 * STEP)
                assert np.abs(found.computed[1, :, layer, index] - slope).max() < DIFFERENCE


@everywhere
@pytest.mark.parametrize("targets", [TARGETS, JOINT_TARGETS], ids=["one token", "several"])
def test_sweeps(feature: str, targets: tuple[tuple[str, ...], ...]) -> None:
    with precision("float64"):
        lm = model(feature)
        several = targets is JOINT_TARGETS and lm.config.causal
        probes = tiny_probes(lm, targets, "all") if several else tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        for site in lm.config.sites:
            found = negjax.sweep(lm, probes, neurons, SHIFTS, "additive", site, target=0)
            for b, n, x in np.ndindex(found.log_probability.shape):
                shift = np.zeros((lm.config.layers, lm.config.neurons))
                shift[tuple(neurons[n])] = SHIFTS[x]
                log_p, logit = joint_scores(lm, probes, b, 0, site, shift)
                assert abs(found.log_probability[b, n, x] - log_p) < ROUNDING * abs(log_p)
                assert abs(found.logit[b, n, x] - logit) < 10 * ROUNDING


@everywhere
@pytest.mark.parametrize("clamp", [False, True], ids=["shifted", "clamped"])
def test_sets_of_neurons_and_the_spread(feature: str, clamp: bool) -> None:
    with precision("float64"):
        lm = model(feature)
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        sets = negjax.neuron_sets(lm.config, [(neurons, np.asarray([0.5, -1.0, 2.0]))])
        site = lm.config.sites[-1]
        found = negjax.joint(lm, probes, sets, "additive", site, clamp=clamp, target=0, spread=True)
        shift = np.zeros((lm.config.layers, lm.config.neurons))
        shift[tuple(neurons.T)] = [0.5, -1.0, 2.0]
        held = shift != 0 if clamp else None
        for b in range(len(probes)):
            log_p, _ = joint_scores(lm, probes, b, 0, site, shift, held)
            assert abs(found.log_probability[b, 0] - log_p) < ROUNDING * abs(log_p)
            tokens = probes.tokens[b, probes.mask[b]]
            read = int(probes.mask[b, : probes.read[b]].sum())
            before = softmax(full_forward(lm, tokens)[0][read])
            after = softmax(
                full_forward(lm, tokens, site=site, shift=shift, held=held, read=read)[0][read]
            )
            kl = (before * (np.log(before) - np.log(after))).sum()
            assert found.kl is not None
            assert abs(found.kl[b, 0] - kl) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("feature", [name for name, c in FEATURES.items() if c.causal])
def test_shared_first_tokens(feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with precision("float64"):
        lm, probes = model(feature), few_shot(11)
        monkeypatch.setattr(common_heads, "GROUP_TOKENS", 10**9)
        apart = negjax.neurgrad(lm, probes)
        monkeypatch.setattr(common_heads, "GROUP_TOKENS", 0)
        together = negjax.neurgrad(lm, probes)
        for name in ("probability", "activation", "computed"):
            assert error(getattr(together, name), getattr(apart, name)) < ROUNDING


@pytest.mark.parametrize("feature", [name for name, c in FEATURES.items() if c.windows])
def test_windows_of_queries_in_blocks(feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of texts that are longer than a block."""
    monkeypatch.setattr("negjax.model.attention.QUERY_BLOCK", 4)
    with precision("float64"):
        # A model that no other test compiles without those blocks.
        lm = tiny_of(dataclasses.replace(FEATURES[feature], norm_eps=2e-5), "float64")
        probes = tiny_probes(lm)
        found = negjax.neurgrad(lm, probes)
        for b in range(len(probes)):
            read = int(probes.mask[b, : probes.read[b]].sum())
            logits, states = full_forward(lm, probes.tokens[b, probes.mask[b]])
            expected = softmax(logits[read])[probes.target_ids[b, :, 0]]
            assert error(found.probability[b], expected) < ROUNDING
            assert error(found.activation[b], states[found.site][:, read]) < ROUNDING
        layer, index = one_neuron_a_layer(lm)[0]
        shift = np.zeros((lm.config.layers, lm.config.neurons))
        shift[layer, index] = STEP
        up, down = (shifted_probabilities(lm, probes, 2, found.site, s) for s in (shift, -shift))
        slope = (up - down) / (2 * STEP)
        assert np.abs(found.computed[2, :, layer, index] - slope).max() < DIFFERENCE


@everywhere
def test_float32_is_right_to_its_rounding(feature: str) -> None:
    """Of one-token rows too, which stand at the origin of positions in float32 alone."""
    lm = model(feature, "float32")
    probes, neurons = tiny_probes(lm), one_neuron_a_layer(lm)
    site = lm.config.sites[0]
    found = negjax.sweep(lm, probes, neurons, SHIFTS, "additive", site, target=0)
    gradients = negjax.neurgrad(lm, probes, site)
    with precision("float64"):
        exact = model(feature)
        expected = negjax.sweep(exact, probes, neurons, SHIFTS, "additive", site, target=0)
        computed = negjax.neurgrad(exact, probes, site).computed
    assert error(found.log_probability, expected.log_probability) < 3e-6
    assert error(gradients.computed, computed) < 1e-5


@everywhere
def test_the_stream_is_the_sum_of_what_is_written(feature: str) -> None:
    with precision("float64"):
        lm = model(feature)
        probes = tiny_probes(lm)
        assert_sums_hold(lm, probes)


def padded_left(probes: Probes) -> Probes:
    back = probes.tokens.shape[1] - probes.mask.sum(1)

    def moved(rows: np.ndarray) -> np.ndarray:
        return np.stack([np.roll(row, n) for row, n in zip(rows, back, strict=True)])

    return dataclasses.replace(
        probes, read=probes.read + back, tokens=moved(probes.tokens), mask=moved(probes.mask)
    )


def shares(lm: LanguageModel, layer: int, out: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """What parts [F, D] of a feed-forward output [D] add to the residual."""
    c, weights = lm.config, float64_weights(lm)
    if "blocks.ffn_out_norm.scale" in weights:
        scale = weights["blocks.ffn_out_norm.scale"][layer] + c.norm_offset
        parts = parts / np.sqrt((out**2).mean() + c.norm_eps) * scale
    return c.residual_scale * parts


@pytest.mark.parametrize("feature", [name for name, c in FEATURES.items() if c.causal])
def test_writes_pass_the_norm_of_their_layers_output(feature: str) -> None:
    """Their sizes, and what the head says of each at once (log-probability increase)."""
    with precision("float64"):
        lm = model(feature)
        probes, c, weights = tiny_probes(lm), lm.config, float64_weights(lm)
        norms = write_norms(lm, probes, c.sites[-1])
        shift = np.random.default_rng(0).normal(size=(1, c.layers, c.neurons))
        together = summed_writes(lm, probes, shift, c.sites[-1])
        increase = negjax.estimate(lm, probes, "lpi")
        down = weights["blocks.ffn.down.kernel"]
        none = np.zeros((c.layers, c.width))
        for b in range(len(probes)):
            inner = read_states(lm, probes, b)
            # Of experts, as the router counts them.
            counted = inner.get("share", np.ones((c.layers, c.neurons)))
            product = inner[c.sites[-1]] * counted
            out = np.einsum("lf,lfd->ld", product, down) + weights.get("blocks.ffn.down.bias", none)
            for layer in range(c.layers):
                mid = inner["mid"][layer]
                whole = shares(lm, layer, out[layer], out[layer])
                rows = shares(lm, layer, out[layer], down[layer])
                sizes = np.linalg.norm(counted[layer][:, None] * rows, axis=-1)
                assert error(norms.write[b, layer], sizes) < 1e-12
                summed = (shift[0, layer] * counted[layer]) @ rows
                assert together[b, 0, layer] == pytest.approx(np.linalg.norm(summed), rel=1e-11)
                size = np.linalg.norm(mid + whole)
                assert abs(norms.residual[b, layer] - size) < 1e-12 * size
                writes = np.concatenate([product[layer][:, None] * rows, none[:1]])
                log_p = np.log(softmax(read_out(c, weights, mid + writes)))
                picked = log_p[:, probes.target_ids[b, :, 0]]
                assert error(increase[b, :, layer], (picked[:-1] - picked[-1]).T) < 1e-12
