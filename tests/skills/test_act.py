"""Act: the original's answers, accuracies computed by hand, halved labels, batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negjax.skills import Act, ActProbe, explain
from negjax.skills.probes.act import halve, right_answers
from tests.support.shared_data import GOLDEN
from tests.support.short_arrays import float32


@pytest.mark.shared
def test_the_originals_answers():
    with np.load(GOLDEN / "probe_rules.npz") as file:
        golden = {name: file[name] for name in file if name.startswith("two_")}
    activations, gold = golden["two_train_acts"], golden["two_train_gold"]
    probe = Act(7).fit(activations, gold, labels=2)
    theirs = golden["two_act_7_neurons"]
    flat = activations.reshape(60, -1)
    threshold = flat.mean(0, dtype=np.float64)[None]
    lead = np.abs(2 * right_answers([(flat, gold)], halve(2), threshold)[0] - 60)
    # The original breaks ties in its own way, here one at the last place.
    np.testing.assert_array_equal(lead[probe.neurons], lead[theirs])
    original = ActProbe(
        neurons=theirs,
        polarity=golden["two_act_7_polarity"].astype(np.int8),
        labels=2,
        total=120,
        threshold=threshold[0, theirs],
    )
    np.testing.assert_allclose(original.threshold, golden["two_act_7_threshold"], rtol=1e-6)
    np.testing.assert_array_equal(original.predict(activations), golden["two_act_7_train_pred"])
    shared, ours, place = np.intersect1d(probe.neurons, theirs, return_indices=True)
    assert len(shared) == 6
    np.testing.assert_array_equal(probe.polarity[ours], original.polarity[place])
    np.testing.assert_array_equal(probe.threshold[ours], original.threshold[place])


# Means 2, 0, −1, 5.
ACTIVATIONS = float32([[1, 1, -2, 5], [3, -1, -1, 5], [4, 1, 0, 5], [0, -1, -1, 5]])


def test_two_labels_by_hand():
    gold = [0, 1, 1, 0]
    # Above the mean: neuron 0 in prompts 1, 2; 1 in 0, 2; 2 in 2 alone; 3 in none, for a > 5 fails.
    # Right answers: 4, 2, 3, 2 of 4.
    probe = Act(4).fit(ACTIVATIONS[:, None], gold, labels=2)
    assert probe.neurons.tolist() == [0, 2, 1, 3]
    # Half right counts as −1.
    assert probe.polarity.tolist() == [1, 1, -1, -1]
    assert probe.threshold.tolist() == [2, -1, 0, 5]
    # Votes for label 1 of 4: prompt 0: neuron 3; 1: 0, 1, 3; 2: 0, 2, 3; 3: 1, 3.
    assert probe.votes(ACTIVATIONS)[:, 1].sum(1).tolist() == [1, 3, 3, 2]
    np.testing.assert_array_equal(probe.votes(ACTIVATIONS).sum(1), np.ones((4, 4)))
    # Two against two is no majority: label 0.
    assert probe.predict(ACTIVATIONS).tolist() == [0, 1, 1, 0]
    assert probe.first(1).neurons.tolist() == [0] and probe.first(1).threshold.tolist() == [2]
    assert probe.first(1).predict(ACTIVATIONS).tolist() == [0, 1, 1, 0]


def test_labels_are_halved():
    assert halve(2).left.tolist() == [[True, False]]
    left, right = ([np.flatnonzero(node).tolist() for node in side] for side in halve(5))
    # Of n labels the first ⌊n/2⌋ go to the left.
    assert left == [[0, 1], [0], [2], [3]]
    assert right == [[2, 3, 4], [1], [3, 4], [4]]
    assert [len(halve(k).left) for k in (2, 3, 4, 5, 8)] == [1, 2, 3, 4, 7]


def test_three_labels_by_hand():
    """Label 0 against 1 and 2, then label 1 against 2 with the prompts of those two alone."""
    activations = float32([[0, 5], [0, 7], [8, 1], [8, 1], [8, 2], [6, 2]])
    gold = [0, 0, 1, 1, 2, 2]
    probe = Act(1).fit(activations, gold, labels=3)
    # Neuron 0, mean 5, tells 0 from the others; with mean 7.5 of those, it is wrong 3 times of 4.
    # Neuron 1, mean 3, is wrong for all, which is as good, but the second; of the last four prompts
    # its mean is 1.5 and it is always right.
    assert probe.neurons.tolist() == [0, 1] and probe.polarity.tolist() == [1, 1]
    assert probe.threshold.tolist() == [5, 1.5]
    assert probe.predict(activations).tolist() == gold
    # The first node decides: what the second says of label 0's prompts is not asked.
    assert probe.predict(float32([[1, 9], [9, 0], [9, 9]])).tolist() == [0, 1, 2]
    votes = probe.votes(float32([[1, 9], [9, 0]]))
    assert votes[0].tolist() == [[1, 0], [0, 0], [0, 1]]
    assert votes[1].tolist() == [[0, 0], [1, 1], [1, 0]]


@pytest.mark.parametrize("labels", [3, 4, 5])
def test_every_node_is_an_act_of_its_own(labels):
    rng = np.random.default_rng(labels)
    gold = rng.permutation(60) % labels
    activations = rng.normal(size=(60, 2, 15)).astype(np.float32)
    activations[:, 0, :labels] += 2 * (gold[:, None] == np.arange(labels))
    probe = Act(4).fit(activations, gold, labels)
    for node, (left, right) in enumerate(zip(*halve(labels), strict=True)):
        here = (left | right)[gold]
        alone = Act(4).fit(activations[here], right[gold[here]].astype(int), 2)
        of_node = slice(4 * node, 4 * node + 4)
        np.testing.assert_array_equal(probe.neurons[of_node], alone.neurons)
        np.testing.assert_array_equal(probe.polarity[of_node], alone.polarity)
        np.testing.assert_array_equal(probe.threshold[of_node], alone.threshold)
    assert (probe.predict(activations) == gold).mean() > 1.5 / labels
    np.testing.assert_array_equal(
        probe.first(2).predict(activations),
        Act(2).fit(activations, gold, labels).predict(activations),
    )
    assert explain(probe, (2, 15)).per_layer.sum() == len(np.unique(probe.neurons))


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(1, 39), max_size=4), st.integers(2, 5))
def test_any_batches_give_the_same_bits(cuts, labels):
    rng = np.random.default_rng(7)
    gold = np.arange(40) % labels
    activations = rng.normal(size=(40, 12)).astype(np.float32) * 10.0 ** rng.integers(-9, 9, 12)
    activations = activations.astype(np.float32)
    whole = Act(5).fit(activations, gold, labels)
    batches = [(activations[part], gold[part]) for part in np.split(np.arange(40), sorted(cuts))]
    parts = Act(5).fit_batches(lambda: iter(batches), labels)
    for name in ("neurons", "polarity", "threshold"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize(
    ("activations", "gold", "labels", "message"),
    [
        (np.zeros((0, 4), np.float32), [], 2, "activations are float32.0, 4., expected floats"),
        (np.zeros((2, 4), int), [0, 1], 2, "activations are int64.2, 4., expected floats"),
        (np.full((2, 4), np.nan), [0, 1], 2, "activations of prompt 0, neuron 0 are nan"),
        (np.zeros((2, 4), np.float32), [0, 3], 3, "gold of prompt 1 is 3, expected 0 … 2"),
        (np.zeros((2, 4), np.float32), [0, 1], 3, "no prompt of 2 has label 2 of 3"),
        (np.zeros((2, 4), np.float32), [0, 1], 1, "labels is 1, expected the number of"),
        (np.zeros((2, 2), np.float32), [0, 1], 2, "k is 3, expected 1 to 2: there are 2 neurons"),
    ],
)
def test_what_cannot_be_fitted(activations, gold, labels, message):
    with pytest.raises(ValueError, match=message):
        Act(3).fit(activations, gold, labels)


def test_batches_that_disagree():
    one, other = np.zeros((2, 4), np.float32), np.zeros((2, 5), np.float32)
    gold = np.arange(2)
    with pytest.raises(ValueError, match="activations are of 5 neurons, expected 4"):
        Act(1).fit_batches(lambda: [(one, gold), (other, gold)], 2)
    with pytest.raises(ValueError, match="no prompt of 2 has label 1 of 2"):
        Act(1).fit_batches(lambda: [(one, gold * 0)], 2)
    with pytest.raises(ValueError, match=r"gold is int64\[0\], expected integers \[0\]"):
        Act(1).fit_batches(list, 2)
    with pytest.raises(ValueError, match="k is 2, expected 1 to 1: there are 1 neurons of each"):
        Act(1).fit(one, [0, 1], 2).first(2)
