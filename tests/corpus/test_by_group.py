"""Languages' neurons, contrasts, mean ablation and contexts, beside what a few lines say."""

import dataclasses
import math

import numpy as np
import pytest

import negjax
from negjax import corpus
from negjax.corpus import CorpusStatistics, Extremes, GroupStatistics
from tests.support.block_shapes import tiny

SHAPE = (3, 20)
TEXTS = ["w3 w5 w7", "w9 w4 w2 w6 w8"]


def statistics(firing: np.ndarray, mean: np.ndarray | None = None) -> CorpusStatistics:
    """Made up, of groups' firing [G, L, F] and means."""
    groups = len(firing)
    none = np.zeros((*SHAPE, 1))
    ends = Extremes(value=none, text=none.astype(int), token=none.astype(int))
    lm = tiny("gated")
    return CorpusStatistics(
        model=lm.name,
        fingerprint=lm.fingerprint,
        site="up",
        window=8,
        special=False,
        texts=groups,
        tokens=10 * groups,
        mean=np.arange(60.0).reshape(SHAPE),
        variance=np.ones(SHAPE),
        lowest=np.zeros(SHAPE),
        highest=np.ones(SHAPE),
        firing=firing.mean(0),
        signs=None,
        top=ends,
        bottom=ends,
        histogram=None,
        groups=GroupStatistics(
            labels=("de", "fr", "zh")[:groups],
            texts=(1,) * groups,
            tokens=np.full(groups, 10),
            mean=np.zeros_like(firing) if mean is None else mean,
            variance=np.ones_like(firing),
            firing=firing,
        ),
    )


def entropy(probabilities: np.ndarray) -> float:
    shares = [p / sum(probabilities) for p in probabilities if p > 0]
    return -sum(p * math.log(p) for p in shares)


def test_neurons_of_a_language_fire_there_alone() -> None:
    firing = np.full((3, *SHAPE), 0.3)
    firing[:, 0, 0] = 0.9, 0.0, 0.0  # of one language
    firing[:, 1, 3] = 0.8, 0.7, 0.01  # of two
    firing[:, 2, 5] = 0.01, 0.0, 0.0  # of one, and too seldom
    firing[:, 2, 7] = 0.0, 0.0, 0.0  # silent
    found = corpus.language_neurons(statistics(firing), share=2 / 60)
    assert found.level == 0.3
    assert found.masks.shape == (3, *SHAPE)
    assert np.argwhere(found.chosen).tolist() == [[0, 0], [1, 3]]
    assert np.argwhere(found.masks).tolist() == [[0, 0, 0], [0, 1, 3], [1, 1, 3]]
    assert found.entropy[0, 0] == 0
    assert found.entropy[1, 3] == pytest.approx(entropy(firing[:, 1, 3]), rel=1e-12)
    # All others fire nowhere more often than most.
    assert np.isnan(found.entropy).sum() == 58


def test_the_entropy_of_random_probabilities_is_that_of_a_loop() -> None:
    firing = np.random.default_rng(0).uniform(size=(3, *SHAPE)) ** 4
    found = corpus.language_neurons(statistics(firing), share=0.1, quantile=0.6)
    level = np.sort(firing.reshape(-1))[math.ceil(0.6 * firing.size) - 1]
    often = (firing > level).any(0)
    expected = {
        (layer, index): entropy(firing[:, layer, index]) for layer, index in np.argwhere(often)
    }
    best = sorted(expected, key=lambda neuron: expected[neuron])[:6]
    assert sorted(map(tuple, np.argwhere(found.chosen).tolist())) == sorted(best)
    for neuron, value in expected.items():
        assert found.entropy[neuron] == pytest.approx(value, rel=1e-12)


def test_one_group_cannot_be_told_from_others() -> None:
    one = statistics(np.ones((1, *SHAPE)))
    for function in (corpus.language_neurons, lambda s: corpus.contrast(s, "de", "fr")):
        with pytest.raises(ValueError, match="statistics are of 1 groups of texts, expected 2 or"):
            function(one)
    without = dataclasses.replace(one, groups=None)
    with pytest.raises(ValueError, match="statistics are of 0 groups of texts, expected 2 or"):
        corpus.language_neurons(without)


def test_a_contrast_shifts_by_the_difference_of_means() -> None:
    mean = np.random.default_rng(1).normal(size=(3, *SHAPE))
    found = corpus.contrast(statistics(mean, mean), "fr", "zh", share=0.1, scales=[1.0, -0.5])
    difference = mean[1] - mean[2]
    least = np.sort(np.abs(difference).reshape(-1))[-6]
    expected = np.where(np.abs(difference) >= least, difference, 0)
    np.testing.assert_array_equal(found.dense(), [expected, -0.5 * expected])
    assert found.sizes.tolist() == [6, 6]
    one = corpus.contrast(statistics(mean, mean), "fr", "zh", share=0.1)
    np.testing.assert_array_equal(one.dense(), [expected])
    with pytest.raises(ValueError, match="away is 'fr', as toward is: expected another group"):
        corpus.contrast(statistics(mean, mean), "fr", "fr")
    with pytest.raises(ValueError, match="toward is 'en', expected one of de, fr, zh"):
        corpus.contrast(statistics(mean, mean), "en", "fr")


def test_a_contrast_scales_without_those_that_are_left_out() -> None:
    mean = np.random.default_rng(1).normal(size=(3, *SHAPE))
    difference = np.abs(mean[1] - mean[2])
    leading = difference >= np.sort(difference, axis=None)[-2]
    found = corpus.contrast(
        statistics(mean, mean), "fr", "zh", 0.1, [0.0, 2.0], how="scale", left_out=leading
    )
    least = np.sort(difference[~leading])[-6]
    expected = (difference >= least) & ~leading
    chosen = np.zeros(SHAPE, bool)
    chosen[tuple(found.neurons[0].T)] = True
    np.testing.assert_array_equal(chosen, expected)
    np.testing.assert_array_equal(found.levels, np.repeat([[0.0], [2.0]], 6, axis=1))
    with pytest.raises(ValueError, match=r"left_out is bool\[3, 20\], expected true and false"):
        corpus.contrast(statistics(mean, mean), "fr", "zh", left_out=np.ones(SHAPE, bool))


def test_sets_are_held_at_the_corpus_mean() -> None:
    mean = np.random.default_rng(2).normal(size=(3, *SHAPE))
    made = statistics(mean, mean)
    pairs = [np.asarray([[0, 4], [2, 1]]), np.asarray([[1, 19]])]
    found = corpus.mean_sets(tiny("gated"), made, pairs)
    assert found.levels.tolist() == [[4.0, 41.0], [39.0, 0.0]]
    of_group = corpus.mean_sets(tiny("gated"), made, pairs, group="fr")
    assert of_group.levels[1, 0] == mean[1, 1, 19]
    with pytest.raises(ValueError, match=r"statistics are of a model 'gated' with other weights"):
        corpus.mean_sets(tiny("gpt2"), made, pairs)


def test_contexts_are_the_texts_around_extremes() -> None:
    lm = tiny("gated")
    found = negjax.corpus_statistics(lm, TEXTS, extremes=3)
    neurons = np.asarray([[0, 1], [2, 7]])
    words = [text.split() for text in TEXTS]
    for lowest, ends in ((False, found.top), (True, found.bottom)):
        shown = corpus.contexts(lm, found, TEXTS, neurons, around=1, lowest=lowest)
        for (layer, index), some in zip(neurons, shown, strict=True):
            assert [one.value for one in some] == ends.value[layer, index].tolist()
            for rank, one in enumerate(some):
                text, token = ends.text[layer, index, rank], ends.token[layer, index, rank]
                assert (one.text, one.token, one.at) == (text, token, words[text][token])
                assert one.before == " ".join(words[text][max(0, token - 1) : token])
                assert one.after == " ".join(words[text][token + 1 : token + 2])
    with pytest.raises(ValueError, match="texts end after 0, and statistics name text 0; pass the"):
        corpus.contexts(lm, found, [], neurons)
    with pytest.raises(ValueError, match=r"texts\[.\] has 1 tokens, and statistics name its token"):
        corpus.contexts(lm, found, ["w3", "w3"], neurons)
