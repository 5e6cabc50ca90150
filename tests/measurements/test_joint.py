"""Sets of neurons shifted together, against plain NumPy forwards in float64 and against sweeps.

Differences are in units of the largest expected value.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest

from negjax.inputs.encoding import encode
from negjax.inputs.neurons import NeuronSets, all_neurons, neuron_sets, random_neurons
from negjax.inputs.probes import Probes
from negjax.measurements.joint_interventions import Joint, joint
from negjax.measurements.sweeps import sweep
from negjax.model.language_model import LanguageModel
from negjax.replay.targets import Output
from tests.support.block_shapes import (
    GATED,
    JOINT_TARGETS,
    TARGETS,
    error,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import full_forward, joint_scores
from tests.support.some_sets import some_sets

ROUNDING = {"float32": 3e-6, "float64": 1e-13}
CASES = [
    ("gated", "up", "float32", ("signed", "additive", "clamp")),
    ("gated", "product", "float64", ("signed", "clamp")),
    ("gpt2", "act", "float64", ("signed",)),
    ("bert", "act", "float64", ("additive", "clamp")),
]


def expected_scores(
    lm: LanguageModel,
    probes: Probes,
    sets: NeuronSets,
    how: str,
    site: str,
    target: int = 0,
) -> np.ndarray:
    """Log-probability and logit [2, B, 1 + R], the first without a shift, by full forwards."""
    result = np.empty((2, len(probes), 1 + len(sets)))
    at = sets.neurons[..., 0]
    for b in range(len(probes)):
        tokens = probes.tokens[b, probes.mask[b]]
        activation = full_forward(lm, tokens)[1][site][:, probes.read[b]]
        result[:, b, 0] = joint_scores(lm, probes, b, target)
        for r, values in enumerate(sets.dense()):
            held = np.zeros(values.shape, bool)
            held[tuple(sets.neurons[r, at[r] < lm.config.layers].T)] = True
            sign = np.where(activation > 0, 1, -1) if how == "signed" else 1
            result[:, b, 1 + r] = joint_scores(
                lm, probes, b, target, site, sign * values, held if how == "clamp" else None
            )
    return result


def found_scores(found: Joint) -> np.ndarray:
    """[2, B, 1 + R]."""
    measured = [found.log_probability, found.logit]
    before = [found.baseline_log_probability, found.baseline_logit]
    return np.concatenate([np.asarray(before)[..., :1], np.asarray(measured)], axis=-1)


@pytest.mark.parametrize(("shape", "site", "dtype", "ways"), CASES)
def test_sets_in_several_layers(shape, site, dtype, ways):
    with precision(dtype):
        lm = tiny(shape, dtype)
        probes, sets = tiny_probes(lm), some_sets(lm)
        for how in ways:
            given: Any = {"clamp": True} if how == "clamp" else {"convention": how}
            found = joint(lm, probes, sets, site=site, target=0, **given)
            assert (found.site, found.clamp, found.sets) == (site, how == "clamp", sets)
            assert found.log_probability.dtype == found.logit.dtype == np.dtype(dtype)
            assert found.kl is found.entropy is found.top_token is None
            expected = expected_scores(lm, probes, sets, how, site)
            assert error(found_scores(found), expected) < ROUNDING[dtype], how
            before, after = expected[0, :, :1], expected[0, :, 1:]
            assert error(found.probability, np.exp(after)) < ROUNDING[dtype]
            assert error(found.baseline, np.exp(before[:, 0])) < ROUNDING[dtype]
            changes: dict[Output, np.ndarray] = {
                "probability": np.exp(after) - np.exp(before),
                "log_probability": after - before,
                "logit": expected[1, :, 1:] - expected[1, :, :1],
            }
            for output, change in changes.items():
                assert error(found.change(output), change) < ROUNDING[dtype], output


@pytest.mark.parametrize(("shape", "how"), [("gated", "signed"), ("gpt2", "clamp")])
def test_joint_targets(shape, how):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes, sets = tiny_probes(lm, JOINT_TARGETS, "all"), some_sets(lm)
        found = joint(lm, probes, sets, clamp=how == "clamp", target=1)
        expected = expected_scores(lm, probes, sets, how, found.site, 1)
        assert error(found_scores(found), expected) < ROUNDING["float64"]


@pytest.mark.parametrize(
    ("shape", "convention"), [("gated", "signed"), ("gpt2", "additive"), ("bert", "signed")]
)
def test_one_neuron_is_a_sweep(shape, convention):
    """A set of one neuron, shifted or clamped to where the shift moves it."""
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm).select([1])
        every, shifts = all_neurons(lm.config), np.asarray([-1.5, 0.25])
        swept = sweep(lm, probes, every, shifts, convention, target=1, spread=True)
        pairs = [(neuron, x) for neuron in every for x in shifts]
        sets = neuron_sets(lm.config, [(neuron[None], x) for neuron, x in pairs])
        shifted = joint(lm, probes, sets, convention, target=1, spread=True)
        sign = np.where((swept.activation[0] > 0) | (convention == "additive"), 1, -1)
        values = (swept.activation[0, :, None] + sign[:, None] * shifts).reshape(-1)
        moved = [(neuron[None], a) for (neuron, _), a in zip(pairs, values, strict=True)]
        clamped = joint(
            lm, probes, neuron_sets(lm.config, moved), clamp=True, target=1, spread=True
        )
        for found in (shifted, clamped):
            assert error(found.change("logit"), swept.change("logit").reshape(1, -1)) < 1e-13
            assert error(found.change(), swept.change().reshape(1, -1)) < 1e-13
            assert found.kl is not None and swept.kl is not None
            assert found.entropy is not None and swept.entropy is not None
            assert found.top_token is not None and swept.top_token is not None
            assert found.baseline_entropy is not None and swept.baseline_entropy is not None
            assert error(found.kl, swept.kl.reshape(1, -1)) < 1e-13
            assert error(found.entropy, swept.entropy.reshape(1, -1)) < 1e-13
            np.testing.assert_array_equal(found.top_token, swept.top_token.reshape(1, -1))
            np.testing.assert_array_equal(found.baseline_top_token, swept.baseline_top_token)
            np.testing.assert_allclose(found.baseline_entropy, swept.baseline_entropy, rtol=1e-13)


@pytest.mark.parametrize("shape", ["gated", "bert"])
def test_a_shift_adds_to_what_shifts_below_made_of_the_activation(shape):
    """By hand: below shifted, above clamped to the activation there plus its shift."""
    with precision("float64"):
        lm = tiny(shape, "float64")
        site = lm.config.site(None)
        probes = tiny_probes(lm).select([0])
        tokens, read = probes.tokens[0, probes.mask[0]], int(probes.read[0])
        every = all_neurons(lm.config)
        shift, held = np.zeros((3, 20)), np.zeros((3, 20), bool)
        shift[0] = 5.0
        before = full_forward(lm, tokens)[1][site][2, read]
        after = full_forward(lm, tokens, site=site, shift=shift, read=read)[1][site][2, read]
        index = int(np.abs(after - before).argmax())
        assert abs(after[index] - before[index]) > 0.01
        both = np.concatenate([every[:20], [[2, index]]])
        sets = neuron_sets(lm.config, [(both, [5.0] * 20 + [0.5])])
        found = joint(lm, probes, sets, "additive", target=0).log_probability[0, 0]
        held[2, index] = True
        by_hand = []
        for activation in (after[index], before[index]):
            shift[2, index] = activation + 0.5
            by_hand.append(joint_scores(lm, probes, 0, 0, site, shift, held)[0])
        assert abs(found - by_hand[0]) < 1e-12
        assert abs(found - by_hand[1]) > 1e-6


def test_clamping_to_the_unperturbed_activations_changes_nothing_but_undoes_what_is_below():
    lm = tiny("gated")
    probes = tiny_probes(lm).select([2])
    tokens, read = probes.tokens[0, probes.mask[0]], int(probes.read[0])
    activation = full_forward(lm, tokens)[1]["up"][:, read]
    every = all_neurons(lm.config)
    as_it_was = (every, activation.reshape(-1))
    moved = (every, np.concatenate([activation[0] + 1, activation[1:].reshape(-1)]))
    last = (every[-20:], activation[2])
    found = joint(
        lm, probes, neuron_sets(lm.config, [as_it_was, last, moved]), clamp=True, target=0
    )
    assert np.abs(found.change("logit")[0, :2]).max() < 1e-5
    # With the upper layers held, what remains of the lowest layer's shift is what it writes.
    free = joint(lm, probes, neuron_sets(lm.config, [(every[:20], 1.0)]), "additive", target=0)
    assert abs(found.change("logit")[0, 2] - free.change("logit")[0, 0]) > 1e-2


def test_thousands_of_neurons_of_the_embedded_model(smollm2):
    """In float32, against full forwards in float64."""
    lm = smollm2
    probes = encode(lm, ["The capital of France is"], ["Paris"])
    neurons = random_neurons(lm.config, 4096, 1, 0)[0]
    values = np.random.default_rng(0).uniform(-0.5, 0.5, 4096)
    sets = neuron_sets(lm.config, [(neurons, values)])
    for how in ("signed", "clamp"):
        found = joint(lm, probes, sets, clamp=how == "clamp")
        expected = expected_scores(lm, probes, sets, how, "up")
        assert np.abs(found_scores(found) - expected).max() < 2e-4
        change = np.diff(np.exp(expected[0]), axis=-1)
        assert abs(change.item()) > 1e-2
        assert np.abs(found.change() - change).max() < 1e-5


def test_dense_shifts_are_sets():
    lm = tiny("gpt2")
    probes, sets = tiny_probes(lm), some_sets(lm)
    dense = sets.dense()
    dense[1] = 0
    found = joint(lm, probes, dense, target=0, spread=True)
    kept = joint(lm, probes, sets, target=0)
    np.testing.assert_array_equal(found.sets.sizes, [1, 0, 12, 60])
    assert error(found.logit[:, [0, 2, 3]], kept.logit[:, [0, 2, 3]]) < 1e-6
    assert (found.change()[:, 1] == 0).all()
    none = joint(lm, probes, np.zeros((2, 3, 20)), target=0)
    assert (none.change("logit") == 0).all()
    assert error(none.baseline, found.baseline) < 1e-6


GOOD = ([[0, 1], [2, 3]], [1.0, 2.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"site": "act"}, r"site 'act': .* gated .* has the sites up, product"),
        ({"convention": "up"}, r"convention is 'up', expected one of signed, additive"),
        ({"target": None}, r"target is None, and each prompt has 2; pass target=0 … 1"),
        ({"target": 2}, r"target is 2, and each prompt has 2"),
        ({"sets": np.zeros((1, 3, 19))}, r"shifts are \[1, 3, 19\], expected \[R, L, F\] = \[R, 3"),
        ({"sets": np.zeros((3, 20))}, r"shifts are \[3, 20\], expected \[R, L, F\]"),
        ({"sets": np.zeros((0, 3, 20))}, r"shifts are \[0, 3, 20\], expected \[R, L, F\]"),
        (
            {"sets": np.full((2, 3, 20), np.nan)},
            r"shift nan of row 0 at neuron \(layer 0, index 0\): expected finite",
        ),
        ({"sets": np.ones((1, 3, 20)), "clamp": True}, r"an array \[R, L, F\] names shifts; to cl"),
        (
            {"sets": neuron_sets(dataclasses.replace(GATED, layers=4), [GOOD])},
            r"the sets are of a model with 4 layers of 20 neurons, gated has 3 of 20; make them",
        ),
        (
            {"budget_bytes": 1000},
            r"budget_bytes=1,000 is too small: one prompt of 8 tokens takes about [\d,]+ bytes",
        ),
    ],
)
def test_refused(arguments, message):
    lm = tiny("gated")
    given = {"sets": neuron_sets(lm.config, [GOOD]), "target": 0} | arguments
    with pytest.raises(ValueError, match=message):
        joint(lm, tiny_probes(lm), given.pop("sets"), **given)


def test_one_target_needs_no_number():
    lm = tiny("gated")
    single = tiny_probes(lm, tuple(targets[1:] for targets in TARGETS))
    sets = some_sets(lm)
    np.testing.assert_array_equal(
        joint(lm, single, sets).logit, joint(lm, tiny_probes(lm), sets, target=1).logit
    )
