"""Statistics over a corpus, beside numpy over every token's activations; and what is refused."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import negjax
from negjax.corpus import CorpusStatistics
from negjax.corpus.histograms import RELATIVE_ERROR, SMALLEST
from negjax.corpus.reductions import largest_of
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import precision, tiny
from tests.support.corpora import GROUPS, TEXTS, WINDOW, every_activation, tokens

SANDWICH: dict[str, Any] = {"norm_placement": "sandwich", "windows": (3, None, 3)}
# The model, its dtype, the site, what errors are measured by.
MODELS = {
    "gated in float64": ("gated", "float64", "product", 1e-14),
    "experts": ("experts", "float32", "up", 1e-6),
    "masked": ("bert", "float32", "act", 1e-6),
}


def model(shape: str, dtype: str) -> LanguageModel:
    return tiny(shape, dtype, **(SANDWICH if shape == "gated" else {}))


def measured(lm: LanguageModel, texts: Any = TEXTS, groups: Any = GROUPS, **how: Any) -> Any:
    with precision(lm.dtype.name):
        return negjax.corpus_statistics(lm, texts, groups, window=WINDOW, **how)


@pytest.fixture(scope="module", params=MODELS)
def both(
    request: pytest.FixtureRequest,
) -> tuple[LanguageModel, CorpusStatistics, dict[str, np.ndarray], float]:
    shape, dtype, site, tolerance = MODELS[request.param]
    lm = model(shape, dtype)
    with precision(dtype):
        every = every_activation(lm)
    return lm, measured(lm, site=site, extremes=4), every, tolerance


def test_every_statistic_is_that_of_all_tokens(
    both: tuple[LanguageModel, CorpusStatistics, dict[str, np.ndarray], float],
) -> None:
    lm, found, every, tolerance = both
    values = every[found.site].astype(np.float64)
    scale = np.abs(values).max()
    close: dict[str, Any] = {"rtol": 0, "atol": tolerance * scale}
    assert (found.texts, found.tokens) == (4, len(values)) == (4, 30)
    np.testing.assert_allclose(found.mean, values.mean(0), **close)
    np.testing.assert_allclose(found.variance, values.var(0), rtol=0, atol=tolerance * scale**2)
    np.testing.assert_allclose(found.lowest, values.min(0), **close)
    np.testing.assert_allclose(found.highest, values.max(0), **close)
    gate = every.get("gate", values) > 0
    np.testing.assert_allclose(found.firing, gate.mean(0), atol=1e-15)
    if lm.config.gated:
        assert found.signs is not None
        up = every["up"] > 0
        expected = [gate & up, gate & ~up, ~gate & up, ~gate & ~up]
        np.testing.assert_allclose(found.signs, [some.mean(0) for some in expected], atol=1e-15)
    else:
        assert found.signs is None


def test_quantiles_keep_their_bound(
    both: tuple[LanguageModel, CorpusStatistics, dict[str, np.ndarray], float],
) -> None:
    _, found, every, _ = both
    levels = [0.0, 0.1, 0.5, 0.9, 1.0]
    exact = np.quantile(every[found.site], levels, axis=0, method="inverted_cdf")
    allowed = np.maximum(SMALLEST, (RELATIVE_ERROR + 1e-5) * np.abs(exact))
    error = np.abs(found.quantiles(levels) - exact)
    assert (error <= allowed).all()
    assert error.max() > 0  # It is a histogram's.
    np.testing.assert_array_equal(found.quantiles(0.5)[0], found.quantiles(levels)[2])


def test_extremes_are_found_where_they_are_and_ties_in_the_order_of_the_corpus(
    both: tuple[LanguageModel, CorpusStatistics, dict[str, np.ndarray], float],
) -> None:
    _, found, every, tolerance = both
    values = every[found.site].astype(np.float64)
    where = tokens()
    for sign, some in ((-1, found.top), (1, found.bottom)):
        order = np.argsort(sign * values, axis=0, kind="stable")[:4]
        expected = np.moveaxis(np.take_along_axis(values, order, 0), 0, -1)
        atol = tolerance * np.abs(values).max()
        np.testing.assert_allclose(some.value, expected, rtol=0, atol=atol)
        # Values of other tokens that differ by rounding alone may change places.
        places = np.moveaxis(order, 0, -1)
        named = np.asarray([[token.text, token.place] for token in where])[places]
        same = (some.text == named[..., 0]) & (some.token == named[..., 1])
        assert same.mean() > 0.98
        if (zero := expected == 0).any():  # Of experts that a token is not routed to.
            assert same[zero].all()


def test_groups_are_those_of_their_texts(
    both: tuple[LanguageModel, CorpusStatistics, dict[str, np.ndarray], float],
) -> None:
    _, found, every, tolerance = both
    values = every[found.site].astype(np.float64)
    assert found.groups is not None
    assert found.groups.labels == ("a", "b", "c")
    assert found.groups.texts == (2, 1, 1)
    for number, label in enumerate(found.groups.labels):
        rows = [GROUPS[token.text] == label for token in tokens()]
        own, gate = values[rows], every.get("gate", values)[rows]
        assert found.groups.tokens[number] == len(own)
        atol = tolerance * np.abs(values).max() ** 2
        np.testing.assert_allclose(found.groups.mean[number], own.mean(0), rtol=0, atol=atol)
        np.testing.assert_allclose(found.groups.variance[number], own.var(0), rtol=0, atol=atol)
        np.testing.assert_allclose(found.groups.firing[number], (gate > 0).mean(0), atol=1e-15)


@pytest.mark.parametrize("kinds", [5, 10**6])
def test_the_largest_of_many_are_those_of_a_sort(kinds: int) -> None:
    """With so few kinds of values that most are equal, and with none equal."""
    values = np.random.default_rng(0).integers(kinds, size=(1000, 7)).astype(np.float32)
    values[990:] = -np.inf
    found, at = largest_of(jnp.asarray(values), 6)
    order = np.argsort(-values, axis=0, kind="stable")[:6].T
    np.testing.assert_array_equal(at, order)
    np.testing.assert_array_equal(found, np.take_along_axis(values, order.T, 0).T)
