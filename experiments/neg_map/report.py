"""What the map shows: tables, figures, and the numbers of its report's template."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from experiments.inputs import facts, facts_page
from experiments.neg_map import figures
from experiments.neg_map.results import Map, neuron_table
from experiments.reporting import statistics
from experiments.reporting.page_parts import asked_in_short
from experiments.reporting.tables import Column, Table, written
from experiments.reporting.templates import Contents
from experiments.running.study import Findings, Finished, Report
from negjax.storage import store
from negjax.storage.store import RunFolder

TOP = 8
"""Neurons pointed at in the picture."""
LISTED = 15
"""Neurons listed in the report."""
NAMED = 3
"""Neurons named in the terminal."""


def findings(
    inputs: facts.Inputs,
    folder: RunFolder,
    maps: Sequence[Map],
    shifts: np.ndarray,
    finished: Finished,
) -> Findings:
    """Returns tables and summary of the run, and its report."""
    probability, noise = (np.full(len(inputs.probes), np.nan) for _ in range(2))
    for drawn in maps:
        probability[drawn.prompt], noise[drawn.prompt] = drawn.probability, drawn.noise
    summary = facts_page.about_run(inputs, folder, finished.complete) | {
        "shifts": shifts.tolist(),
        "maps": [
            {
                "prompt": drawn.prompt,
                "text": inputs.probes.prompts[drawn.prompt],
                "answer": inputs.probes.targets[drawn.prompt][0],
                "probability": drawn.probability,
                "noise": drawn.noise,
                "layers": drawn.layers.tolist(),
                "statistics": dataclasses.asdict(drawn.statistics),
                "strongest": [dataclasses.asdict(named) for named in drawn.strongest(LISTED)],
            }
            for drawn in maps
        ],
    }
    return Findings(
        tables={
            store.PROMPTS: facts_page.prompt_table(inputs, probability, noise),
            store.NEURONS: pa.concat_tables([neuron_table(drawn) for drawn in maps]),
        },
        summary=summary,
        report=lambda summary: report(inputs, maps, shifts, summary),
    )


def report(
    inputs: facts.Inputs, maps: Sequence[Map], shifts: np.ndarray, summary: Mapping[str, Any]
) -> Report:
    """Returns what is shown of the maps."""
    neurons = sum(drawn.slope.size for drawn in maps)
    values = facts_page.values(inputs, summary) | {
        "neurons": neurons,
        "shifts": ", ".join(f"{shift:+g}" for shift in shifts),
        "top": TOP,
        "listed": LISTED,
    }
    return Report(
        contents=Contents(values=values, parts={"maps": [_part(inputs, drawn) for drawn in maps]}),
        headline=f"{inputs.lm.name}: {len(maps)} prompts, {neurons:,} neurons (site "
        f"{inputs.site}), shifts {summary['convention']}",
        printed=["\n".join(_lines(inputs, drawn)) for drawn in maps],
        measured=[
            *facts_page.measured(inputs, summary),
            ("Shifts measured", ", ".join(f"{shift:g}" for shift in shifts)),
        ],
    )


def _part(inputs: facts.Inputs, drawn: Map) -> Contents:
    """The section of a prompt."""
    name, predicted, agreement = drawn.predicted
    row_of = {int(layer): row for row, layer in enumerate(drawn.layers)}
    strongest = [(n, (row_of[n.layer], n.neuron)) for n in drawn.strongest(LISTED)]
    return Contents(
        values={
            "text": inputs.probes.prompts[drawn.prompt],
            "answer": inputs.probes.targets[drawn.prompt][0],
            "map": drawn,
            "every": drawn.statistics.every,
            "within_noise": drawn.statistics.within_noise / drawn.slope.size,
            "count": f"{drawn.slope.size:,} neurons of {len(drawn.layers)} layers",
            "name": name,
            "agreement": agreement,
        },
        tables={
            "strongest": Table(
                columns=[
                    Column("layer", lambda row: row[0].layer),
                    Column("neuron", lambda row: row[0].neuron),
                    Column("NEG", lambda row: row[0].value, "+.2e"),
                    Column(name, lambda row: predicted[row[1]], "+.3g"),
                    Column("activation", lambda row: drawn.activation[row[1]], "+.3g"),
                    Column("r", lambda row: drawn.pearson[row[1]], "+.3g"),
                ],
                rows=strongest,
            )
        },
        figures={
            "map": lambda: figures.map_figure(
                drawn.layers, drawn.slope, predicted, name, drawn.strongest(TOP)
            ),
            "scatter": lambda: figures.scatter_figure(
                drawn.layers, drawn.slope, drawn.neurgrad, drawn.computed, drawn.statistics
            ),
        },
        ending=f"_{drawn.prompt}",
    )


def _lines(inputs: facts.Inputs, drawn: Map) -> list[str]:
    """What the terminal shows of a prompt."""
    text, answer = inputs.probes.prompts[drawn.prompt], inputs.probes.targets[drawn.prompt][0]
    every, size = drawn.statistics.every, drawn.slope.size
    name, _, agreement = drawn.predicted
    strongest = ", ".join(
        f"layer {n.layer} neuron {n.neuron} ({n.value:+.2g})" for n in drawn.strongest(NAMED)
    )
    return [
        f"{asked_in_short(text, answer)}, P = {drawn.probability:.3g}",
        f"  {size:,} neurons in {len(drawn.layers)} layers",
        f"  NEG > 0: {written(every.positive, '.1%')}; within noise: "
        f"{drawn.statistics.within_noise / size:.1%}; |r| ≥ {statistics.LINEAR:g}: "
        f"{written(every.linear, '.1%')}",
        f"  {name} against NEG: r = {written(agreement.pearson, '.4f')}, MAE = "
        f"{written(agreement.mae, '.1e')}, same sign {written(agreement.same_sign, '.1%')}",
        f"  strongest: {strongest}",
    ]
