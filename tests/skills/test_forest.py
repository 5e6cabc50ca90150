"""Forests: walked as arrays they answer what scikit-learn answers, to the last tie."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from negjax.skills import Tree, encode_scores, score_features
from tests.support.short_arrays import float32


def prompts(labels, seed=0, count=150, neurons=30):
    """Scores and gold; a few neurons know something."""
    rng = np.random.default_rng(seed)
    gold = rng.permutation(count) % labels
    scores = rng.normal(size=(count, labels, neurons)).astype(np.float32)
    scores[np.arange(count), gold, :5] += 1
    return scores, gold


def sklearn_forest(features, gold, **settings):
    settings = {"n_estimators": 100, "random_state": 42} | settings
    return RandomForestClassifier(**settings).fit(features, gold)


def test_features_by_hand():
    two = float32([[[1, 2, 3], [1, 3, 2]]])
    assert score_features(two).tolist() == [[0, 0, 1]]
    three = float32([[[1, 2, 0], [1, 3, 1], [0, 1, 2]]])
    assert score_features(three).tolist() == [[0, 1, 2]]
    assert score_features(three).dtype == np.uint8


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_scores_as_scikit_learn(labels):
    scores, gold = prompts(labels)
    train, test = slice(0, 100), slice(100, 150)
    probe = Tree().fit(scores[train], gold[train])
    theirs = sklearn_forest(score_features(scores[train]), gold[train])
    features = score_features(scores)
    np.testing.assert_array_equal(probe.predict(scores), theirs.predict(features))
    assert (probe.predict(scores[train]) == gold[train]).all()
    assert (probe.predict(scores[test]) == gold[test]).mean() > 1.2 / labels
    np.testing.assert_array_equal(probe.predict_codes(encode_scores(scores)), probe.predict(scores))
    np.testing.assert_allclose(probe.importance, theirs.feature_importances_[probe.neurons])
    assert (np.diff(probe.importance) <= 0).all() and probe.importance.sum() == pytest.approx(1)
    assert not np.delete(theirs.feature_importances_, probe.neurons).any()


@pytest.mark.parametrize("settings", [{}, {"depth": 1}, {"depth": 3, "trees": 7}, {"trees": 2}])
def test_shares_and_ties_as_scikit_learn(settings):
    """Two trees, or shallow ones, leave labels equal: the same sums in the same order."""
    scores, gold = prompts(4, seed=1)
    features = score_features(scores)
    probe = Tree(**settings).fit(scores, gold)
    theirs = sklearn_forest(
        features, gold, n_estimators=settings.get("trees", 100), max_depth=settings.get("depth")
    )
    shares = probe.votes(scores)
    assert shares.shape == (150, 4, settings.get("trees", 100))
    for tree, estimator in enumerate(theirs.estimators_):
        np.testing.assert_array_equal(shares[..., tree], estimator.predict_proba(features))
    np.testing.assert_array_equal(probe.predict(scores), theirs.predict(features))
    proba = theirs.predict_proba(features)
    if settings.get("trees") == 2:
        assert ((proba == proba.max(1, keepdims=True)).sum(1) > 1).any()


def test_activations_as_scikit_learn():
    """Raw values: thresholds lie between float32 values and are compared as scikit-learn does."""
    rng = np.random.default_rng(2)
    gold = np.arange(120) % 3
    activations = rng.normal(size=(120, 2, 10)).astype(np.float32)
    activations[:, 0, 0] += gold
    # Values next to each other: the threshold between them rounds to one of them.
    activations[:, 1, 0] = np.nextafter(np.float32(1), float32([0, 1, 2]))[gold]
    flat = activations.reshape(120, 20)
    probe = Tree().fit_activations(activations, gold, labels=3)
    theirs = sklearn_forest(flat, gold)
    others = np.concatenate([flat, rng.normal(size=(200, 20)).astype(np.float32)])
    others = np.concatenate([others, np.nextafter(flat, np.float32(2)), flat + 1e-7])
    np.testing.assert_array_equal(probe.predict(others), theirs.predict(others))


def test_a_smaller_forest_is_the_first_trees_of_a_larger_one():
    scores, gold = prompts(3)
    large, small = Tree(trees=20).fit(scores, gold), Tree(trees=8).fit(scores, gold)
    np.testing.assert_array_equal(large.predict(scores, trees=8), small.predict(scores))
    np.testing.assert_array_equal(large.votes(scores, trees=8), small.votes(scores))
    with pytest.raises(ValueError, match="trees is 21, expected 1 to 20"):
        large.predict(scores, trees=21)


def test_threads_do_not_matter():
    scores, gold = prompts(4)
    one, two = Tree(jobs=1).fit(scores, gold), Tree(jobs=2).fit(scores, gold)
    np.testing.assert_array_equal(one.threshold, two.threshold)
    np.testing.assert_array_equal(one.votes(scores), two.votes(scores))


def test_a_forest_that_asks_nothing():
    """Where no feature tells prompts apart, there are roots alone, and labels are tied."""
    scores, gold = np.zeros((6, 3, 4), np.float32), [2, 1, 0, 2, 1, 0]
    probe = Tree(trees=1).fit(scores, gold)
    assert probe.neurons.size == 0
    theirs = sklearn_forest(score_features(scores), gold, n_estimators=1)
    np.testing.assert_array_equal(probe.predict(scores), theirs.predict(score_features(scores)))


@pytest.mark.parametrize(
    ("settings", "gold", "message"),
    [
        ({}, [0, 1, 3], "gold of prompt 2 is 3, expected 0 … 2"),
        ({}, [0, 1, 1], "no prompt of 3 has label 2 of 3"),
        ({"trees": 0}, [0, 1, 2], "trees is 0, expected a whole number, 1 or more"),
        ({"depth": 0}, [0, 1, 2], "depth is 0, expected a whole number, 1 or more"),
    ],
)
def test_what_cannot_be_fitted(settings, gold, message):
    with pytest.raises(ValueError, match=message):
        Tree(**settings).fit(np.zeros((3, 3, 4), np.float32), gold)


def test_features_of_another_kind():
    with pytest.raises(
        ValueError, match=r"features are float64\[3, 4\], expected \[B, N\] in uint8"
    ):
        Tree().fit_features(np.zeros((3, 4)), [0, 1, 2], 3)


def test_features_in_float32_grow_the_same_forest():
    generator = np.random.default_rng(0)
    features = generator.integers(0, 3, (30, 20)).astype(np.uint8)
    gold = np.arange(30) % 3
    one, other = (
        Tree(trees=5).fit_features(features.astype(t), gold, 3) for t in ("uint8", "float32")
    )
    for field in ("neurons", "asked", "threshold", "left", "right", "share"):
        assert np.array_equal(getattr(one, field), getattr(other, field)), field
