"""Estimates of any output, and by gradients at any position, against full forwards in float64."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import negjax
from negjax.execution.conventions import sign
from negjax.replay.outputs import AnyOutput
from tests.support.block_shapes import JOINT_TARGETS, error, precision, tiny, tiny_probes
from tests.support.reference import full_forward, read_states, softmax


def gap(log_p: jax.Array) -> jax.Array:
    """A function of our own."""
    return log_p[3] - jnp.exp(log_p[7])


Meaning = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]
# Of logits without and with a shift, and ids of two targets.
MEANT: dict[AnyOutput, Meaning] = {
    "log_odds": lambda z0, z, t: [np.log(softmax(z)[i] / (1 - softmax(z)[i])) for i in t],
    "logit_difference": lambda z0, z, t: [z[t[0]] - z[t[1]]],
    gap: lambda z0, z, t: [np.log(softmax(z)[3]) - softmax(z)[7]],
    "kl": lambda z0, z, t: [(softmax(z0) * np.log(softmax(z0) / softmax(z))).sum()],
}


def change(lm: negjax.LanguageModel, probes: negjax.Probes, shift: np.ndarray, of: Meaning) -> Any:
    """Of an output of prompt 1, by shifts [L, F] at site `up`."""
    tokens, ids = probes.tokens[1, probes.mask[1]], probes.target_ids[1, :, 0]
    plain = full_forward(lm, tokens)[0][-1]
    read = len(tokens) - 1
    moved = full_forward(lm, tokens, site="up", shift=shift, read=read)[0][-1]
    return np.subtract(of(plain, moved, ids), of(plain, plain, ids))


@pytest.mark.parametrize("output", MEANT)
def test_an_ablation_is_a_forward_without_the_neuron(output: AnyOutput) -> None:
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        found = negjax.estimate(lm, probes, "ablation", output=output)
    activation = read_states(lm, probes, 1)["up"]
    assert found.shape == (3, 2 if output == "log_odds" else 1, 3, 20)
    for neuron in ((0, 3), (2, 8)):
        shift = np.zeros(activation.shape)
        shift[neuron] = -activation[neuron]
        expected = change(lm, probes, shift, MEANT[output])
        assert np.abs(found[1, :, *neuron] - expected).max() < 1e-12


@pytest.mark.parametrize("output", ["logit_difference", gap])
def test_integrated_gradients_of_a_layer_sum_to_the_change(output: AnyOutput) -> None:
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        found = negjax.estimate(lm, probes, "ig", output=output, steps=64)
    activation = read_states(lm, probes, 1)["up"]
    for layer in range(3):
        shift = np.zeros(activation.shape)
        shift[layer] = -activation[layer]
        expected = -change(lm, probes, shift, MEANT[output])
        total = found[1].sum(-1)[:, layer]
        assert error(total, expected) < 1e-3


def test_gradients_at_several_positions() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm)
    asked: dict[str, Any] = {"positions": slice(1, 4), "output": "entropy"}
    found = {
        method: negjax.estimate(lm, probes, method, **asked)
        for method in ("cg", "neurgrad", "cgxa")
    }
    gradients = negjax.neurgrad(lm, probes, **asked)
    activation = np.stack(
        [full_forward(lm, probes.tokens[b, probes.mask[b]])[1]["up"][:, 1:4] for b in range(3)]
    ).swapaxes(1, 2)[:, None]
    assert found["cg"].shape == (3, 1, 3, 3, 20)
    np.testing.assert_array_equal(found["cg"], gradients.computed)
    assert error(found["neurgrad"], gradients.computed * sign(activation)) < 1e-6
    assert error(found["cgxa"], gradients.computed * activation) < 1e-5


def test_outputs_of_the_distribution_do_not_read_the_answers() -> None:
    lm = tiny("gated")
    joint, plain = tiny_probes(lm, JOINT_TARGETS, "all"), tiny_probes(lm)
    found, expected = (
        negjax.estimate(lm, probes, "ablation", output="entropy") for probes in (joint, plain)
    )
    assert error(found, expected) < 1e-4


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"method": "lpi", "output": "entropy"}, '"lpi" is of the log_probability, not of the entropy'),
    ({"method": "lpi", "output": gap}, '"lpi" is of the log_probability, not of the gap'),
    ({"method": "ig", "output": "kl"}, 'output="kl" has no slope where nothing is shifted'),
    ({"method": "cg", "output": "odds"}, "output is 'odds', expected one of probability"),
    (
        {"method": "ig", "positions": "all"},
        'positions are not for method="ig", which is about the read position; cg, neurgrad, relp',
    ),
]


@pytest.mark.parametrize(("asked", "message"), MISTAKES)
def test_what_a_method_cannot_say_is_refused(asked: dict[str, Any], message: str) -> None:
    lm = tiny("gated")
    with pytest.raises(ValueError, match=message):
        negjax.estimate(lm, tiny_probes(lm), **asked)
