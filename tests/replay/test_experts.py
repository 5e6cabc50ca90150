"""Mixtures of experts: neurons of experts that a token passes or not, routers that choose again."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import negjax
from negjax.control.steering import steer_probes
from negjax.inputs.neurons import all_neurons
from negjax.inputs.probes import Probes
from negjax.model.experts import BLOCK_ROWS
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import GATED, error, precision, tiny, tiny_of, tiny_probes
from tests.support.feature_shapes import FEATURES
from tests.support.reference import full_forward, read_states, shifted_probabilities, softmax

SHAPES = [name for name, config in FEATURES.items() if config.experts]
ROUNDING = 1e-13
STEP = 1e-5
DIFFERENCE = 2e-9

everywhere = pytest.mark.parametrize("shape", SHAPES)


def model(shape: str) -> LanguageModel:
    return tiny_of(FEATURES[shape], "float64")


def routed(lm: LanguageModel, probes: Probes) -> np.ndarray:
    """[B, L, F], by the forwards of NumPy."""
    c = lm.config
    found = np.zeros((len(probes), c.layers, c.experts, c.expert_neurons), bool)
    for b in range(len(probes)):
        for layer, chosen in enumerate(read_states(lm, probes, b)["routes"]):
            found[b, layer, chosen] = True
    return found.reshape(len(probes), c.layers, c.neurons)


@everywhere
def test_every_neuron_of_every_expert(shape: str) -> None:
    with precision("float64"):
        lm = model(shape)
        probes, c = tiny_probes(lm), lm.config
        expected = routed(lm, probes)
        # Some are routed to, some not.
        assert expected.any((1, 2)).all() and not expected.all((1, 2)).any()
        for site in c.sites:
            found = negjax.neurgrad(lm, probes, site)
            assert found.routed is not None
            np.testing.assert_array_equal(found.routed, expected)
            assert (found.activation[~expected] == 0).all()
            assert (found.computed.swapaxes(0, 1)[:, ~expected] == 0).all()
            assert (found.computed.swapaxes(0, 1)[:, expected] != 0).all()
        # At the last site; all of one prompt.
        for layer, index in all_neurons(c):
            shift = np.zeros((c.layers, c.neurons))
            shift[layer, index] = STEP
            up, down = (shifted_probabilities(lm, probes, 0, site, s) for s in (shift, -shift))
            slope = (up - down) / (2 * STEP)
            assert np.abs(found.computed[0, :, layer, index] - slope).max() < DIFFERENCE


@everywhere
def test_routers_choose_again_where_they_are_asked_to(shape: str) -> None:
    """And not where they are not: some shift changes the choice, and with it the answer."""
    with precision("float64"):
        lm = model(shape)
        probes, c = tiny_probes(lm), lm.config
        site, neurons, shifts = "product", all_neurons(c), np.asarray([-9.0, 9.0])
        held = negjax.sweep(lm, probes, neurons, shifts, "additive", site, target=0)
        again = negjax.sweep(lm, probes, neurons, shifts, "additive", site, target=0, reroute=True)
        assert (held.reroute, again.reroute) == (False, True)
        expected = routed(lm, probes)[:, neurons[:, 0], neurons[:, 1]]
        for found in (held, again):
            np.testing.assert_array_equal(found.routed, expected)
            change = found.log_probability - found.baseline_log_probability[..., None]
            assert (change[~expected] == 0).all()
        np.testing.assert_array_equal(held.baseline_logit, again.baseline_logit)
        changed = np.argwhere(np.abs(held.logit - again.logit) > 1e-6)
        same = np.argwhere((held.logit == again.logit) & expected[..., None])
        assert len(changed) > 5 and len(same) > 5
        for b, n, x in np.concatenate([changed[:: len(changed) // 5], same[:: len(same) // 5]]):
            shift = np.zeros((c.layers, c.neurons))
            shift[tuple(neurons[n])] = shifts[x]
            for found, reroute in ((held, False), (again, True)):
                log_p = reference(lm, probes, b, site, shift, reroute=reroute)
                assert abs(found.log_probability[b, n, x] - log_p) < ROUNDING * abs(log_p)


@everywhere
@pytest.mark.parametrize("clamp", [False, True], ids=["shifted", "clamped"])
def test_sets_of_neurons_reroute_too(shape: str, clamp: bool) -> None:
    with precision("float64"):
        lm = model(shape)
        probes, c = tiny_probes(lm), lm.config
        neurons = np.asarray([(0, i) for i in range(0, c.neurons, 2)] + [(1, 3), (2, 5), (2, 6)])
        values = np.linspace(-40, 40, len(neurons))
        sets = negjax.neuron_sets(c, [(neurons, values), (neurons[:1], values[:1])])
        held = negjax.joint(lm, probes, sets, "additive", "up", clamp=clamp, target=0)
        again = negjax.joint(
            lm, probes, sets, "additive", "up", clamp=clamp, target=0, reroute=True
        )
        assert (np.abs(held.logit[:, 0] - again.logit[:, 0]) > 1e-6).any()
        shift = np.zeros((c.layers, c.neurons))
        shift[tuple(neurons.T)] = values
        mask = None
        if clamp:
            mask = np.zeros(shift.shape, bool)
            mask[tuple(neurons.T)] = True
        for found, reroute in ((held, False), (again, True)):
            assert found.reroute is reroute
            for b in range(len(probes)):
                log_p = reference(lm, probes, b, "up", shift, held=mask, reroute=reroute)
                assert abs(found.log_probability[b, 0] - log_p) < ROUNDING * abs(log_p)


def reference(
    lm: LanguageModel, probes: Probes, prompt: int, site: str, shift: np.ndarray, **more: Any
) -> float:
    """Log-probability of the first target under a shift."""
    tokens = probes.tokens[prompt, probes.mask[prompt]]
    read = int(probes.mask[prompt, : probes.read[prompt]].sum())
    logits, _ = full_forward(lm, tokens, site=site, shift=shift, read=read, **more)
    return float(np.log(softmax(logits[read])[probes.target_ids[prompt, 0, 0]]))


@pytest.mark.slow
@everywhere
def test_other_measurements_say_what_is_routed(shape: str) -> None:
    with precision("float64"):
        lm = model(shape)
        probes = tiny_probes(lm)
        neurons = all_neurons(lm.config)[::3]
        expected = routed(lm, probes)[:, neurons[:, 0], neurons[:, 1]]
        response = negjax.response(lm, probes, neurons, radius=1.0, target=0)
        bend = negjax.curvature(lm, probes, neurons, target=0)
        effects = negjax.effects(lm, probes, neurons)
        slopes = negjax.neurgrad(lm, probes).computed[:, 0, neurons[:, 0], neurons[:, 1]]
        np.testing.assert_array_equal(response.routed, expected)
        np.testing.assert_array_equal(bend.routed, expected)
        for zero in (bend.first, bend.second, effects[..., 3]):
            assert (zero[~expected] == 0).all() and (zero[expected] != 0).all()
        # The series of a constant is one up to rounding.
        assert np.abs(response.derivative([0.5])[..., 0][~expected]).max() < 1e-15
        assert error(bend.first, slopes) < 1e-11
        first = probes.target_ids[:, 0, 0]
        assert error(effects[np.arange(len(probes)), :, first], slopes) < 1e-11


def test_more_rows_than_a_block_of_an_expert() -> None:
    """Many prompts fill several blocks of each expert; each is as it is alone."""
    with precision("float64"):
        lm = model(SHAPES[0])
        probes = tiny_probes(lm)
        many = probes.select(np.resize(np.arange(len(probes)), 4 * BLOCK_ROWS))
        together, alone = negjax.neurgrad(lm, many), negjax.neurgrad(lm, probes)
        for b in range(len(many)):
            assert error(together.computed[b], alone.computed[b % len(probes)]) < ROUNDING


def test_models_without_experts() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm)
    assert negjax.neurgrad(lm, probes).routed is None
    found = negjax.sweep(lm, probes, [(0, 0)], [1.0], target=0)
    assert found.routed is None and found.reroute is False
    sets = negjax.neuron_sets(lm.config, [(np.asarray([(0, 0)]), 1.0)])
    for ask in (
        lambda: negjax.sweep(lm, probes, [(0, 0)], [1.0], target=0, reroute=True),
        lambda: negjax.joint(lm, probes, sets, target=0, reroute=True),
    ):
        with pytest.raises(ValueError, match="reroute=True: models of family 'llama' have no exp"):
            ask()
    with pytest.raises(ValueError, match="reroute is 'yes', expected True or False"):
        negjax.sweep(lm, probes, [(0, 0)], [1.0], target=0, reroute="yes")  # type: ignore[arg-type]


def test_control_of_experts() -> None:
    """Steering shifts neurons of experts that the token passes alone; no bias holds an edit."""
    with precision("float64"):
        lm = model(SHAPES[0])
        probes = tiny_probes(lm)
        one = dataclasses.replace(
            probes,
            targets=tuple(targets[:1] for targets in probes.targets),
            target_ids=probes.target_ids[:, :1],
            target_mask=probes.target_mask[:, :1],
        )
        wanted = 1.3 * negjax.neurgrad(lm, one).probability[:, 0]
        found = steer_probes(lm, one, wanted, unrelated=probes)
        for steered, expected in zip(found, routed(lm, probes), strict=True):
            assert steered.reached and abs(steered.probability / steered.before - 1.3) < 0.02
            assert (steered.shift[~expected] == 0).all() and (steered.shift[expected] != 0).any()
        with pytest.raises(ValueError, match="no bias and no vector holds it; steer"):
            negjax.edit(lm, one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experts": 3, "active_experts": 1}, "experts is 3, expected a divisor of 20 neurons"),
        ({"experts": 4, "active_experts": 5}, "active_experts is 5, expected 1 to 4"),
        ({"experts": 4}, "active_experts is 0, expected 1 to 4"),
        ({"active_experts": 1}, "active_experts is 1, expected"),
        ({"experts": 4, "active_experts": 1, "ffn_bias": True}, "experts is 4, expected"),
    ],
)
def test_what_no_mixture_is_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(GATED, **change)
