"""What the map shows: tables, figures, and the numbers of its report's template."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from experiments.inputs import facts, facts_page
from experiments.neg_map import figures
from experiments.neg_map.results import Grid, Map
from experiments.reporting.explorers import MapExplorer
from experiments.reporting.intervals import FEW
from experiments.reporting.page_parts import asked_in_short
from experiments.reporting.tables import Column, Table, counted, written
from experiments.reporting.templates import Contents
from experiments.running.study import Findings, Finished, Report
from negjax.storage import store
from negjax.storage.store import RunFolder

TOP = 8
"""Neurons pointed at in the picture."""
EXPLORED = 3
"""Maps that can be pointed at: each makes the report 0.7 MB larger, of 46,080 neurons."""
LISTED = 15
"""Neurons listed in the report."""
PROMPTS = (
    Column("prompt and answer", lambda drawn: asked_in_short(drawn.text, drawn.answer)),
    Column("P", lambda drawn: drawn.probability, ".3g"),
    Column("neurons", lambda drawn: drawn.size, ","),
    Column("NEG > 0", lambda drawn: drawn.statistics.every.positive, ".1%"),
    Column("|r| ≥ 0.95", lambda drawn: drawn.statistics.every.linear, ".1%"),
    Column("prediction", lambda drawn: drawn.agreement.pearson, ".4f", "r"),
    Column("prediction", lambda drawn: drawn.agreement.mae, ".1e", "MAE"),
    Column("strongest", lambda drawn: _named(drawn.strongest(1)[0])),
)
"""Of the terminal, a row a map."""


def findings(
    inputs: facts.Inputs,
    folder: RunFolder,
    maps: Sequence[Map],
    grid: Grid,
    finished: Finished,
) -> Findings:
    """Returns tables and summary of the run, and its report."""
    summary = facts_page.about_run(inputs, folder, finished.complete) | {
        "radius": grid.radius,
        "step": grid.step,
        "shifts": grid.shifts.tolist(),
        "maps": [
            {
                "prompt": drawn.prompt,
                "text": drawn.text,
                "answer": drawn.answer,
                "probability": drawn.probability,
                "noise": drawn.noise,
                "layers": drawn.layers.tolist(),
                "statistics": drawn.statistics,
                "strongest": [
                    {"layer": n["layer"], "neuron": n["neuron"], "value": n["neg"]}
                    for n in drawn.strongest(LISTED)
                ],
            }
            for drawn in maps
        ],
    }
    return Findings(
        tables={
            store.PROMPTS: facts_page.prompt_table(
                inputs,
                [drawn.prompt for drawn in maps],
                [drawn.probability for drawn in maps],
                [drawn.noise for drawn in maps],
            ),
            store.NEURONS: pa.concat_tables([pa.table(drawn.neurons) for drawn in maps]),
        },
        summary=summary,
        report=lambda summary: make_report(inputs, maps, grid, summary),
    )


def make_report(
    inputs: facts.Inputs, maps: Sequence[Map], grid: Grid, summary: Mapping[str, Any]
) -> Report:
    """Returns what is shown of the maps."""
    neurons = sum(drawn.size for drawn in maps)
    values = facts_page.values(inputs, summary) | {
        "neurons": neurons,
        "radius": f"{grid.radius:g}",
        "step": f"{grid.step:g}",
        "shifts": _shifts(grid),
        "predictor": maps[0].name,
        "agreement": _agreement(maps),
        "prompts": counted(len(maps), "prompt"),
        "few": len(maps) < FEW,
        "furthest": _furthest(maps),
        "degree": 2 * len(grid.shifts) + 1,
        "top": TOP,
        "listed": LISTED,
    }
    return Report(
        contents=Contents(
            values=values,
            parts={"maps": [_part(drawn, n < EXPLORED) for n, drawn in enumerate(maps)]},
        ),
        headline=facts_page.headline(
            inputs, summary, counted(len(maps), "prompt"), counted(neurons, "neuron")
        ),
        printed=Table(columns=PROMPTS, rows=maps),
        measured=[
            *facts_page.measured(inputs, summary),
            ("NEG over", f"±{grid.step:g}, …, ±{grid.radius:g}"),
            ("Shifts replayed", _shifts(grid)),
        ],
    )


def _agreement(maps: Sequence[Map]) -> str:
    """Pearson's r of the prompts, from the lowest to the highest."""
    known = [drawn.agreement.pearson for drawn in maps if drawn.agreement.pearson is not None]
    if not known:
        return "an r that nobody can tell: NEG is the same for all"
    lowest, highest = (f"{extreme(known):.4f}" for extreme in (min, max))
    return f"r = {lowest}" if lowest == highest else f"r from {lowest} to {highest}"


def _furthest(maps: Sequence[Map]) -> dict[str, Any]:
    """The neuron of all prompts that is predicted worst."""
    worst = [(drawn.furthest(1)[0], drawn.predictor) for drawn in maps]
    rows = [{**row, "predicted": row[predictor]} for row, predictor in worst]
    return max(rows, key=lambda row: abs(row["neg"] - row["predicted"]))


def _shifts(grid: Grid) -> str:
    return " and ".join(f"±{shift:.3g}" for shift in grid.shifts[len(grid.shifts) // 2 :])


def _part(drawn: Map, explored: bool) -> Contents:
    """The section of a prompt."""
    slope, predicted = drawn.grid("neg"), drawn.grid(drawn.predictor)
    explorer = MapExplorer(
        names=(drawn.name, "NEG"),
        layer=drawn.layers,
        across=predicted,
        up=slope,
        activation=drawn.grid("activation"),
    )
    top = [(n["layer"], n["neuron"]) for n in drawn.strongest(TOP)]
    columns = (
        Column("layer", lambda n: n["layer"]),
        Column("neuron", lambda n: n["neuron"]),
        Column("NEG", lambda n: n["neg"], "+.2e"),
        Column(drawn.name, lambda n: n[drawn.predictor], "+.3g"),
        Column("activation", lambda n: n["activation"], "+.3g"),
        Column("r", lambda n: n["pearson"], "+.3g"),
    )
    return Contents(
        values={
            "map": drawn,
            "count": f"{counted(drawn.size, 'neuron')} of {counted(len(drawn.layers), 'layer')}",
        },
        tables={
            "strongest": Table(columns=columns, rows=drawn.strongest(LISTED)),
            "furthest": Table(columns=columns, rows=drawn.furthest(LISTED)),
        },
        figures={
            "map": lambda: figures.map_figure(drawn.layers, slope, predicted, drawn.name, top),
            "scatter": lambda: figures.scatter_figure(
                drawn.layers,
                slope,
                drawn.grid("neurgrad"),
                drawn.grid("computed"),
                drawn.statistics.predictions,
            ),
        },
        explorers={"map": explorer if explored else None},
        ending=f"_{drawn.prompt}",
    )


def _named(neuron: Mapping[str, Any]) -> str:
    return f"{neuron['layer']}.{neuron['neuron']} ({written(neuron['neg'], '+.2g')})"
