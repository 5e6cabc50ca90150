"""The table of the neurons of the largest gradients: order, NEG, tokens, its forms and refusals."""

import importlib.util
import sys
from typing import Any

import numpy as np
import pytest

import negjax
from negjax import tabular
from tests.support.block_shapes import tiny, tiny_probes

SITES = [
    ("gated", "up"),
    ("gpt2", "act"),
    ("bert", "act"),
    pytest.param("experts", "product", marks=pytest.mark.slow),
]


def softmax(logits: np.ndarray) -> np.ndarray:
    found = np.exp(logits - logits.max(-1, keepdims=True))
    return found / found.sum(-1, keepdims=True)


def test_the_largest_gradients_come_first():
    lm = tiny("gated")
    gradients = negjax.neurgrad(lm, tiny_probes(lm))
    found = negjax.top_neurons(gradients, 7, target=1)
    for b in range(3):
        layer, index = found.neurons[b].T
        assert len({*zip(layer.tolist(), index.tolist(), strict=True)}) == 7
        own = gradients.computed[b, 1]
        np.testing.assert_array_equal(found.computed[b], own[layer, index])
        np.testing.assert_array_equal(found.neurgrad[b], gradients.neurgrad[b, 1, layer, index])
        np.testing.assert_array_equal(found.activation[b], gradients.activation[b, layer, index])
        np.testing.assert_array_equal(np.abs(found.computed[b]), np.sort(np.abs(own), None)[:-8:-1])
    assert (len(found), found.slope, found.promoted, found.demoted) == (3, None, None, None)


def test_neg_is_that_of_these_neurons():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    gradients = negjax.neurgrad(lm, probes, output="log_probability")
    found = negjax.top_neurons(gradients, 3, lm, probes, target=0, with_neg=True)
    neg = negjax.neg(lm, probes, found.neurons, output="log_probability", target=0)
    assert found.slope is not None
    np.testing.assert_array_equal(found.slope, neg.slope)


@pytest.mark.parametrize(("shape", "site"), SITES)
def test_tokens_are_those_that_a_shift_raises_and_lowers(shape, site):
    """After the last layer nothing follows: there the direct path is the whole effect.

    With dP = P · (dz − Σ P dz), dz is dP / P up to a constant.
    """
    lm = tiny(shape)
    probes = tiny_probes(lm)
    gradients = negjax.neurgrad(lm, probes, site)
    found = negjax.top_neurons(gradients, gradients.computed[0, 0].size, lm, probes, target=0)
    effects = negjax.effects(lm, probes, found.neurons, site)
    change = effects / softmax(negjax.logits(lm, probes))[:, None]
    last = found.neurons[..., 0] == lm.config.layers - 1
    if gradients.routed is not None:
        layer, index = np.moveaxis(found.neurons, -1, 0)
        last &= gradients.routed[np.arange(3)[:, None], layer, index]
    assert last.sum() >= 3 * 10
    assert found.promoted is not None and found.demoted is not None
    for b, rank in np.argwhere(last):
        order = np.argsort(change[b, rank])
        expected = [lm.tokenizer.decode([i]) for i in order]
        assert [*found.promoted[b][rank]] == expected[:-6:-1]
        assert [*found.demoted[b][rank]] == expected[:5]


def test_forms_of_the_table(monkeypatch):
    lm = tiny("gated")
    probes = tiny_probes(lm).select_target(0)
    gradients = negjax.neurgrad(lm, probes)
    found = negjax.top_neurons(gradients, 2, lm, probes, with_neg=True, tokens=3)
    table = found.to_arrow().to_pydict()
    assert (table["prompt"], table["rank"]) == ([0, 0, 1, 1, 2, 2], [0, 1] * 3)
    for name, values in {
        "layer": found.neurons[..., 0],
        "index": found.neurons[..., 1],
        "activation": found.activation,
        "cg": found.computed,
        "neurgrad": found.neurgrad,
        "neg": found.slope,
    }.items():
        assert values is not None
        np.testing.assert_array_equal(table[name], values.ravel())
    assert found.promoted is not None
    assert table["promotes"][3] == list(found.promoted[1][1]) and len(table["demotes"][0]) == 3
    page = found._repr_html_()
    assert page.count("<tr>") == 7 and f"<td>{table['neg'][0]:.4g}</td>" in page
    assert "demotes" not in negjax.top_neurons(gradients, 2).to_arrow().column_names
    monkeypatch.setattr(tabular, "SHOWN_ROWS", 4)
    assert found._repr_html_().endswith("</table><p>and 2 rows more</p>")


def test_pandas_is_named_where_it_is_missing(monkeypatch):
    found = negjax.top_neurons(
        negjax.neurgrad(tiny("gated"), tiny_probes(tiny("gated"))), 1, target=0
    )
    if importlib.util.find_spec("pandas") is not None:
        frame = found.to_pandas()
        assert frame["layer"].tolist() == found.to_arrow()["layer"].to_pylist()
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install pandas"):
        found.to_pandas()


def test_what_a_page_would_read_as_marks_is_escaped():
    array = np.zeros((1, 1))
    found = negjax.TopNeurons(
        site="up",
        output="probability",
        target=0,
        neurons=np.zeros((1, 1, 2), np.int32),
        activation=array,
        computed=array,
        neurgrad=array,
        promoted=((("<script>", "a'b"),),),
    )
    assert "<script>" not in found._repr_html_() and "&lt;script&gt;" in found._repr_html_()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gradients": 1}, r"gradients is 1, expected a NeurGrad: what negjax\.neurgrad returns"),
        ({"k": 61}, r"k is 61, expected a whole number, 1 or more, 60 at most"),
        ({"target": None}, r"gradients are of 2 targets a prompt; pass target from 0 to 1"),
        ({"target": 2}, r"target is 2, expected a whole number, 0 or more, 1 at most"),
        (
            {"with_neg": True},
            r"tokens and NEG take the model and the probes .*; pass lm and probes",
        ),
        ({"lm": tiny("gated")}, r"tokens and NEG take the model and the probes"),
        ({"lm": tiny("bert"), "probes": "gated"}, r"bert is a masked LM"),
        ({"lm": tiny("gated"), "probes": "one"}, r"\[3, 2, 3, 20\], lm and probes are \[1, 1, 3,"),
    ],
)
def test_refused(change: dict[str, Any], message):
    lm = tiny("gated")
    probes = tiny_probes(lm)
    asked = {"gated": probes, "one": probes.select([0]).select_target(0)}
    if "probes" in change:
        change = change | {"probes": asked[change["probes"]]}
    given: dict[str, Any] = {"gradients": negjax.neurgrad(lm, probes), "k": 2, "target": 0} | change
    with pytest.raises(ValueError, match=message):
        negjax.top_neurons(**given)


@pytest.mark.parametrize("shape", ["gated", "bert"])
def test_logits_are_what_the_model_says(shape):
    """Against the probabilities that `plain_answers` reads target by target."""
    lm = tiny(shape)
    probes = tiny_probes(lm)
    probability = softmax(negjax.logits(lm, probes).astype(np.float64))
    own = np.take_along_axis(probability, probes.target_ids[..., 0], axis=1)
    answers = negjax.plain_answers(lm, probes)
    np.testing.assert_allclose(own, answers.probability, rtol=2e-5)
    first = probes.target_ids[..., 0] == probability.argmax(1)[:, None]
    np.testing.assert_array_equal(first, answers.first)
