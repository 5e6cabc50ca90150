"""What the study of a corpus shows: groups, the neurons that are theirs, and all neurons."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from experiments.corpus import figures
from experiments.corpus.contrasting import UNMOVED, Continuation, Contrast
from experiments.corpus.results import BUSY, HALVES, SILENT, Group, Halves, shown_context
from experiments.inputs.text_tables import Texts
from experiments.reporting import intervals, page_parts
from experiments.reporting.escaping import shortened, storable
from experiments.reporting.tables import Column, Table, counted
from experiments.reporting.templates import Contents
from experiments.running import common, provenance
from experiments.running.study import Findings, Finished, Report
from negjax import corpus
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from negjax.storage.store import RunFolder

LISTED, CONTEXTS, AROUND = 12, 2, 6
"""Neurons that the report lists, contexts of each, tokens on either side of a context's."""
MOST_GROUPS = 30
"""In the table."""


class Neuron(NamedTuple):
    """A row of the report's table."""

    layer: int
    neuron: int
    entropy: float
    firing: float
    groups: str
    texts: str


CONTINUATIONS = (
    Column("group", lambda row: shortened(row.group, 24)),
    Column("beginning", lambda row: row.beginning),
    Column("factor", lambda row: row.factor, "g"),
    Column("written", lambda row: row.text),
    Column("perplexity", lambda row: row.perplexity, ",.1f"),
    Column("different pairs", lambda row: row.distinct, ".0%"),
)
GROUPS = (
    Column("group", lambda group: shortened(group.label, 24)),
    Column("texts", lambda group: group.texts, ","),
    Column("tokens", lambda group: group.tokens, ","),
    Column("neurons", lambda group: group.neurons, ","),
    Column("fire, held out", lambda group: group.own, ".1%", under="own"),
    Column("fire, held out", lambda group: group.others, ".1%", under="others"),
    Column("times", lambda group: group.times, ".1f"),
    Column("halves", lambda group: group.jaccard, ".3f"),
)
NEURONS = (
    Column("layer", lambda neuron: neuron.layer),
    Column("neuron", lambda neuron: neuron.neuron),
    Column("entropy", lambda neuron: neuron.entropy, ".3f"),
    Column("fires", lambda neuron: neuron.firing, ".1%"),
    Column("groups", lambda neuron: neuron.groups),
    Column("largest activations", lambda neuron: neuron.texts),
)


def findings(
    lm: LanguageModel,
    folder: RunFolder,
    texts: Texts,
    found: Halves,
    contrast: Contrast | None,
    finished: Finished,
    loading: float,
) -> Findings:
    """Tables, summary and report of both halves."""
    groups, overall = found.groups(), found.overall()
    listed = _listed(lm, texts, found)
    summary = provenance.about_program(lm, folder, finished.complete, loading) | {
        "texts": {"source": texts.source, "count": len(texts.texts)},
        "tokens": sum(half.tokens for half in found.statistics),
        "overall": overall,
        "groups": groups,
        "neurons": [neuron._asdict() for neuron in listed],
        "contrast": contrast,
    }
    table = {
        name: list(map(storable, column)) if name == "groups" else column
        for name, column in found.table().items()
    }
    return Findings(
        tables={store.NEURONS: pa.table(table)},
        summary=summary,
        report=lambda summary: _report(lm, texts, found, groups, listed, contrast, summary),
    )


def _report(
    lm: LanguageModel,
    texts: Texts,
    found: Halves,
    groups: Sequence[Group],
    listed: Sequence[Neuron],
    contrast: Contrast | None,
    summary: Mapping[str, Any],
) -> Report:
    overall, first = found.overall(), found.statistics[0]
    tested = [group for group in groups if group.times is not None]
    times = intervals.drawn(
        np.asarray([group.times for group in tested], float), np.median, "group"
    )
    table = Table(columns=GROUPS, rows=list(groups[:MOST_GROUPS]))
    layers = {
        label: found.neurons[0].masks[number].sum(1)
        for number, label in enumerate(found.neurons[0].labels)
    }
    values = {
        "model": lm.name,
        "tokens": summary["tokens"],
        "texts": len(texts.texts),
        "count": len(groups),
        "shown": min(len(groups), MOST_GROUPS),
        "overall": overall,
        "gated": overall.signs is not None,
        "signs": _signs(overall.signs),
        "times": times,
        "tested": len(tested),
        "listed": len(listed),
        "silent_level": SILENT,
        "busy_level": BUSY,
        "window": first.window,
    }
    return Report(
        contents=Contents(
            values=values,
            tables={
                "groups": table,
                "neurons": Table(columns=NEURONS, rows=listed),
            },
            figures={"layers": lambda: figures.layers_figure(first.firing, _sorted(layers))},
            parts={"contrast": [] if contrast is None else [_contrast(contrast)]},
        ),
        headline=f"{lm.name}: {summary['tokens']:,} tokens of {len(texts.texts):,} texts in "
        f"{len(groups)} groups",
        printed=table,
        measured=[
            ("Texts", f"{len(texts.texts):,} of {texts.source}, {summary['tokens']:,} tokens"),
            ("Halves", f"every second text of a group each: to {' and to '.join(HALVES)}"),
            ("Site", page_parts.SITES[common.site(lm)]),
        ],
    )


def _contrast(contrast: Contrast) -> Contents:
    """The section of two groups that are told apart."""
    texts = len(contrast.written(UNMOVED))
    before, after = (contrast.perplexity(factor) for factor in (UNMOVED, contrast.factor))
    rows: list[Continuation] = contrast.continuations
    count = len(contrast.neurons)
    return Contents(
        values={
            "contrast": contrast,
            "count": counted(count, "neuron"),
            "texts": texts,
            "before": before,
            "after": after,
        },
        tables={"continuations": Table(columns=CONTINUATIONS, rows=rows)},
    )


def _sorted(layers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Groups that have neurons, those with most first."""
    order = sorted(layers, key=lambda label: -int(layers[label].sum()))
    return {label: layers[label] for label in order if layers[label].any()}


def _signs(signs: Mapping[str, float] | None) -> str:
    shown = {name.replace("-", "−"): share for name, share in (signs or {}).items()}
    return ", ".join(f"{name} {share:.1%}" for name, share in shown.items())


def _listed(lm: LanguageModel, texts: Texts, found: Halves) -> list[Neuron]:
    first, best = found.statistics[0], found.best(LISTED)
    if not len(best):
        return []
    shown = corpus.contexts(lm, first, texts.half(0).texts, best, AROUND)
    return [
        Neuron(
            layer=layer,
            neuron=index,
            entropy=float(found.neurons[0].entropy[layer, index]),
            firing=float(first.firing[layer, index]),
            groups=", ".join(found.labels_of(layer, index)),
            texts=" / ".join(shown_context(one) for one in some[:CONTEXTS]),
        )
        for (layer, index), some in zip(best.tolist(), shown, strict=True)
    ]
