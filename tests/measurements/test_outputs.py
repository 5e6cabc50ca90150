"""Outputs of any kind, against functions of float64 full forwards."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import negjax
from negjax.inputs.neurons import neuron_sets
from negjax.replay.outputs import AnyOutput, log_odds
from tests.support.block_shapes import error, one_neuron_a_layer, precision, tiny, tiny_probes
from tests.support.reference import full_forward, softmax

SHIFTS = np.asarray([-1.0, 0.5])


def top_gap(log_p: jax.Array) -> jax.Array:
    """A function of our own: how far the first token is ahead of the third."""
    return log_p[0] - log_p[2] + jnp.exp(log_p[4])


def kl_of(p0: np.ndarray, p: np.ndarray) -> float:
    return float((p0 * np.log(p0 / p)).sum())


# Of probabilities without and with the shift, logits, and ids of the targets.
MEANT: dict[AnyOutput, Callable[..., float]] = {
    "log_odds": lambda p0, p, z, t: np.log(p[t[0]]) - np.log(1 - p[t[0]]),
    "logit_difference": lambda p0, p, z, t: z[t[0]] - z[t[1]],
    "entropy": lambda p0, p, z, t: -(p * np.log(p)).sum(),
    "kl": lambda p0, p, z, t: kl_of(p0, p),
    top_gap: lambda p0, p, z, t: float(top_gap(jnp.log(p))),
}
PAIRED = ("logit_difference",)


CASES = [("gated", "up", output) for output in MEANT] + [("bert", "act", top_gap)]


@pytest.mark.parametrize(("shape", "site", "output"), CASES)
def test_every_function_measures_it(shape: str, site: str, output: AnyOutput) -> None:
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        neurons = one_neuron_a_layer(lm)
        target = None if output in PAIRED else 0
        some = probes if target is None else probes.select_target(0)

        def meant(prompt: int, shift: np.ndarray | None) -> float:
            tokens = probes.tokens[prompt, probes.mask[prompt]]
            read = int(probes.mask[prompt, : probes.read[prompt]].sum())
            plain = full_forward(lm, tokens)[0][read]
            logits = full_forward(lm, tokens, site=site, shift=shift, read=read)[0][read]
            ids = probes.target_ids[prompt, :, 0]
            return MEANT[output](softmax(plain), softmax(logits), logits, ids)

        def moved(layer: int, index: int, by: float) -> np.ndarray:
            shift = np.zeros((lm.config.layers, lm.config.neurons))
            shift[layer, index] = by
            return shift

        expected: np.ndarray = np.asarray(
            [[[meant(b, moved(n[0], n[1], x)) for x in SHIFTS] for n in neurons] for b in range(3)]
        )
        before = np.asarray([meant(b, None) for b in range(3)])
        swept = negjax.sweep(
            lm, probes, neurons, SHIFTS, "additive", site, output=output, target=target
        )
        assert error(swept.values(), expected) < 1e-9
        assert np.abs(swept.baseline_value - before[:, None]).max() < 1e-9
        assert error(swept.change(), expected - before[:, None, None]) < 1e-8
        sets = neuron_sets(lm.config, [([n], x) for n in neurons for x in SHIFTS])
        found = negjax.joint(lm, probes, sets, "additive", site, output=output, target=target)
        assert error(found.values(), expected.reshape(3, -1)) < 1e-9
        curve = negjax.response(
            lm, some, neurons, 1.0, convention="additive", site=site, output=output
        )
        assert error(curve(SHIFTS), expected) < 2e-3
        if output == "kl":
            return
        gradient = negjax.neurgrad(lm, some, site, output=output)
        assert gradient.computed.shape[1] == 1
        bent = negjax.curvature(lm, some, neurons, site, output=output)
        step = 1e-3
        for i, (layer, index) in enumerate(neurons):
            values = [meant(i % 3, moved(layer, index, x)) for x in (-step, 0, step)]
            slope, second = (values[2] - values[0]) / (2 * step), np.diff(values, 2)[0] / step**2
            assert abs(gradient.computed[i % 3, 0, layer, index] - slope) < 1e-5
            assert abs(bent.first[i % 3, i] - slope) < 1e-5
            assert abs(bent.second[i % 3, i] - second) < 1e-5
        neg = negjax.neg(lm, some, neurons, 0.4, 0.1, "additive", site, pairs=2, output=output)
        along = gradient.computed[:, 0][:, neurons[:, 0], neurons[:, 1]]
        assert error(neg.derivative, along) < 1e-10


def test_a_difference_of_answers_of_several_tokens_is_that_of_their_logits() -> None:
    lm = tiny("gated")
    targets = (("w11 w3", "w15"), ("w16 w17 w5", "w2 w6"), ("w4", "w18 w7 w18"))
    probes = tiny_probes(lm, targets, target_mode="all")
    neurons = one_neuron_a_layer(lm)
    logits = [negjax.sweep(lm, probes, neurons, SHIFTS, target=k).logit for k in (0, 1)]
    swept = negjax.sweep(lm, probes, neurons, SHIFTS, output="logit_difference")
    assert error(swept.value, logits[0] - logits[1]) < 1e-6
    assert error(swept.logit, logits[0]) < 1e-6
    both = negjax.neurgrad(lm, probes, output="logit").computed
    found = negjax.neurgrad(lm, probes, output="logit_difference")
    assert error(found.computed[:, 0], both[:, 0] - both[:, 1]) < 1e-5


def test_log_odds_near_one_keep_their_digits() -> None:
    """log P - log(1 - P) of the probabilities would have none."""
    lm = tiny("gated")
    sharp = log_odds(
        jnp.asarray([[[[40.0, 1.0, 0.0]]]]), jnp.asarray([[[0]]]), jnp.ones((1, 1, 1), bool)
    )
    expected = 40 - np.log(np.exp(1.0) + 1)
    assert abs(float(sharp[0, 0, 0]) - expected) < 4e-6
    assert lm.config.causal


def test_what_was_not_measured_is_refused_by_name() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm).select_target(0)
    swept = negjax.sweep(lm, probes, [(0, 1)], [0.5], output="entropy")
    assert swept.output == "entropy"
    assert (swept.values("probability") == swept.probability).all()
    with pytest.raises(ValueError, match=r'output="kl" was not measured, but \'entropy\'; pass it'):
        swept.values("kl")


def nothing(log_p: jax.Array) -> None:
    """Forgets to return."""


def several(log_p: jax.Array) -> jax.Array:
    """Returns more than one number."""
    return log_p[:2]


def whole_number(log_p: jax.Array) -> jax.Array:
    """Returns no real number."""
    return jnp.argmax(log_p)


def undefined(log_p: jax.Array) -> jax.Array:
    """Is not a number anywhere."""
    return jnp.log(-jnp.exp(log_p[0]))


def failing(log_p: jax.Array) -> jax.Array:
    """Raises."""
    raise KeyError("Paris")


MISTAKES: list[tuple[Any, str]] = [
    (nothing, r"output is a function that makes NoneType, expected one real number of log-prob"),
    (several, r"makes float32\[2\], expected one real number of log-probabilities \[24\]"),
    (whole_number, r"makes int32\[\], expected"),
    (undefined, r"makes nan of the even distribution, expected"),
    (failing, r"output is a function that fails: 'Paris'; expected"),
    ("odds", r"output is 'odds', expected one of"),
    ("logit_difference", r'output="logit_difference" is of two targets a prompt, and each has 1'),
]


@pytest.mark.parametrize(("output", "message"), MISTAKES)
def test_outputs_that_there_are_not_are_refused(output: Any, message: str) -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm).select_target(0)
    for call in (
        lambda: negjax.neurgrad(lm, probes, output=output),
        lambda: negjax.sweep(lm, probes, [(0, 1)], [0.5], output=output),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_difference_names_no_target_and_kl_has_no_slope() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm)
    with pytest.raises(ValueError, match=r'target=0 names one target, and output="logit_diff'):
        negjax.sweep(lm, probes, [(0, 1)], [0.5], target=0, output="logit_difference")
    for measure in (
        lambda: negjax.neurgrad(lm, probes, output="kl"),
        lambda: negjax.curvature(lm, probes, [(0, 1)], output="kl", target=0),
    ):
        with pytest.raises(ValueError, match=r'output="kl" has no slope where nothing is shifted'):
            measure()
