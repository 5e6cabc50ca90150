"""Responses of several tokens from the same replays, against float64 full forwards."""

from typing import Any

import numpy as np
import pytest
from numpy.polynomial import chebyshev

import negjax
from tests.support.block_shapes import error, one_neuron_a_layer, precision, tiny, tiny_probes
from tests.support.reference import full_forward, softmax

SHIFTS = np.asarray([-3.0, -0.4, 2.5])


def meant(lm: negjax.LanguageModel, probes: negjax.Probes, site: str) -> np.ndarray:
    """P [B, N, V, X] of every token under each shift of a neuron a layer."""
    neurons = one_neuron_a_layer(lm)
    found = np.empty((len(probes), len(neurons), lm.config.vocab_size, SHIFTS.size))
    for b, n, x in np.ndindex(len(probes), len(neurons), SHIFTS.size):
        shift = np.zeros((lm.config.layers, lm.config.neurons))
        shift[tuple(neurons[n])] = SHIFTS[x]
        read = int(probes.mask[b, : probes.read[b]].sum())
        tokens = probes.tokens[b, probes.mask[b]]
        logits = full_forward(lm, tokens, site=site, shift=shift, read=read)[0][read]
        found[b, n, :, x] = softmax(logits)
    return found


@pytest.mark.parametrize(("shape", "site"), [("gated", "up"), ("bert", "act")])
def test_every_tokens_curve_is_that_of_full_forwards(shape: str, site: str) -> None:
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        expected = meant(lm, probes, site)
        asked: dict[str, Any] = {
            "tokens": np.arange(lm.config.vocab_size),
            "convention": "additive",
            "site": site,
        }
        neurons = one_neuron_a_layer(lm)
        curve = negjax.response(lm, probes, neurons, 3.0, 12, tolerance=1e-6, **asked)
        found = curve(SHIFTS)
        assert found.shape == expected.shape and curve.error.shape == expected.shape[:-1]
        assert (np.abs(found - expected).max(-1) < 2 * curve.error + 1e-12).all()
        assert error(found, expected) < 1e-5
        # All probabilities, of one set of replays.
        assert np.abs(found.sum(2) - 1).max() < 1e-12
        assert np.abs(curve.change(SHIFTS).sum(2)).max() < 1e-12
        slope = negjax.effects(lm, probes, neurons, site)
        assert error(curve.derivative([0.0])[..., 0], slope) < 1e-4


def test_the_worst_token_decides_how_many_nodes() -> None:
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        neurons = np.stack(np.divmod(np.arange(0, 60, 5), 20), -1)
        asked: dict[str, Any] = {"tokens": probes.target_ids[..., 0]}
        few, many = (
            negjax.response(lm, probes, neurons, 10.0, nodes, max_nodes=nodes, **asked)
            for nodes in (8, 24)
        )
        found = negjax.response(lm, probes, neurons, 10.0, 8, **asked)
        change = few.change(10 * chebyshev.chebpts1(8))
        rough = few.error > 1e-2 * np.ptp(change, axis=-1)
        assert (rough.any(-1) & ~rough.all(-1)).any()
        refined = found.nodes == 24
        np.testing.assert_array_equal(refined, rough.any(-1))
        assert error(found.coefficients[refined], many.coefficients[refined]) < 1e-12
        assert error(found.coefficients[~refined][..., :8], few.coefficients[~refined]) < 1e-12
        for target in (0, 1):
            alone = negjax.response(lm, probes, neurons, 10.0, 8, max_nodes=8, target=target)
            assert error(few.coefficients[:, :, target], alone.coefficients) < 1e-12
            assert error(few.baseline[:, target], alone.baseline) < 1e-12


def test_a_number_asks_for_the_likeliest_tokens() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm, (("w4 w6",),) * 3, target_mode="all")
    curve = negjax.response(lm, probes, [(0, 1)], 1.0, 4, tokens=2, max_nodes=4)
    for b in range(len(probes)):
        logits = full_forward(lm, probes.tokens[b, probes.mask[b]])[0][-1]
        ids = np.argsort(-logits)[:2]
        assert curve.tokens is not None
        np.testing.assert_array_equal(curve.tokens[b], ids)
        assert error(curve.baseline[b], softmax(logits)[ids]) < 1e-5
    line = negjax.linear_fit(curve, [-0.5, 0.5])
    assert error(line.slope, np.diff(curve([-0.5, 0.5]))[..., 0]) < 1e-12
    one = curve[1]
    np.testing.assert_array_equal(one([0.5]), curve([0.5])[1:2])


def test_tokens_along_directions() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm)
    vectors = np.random.default_rng(0).normal(size=(2, lm.config.width))
    along = negjax.directions([0, 2], vectors)
    asked: dict[str, Any] = {"convention": "additive", "max_nodes": 4}
    both = negjax.response(lm, probes, along, 1.0, 4, tokens=probes.target_ids[..., 0], **asked)
    for target in (0, 1):
        one = negjax.response(lm, probes, along, 1.0, 4, target=target, **asked)
        assert error(both([-0.7, 0.7])[:, :, target], one([-0.7, 0.7])) < 1e-6
        assert error(both.noise[:, target], one.noise) < 1.0


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"tokens": 0}, "tokens is 0, expected a whole number, 1 or more, 24 at most"),
    ({"tokens": [24]}, "tokens holds token id 24, expected 0 to 23: those that gated embeds"),
    ({"tokens": [3, 4, 3]}, "tokens hold 3 more than once; name it once"),
    ({"tokens": [[1], [2]]}, r"tokens are .*, expected a number, or ids of 1 to 256 tokens, \[K\]"),
    ({"tokens": "w3"}, "tokens are 'w3', expected a number, or ids of 1 to 256"),
    ({"tokens": 2, "target": 0}, "target=0 is one of the probes', in whose place tokens are"),
    ({"tokens": 2, "output": "entropy"}, "output is 'entropy', and tokens have each probability"),
]


@pytest.mark.parametrize(("asked", "message"), MISTAKES)
def test_tokens_that_cannot_be_asked_for_are_refused(asked: dict[str, Any], message: str) -> None:
    lm = tiny("gated")
    with pytest.raises(ValueError, match=message):
        negjax.response(lm, tiny_probes(lm), [(0, 1)], **asked)
