"""What the study of efficiency shows: tables, figures, and numbers of its report's template."""

import functools

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Column, Table
from experiments.skill_studies import accuracies as acc
from experiments.skill_studies.jobs import Results
from experiments.skill_studies.study import Shown
from experiments.skills_efficiency.results import (
    AXES,
    Axis,
    Curves,
    curves_of,
    means_of,
    verdicts_of,
)


def findings(results: Results) -> Shown:
    """Tables, figures and summary of the finished tasks."""
    every = {axis: curves_of(axis, results) for axis in AXES}
    means = {axis.name: means_of(curves, len(results)) for axis, curves in every.items()}
    enough = {
        axis.name: {p: {t: c.enough for t, c in some.items()} for p, some in curves.items()}
        for axis, curves in every.items()
    }
    return Shown(
        values={"medians": "; ".join(_medians(axis, curves) for axis, curves in every.items())},
        tables={
            "smallest": _smallest(results, list(every.values())),
            "enough": Table(
                title="smallest number within the interval of the best",
                columns=[
                    Column("task", str),
                    *(
                        Column(acc.PROBES[probe], some.get, under=axis)
                        for axis, by_probe in enough.items()
                        for probe, some in by_probe.items()
                    ),
                ],
                rows=list(results),
            ),
            **{f"means_{axis.name}": _means(axis, means[axis.name]) for axis in every},
        },
        figures={
            axis.name: functools.partial(_drawn, axis, curves, results)
            for axis, curves in every.items()
        },
        printed="enough",
        summary={
            "smallest": enough,
            "chosen": {task: result.more["chosen"] for task, result in results.items()},
            "mean_accuracy": means,
        },
        verdicts=verdicts_of(*every.values()),
    )


def _medians(axis: Axis, curves: Curves) -> str:
    numbers = {p: [c.enough for c in some.values() if c.enough] for p, some in curves.items()}
    told = [
        f"{acc.PROBES[probe]} {acc.median(some)} ({acc.tasks_in_words(len(some))})"
        for probe, some in numbers.items()
        if some
    ]
    return f"of {axis.label} {', '.join(told) or 'no probe is better than a guess'}"


def _smallest(results: Results, every: list[Curves]) -> Table:
    return acc.table_of(
        "task; number of; probe; smallest||number; smallest|.1%|accuracy; best||number; "
        "best||accuracy; chosen on valid; LM-Prob; guess|.1%",
        [
            (
                *(task, curve.axis.label, acc.PROBES[probe], curve.enough),
                *(curve.smallest and curve.smallest.accuracy, curve.axis.at(curve.best)),
                *(acc.interval(curve.best), acc.interval(curve.fair)),
                *(acc.interval(acc.tested(result, "lm_prob")), acc.chance(task)),
            )
            for task, result in results.items()
            for curves in every
            for probe, some in curves.items()
            if (curve := some.get(task))
        ],
    )


def _means(axis: Axis, means: dict[str, dict[int, float]]) -> Table:
    shown = [Column(acc.PROBES[probe], some.get, ".1%") for probe, some in means.items()]
    numbers = sorted({at for some in means.values() for at in some})
    return Table(columns=[Column(axis.label, int), *shown], rows=numbers)


def _drawn(axis: Axis, curves: Curves, results: Results) -> Picture:
    panels = []
    for task, result in results.items():
        of_task = [some[task] for some in curves.values() if task in some]
        series = [acc.series_of(c.rows, c.places, probe=c.rows[0].probe) for c in of_task]
        places = sorted({at for curve in of_task for at in curve.places}) or [1]
        answer = acc.level(acc.tested(result, "lm_prob"), places, probe="lm_prob")
        panels.append((task, [*series, answer], acc.chance(task)))
    return skill_figures.curves_figure(panels, axis.label)
