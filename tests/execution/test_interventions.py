"""Sweeps of the three block shapes against plain NumPy forwards with the activation shifted.

Differences are in units of the largest expected value, in float32 and in float64.
"""

from typing import Any, cast

import numpy as np
import pytest

from negjax.execution.interventions import Shifted, intervene
from negjax.inputs.probes import Probes
from negjax.measurements.sweeps import Sweep, sweep
from negjax.model.language_model import LanguageModel
from negjax.replay import readout
from negjax.replay.targets import Output
from tests.support.block_shapes import (
    JOINT_TARGETS,
    SHAPES,
    TARGETS,
    error,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import full_forward, joint_scores

ROUNDING = {"float32": 3e-6, "float64": 1e-13}
# Changes of a log-probability near 3 are of order 0.1.
CHANGE_ROUNDING = {"float32": 5e-5, "float64": 1e-13}
SHIFTS = np.asarray([-2.0, -0.25, 0.5, 3.0])
CASES = [
    (shape, site, dtype)
    for shape, config in SHAPES.items()
    for site in config.sites
    for dtype in ROUNDING
    if (site, dtype) != ("product", "float32")  # the embedded model's references cover that
]


def expected_scores(
    lm: LanguageModel,
    probes: Probes,
    neurons: np.ndarray,
    convention: str,
    site: str,
    target: int = 0,
) -> np.ndarray:
    """Log-probability and logit [2, B, N, 1 + X], the first without a shift, by full forwards."""
    result = np.empty((2, len(probes), len(neurons), 1 + len(SHIFTS)))
    for b, n in np.ndindex(result.shape[1:3]):
        layer, index = neurons[n]
        tokens = probes.tokens[b, probes.mask[b]]
        activation = full_forward(lm, tokens)[1][site][layer, probes.read[b], index]
        sign = -1 if convention == "signed" and activation <= 0 else 1
        for x, amount in enumerate([0, *SHIFTS]):
            shift = np.zeros((lm.config.layers, lm.config.neurons))
            shift[layer, index] = sign * amount
            result[:, b, n, x] = joint_scores(lm, probes, b, target, site, shift)
    return result


def assert_agrees(found: Sweep, expected: np.ndarray, dtype: str) -> None:
    log_probability, logit = expected
    assert error(found.log_probability, log_probability[..., 1:]) < ROUNDING[dtype]
    assert error(found.logit, logit[..., 1:]) < ROUNDING[dtype]
    assert error(found.probability, np.exp(log_probability[..., 1:])) < ROUNDING[dtype]
    assert error(found.baseline, np.exp(log_probability[:, 0, 0])) < ROUNDING[dtype]
    assert error(found.baseline_logit, logit[..., 0]) < ROUNDING[dtype]
    outputs: dict[Output, np.ndarray] = {
        "probability": np.exp(log_probability),
        "log_probability": log_probability,
        "logit": logit,
    }
    for output, values in outputs.items():
        changes = values[..., 1:] - values[..., :1]
        assert error(found.change(output), changes) < CHANGE_ROUNDING[dtype]


@pytest.mark.parametrize(("shape", "site", "dtype"), CASES)
def test_sweeps_from_every_layer(shape, site, dtype):
    with precision(dtype):
        lm = tiny(shape, dtype)
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        for convention in ("signed", "additive"):
            found = sweep(lm, probes, neurons, SHIFTS, convention, site, target=0)
            assert (found.site, found.convention) == (site, convention)
            assert found.log_probability.dtype == found.logit.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(found.neurons, np.stack([neurons] * 3))
            expected = expected_scores(lm, probes, neurons, convention, site)
            assert_agrees(found, expected, dtype)


def test_later_targets():
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        found = sweep(lm, probes, neurons, SHIFTS, "additive", target=1)
        assert_agrees(found, expected_scores(lm, probes, neurons, "additive", "up", 1), "float64")


@pytest.mark.parametrize(("shape", "target"), [("gated", 0), ("gated", 1), ("gpt2", 1)])
def test_joint_targets(shape, target):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm, JOINT_TARGETS, "all")
        neurons = one_neuron_a_layer(lm)
        found = sweep(lm, probes, neurons, SHIFTS, target=target)
        expected = expected_scores(lm, probes, neurons, "signed", found.site, target)
        assert_agrees(found, expected, "float64")


def test_the_first_token_of_a_target():
    lm = tiny("gated")
    neurons = one_neuron_a_layer(lm)
    first = sweep(
        lm, tiny_probes(lm, JOINT_TARGETS, "first"), neurons, SHIFTS, target=0
    ).log_probability
    starts = tuple(tuple(text.split()[0] for text in texts) for texts in JOINT_TARGETS)
    np.testing.assert_array_equal(
        first, sweep(lm, tiny_probes(lm, starts), neurons, SHIFTS, target=0).log_probability
    )


def test_signed_shifts_are_additive_ones_times_the_sign():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    neurons = np.stack(np.divmod(np.arange(60), 20), -1)
    signed = sweep(lm, probes, neurons, np.asarray([1.5]), "signed", target=0)
    up, down = (
        sweep(lm, probes, neurons, np.asarray([x]), "additive", target=0) for x in (1.5, -1.5)
    )
    positive = signed.activation > 0
    assert 0.2 < positive.mean() < 0.8
    expected = np.where(positive[..., None], up.log_probability, down.log_probability)
    assert error(signed.log_probability, expected) < 1e-6
    assert error(signed.log_probability, up.log_probability) > 1e-3


def test_an_activation_of_zero_counts_as_negative():
    """An interventions' sign rule is NeurGrad's: s(0) = -1."""
    lm = tiny("gpt2", activation="relu")
    probes = tiny_probes(lm)
    neurons = np.stack(np.divmod(np.arange(60), 20), -1)
    signed = sweep(lm, probes, neurons, np.asarray([1.0]), "signed", target=0)
    down = sweep(lm, probes, neurons, np.asarray([-1.0]), "additive", target=0)
    zero = signed.activation == 0
    assert 0.2 < zero.mean() < 0.8
    np.testing.assert_array_equal(signed.log_probability[zero], down.log_probability[zero])
    assert np.abs(down.change()[zero]).min() > 1e-5


def test_no_shift_is_no_change():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    found = sweep(lm, probes, one_neuron_a_layer(lm), np.asarray([0.0, 1.0]), target=0)
    assert (found.change()[..., 0] == 0).all()
    assert (found.change()[..., 1] != 0).all()
    np.testing.assert_array_equal(found.probability[:, 0, 0], found.baseline)


def test_neurons_of_each_prompt():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    neurons = np.asarray([[[0, 3], [2, 4]], [[1, 5], [0, 6]], [[2, 7], [1, 0]]])
    found = sweep(lm, probes, neurons, SHIFTS, target=0)
    for b in range(3):
        alone = sweep(lm, probes.select([b]), neurons[b], SHIFTS, target=0)
        assert error(found.log_probability[b], alone.log_probability[0]) < 1e-6
        np.testing.assert_array_equal(found.neurons[b], alone.neurons[0])


def test_one_neuron_twice():
    lm = tiny("gated")
    found = sweep(lm, tiny_probes(lm), np.asarray([[1, 3], [1, 3]]), SHIFTS, target=0)
    np.testing.assert_array_equal(found.logit[:, 0], found.logit[:, 1])


def test_rows_of_the_layer_after_the_last_are_left_out():
    lm = tiny("gated")
    probes = tiny_probes(lm).select([0])
    layer, neuron = np.asarray([[3, 1, 3, 0]]), np.asarray([[0, 4, 9, 2]])
    shift = np.asarray([[5.0, 1.0, -5.0, 2.0]])
    found = intervene(lm, probes, Shifted(layer, neuron, shift), "additive", None, target=0)
    kept = Shifted(layer[:, 1::2], neuron[:, 1::2], shift[:, 1::2])
    alone = intervene(lm, probes, kept, "additive", None, target=0)
    assert error(found.log_probability[:, 1::2], alone.log_probability) < 1e-6


@pytest.mark.parametrize(("block", "context_length"), [(5, 31), (23, 30)])
def test_any_block_of_the_vocabulary(monkeypatch, block, context_length):
    """The log-sum-exp is made block by block; 24 tokens are no multiple of 5 or 23."""
    monkeypatch.setattr(readout, "VOCAB_BLOCK", block)
    # BERT's head has a bias. A context of its own: nothing compiled with another block serves it.
    lm = tiny("bert", context_length=context_length)
    probes = tiny_probes(lm)
    neurons = one_neuron_a_layer(lm)
    found = sweep(lm, probes, neurons, SHIFTS, target=1)
    assert_agrees(found, expected_scores(lm, probes, neurons, "signed", "act", 1), "float32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"site": "act"}, r"site 'act': .* gated .* has the sites up, product"),
        ({"convention": "up"}, r"convention is 'up', expected one of signed, additive"),
        ({"shifts": [0.5, np.nan]}, r"shifts holds nan: expected finite numbers"),
        ({"shifts": [np.inf]}, r"shifts holds inf: expected finite numbers"),
        ({"shifts": [1e39]}, r"shifts holds 1e\+39, which float32 cannot hold: expected finite"),
        ({"shifts": []}, r"shifts is .* expected a list of finite numbers"),
        ({"shifts": 1.0}, r"shifts is .* expected a list of finite numbers"),
        ({"shifts": [[1.0]]}, r"shifts is .* expected a list of finite numbers"),
        ({"target": None}, r"target is None, and each prompt has 2; pass target=0 … 1"),
        ({"target": 2}, r"target is 2, and each prompt has 2; pass target=0 … 1"),
        ({"target": -1}, r"target is -1, and each prompt has 2"),
        ({"neurons": [[3, 0]]}, r"neuron \(layer 3, index 0\) .* layers 0…2 of neurons 0…19"),
        ({"neurons": [[0, 1], [0, 20]]}, r"neuron \(layer 0, index 20\) does not exist"),
        ({"neurons": [[0, -1]]}, r"neuron \(layer 0, index -1\) does not exist"),
        ({"neurons": [[0.0, 1.0]]}, r"neurons are float64\[1, 2\], expected integers \[N, 2\]"),
        ({"neurons": [0, 1]}, r"neurons are int64\[2\], expected integers"),
        ({"neurons": [[0, 1, 2]]}, r"neurons are int64\[1, 3\], expected integers"),
        ({"neurons": np.zeros((0, 2), int)}, r"no neurons: expected at least one"),
        ({"neurons": [[[0, 1]]] * 2}, r"neurons are given for 2 prompts, expected 3"),
        (
            {"budget_bytes": 1000},
            r"budget_bytes=1,000 is too small: one prompt of 8 tokens takes about [\d,]+ bytes",
        ),
    ],
)
def test_refused(arguments, message):
    lm = tiny("gated")
    given = {"neurons": [[0, 1]], "shifts": [1.0], "target": 0} | arguments
    with pytest.raises(ValueError, match=message):
        sweep(lm, tiny_probes(lm), **given)


def test_one_target_needs_no_number():
    lm = tiny("gated")
    single = tiny_probes(lm, tuple(targets[1:] for targets in TARGETS))
    neurons = one_neuron_a_layer(lm)
    np.testing.assert_array_equal(
        sweep(lm, single, neurons, SHIFTS).logit,
        sweep(lm, tiny_probes(lm), neurons, SHIFTS, target=1).logit,
    )


def test_an_unknown_output_is_refused():
    lm = tiny("gated")
    found = sweep(lm, tiny_probes(lm), one_neuron_a_layer(lm), SHIFTS, target=0)
    with pytest.raises(ValueError, match="output is 'odds', expected one of"):
        found.change(cast(Any, "odds"))
