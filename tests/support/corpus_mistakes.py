"""What provokes the errors of statistics over a corpus, and of files of neurons."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

import negjax
from negjax import corpus
from tests.support.block_shapes import tiny
from tests.support.mistakes import Provoke, lm, text_file
from tests.support.public_corpus_calls import TEXTS, statistics

NEURONS = [[0, 1]]


def taken(texts: Any = TEXTS, groups: Any = None, **more: Any) -> negjax.CorpusStatistics:
    return negjax.corpus_statistics(lm(), texts, groups, extremes=1, **more)


def other_texts(folder: Path) -> object:
    """Goes on with another corpus."""
    taken(folder=folder / "stream")
    return taken(TEXTS[::-1], folder=folder / "stream")


def changed(**values: Any) -> negjax.CorpusStatistics:
    return dataclasses.replace(statistics(), **values)


def silent_group() -> object:
    """A group of special tokens alone."""
    groups = statistics().groups
    assert groups is not None
    empty = dataclasses.replace(groups, tokens=np.asarray([3, 0]))
    return corpus.language_neurons(changed(groups=empty))


def no_mask(folder: Path) -> object:
    """Reads a file of another array."""
    save_file({"other": np.zeros(3)}, folder / "file")
    return negjax.read_mask(folder / "file")


def others_mask(folder: Path) -> object:
    """Reads the mask of another model."""
    path = negjax.save_mask(folder / "file", lm(), np.zeros((3, 20), bool))
    return negjax.read_mask(path, tiny("gpt2"))


def row(text: str) -> Provoke:
    """Reads a table of one row."""
    return lambda folder: negjax.read_neurons(
        text_file(folder, "table.csv", f"layer,index,value\n{text}\n")
    )


CASES: dict[str, Provoke] = {
    "texts is …, expected a list or stream of texts or …": lambda _: taken("w3"),
    "texts[…] is …, expected text or a list of token ids": lambda _: taken([5]),
    "groups and texts: … end after …; expected a label …": lambda _: taken(TEXTS, ["a"]),
    "groups[…] is empty, expected a label of the text": lambda _: taken(TEXTS, ["a", ""]),
    "texts: … texts without a token that counts; …": lambda _: taken([]),
    "window is …, and text … has … special tokens …": lambda _: taken([[1, 1, 3]], window=2),
    "… holds statistics of other texts or labels than …": other_texts,
    "levels is …, expected shares from 0 to 1": lambda _: statistics().quantiles(1.5),
    "levels: these statistics have no histogram …": lambda _: changed(histogram=None).quantiles(
        0.5
    ),
    "statistics are of … groups of texts, expected …": lambda _: corpus.language_neurons(
        changed(groups=None)
    ),
    "statistics are of a model … with other weights …": lambda _: corpus.mean_sets(
        tiny("gpt2"), statistics(), [NEURONS]
    ),
    "statistics: group … has no token that counts; …": lambda _: silent_group(),
    "left_out is …, expected true and false …": lambda _: corpus.contrast(
        statistics(), "a", "b", left_out=np.ones(3, bool)
    ),
    "away is …, as toward is: expected another group": lambda _: corpus.contrast(
        statistics(), "a", "a"
    ),
    "texts end after …, and statistics name text …; …": lambda _: corpus.contexts(
        lm(), statistics(), [], NEURONS
    ),
    "texts[…] has … tokens, and statistics name its …": lambda _: corpus.contexts(
        lm(), statistics(), [[], []], NEURONS
    ),
    "mask is …, expected [L, F] = …": lambda folder: negjax.save_mask(folder / "m", lm(), [[True]]),
    "…: holds no mask of neurons; expected an array …": no_mask,
    "…: a mask of neurons of …, whose weights are not …": others_mask,
    "…: row …: … is …, expected a number": row("0,1,x"),
    "…: row …: … is …, expected the number of a layer …": row("0,1.5,1"),
}
