"""Shifts folded into biases, against shifts at every position of NumPy forwards in float64."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from negjax.control import edit, steer_probes, target_probabilities
from negjax.control.folding import fold, folded_forwards, with_bias
from negjax.control.odds import to_log_odds
from negjax.model.language_model import LanguageModel
from negjax.weights.loading import fingerprint
from tests.support.block_shapes import SHAPES, error, precision, tiny, tiny_probes
from tests.support.control_reference import (
    EVERYWHERE,
    facts_of,
    folded_site,
    mean_odds,
    raised,
    some_shift,
)
from tests.support.reference import full_forward, reference_logits
from tests.support.sharp_models import sharp
from tests.support.tiny_models import leaves


def logits(lm: LanguageModel, tokens: np.ndarray) -> np.ndarray:
    """[T, V] of the model as it is, by its own layers."""
    row = jnp.asarray(tokens)[None]
    return np.asarray(reference_logits(lm.graphdef, lm.params, row, jnp.ones(row.shape, bool)))[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_folded_shift_is_a_shift_at_every_position(shape):
    lm, shift = tiny(shape), some_shift()
    folded = fold(lm, shift, "folded")
    for b in range(3):
        probes = tiny_probes(lm)
        tokens = probes.tokens[b, probes.mask[b]]
        expected, _ = full_forward(
            lm, tokens, site=folded_site(shape), shift=shift, read=EVERYWHERE
        )
        assert error(logits(folded, tokens), expected) < 3e-6
        assert error(logits(lm, tokens), expected) > 1e-2
    assert folded.name == "folded"
    assert folded.config.ffn_bias
    assert folded.fingerprint == fingerprint(folded.params) != lm.fingerprint
    # The model that was edited is as it was.
    assert lm.fingerprint == fingerprint(lm.params)
    before, after = leaves(lm.params), leaves(folded.params)
    changed = {name for name in after if not (after[name] == before.get(name, 0)).all()}
    assert changed == {"blocks.ffn.down.bias"}


def test_biases_of_zero_change_nothing():
    lm = tiny("gated")
    biased = with_bias(lm)
    assert biased.parameter_count == lm.parameter_count + 3 * (2 * 20 + 16)
    tokens = np.asarray([3, 5, 7])
    np.testing.assert_array_equal(logits(biased, tokens), logits(lm, tokens))
    assert with_bias(tiny("gpt2")) is tiny("gpt2")


@pytest.mark.parametrize("shape", SHAPES)
def test_log_odds_of_folded_shifts_and_their_gradient(shape):
    with precision("float64"):
        lm, site = tiny(shape, "float64"), folded_site(shape)
        probes = facts_of(lm)
        # Room for two of the three prompts: they go in two batches.
        surface = folded_forwards(with_bias(lm), probes, rows=4, budget_bytes=10**9)
        halves = [
            folded_forwards(with_bias(lm), probes.select(part), rows=4, budget_bytes=10**9)
            for part in ([0, 1], [2])
        ]
        split = dataclasses.replace(surface, batches=halves[0].batches + halves[1].batches)
        shift, direction = some_shift()[None], some_shift(1.0)[None, ::-1]
        for forwards in (surface, split):
            level, gradient = forwards.slope(shift)
            assert level.tolist() == [
                pytest.approx(mean_odds(lm, probes, site, shift[0]), rel=1e-10)
            ]
            ends = [mean_odds(lm, probes, site, shift[0] + s * direction[0]) for s in (1e-5, -1e-5)]
            slope = (ends[0] - ends[1]) / 2e-5
            assert np.vdot(gradient, direction) == pytest.approx(slope, rel=1e-7)
            steps = np.asarray([[0.0, 1.0, -0.5]])
            expected = [mean_odds(lm, probes, site, shift[0] + s * direction[0]) for s in steps[0]]
            np.testing.assert_allclose(
                forwards.along(shift, direction, steps), [expected], rtol=1e-10
            )
        for b, own in enumerate(surface.each_slope()):
            one = probes.select([b])
            ends = [mean_odds(lm, one, site, s * direction[0]) for s in (1e-5, -1e-5)]
            assert np.vdot(own, direction) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-7)


def test_a_shift_at_the_read_position_alone_is_another():
    """Steering and editing ask different things: an edit acts on all tokens that were read."""
    lm = sharp("gpt2")
    facts = facts_of(lm).select([2])
    asked = raised(lm, facts, 2.0)
    [steered] = steer_probes(lm, facts, asked, unrelated=facts)
    edited = edit(lm, facts, asked)
    assert error(edited.shift, steered.shift) > 0.05
    folded = fold(lm, steered.shift, "steered")
    odds = to_log_odds(target_probabilities(folded, facts)[0, 0])
    assert abs(odds - to_log_odds(asked)) > 0.05
