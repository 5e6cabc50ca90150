"""Edits: the probability they reach, what they leave alone, and what is refused."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from negjax.control import (
    edit,
    target_probabilities,
)
from negjax.control.folding import folded_forwards, with_bias
from negjax.control.odds import to_log_odds
from negjax.control.steering import TOLERANCE
from negjax.generation.writing import generate
from negjax.inputs.encoding import encode
from negjax.measurements.gradients import neurgrad
from negjax.weights.loading import load
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import JOINT_TARGETS, SHAPES, tiny, tiny_probes
from tests.support.control_reference import facts_of, folded_site, mean_odds, raised
from tests.support.reference import joint_scores
from tests.support.sharp_models import sharp
from tests.support.tiny_models import leaves


@pytest.mark.parametrize("shape", SHAPES)
def test_an_edit_reaches_its_probability(shape):
    lm = sharp(shape)
    probes = facts_of(lm)
    # Far away the search may end before it is parallel to the gradient; near by it does not.
    assert edit(lm, probes, raised(lm, probes, 1.0)).converged
    asked = raised(lm, probes, 2.0)
    found = edit(lm, probes, asked)
    assert found.reached
    assert found.site == folded_site(shape)
    measured = np.exp([joint_scores(found.lm, probes, b, 0)[0] for b in range(3)])
    np.testing.assert_allclose(found.probability, measured, rtol=1e-4)
    wanted = to_log_odds(asked)
    assert abs(to_log_odds(measured).mean() - wanted) < 2 * TOLERANCE
    assert mean_odds(lm, probes, found.site, found.shift) == pytest.approx(wanted, abs=2e-3)
    np.testing.assert_allclose(
        found.before, np.exp([joint_scores(lm, probes, b, 0)[0] for b in range(3)]), rtol=1e-5
    )
    near = [norm for norm, p in found.path if abs(to_log_odds(p) - wanted) < 1.5 * TOLERANCE]
    assert near == sorted(near, reverse=True)
    assert found.norm == pytest.approx(near[-1], rel=1e-5)
    straight = edit(lm, probes, asked, turns=0)
    assert straight.reached
    assert found.norm < straight.norm
    assert found.lm.name == f"{shape}, edited"


def test_an_edits_shift_at_every_token_writes_what_the_edited_model_writes():
    lm = sharp("gated")
    facts = facts_of(lm)
    found = edit(lm, facts, 0.6, turns=0)
    prompts = list(facts.prompts)
    shifted = generate(lm, prompts, found.intervention, site=found.site, max_tokens=4)
    edited = generate(found.lm, prompts, max_tokens=4)
    assert shifted.texts == edited.texts != generate(lm, prompts, max_tokens=4).texts
    np.testing.assert_allclose(shifted.log_probability, edited.log_probability, atol=1e-4)


def test_an_edit_may_be_kept_to_some_neurons():
    lm = sharp("gpt2")
    facts = facts_of(lm)
    found = edit(lm, facts, raised(lm, facts, 1.0), layers=[2])
    assert found.reached
    assert (found.shift[:2] == 0).all()
    changed = (
        leaves(found.lm.params)["blocks.ffn.down.bias"] != leaves(lm.params)["blocks.ffn.down.bias"]
    )
    assert changed.any(1).tolist() == [False, False, True]
    neurons = np.asarray([[1, 3], [2, 5], [1, 3], [2, 11]])
    few = edit(lm, facts, raised(lm, facts, 0.2), neurons=neurons)
    assert np.flatnonzero(few.shift).tolist() == [23, 45, 51]


def test_out_of_reach_is_said():
    lm = sharp("gated")
    found = edit(lm, facts_of(lm), 0.9999, neurons=np.asarray([[0, 0]]))
    assert not found.reached
    assert not found.converged
    assert found.probability.mean() < 0.9


def test_several_tokens_are_one_answer():
    lm = sharp("gated")
    probes = tiny_probes(lm)
    facts = encode(lm, probes.prompts, [row[0] for row in JOINT_TARGETS], target_mode="all")
    found = edit(lm, facts, raised(lm, facts, 2.0))
    assert found.reached
    measured = [joint_scores(found.lm, facts, b, 0)[0] for b in range(3)]
    np.testing.assert_allclose(found.probability, np.exp(measured), rtol=1e-4)


def test_what_is_preserved_moves_less():
    lm = sharp("gpt2")
    facts = facts_of(lm)
    kept = encode(lm, ["w9 w2 w4", "w12 w3"], ["w5", "w8"])
    asked = raised(lm, facts, 1.0)
    plain = edit(lm, facts, asked)
    careful = edit(lm, facts, asked, preserve=kept)
    assert careful.reached
    gradients = folded_forwards(with_bias(lm), kept, rows=1, budget_bytes=10**9).each_slope()
    for gradient in gradients:
        sizes = np.linalg.norm(gradient) * careful.norm
        assert abs(np.vdot(gradient, careful.shift)) < 1e-5 * sizes
        assert abs(np.vdot(gradient, plain.shift)) > 1e-3 * sizes
    before = to_log_odds(target_probabilities(lm, kept))
    moved = [
        np.abs(to_log_odds(target_probabilities(e.lm, kept)) - before).max()
        for e in (plain, careful)
    ]
    assert moved[1] < moved[0] / 2
    # The price of the condition.
    assert careful.norm > plain.norm


def test_preserved_prompts_may_be_alike():
    lm = sharp("gated")
    kept = encode(lm, ["w9 w2 w4"] * 3, ["w5"] * 3)
    facts = facts_of(lm)
    asked = raised(lm, facts, 1.0)
    once = edit(lm, facts, asked, preserve=kept.select([0]))
    thrice = edit(lm, facts, asked, preserve=kept)
    assert thrice.norm == pytest.approx(once.norm, rel=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_edited_models_are_saved_and_loaded(shape, tmp_path: Path):
    lm = sharp(shape)
    edited = edit(lm, facts_of(lm), 0.1, turns=1).lm
    again = load(save_pretrained(edited, tmp_path))
    assert again.fingerprint == edited.fingerprint
    assert again.config == edited.config
    probes = facts_of(lm)
    np.testing.assert_array_equal(
        neurgrad(again, probes).probability, neurgrad(edited, probes).probability
    )


def test_half_precision_rounds_the_edit_and_says_so():
    lm = sharp("gated", "bfloat16")
    probes = facts_of(lm)
    asked = raised(lm, probes, 2.0)
    found = edit(lm, probes, asked)
    bias = leaves(found.lm.params)["blocks.ffn.down.bias"]
    assert bias.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found.probability, target_probabilities(found.lm, probes)[:, 0])
    missed = to_log_odds(found.probability).mean() - to_log_odds(asked)
    assert found.reached == (abs(missed) <= TOLERANCE)
    assert abs(missed) < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probability": 1.0}, r"probability is 1.0, expected a number between 0 and 1"),
        ({"probability": 0.0}, r"probability is 0.0"),
        ({"site": "up"}, r"site 'up': .* folds into no bias; pass site='product'"),
        ({"site": "act"}, r"site 'act': a model with gated"),
        ({"layers": [9]}, r"layer 9 does not exist"),
        ({"neurons": np.asarray([[0, 99]])}, r"neuron \(layer 0, index 99\) does not exist"),
        ({"budget_bytes": 100}, r"budget_bytes=100 is too small: one prompt of 8 tokens"),
    ],
)
def test_refused(arguments, message):
    lm = tiny("gated")
    with pytest.raises(ValueError, match=message):
        edit(lm, facts_of(lm), **arguments)


def test_several_targets_are_refused():
    lm = tiny("gated")
    with pytest.raises(ValueError, match=r"facts have 2 targets a prompt, expected one"):
        edit(lm, tiny_probes(lm))
    with pytest.raises(ValueError, match=r"preserve have 2 targets a prompt, expected one"):
        edit(lm, facts_of(lm), preserve=tiny_probes(lm))


@pytest.mark.parametrize(
    ("family", "changes"),
    [("mistral", {}), ("qwen2", {"qkv_bias": True}), ("qwen3", {"qk_norm": True})],
)
def test_families_without_a_bias_are_refused(family, changes):
    lm = tiny("gated", family=family, **changes)
    with pytest.raises(ValueError, match=rf"of family '{family}' have no bias .* llama, gpt2 and"):
        edit(lm, facts_of(lm), 0.5)
