"""Codes of scores: the order of the labels' scores and zero survives, and that is enough."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negjax.skills import (
    code_dtype,
    decode_scores,
    encode_scores,
    magn_votes,
    polar_votes,
    score_features,
)
from negjax.skills.probes.rankings import magn_label_votes, polar_label_votes
from tests.support.short_arrays import float32

# Zeros of both signs, the smallest subnormal and normal numbers, the largest, and plain ones.
VALUES = np.asarray(
    [0.0, -0.0, 1.4e-45, -1.4e-45, 1.2e-38, -1.2e-38, 1, -1, 2, -2, 3.4e38, -3.4e38], np.float32
)


def drawn(labels: int, seed: int, prompts: int = 6, neurons: int = 40) -> np.ndarray:
    """Scores [B, K, N] with many ties."""
    rng = np.random.default_rng(seed)
    return rng.choice(VALUES[: rng.integers(1, len(VALUES) + 1)], (prompts, labels, neurons))


def signs_of_differences(scores: np.ndarray) -> np.ndarray:
    """[B, K, K, N], by comparison: differences may overflow."""
    left, right = scores[:, :, None], scores[:, None]
    return (left > right).astype(int) - (left < right).astype(int)


def test_a_code_by_hand():
    # Of 3, −1, 0 and zero itself, 3 are smaller than 3, none than −1, one each than 0 and zero.
    scores = float32([[[3], [-1], [0]]])
    code = 3 + 0 * 4 + 1 * 16 + 1 * 64
    assert np.asarray(encode_scores(scores)).tolist() == [[code]]
    assert np.asarray(decode_scores(np.asarray([[code]], np.uint8), 3)).tolist() == [
        [[2], [-1], [0]]
    ]


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [(2, "uint8"), (3, "uint8"), (4, "uint16"), (5, "uint16"), (6, "uint32"), (8, "uint32")],
)
def test_the_smallest_integers_that_hold_all_codes(labels, dtype):
    assert code_dtype(labels) == dtype
    # All labels tied below zero, whose place then is K.
    codes = np.asarray(encode_scores(-np.ones((1, labels, 1), np.float32)))
    assert codes.dtype == dtype and codes.item() == labels * (labels + 1) ** labels


@pytest.mark.parametrize("labels", range(2, 9))
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_signs_order_and_ties_survive(labels, dtype):
    with np.errstate(over="ignore"):
        scores = np.concatenate([drawn(labels, seed) for seed in range(8)])
        scores = np.clip(scores, -100, 100).astype(dtype) if dtype == "int8" else scores
        scores = scores.astype(dtype)
    codes = np.asarray(encode_scores(scores))
    assert codes.shape == (48, 40) and codes.dtype == code_dtype(labels)
    decoded = np.asarray(decode_scores(codes, labels))
    assert decoded.dtype == np.int8
    np.testing.assert_array_equal(np.sign(decoded), np.sign(scores))
    np.testing.assert_array_equal(signs_of_differences(decoded), signs_of_differences(scores))
    # Scores with the same order have the same code.
    np.testing.assert_array_equal(encode_scores(decoded), codes)


def test_every_order_of_three_labels_has_a_code():
    orders = {tuple(s) for s in itertools.product(range(-3, 4), repeat=3)}
    scores = np.asarray(sorted(orders), np.float32)[:, :, None]
    same = (np.sign(scores[:, None]) == np.sign(scores)).all((2, 3))
    differences = signs_of_differences(scores)
    same &= (differences[:, None] == differences).all((2, 3, 4))
    codes = np.asarray(encode_scores(scores))
    np.testing.assert_array_equal(codes == codes.T, same)
    # The number of weak orders of 3 labels and zero.
    assert len(np.unique(codes)) == 75


@pytest.mark.parametrize("labels", [2, 4, 5, 7])
def test_every_rule_takes_decoded_codes_for_scores(labels):
    scores = drawn(labels, seed=labels)
    gold = np.arange(6) % labels
    decoded = np.asarray(decode_scores(encode_scores(scores), labels))
    polarity = np.arange(40) % 3 - 1
    for rule in (polar_votes, magn_votes):
        np.testing.assert_array_equal(rule(decoded, gold), rule(scores, gold))
    for votes in (polar_label_votes, magn_label_votes):
        np.testing.assert_array_equal(votes(decoded, polarity), votes(scores, polarity))
    np.testing.assert_array_equal(score_features(decoded), score_features(scores))


def test_votes_by_hand():
    # Two prompts of three labels, two neurons; the gold labels are 2 and 0.
    scores = float32([[[1, -1], [-2, 0], [3, -1]], [[-1, 5], [4, 5], [0, -2]]])
    gold = [2, 0]
    # Prompt 0: neuron 0: 2·1 − (1 − 1 + 1) = 1, neuron 1: 2·(−1) − (−1 + 0 − 1) = 0.
    # Prompt 1: neuron 0: 2·(−1) − (−1 + 1 + 0) = −2, neuron 1: 2·1 − (1 + 1 − 1) = 1.
    assert np.asarray(polar_votes(scores, gold)).tolist() == [1 - 2, 0 + 1]
    # Prompt 0: 3 lies above 1 and −2; −1 is tied with −1 and lies below 0.
    # Prompt 1: −1 lies below 4 and 0; 5 is tied with 5 and lies above −2.
    assert np.asarray(magn_votes(scores, gold)).tolist() == [2 - 2, -1 + 1]
    first = [True, False]
    assert np.asarray(polar_votes(scores, gold, first)).tolist() == [1, 0]
    assert np.asarray(magn_votes(scores, gold, first)).tolist() == [2, -1]
    assert np.asarray(magn_votes(scores, gold)).dtype == np.int32


@pytest.mark.parametrize("labels", [2, 4, 8])
def test_votes_against_the_definition(labels):
    scores = drawn(labels, seed=9, prompts=30)
    gold = np.random.default_rng(1).integers(0, labels, 30)
    signs = np.sign(scores).astype(int)
    own = signs[np.arange(30), gold]
    np.testing.assert_array_equal(polar_votes(scores, gold), (2 * own - signs.sum(1)).sum(0))
    above = signs_of_differences(scores)[np.arange(30), gold]
    np.testing.assert_array_equal(magn_votes(scores, gold), above.sum((0, 1)))


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(12)), st.sets(st.integers(1, 11), max_size=3))
def test_votes_of_any_batches_in_any_order_add_up(order, cuts):
    scores, gold = drawn(3, seed=4, prompts=12), np.arange(12) % 3
    batches = np.split(np.asarray(order), sorted(cuts))
    for rule in (polar_votes, magn_votes):
        whole = np.asarray(rule(scores, gold))
        parts = [np.asarray(rule(scores[batch], gold[batch])) for batch in batches]
        np.testing.assert_array_equal(np.sum(parts, axis=0), whole)


@pytest.mark.parametrize("labels", [1, 9])
def test_other_numbers_of_labels(labels):
    with pytest.raises(ValueError, match=f"{labels} labels: codes hold 2 to 8"):
        encode_scores(np.zeros((1, labels, 3), np.float32))


def test_codes_of_another_number_of_labels():
    with pytest.raises(ValueError, match=r"codes are uint8\[1, 3\], those of 4 labels are uint16"):
        decode_scores(np.zeros((1, 3), np.uint8), 4)
