"""What the study of interdependency shows: tables, figures, numbers of its report's template."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Column, Table
from experiments.reporting.templates import Contents
from experiments.running.study import Findings
from experiments.skill_studies.accuracies import PROBES, TASK, chance, interval, select, series_of
from experiments.skill_studies.jobs import Results
from experiments.skill_studies.study import findings_of
from experiments.skills_interdependency.results import (
    COMPARISONS,
    Comparison,
    Forests,
    forests_of,
    verdict_of,
)
from negjax.model.language_model import LanguageModel


def findings(results: Results, lm: LanguageModel) -> Findings:
    """Tables, figures and summary of the finished tasks."""
    rows = select(next(iter(results.values())).rows, probe="tree", part="test")
    depths = list(dict.fromkeys(row.depth for row in rows))
    counts = list(dict.fromkeys(row.trees or 0 for row in rows))
    forests = {task: forests_of(result, depths, counts) for task, result in results.items()}

    def accuracy(head: str, name: str) -> Column:
        return Column(head, lambda task: getattr(forests[task], name).accuracy, ".1%")

    def with_interval(head: str, name: str) -> Column:
        return Column(head, lambda task: interval(getattr(forests[task], name)))

    def depth(head: str) -> Column:
        return Column(head, lambda task: _named(forests[task].chosen.depth, "unlimited"))

    trees = Column("trees", lambda task: forests[task].chosen.trees)
    return findings_of(
        results,
        lm,
        contents=Contents(
            values={"gains": [_range(comparison, forests) for comparison in COMPARISONS]},
            tables={
                "forests": Table(
                    columns=[
                        *TASK,
                        with_interval("LM-Prob", "lm_prob"),
                        with_interval("Polar", "polar"),
                        with_interval("shallowest trees", "shallow"),
                        with_interval("fewest trees", "single"),
                        with_interval("all trees", "all_trees"),
                        depth("depth chosen"),
                        trees,
                        with_interval("chosen forest", "chosen"),
                    ],
                    rows=list(results),
                )
            },
            figures={
                "matrices": lambda: _matrices(forests, depths, counts),
                "gains": lambda: _dots(forests),
            },
        ),
        printed=Table(
            columns=[
                Column("", str),
                accuracy("LM-Prob", "lm_prob"),
                accuracy("Polar", "polar"),
                depth("depth"),
                trees,
                accuracy("forest", "chosen"),
                accuracy("shallowest", "shallow"),
                accuracy("fewest", "single"),
            ],
            rows=list(results),
        ),
        summary={"chosen": {task: forest.summary for task, forest in forests.items()}},
        verdicts=[verdict_of(comparison, forests) for comparison in COMPARISONS],
    )


def _range(comparison: Comparison, forests: Mapping[str, Forests]) -> str:
    gains = [forest.gain(comparison) for forest in forests.values()]
    if len(gains) == 1:
        return f"{comparison.words}: gain {gains[0]:+.1%}."
    return (
        f"{comparison.words}: mean gain {statistics.fmean(gains):+.1%}, from {min(gains):+.1%} to "
        f"{max(gains):+.1%} over the tasks."
    )


def _named(depth: int | None, unlimited: str) -> str:
    return unlimited if depth is None else str(depth)


def _matrices(
    forests: Mapping[str, Forests], depths: Sequence[int | None], counts: Sequence[int]
) -> Picture:
    every = np.stack([forest.matrix for forest in forests.values()])
    return skill_figures.matrix_figure(
        [(f"{task} (Polar {f.polar.accuracy:.0%})", f.matrix) for task, f in forests.items()],
        [_named(depth, "∞") for depth in depths],
        list(map(str, counts)),
        "test accuracy",
        limits=(float(every.min()), float(every.max())),
    )


def _dots(forests: Mapping[str, Forests]) -> Picture:
    shown = {
        PROBES["lm_prob"]: "lm_prob",
        PROBES["polar"]: "polar",
        "shallowest trees": "shallow",
        "fewest trees": "single",
        "chosen forest": "chosen",
    }
    series = [
        series_of(label, [getattr(f, name) for f in forests.values()], range(len(forests)))
        for label, name in shown.items()
    ]
    return skill_figures.dots_figure(list(forests), series, [chance(task) for task in forests])
