"""Effects on any output and at any position, against differences of float64 full forwards."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import negjax
from negjax.measurements.token_effects import _values
from negjax.replay.outputs import AnyOutput
from tests.support.block_shapes import (
    JOINT_TARGETS,
    error,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import full_forward, softmax

STEP = 1e-4


def gap(log_p: jax.Array) -> jax.Array:
    """A function of our own."""
    return log_p[3] - jnp.exp(log_p[7])


Meaning = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
# Of probabilities [V], logits [V] and ids of two targets.
MEANT: list[tuple[AnyOutput, Meaning]] = [
    ("log_odds", lambda p, z, t: np.log(p) - np.log1p(-p)),
    ("logit_difference", lambda p, z, t: z[t[:1]] - z[t[1:]]),
    (gap, lambda p, z, t: np.log(p[3:4]) - p[7:8]),
]


@pytest.mark.parametrize(("output", "meant"), MEANT)
def test_any_output_at_several_positions(output: AnyOutput, meant: Meaning) -> None:
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        found = negjax.effects(lm, probes, neurons, positions=slice(-3, -1), output=output)
    expected = np.empty(found.shape)
    for b, n in np.ndindex(found.shape[:2]):
        tokens = probes.tokens[b, probes.mask[b]]
        at = np.arange(len(tokens))[-3:-1]
        ends = []
        for step in (STEP, -STEP):
            shift = np.zeros((lm.config.layers, lm.config.neurons))
            shift[tuple(neurons[n])] = step
            logits = full_forward(lm, tokens, site="up", shift=shift[:, None], read=at)[0][-1]
            ends.append(meant(softmax(logits), logits, probes.target_ids[b, :, 0]))
        expected[b, n] = (ends[0] - ends[1]) / (2 * STEP)
    assert error(found, expected) < 1e-7


def test_log_odds_next_to_certainty_keep_their_digits() -> None:
    """Of a token with P = 1 - 1e-17, log(1 - P) is that of the other tokens."""
    logits, along = jnp.asarray([40.0, 1.0, 0.0]), jnp.asarray([0.3, 0.2, -0.5])
    none = jnp.zeros((1, 1, 1), int)
    value, slope = jax.jvp(lambda z: _values(z, none, "log_odds"), (logits,), (along,))
    share = np.asarray([np.e, 1.0]) / (np.e + 1)
    assert abs(float(value[0]) - (40 - np.log(np.e + 1))) < 4e-6
    assert abs(float(slope[0]) - (0.3 - share @ [0.2, -0.5])) < 1e-6
    assert np.isfinite(slope).all()


def test_activations_at_any_position() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm)
    states = [full_forward(lm, probes.tokens[b, probes.mask[b]])[1]["up"] for b in range(3)]
    every = negjax.activations(lm, probes, positions="all")
    assert every.shape == (3, 8, lm.config.layers, lm.config.neurons)
    for b, own in enumerate(states):
        assert error(every[b, 8 - own.shape[1] :], own.swapaxes(0, 1)) < 1e-5
        assert (every[b, : 8 - own.shape[1]] == 0).all()
    where = negjax.tokens_of(probes, "w3")
    some = negjax.activations(lm, probes, positions=where)
    np.testing.assert_array_equal(some, negjax.neurgrad(lm, probes, positions=where).activation)
    third = negjax.activations(lm, probes, positions=2)
    assert error(third, np.stack([own[:, 2] for own in states])) < 1e-5
    plain = negjax.activations(lm, probes)
    assert error(plain, every[:, -1]) < 1e-5


def test_an_output_of_the_distribution_is_one_whatever_the_answers() -> None:
    """Of several answers of several tokens each, which are passes of their own."""
    lm = tiny("gated")
    joint, plain = tiny_probes(lm, JOINT_TARGETS, "all"), tiny_probes(lm)
    found = negjax.neurgrad(lm, joint, output="entropy")
    assert found.probability.shape == (3, 2)
    assert error(found.computed, negjax.neurgrad(lm, plain, output="entropy").computed) < 1e-5


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"output": "kl"}, 'output="kl" has no slope where nothing is shifted'),
    ({"output": "odds"}, "output is 'odds', expected one of probability"),
    ({"positions": 9}, "positions: token 9 of prompt 0, which has 5; expected -5 to 4"),
    (
        {"output": "logit_difference"},
        'output="logit_difference" of targets of several tokens is read at several positions',
    ),
]


@pytest.mark.parametrize(("asked", "message"), MISTAKES)
def test_what_has_no_effects_is_refused(asked: dict[str, Any], message: str) -> None:
    lm = tiny("gated")
    with pytest.raises(ValueError, match=message):
        negjax.effects(lm, tiny_probes(lm, JOINT_TARGETS, "all"), [(0, 1)], **asked)
