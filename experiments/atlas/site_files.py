"""The atlas as files: one page, one script, one style, and data that scripts of their own bring.

A page opened from the disk may load scripts and nothing else, so a data file is a script that calls
`atlasData` with a name and JSON in which arrays are packed. No text of it is ever markup.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from experiments.atlas.results import Atlas, Curves
from experiments.inputs import facts
from experiments.inputs.facts_page import SHIPPED
from experiments.inputs.text_tables import shipped_relations
from experiments.reporting.escaping import shortened, visible
from experiments.reporting.explorers import MOST_LETTERS, joined, packed
from negjax.inputs.token_ids import framed_tokens
from negjax.storage import store
from negjax.storage.store import RunFolder

MODULES = ("arrays", "asking", "table", "drawing", "neuron", "views", "page")
"""Of the page's script, after those that all pages share; each after those that it imports."""
AROUND = 10
"""Tokens shown on either side of one at which a neuron is most active."""
LISTED = 20
"""Neurons listed of a fact, either way."""
FULL = {"int8": 127, "int16": 32767}
"""Largest number that stands for the largest size of its row."""


def write_site(atlas: Atlas, folder: RunFolder) -> int:
    """Writes the atlas into a run's folder; returns its size in bytes."""
    size = 0
    for name, text in _files(atlas):
        data = text.encode()
        folder.write_bytes(f"{store.ATLAS}/{name}", data)
        size += len(data)
    return size


def _files(atlas: Atlas) -> Iterator[tuple[str, str]]:
    static = resources.files("experiments.atlas") / "static"
    shared = resources.files("experiments.reporting") / "static"
    modules = [shared / "curves.mjs", shared / "neuron_map.mjs"]
    modules += [static / f"{name}.mjs" for name in MODULES]
    yield "index.html", (static / "index.html").read_text(encoding="utf-8")
    styles = [shared / "palette.css", static / "atlas.css"]
    yield "atlas.css", "".join(style.read_text(encoding="utf-8") for style in styles)
    # One scope of its own, as a module has.
    yield "atlas.js", f"'use strict';\n(() => {{\n{joined(modules)}\nstart();\n}})();\n"
    for name, content in _data(atlas):
        yield f"data/{name}.js", data_script(name, content)


def data_script(name: str, content: Mapping[str, Any]) -> str:
    """A script that hands content to the page."""
    return f"atlasData({json.dumps(name)}, {json.dumps(content, allow_nan=False)});\n"


def array(values: np.ndarray, kind: str) -> dict[str, Any]:
    """Numbers as the page's `numbers` reads them: int8, int16, uint16, uint32 or float32."""
    little = np.dtype(kind).newbyteorder("<")
    return {"kind": kind, "shape": list(values.shape), "data": packed(values, little.str)}


def whole(values: np.ndarray) -> dict[str, Any]:
    """Numbers that are not negative, in as few bytes as the largest needs."""
    small = values.size == 0 or values.max() < 2**16
    return array(values, "uint16" if small else "uint32")


def rounded(values: np.ndarray, kind: str) -> dict[str, Any]:
    """Rows of numbers as shares of each row's largest size, which `shares` of the page multiplies.

    A number is off by at most half of the largest size / 127 (int8) or / 32,767 (int16).
    """
    shares, largest = _shares(values, kind)
    return {"shares": array(shares, kind), "largest": array(largest, "float32")}


def _shares(values: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers of `kind` for rows of numbers, and each row's largest size."""
    largest = np.abs(values).max(-1, keepdims=True)
    share = np.divide(values, largest, out=np.zeros(values.shape), where=largest > 0)
    return np.rint(share * FULL[kind]), largest[..., 0]


def _data(atlas: Atlas) -> Iterator[tuple[str, Mapping[str, Any]]]:
    plan = atlas.plan
    relations, relation = _relations(atlas)
    contexts, context = _contexts(atlas)
    yield "about", _about(atlas, relations)
    columns = {name: array(values, "float32") for name, values in atlas.columns().items()}
    strongest = atlas.curves.fact[atlas.strongest]
    yield "table", {"columns": columns, "fact": whole(strongest)}
    yield "facts", _facts(atlas, relation)
    yield "tokens", _tokens(atlas)
    yield "contexts", {"contexts": contexts}
    means = _relation_means(atlas.slope, relation, len(relations))
    for number, layer in enumerate(plan.layers):
        some = slice(number * plan.width, (number + 1) * plan.width)
        yield (
            f"layer_{layer}",
            {
                **_own_facts(atlas.slope[:, some], plan.settings.top_facts),
                "relations": rounded(means[some], "int8"),
                **_sample(atlas, number, some),
                **_curves(atlas.curves, some),
                "context": whole(context[number]),
                "context_value": array(atlas.arrays["context_value"][number], "float32"),
                "neighbour": whole(np.maximum(atlas.arrays["neighbour"][number], 0)),
                "cosine": array(atlas.arrays["cosine"][number], "float32"),
            },
        )


def _about(atlas: Atlas, relations: Sequence[str]) -> dict[str, Any]:
    plan = atlas.plan
    inputs, settings = plan.inputs, plan.settings
    return {
        "model": _short(inputs.lm.name),
        "site": inputs.site,
        "gated": inputs.lm.config.gated,
        "convention": facts.convention(),
        "layers": plan.layers,
        "all_layers": inputs.lm.config.layers,
        "width": plan.width,
        "facts": plan.facts,
        "source": _short(inputs.source),
        "relations": relations,
        "sample": atlas.arrays["sampled"].tolist(),
        "near_radius": plan.rule.neg_radius,
        "curve_radius": settings.curve_range,
        "straight": settings.straight,
        "strong_neurons": plan.strong,
        "strong_facts": settings.strong_facts,
        "own_facts": settings.own_facts,
        "texts": _short(plan.texts.source),
    }


def _relations(atlas: Atlas) -> tuple[list[str], np.ndarray]:
    """Kinds of the shipped facts, and the number of each fact's; other tables have one kind."""
    inputs = atlas.plan.inputs
    if inputs.source != SHIPPED:
        return ["all facts"], np.zeros(len(inputs.rows), int)
    every = shipped_relations()
    own = [every[row] for row in inputs.rows]
    names = sorted(set(own))
    return names, np.asarray([names.index(name) for name in own])


def _relation_means(slope: np.ndarray, relation: np.ndarray, count: int) -> np.ndarray:
    """[N, relations], means of the slopes [P, N] over the facts of a kind."""
    means = [slope[relation == number].mean(0, dtype=np.float64) for number in range(count)]
    return np.stack(means, axis=-1)


def _facts(atlas: Atlas, relation: np.ndarray) -> dict[str, Any]:
    probes = atlas.plan.inputs.probes
    ids, values = extremes(atlas.slope.T, min(LISTED, atlas.plan.neurons // 2))
    return {
        "prompts": [_short(prompt) for prompt in probes.prompts],
        "answers": [_short(targets[0]) for targets in probes.targets],
        "probability": array(atlas.probability, "float32"),
        "relation": whole(relation),
        "neurons": whole(ids),
        "slopes": array(values, "float32"),
    }


def extremes(slope: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and values [M, 2, count] of each column's largest and smallest, of [n, M]."""
    ids, values = [], []
    for way in (-1, 1):
        keyed = way * slope
        some = np.argpartition(keyed, count - 1, axis=0)[:count]
        order = np.argsort(np.take_along_axis(keyed, some, 0), axis=0, kind="stable")
        chosen = np.take_along_axis(some, order, 0)
        ids.append(chosen.T)
        values.append(np.take_along_axis(slope, chosen, 0).T)
    return np.stack(ids, axis=1), np.stack(values, axis=1)


def _own_facts(slope: np.ndarray, count: int) -> dict[str, Any]:
    ids, values = extremes(slope, min(count, len(slope)))
    shape = values.shape
    flat = rounded(values.reshape(shape[0], -1), "int16")
    return {"fact": whole(ids), "slope": flat}


def _tokens(atlas: Atlas) -> dict[str, Any]:
    """Tokens that anything writes for or against, and which these are of each neuron."""
    lm = atlas.plan.inputs.lm
    tokens = atlas.arrays["tokens"].swapaxes(1, 2)
    used, place = np.unique(tokens, return_inverse=True)
    texts = [_short(str(lm.tokenizer.decode([token]))) for token in used.tolist()]
    shape = (atlas.plan.neurons, 2, -1)
    return {
        "ids": used.tolist(),
        "texts": texts,
        "written": whole(place.reshape(shape)),
    }


def _contexts(atlas: Atlas) -> tuple[list[list[str]], np.ndarray]:
    """Before, at and after of tokens in texts, and which are a neuron's [L, F, k].

    The first is empty: of neurons that have fewer.
    """
    lm, texts = atlas.plan.inputs.lm, atlas.plan.texts.texts
    places = np.stack([atlas.arrays["context_text"], atlas.arrays["context_token"]], axis=-1)
    used, number = np.unique(places.reshape(-1, 2), axis=0, return_inverse=True)
    shown, ids, of = [["", "", ""]], list[int](), -1
    kept = np.zeros(len(used), int)
    for at, (text, token) in enumerate(used.tolist()):
        if text < 0:
            continue
        if text != of:
            ids, of = framed_tokens(lm, f"texts[{text}]", texts[text]).ids, text
        parts = (
            ids[max(0, token - AROUND) : token],
            ids[token : token + 1],
            ids[token + 1 : token + 1 + AROUND],
        )
        kept[at] = len(shown)
        shown.append([_short(str(lm.tokenizer.decode(part))) for part in parts])
    return shown, kept[number.reshape(places.shape[:-1])]


def _sample(atlas: Atlas, number: int, some: slice) -> dict[str, Any]:
    arrays = atlas.arrays
    return {
        "sample_neg": array(arrays["neg"][:, number].T, "float32"),
        "sample_slope": array(atlas.sampled_slopes()[:, some].T, "float32"),
        "sample_near": rounded(arrays["near"][:, number].swapaxes(0, 1), "int16"),
    }


def _curves(curves: Curves, some: slice) -> dict[str, Any]:
    """Of the neurons of a layer; `first` says where each one's begin."""
    start, stop = np.searchsorted(curves.neuron, [some.start, some.stop])
    own = slice(start, stop)
    first = np.searchsorted(curves.neuron[own], np.arange(some.start, some.stop + 1))
    return {
        "first": whole(first),
        "curve_fact": whole(curves.fact[own]),
        **ragged(curves.change[own], curves.nodes[own]),
        **{
            f"curve_{name}": array(getattr(curves, name)[own], "float32")
            for name in ("slope", "error", "neg", "pearson", "straight")
        },
    }


def ragged(change: np.ndarray, nodes: np.ndarray) -> dict[str, Any]:
    """Coefficients of curves [C, m] without the zeros past each one's nodes."""
    shares, largest = _shares(change, "int16")
    present = np.arange(change.shape[1]) < nodes[:, None]
    return {
        "change": array(shares[present], "int16"),
        "change_largest": array(largest, "float32"),
        "change_first": whole(np.concatenate([[0], np.cumsum(nodes)])),
    }


def _short(text: str) -> str:
    return shortened(visible(text), MOST_LETTERS)
