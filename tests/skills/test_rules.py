"""Polar and Magn: the original's answers, integers computed by hand, ties, refusals."""

from typing import Any, cast

import numpy as np
import pytest

from negjax.skills import (
    MAGN,
    POLAR,
    Magn,
    MagnProbe,
    Polar,
    PolarProbe,
    Rule,
    encode_scores,
    predict_by_neurons,
    predict_by_set,
    random_ranking,
    rank_neurons,
    votes_by_prompts,
)
from tests.support.shared_data import GOLDEN
from tests.support.short_arrays import float32, int8, int32

KINDS: dict[str, tuple[type[Polar] | type[Magn], Rule]] = {
    "polar": (Polar, POLAR),
    "magn": (Magn, MAGN),
}
CASES = [
    (task, kind, k, variant)
    for task in ("two", "four")
    for kind in KINDS
    for k in (1, 7, 31)
    for variant in ("both", "positive")
]


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "probe_rules.npz") as file:
        return dict(file)


def fit(golden, task, kind, k, variant):
    scores, gold = golden[f"{task}_train_scores"], golden[f"{task}_train_gold"]
    return KINDS[kind][0](k, variant).fit(scores, gold)


def assert_predicts(probe, golden, task, prefix):
    train, test = (golden[f"{task}_{part}_scores"] for part in ("train", "test"))
    rule = probe.predict_training if isinstance(probe, MagnProbe) else probe.predict
    np.testing.assert_array_equal(rule(train), golden[f"{prefix}_train_pred"])
    codes = encode_scores(test.reshape(*test.shape[:2], -1))
    for found in (probe.predict(test), probe.predict_codes(codes)):
        np.testing.assert_array_equal(found, golden[f"{prefix}_test_pred"])


@pytest.mark.shared
@pytest.mark.parametrize(("task", "kind", "k", "variant"), CASES)
def test_the_originals_neurons(golden, task, kind, k, variant):
    """The same R in the same order: which of tied neurons come first is our own rule."""
    probe, prefix = fit(golden, task, kind, k, variant), f"{task}_{kind}_{k}_{variant}"
    scores = golden[f"{task}_train_scores"]
    flat = scores.reshape(*scores.shape[:2], -1)
    votes = np.asarray(KINDS[kind][1].votes(flat, golden[f"{task}_train_gold"]))
    theirs = golden[f"{prefix}_neurons"]
    size = np.abs if variant == "both" else np.asarray
    np.testing.assert_array_equal(size(votes[probe.neurons]), size(votes[theirs]))
    np.testing.assert_array_equal(np.sign(votes[theirs]), golden[f"{prefix}_polarity"])
    np.testing.assert_array_equal(probe.polarity, np.sign(votes[probe.neurons]))
    tied = np.diff(size(votes[probe.neurons])) == 0
    assert (np.diff(probe.neurons)[tied] > 0).all()


@pytest.mark.shared
@pytest.mark.parametrize(("task", "kind", "k", "variant"), CASES)
def test_the_originals_predictions_from_its_neurons(golden, task, kind, k, variant):
    prefix = f"{task}_{kind}_{k}_{variant}"
    theirs = {
        name: golden[f"{prefix}_{name}"].astype(dtype)
        for name, dtype in (("neurons", np.int64), ("polarity", np.int8))
    }
    probe = fit(golden, task, kind, k, variant)
    assert_predicts(type(probe)(**theirs, labels=probe.labels, total=120), golden, task, prefix)


@pytest.mark.shared
def test_the_originals_predictions_from_ours(golden):
    """Wherever the last neuron is not tied with one left out."""
    compared = 0
    for case in CASES:
        probe, prefix = fit(golden, *case), "_".join(map(str, case))
        if set(probe.neurons) == set(golden[f"{prefix}_neurons"]):
            assert_predicts(probe, golden, case[0], prefix)
            compared += 1
    assert compared >= 14


# Four prompts of two labels, three neurons; gold 0, 1, 1, 0.
SCORES = float32(
    [
        [[2, -1, 1], [1, 1, 1]],
        [[-1, 1, 0], [1, 3, 0]],
        [[-3, 0, -1], [2, -1, -1]],
        [[1, -2, 2], [-1, -1, 2]],
    ]
)
GOLD = [0, 1, 1, 0]


def test_polar_by_hand():
    # 2·sign(gold) − Σ sign is sign(gold) − sign(other): 0, 2, 2, 2; −2, 0, −1, 0; 0, 0, 0, 0.
    probe = Polar(3).fit(SCORES[..., None, :], GOLD)
    assert probe.neurons.tolist() == [0, 1, 2] and probe.polarity.tolist() == [1, -1, 0]
    # Prompt 0: label 0 has 1·1 − 1·(−1) = 2, label 1 has 1 − 1 = 0. Prompt 1: −2 and 0.
    # Prompt 2: −1 and 1 + 1. Prompt 3: 1 + 1 and −1 + 1.
    assert probe.votes(SCORES).sum(-1).tolist() == [[2, 0], [-2, 0], [-1, 2], [2, 0]]
    assert probe.predict(SCORES).tolist() == [0, 1, 1, 0]
    assert (probe.labels, probe.total) == (2, 3)


def test_magn_by_hand():
    # sign(gold − other): 1, 1, 1, 1; −1, 1, −1, −1; 0, 0, 0, 0.
    probe = Magn(3).fit(SCORES[..., None, :], GOLD)
    assert probe.neurons.tolist() == [0, 1, 2] and probe.polarity.tolist() == [1, -1, 0]
    # Neuron 0 votes for the larger, neuron 1 for the smaller score, neuron 2 for nothing.
    assert probe.votes(SCORES).sum(-1).tolist() == [[2, 0], [1, 1], [0, 2], [2, 0]]
    # Of a tie the first label.
    assert probe.predict(SCORES).tolist() == [0, 0, 1, 0]
    # Sums: 2 + 1 and 1 − 1; −1 − 1 and 1 − 3; −3 and 2 + 1; 1 + 2 and −1 + 1.
    assert probe.predict_training(SCORES).tolist() == [0, 0, 1, 0]


def test_a_magn_neuron_votes_for_every_tied_label():
    probe = MagnProbe(neurons=np.asarray([0, 1]), polarity=int8([1, -1]), labels=3, total=2)
    scores = float32([[[5, 7], [5, 7], [1, 7]]])
    assert probe.votes(scores).tolist() == [[[1, 1], [1, 1], [0, 1]]]


def test_ties_go_to_the_lowest_index_and_the_first_label():
    votes = int32([0, -4, 4, 2, -4])
    assert rank_neurons(votes).neurons.tolist() == [1, 2, 4, 3, 0]
    assert rank_neurons(votes).polarity.tolist() == [-1, 1, -1, 1, 0]
    assert rank_neurons(votes, "positive").neurons.tolist() == [2, 3, 0, 1, 4]
    assert rank_neurons(votes, "positive").polarity.tolist() == [1, 1, 0, 0, 0]
    probe = Polar(2).from_votes(int32([1, 1, 1]), labels=3)
    assert probe.neurons.tolist() == [0, 1]
    assert probe.predict(np.zeros((1, 3, 3), np.float32)).tolist() == [0]
    assert probe.predict(float32([[[-1] * 3, [2] * 3, [1] * 3]])).tolist() == [1]


def test_disjoint_sets_in_the_order_of_the_ranking():
    votes = np.random.default_rng(0).integers(-9, 10, 50).astype(np.int32)
    order = rank_neurons(votes).neurons
    for skip in (0, 7, 43):
        probe = Polar(7, skip=skip).from_votes(votes, labels=2)
        assert probe.neurons.tolist() == order[skip : skip + 7].tolist()
        assert probe.polarity.tolist() == np.sign(votes[probe.neurons]).tolist()
    with pytest.raises(ValueError, match="skip is 44, expected 0 to 43: 7 of 50 neurons"):
        Polar(7, skip=44).from_votes(votes, labels=2)


@pytest.fixture(scope="module")
def prompts():
    """Codes and gold of 50 prompts of four labels, 60 neurons, some of which know the label."""
    rng = np.random.default_rng(3)
    gold = rng.permutation(50) % 4
    scores = rng.integers(-2, 3, (50, 4, 60)).astype(np.float32)
    scores[np.arange(50), gold, :10] += 2
    return scores, np.asarray(encode_scores(scores)), gold


@pytest.mark.parametrize(("kind", "rule"), [(Polar, POLAR), (Magn, MAGN)])
def test_many_probes_from_one_pass(prompts, kind, rule):
    scores, codes, gold = prompts
    votes = np.asarray(rule.votes(scores, gold))
    ranking, counts = rank_neurons(votes), [1, 2, 3, 8, 32, 60]
    each = [kind(k).fit(scores, gold).predict(scores) for k in counts]
    found = predict_by_neurons(rule, ranking, counts, codes, 4)
    np.testing.assert_array_equal(found, each)
    assert (found[3] == gold).mean() > 0.5
    sets = [kind(7, skip=skip).fit(scores, gold).predict(scores) for skip in range(0, 50, 7)]
    np.testing.assert_array_equal(predict_by_set(rule, ranking, 7, codes, 4), sets)


@pytest.mark.parametrize("rule", [POLAR, MAGN])
@pytest.mark.parametrize("size", [1, 7, 13, 50])
def test_rankings_of_the_first_prompts(prompts, rule, size):
    scores, codes, gold = prompts
    counts = [1, 8, 13, 16, 39, 50]
    batches = [(codes[i : i + size], gold[i : i + size]) for i in range(0, 50, size)]
    found = votes_by_prompts(rule, counts, batches, 4)
    np.testing.assert_array_equal(found, [rule.votes(scores[:c], gold[:c]) for c in counts])
    assert found.dtype == np.int32
    np.testing.assert_array_equal(
        votes_by_prompts(rule, [3], batches, 4), rule.votes(scores[:3], gold[:3])[None]
    )
    with pytest.raises(ValueError, match="51 prompts are asked for, there are 50"):
        votes_by_prompts(rule, [8, 51], batches, 4)


def test_counts_that_do_not_ascend(prompts):
    ranking = random_ranking(np.ones(60, np.int32), seed=0)
    for counts in ([], [0, 1], [2, 2], [4, 2]):
        with pytest.raises(ValueError, match="expected ascending whole numbers from 1"):
            predict_by_neurons(POLAR, ranking, counts, prompts[1], 4)
    with pytest.raises(ValueError, match="the largest number is 61, expected 1 to 60"):
        predict_by_neurons(POLAR, ranking, [1, 61], prompts[1], 4)
    with pytest.raises(ValueError, match="size is 61, expected 1 to 60"):
        predict_by_set(POLAR, ranking, 61, prompts[1], 4)


@pytest.mark.parametrize("kind", [Polar, Magn])
def test_labels_are_the_tasks(kind):
    """Not those that happen to be predicted or gold."""
    scores = np.random.default_rng(0).normal(size=(9, 3, 20)).astype(np.float32)
    with pytest.raises(ValueError, match="no prompt of 9 has label 1 of 3; train on prompts"):
        kind(2).fit(scores, [0, 2] * 4 + [0])
    assert kind(2).fit(scores, [0, 1, 2] * 3).labels == 3


@pytest.mark.parametrize("kind", [Polar, Magn])
@pytest.mark.parametrize(
    ("scores", "gold", "message"),
    [
        (np.zeros((0, 2, 4), np.float32), [], "scores are .0, 2, 4., expected one prompt and two"),
        (np.zeros((2, 1, 4), np.float32), [0, 0], "scores are .2, 1, 4., expected one prompt and"),
        (np.zeros((2, 2), np.float32), [0, 1], "scores are float32.2, 2., expected floats or"),
        (np.zeros((2, 2, 4), int), [0, 1], "scores are int64.2, 2, 4., expected floats or int8"),
        (np.zeros((2, 2, 4), np.float32), [0, 2], "gold of prompt 1 is 2, expected 0 … 1"),
        (np.zeros((2, 2, 4), np.float32), [-1, 1], "gold of prompt 0 is -1, expected 0 … 1"),
        (np.zeros((2, 2, 4), np.float32), [0], "gold is int64.1., expected integers .2."),
        (np.zeros((2, 2, 4), np.float32), [0.0, 1.0], "gold is float64.2., expected integers"),
        (np.zeros((2, 2, 2), np.float32), [0, 1], "k is 3, expected 1 to 2: there are 2 neurons"),
    ],
)
def test_what_cannot_be_fitted(kind, scores, gold, message):
    with pytest.raises(ValueError, match=message):
        kind(3).fit(scores, gold)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite(value):
    scores = np.zeros((3, 2, 2, 5), np.float32)
    scores[2, 1, 1, 3] = value
    with pytest.raises(ValueError, match=f"scores of prompt 2, neuron 8 are {value}, expected"):
        Polar(2).fit(scores, [0, 1, 0])


def test_scores_of_another_model_or_task():
    probe = PolarProbe(neurons=np.asarray([0]), polarity=int8([1]), labels=3, total=4)
    with pytest.raises(ValueError, match="scores are of 2 labels, expected 3"):
        probe.predict(np.zeros((1, 2, 4), np.float32))
    with pytest.raises(ValueError, match="scores are of 5 neurons, expected 4"):
        probe.predict(np.zeros((1, 3, 5), np.float32))
    with pytest.raises(ValueError, match=r"codes are uint8\[1, 5\], expected \[B, 4\]"):
        probe.predict_codes(np.zeros((1, 5), np.uint8))


def test_settings_that_do_not_exist():
    with pytest.raises(ValueError, match="variant is 'negative', expected one of"):
        Polar(2, cast(Any, "negative")).from_votes(np.arange(4), labels=2)
    with pytest.raises(ValueError, match="k is 0, expected 1 to 4"):
        Polar(0).from_votes(np.arange(4), labels=2)
    with pytest.raises(ValueError, match=r"votes are float64\[4\], expected integers"):
        Polar(2).from_votes(np.zeros(4), labels=2)
    with pytest.raises(ValueError, match="labels is 1, expected the number of the task's labels"):
        Polar(2).from_votes(np.arange(4), labels=1)
