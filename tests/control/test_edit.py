"""Edits folded into biases, and their measures, against plain NumPy forwards in float64."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import pytest

import negjax
from negjax.control import (
    edit,
    next_token_kl,
    overall,
    perplexity,
    steer_probes,
    success,
    target_probabilities,
)
from negjax.control.folding import fold, folded_forwards, with_bias
from negjax.control.odds import to_log_odds, to_probability
from negjax.control.steering import TOLERANCE
from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes
from negjax.measurements.gradients import neurgrad
from negjax.model.language_model import LanguageModel
from negjax.weights.loading import fingerprint, load
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import JOINT_TARGETS, SHAPES, error, precision, tiny, tiny_probes
from tests.support.reference import full_forward, joint_scores, reference_logits, softmax
from tests.support.sharp_models import sharp
from tests.support.tiny_models import leaves

EVERYWHERE = cast(Any, slice(None))


def folded_site(shape: str) -> str:
    return SHAPES[shape].sites[-1]


def some_shift(scale: float = 0.3) -> np.ndarray:
    return scale * np.random.default_rng(8).normal(size=(3, 20))


def facts_of(lm: LanguageModel) -> Probes:
    probes = tiny_probes(lm)
    return encode(lm, probes.prompts, [row[1] for row in probes.targets])


def raised(lm: LanguageModel, facts: Probes, by: float) -> float:
    """The probability whose log-odds are so much above the targets' mean."""
    mean = to_log_odds(target_probabilities(lm, facts)[:, 0]).mean()
    return float(to_probability(mean + by))


def logits(lm: LanguageModel, tokens: np.ndarray) -> np.ndarray:
    """[T, V] of the model as it is, by its own layers."""
    row = jnp.asarray(tokens)[None]
    return np.asarray(reference_logits(lm.graphdef, lm.params, row, jnp.ones(row.shape, bool)))[0]


def mean_odds(lm: LanguageModel, probes: Probes, site: str, shift: np.ndarray | None) -> float:
    """Mean log-odds of the targets with a shift at every position."""
    found = []
    for b in range(len(probes)):
        tokens = probes.tokens[b, probes.mask[b]]
        all_logits, _ = full_forward(lm, tokens, site=site, shift=shift, read=EVERYWHERE)
        found.append(softmax(all_logits[probes.read[b]])[probes.target_ids[b, 0, 0]])
    return float(to_log_odds(np.asarray(found)).mean())


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


@pytest.mark.parametrize("shape", SHAPES)
def test_probabilities_of_all_targets(shape):
    lm = tiny(shape)
    probes = tiny_probes(lm)
    expected = np.exp([[joint_scores(lm, probes, b, k)[0] for k in range(2)] for b in range(3)])
    np.testing.assert_allclose(target_probabilities(lm, probes), expected, rtol=1e-5)
    tight = target_probabilities(lm, probes, budget_bytes=60_000)
    np.testing.assert_allclose(tight, expected, rtol=1e-5)


def test_probabilities_of_joint_targets():
    lm = tiny("gpt2")
    probes = tiny_probes(lm, JOINT_TARGETS, "all")
    expected = np.exp([[joint_scores(lm, probes, b, k)[0] for k in range(2)] for b in range(3)])
    np.testing.assert_allclose(target_probabilities(lm, probes), expected, rtol=1e-5)


TEXTS = ("w3 w5 w7 w9 w4", "w6 w3", "w10 w3 w2 w12 w13 w9 w9 w20")


@pytest.mark.parametrize("shape", ["gated", "gpt2"])
def test_perplexity_of_a_causal_model(shape):
    lm = tiny(shape)
    surprise = []
    for text in TEXTS:
        tokens = np.asarray(lm.tokenizer(text)["input_ids"])
        p = softmax(full_forward(lm, tokens)[0])
        surprise += [-np.log(p[i, tokens[i + 1]]) for i in range(len(tokens) - 1)]
    assert perplexity(lm, TEXTS) == pytest.approx(np.exp(np.mean(surprise)), rel=1e-5)
    assert perplexity(lm, TEXTS, budget_bytes=60_000) == pytest.approx(perplexity(lm, TEXTS))


def test_perplexity_of_a_masked_model():
    lm = tiny("bert")
    surprise = []
    for text in TEXTS:
        tokens = np.asarray(lm.tokenizer(text)["input_ids"])
        for i, token in enumerate(tokens):
            masked = tokens.copy()
            masked[i] = lm.tokenizer.mask_token_id
            surprise.append(-np.log(softmax(full_forward(lm, masked)[0][i])[token]))
    assert perplexity(lm, TEXTS) == pytest.approx(np.exp(np.mean(surprise)), rel=1e-5)


def test_unknown_words_count_and_frames_do_not():
    lm = negjax.load("facts-bert")
    assert lm.tokenizer("漢")["input_ids"].count(lm.tokenizer.unk_token_id) == 1
    assert perplexity(lm, ["漢"]) > 1
    with pytest.raises(ValueError, match="text 1 has no token to predict: ''"):
        perplexity(lm, ["漢", ""])


def test_perplexity_refuses():
    lm = tiny("gated")
    with pytest.raises(ValueError, match="no texts"):
        perplexity(lm, [])
    with pytest.raises(ValueError, match=r"text 1 is 1 tokens, expected 2 to 32: 'w4'"):
        perplexity(lm, ["w3 w4", "w4"])
    with pytest.raises(ValueError, match=r"text 0 is 33 tokens, expected 2 to 32"):
        perplexity(lm, ["w3 " * 33])


@pytest.mark.parametrize("shape", SHAPES)
def test_divergence_of_two_models(shape):
    lm = tiny(shape)
    edited = fold(lm, some_shift(), "edited")
    probes = tiny_probes(lm)
    found = next_token_kl(lm, edited, probes)
    for b in range(3):
        tokens = probes.tokens[b, probes.mask[b]]
        p, q = (softmax(full_forward(m, tokens)[0][probes.read[b]]) for m in (lm, edited))
        assert found[b] == pytest.approx(p @ np.log(p / q), rel=1e-4)
    assert np.abs(next_token_kl(lm, lm, probes)).max() < 1e-6


def test_success():
    found = success(np.asarray([0.5, 0.2, 0.1, 0.4]), np.asarray([0.1, 0.3, 0.1, 0.0]))
    assert (found.prompts, found.score) == (4, 0.5)
    assert found.magnitude == pytest.approx(0.175)
    assert found.probability == pytest.approx(0.3)
    with pytest.raises(ValueError, match=r"first is \[2\] and second \[3\]"):
        success(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="1 or more"):
        success(np.ones(0), np.ones(0))
    assert overall(1.0, 0.5, 0.25) == pytest.approx(3 / 7)
    assert overall(1.0, 0.0, 0.5) == 0


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
