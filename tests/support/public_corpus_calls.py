"""Every function of `negjax.corpus`, and those of files of neurons, with arguments they take."""

import functools

import numpy as np

import negjax
from negjax import corpus
from tests.support.odd_values import these
from tests.support.public_calls import NEURONS, NONE, TRUTH, Call, lm

TEXTS = ["w3 w5 w7", "w9 w4 w2 w6 w8"]
FACTORS = these("half", "minus one", "array without axes", "list too large for float32")


@functools.cache
def statistics() -> negjax.CorpusStatistics:
    return negjax.corpus_statistics(lm(), TEXTS, ["a", "b"], extremes=1, quantiles=True)


def of_corpus() -> dict[str, Call]:
    """Of `negjax.corpus`, of what it returns, and of files of neurons."""
    model, found = lm(), statistics()
    assert found.groups is not None
    mask = np.zeros((3, 20), bool)
    return {
        "corpus_statistics": Call(
            negjax.corpus_statistics,
            {
                "lm": model,
                "texts": TEXTS,
                "groups": ["a", "b"],
                "site": None,
                "window": None,
                "special": False,
                "extremes": 1,
                "quantiles": True,
                "block_tokens": 65536,
                "folder": None,
                "overwrite": False,
                "budget_bytes": 2**30,
                "progress": None,
            },
            {
                # Two texts of token ids; and an array is as good as a list.
                "texts": these("ragged", "array of text"),
                "groups": these("None", "array of text"),
                "site": NONE,
                "window": NONE,
                "special": TRUTH,
                "quantiles": TRUTH,
                "folder": these("None", "text", "number as text"),
                "overwrite": TRUTH,
            },
        ),
        "CorpusStatistics.quantiles": Call(found.quantiles, {"levels": [0.5]}),
        "GroupStatistics.number": Call(
            found.groups.number, {"label": "a", "name": "label"}, {"name": lambda *_: True}
        ),
        "language_neurons": Call(
            corpus.language_neurons, {"statistics": found, "share": 0.1, "quantile": 0.5}
        ),
        "contrast": Call(
            corpus.contrast,
            {
                "statistics": found,
                "toward": "a",
                "away": "b",
                "share": 0.1,
                "scales": [1.0],
                "how": "shift",
                "left_out": None,
            },
            {"scales": FACTORS, "left_out": NONE},
        ),
        "mean_sets": Call(
            corpus.mean_sets,
            {"lm": model, "statistics": found, "sets": [NEURONS], "group": None},
            {"group": NONE},
            {"sets": "neurons"},
        ),
        "contexts": Call(
            corpus.contexts,
            {
                "lm": model,
                "statistics": found,
                "texts": TEXTS,
                "neurons": NEURONS,
                "around": 2,
                "lowest": False,
            },
            {"lowest": TRUTH},
        ),
        "save_mask": Call(
            negjax.save_mask,
            {"path": "mask", "lm": model, "mask": mask, "site": None},
            {"path": these("text", "number as text"), "site": NONE},
        ),
        "read_mask": Call(negjax.read_mask, {"path": "nowhere", "lm": None}, {"lm": NONE}),
        "save_neurons": Call(
            negjax.save_neurons,
            {"path": "table.csv", "neurons": NEURONS, "values": np.ones(2)},
        ),
        "read_neurons": Call(negjax.read_neurons, {"path": "nowhere.csv"}),
    }
