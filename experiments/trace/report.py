"""What the trace shows: tables, figures, and the numbers of its report's template."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from experiments.inputs import facts, facts_page
from experiments.reporting import page_parts
from experiments.reporting.escaping import storable
from experiments.reporting.intervals import FEW
from experiments.reporting.tables import Column, Table, counted
from experiments.reporting.templates import Contents
from experiments.running.study import Findings, Finished, Report
from experiments.trace import figures
from experiments.trace.pairs import ROLES
from experiments.trace.results import Over, Place, Trace, over_pairs
from negjax.storage import store
from negjax.storage.store import RunFolder

LISTED = 8
"""Places and pairs listed in the report."""
DRAWN = 6
"""Pairs drawn on their own."""


def findings(
    inputs: facts.Inputs,
    site: str,
    folder: RunFolder,
    traces: Sequence[Trace],
    finished: Finished,
) -> Findings:
    """Returns tables and summary of the run, and its report."""
    over = over_pairs(traces)
    summary = facts_page.about_run(inputs, folder, finished.complete) | {
        "site": site,
        "pairs": [
            {
                "pair": trace.number,
                "clean": trace.clean,
                "corrupted": trace.corrupted,
                "answers": list(trace.answers),
                "difference": trace.difference.tolist(),
            }
            for trace in traces
        ],
        "top": [place._asdict() for place in over.top[:LISTED]],
        "pearson": over.pearson,
    }
    return Findings(
        tables={store.NEURONS: pa.concat_tables([_table(trace) for trace in traces])},
        summary=summary,
        report=lambda summary: make_report(inputs, site, traces, over, summary),
    )


def _table(trace: Trace) -> pa.Table:
    """One row a token and layer."""
    tokens, layers = trace.effect.shape
    return pa.table(
        {
            "pair": np.full(tokens * layers, trace.number),
            "token": np.repeat(np.arange(tokens), layers),
            "text": [storable(piece) for piece in trace.pieces for _ in range(layers)],
            "role": [ROLES[role] for role in trace.role for _ in range(layers)],
            "layer": np.tile(np.arange(layers), tokens),
            "effect": trace.effect.ravel(),
            "attribution": trace.attribution.ravel(),
            "share": trace.effect.ravel() / trace.whole,
        }
    )


def make_report(
    inputs: facts.Inputs,
    site: str,
    traces: Sequence[Trace],
    over: Over,
    summary: Mapping[str, Any],
) -> Report:
    """Returns what is shown of the pairs."""
    values = facts_page.values(inputs, summary) | {
        "pairs": counted(len(traces), "pair"),
        "few": len(traces) < FEW,
        "top": over.top[0],
        "deeper": next((place for place in over.top if place.layer), None),
        "pearson": over.pearson,
        "drawn": counted(min(DRAWN, len(traces)), "pair"),
    }
    shown = traces[:DRAWN]
    return Report(
        contents=Contents(
            values=values,
            tables={"places": _places(over.top[:LISTED]), "pairs": _pairs(traces[:LISTED])},
            figures={
                "roles": lambda: figures.roles_figure(over.exact, over.predicted, ROLES),
                "each": lambda: figures.pairs_figure(
                    [trace.effect / trace.whole for trace in shown],
                    [trace.pieces for trace in shown],
                ),
            },
        ),
        headline=f"{inputs.lm.name}: {counted(len(traces), 'pair')} of prompts (site {site})",
        printed=_places(over.top[:LISTED]),
        measured=[
            ("Pairs", f"{len(traces)} of prompts of {inputs.source}, drawn by --seed"),
            ("Site", page_parts.SITES[site]),
            ("Output", "difference of the two answers' logits"),
        ],
    )


def _places(top: Sequence[Place]) -> Table:
    columns = (
        Column("token", lambda place: place.role),
        Column("layer", lambda place: place.layer),
        Column("brought back", lambda place: place.share, ".1%"),
        Column("95% interval", lambda place: place.interval.low, ".1%", under="from"),
        Column("95% interval", lambda place: place.interval.high, ".1%", under="to"),
        Column("quartile", lambda place: place.quartiles[0], ".1%", under="25%"),
        Column("quartile", lambda place: place.quartiles[2], ".1%", under="75%"),
        Column("pairs", lambda place: place.interval.count),
    )
    return Table(columns=columns, rows=top)


def _pairs(traces: Sequence[Trace]) -> Table:
    columns = (
        Column("clean", lambda trace: trace.clean),
        Column("corrupted", lambda trace: trace.corrupted),
        Column("answers", lambda trace: " / ".join(trace.answers)),
        Column("difference", lambda trace: trace.difference[0], "+.2f", under="clean"),
        Column("difference", lambda trace: trace.difference[1], "+.2f", under="corrupted"),
        Column("strongest token", lambda trace: trace.pieces[trace.strongest[0]]),
        Column("layer", lambda trace: trace.strongest[1]),
        Column("share", lambda trace: trace.effect[trace.strongest] / trace.whole, ".1%"),
    )
    return Table(columns=columns, rows=traces)
