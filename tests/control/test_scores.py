"""What edits are judged by, against plain NumPy forwards in float64."""

import numpy as np
import pytest

import negjax
from negjax.control import next_token_kl, overall, perplexity, success, target_probabilities
from negjax.control.folding import fold
from tests.support.block_shapes import JOINT_TARGETS, SHAPES, tiny, tiny_probes
from tests.support.control_reference import some_shift
from tests.support.reference import full_forward, joint_scores, softmax


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
