"""What the study of efficiency shows: tables, figures, and numbers of its report's template."""

from collections.abc import Callable

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Column, Table
from experiments.reporting.templates import Contents
from experiments.running.study import Findings
from experiments.skill_studies.accuracies import (
    PROBES,
    TASK,
    by_probe,
    chance,
    highest,
    interval,
    level,
    median,
    series_of,
    tasks_in_words,
    tested,
)
from experiments.skill_studies.jobs import Results
from experiments.skill_studies.study import findings_of
from experiments.skills_efficiency.results import (
    NEURONS,
    PROMPTS,
    Curve,
    Curves,
    curves_of,
    verdicts_of,
)
from negjax.model.language_model import LanguageModel


def findings(results: Results, lm: LanguageModel) -> Findings:
    """Tables, figures and summary of the finished tasks."""
    axes = [curves_of(axis, results) for axis in (NEURONS, PROMPTS)]
    smallest = {(c.axis.name, p): c.smallest(p) for c in axes for p in c.probes}

    def number(name: str, probe: str) -> Column:
        return Column(
            PROBES[probe], lambda task: smallest[name, probe].get(task) or None, under=name
        )

    return findings_of(
        results,
        lm,
        contents=Contents(
            values={"medians": [_medians(curves) for curves in axes]},
            tables={f"smallest_{c.axis.name}": _smallest(c, results) for c in axes}
            | {f"means_{c.axis.name}": _means(c) for c in axes},
            figures={c.axis.name: _drawn(c, results) for c in axes},
        ),
        printed=Table(
            title="smallest number within the interval of the best",
            columns=[Column("", str), *(number(*at) for at in smallest)],
            rows=list(results),
        ),
        summary={
            "smallest": {c.axis.name: {p: c.smallest(p) for p in c.probes} for c in axes},
            "chosen": {task: result.more["chosen"] for task, result in results.items()},
            "mean_accuracy": {c.axis.name: c.means() for c in axes},
        },
        verdicts=verdicts_of(*axes),
    )


def _medians(curves: Curves) -> str:
    smallest = []
    for probe in curves.probes:
        numbers = [at for at in curves.smallest(probe).values() if at is not None]
        smallest.append(f"{PROBES[probe]} {median(numbers)} ({tasks_in_words(len(numbers))})")
    return (
        f"Smallest number of {curves.axis.label} within the interval of the best, median of the "
        f"tasks in which the probe is better than a guess: {', '.join(smallest) or '—'}."
    )


def _smallest(curves: Curves, results: Results) -> Table:
    return Table(
        columns=[
            *TASK,
            Column("LM-Prob", lambda task: interval(tested(results[task], "lm_prob"))),
            *by_probe(curves.probes, lambda task, probe: _first(curves.by_task[task].get(probe))),
        ],
        rows=list(results),
    )


def _first(curve: Curve | None) -> str | None:
    if curve is None:
        return None
    best, first = highest(curve.rows), curve.smallest
    if first is None:
        return f"no better than a guess: {interval(curve.fair)}"
    at = curve.axis.at
    return f"{at(first)}: {first.accuracy:.1%} (best {at(best)}: {interval(best)})"


def _means(curves: Curves) -> Table:
    means = curves.means()
    return Table(
        columns=[
            Column(curves.axis.label, int),
            *by_probe(means, lambda at, probe: means[probe].get(at), ".1%"),
        ],
        rows=sorted({at for shares in means.values() for at in shares}),
    )


def _drawn(curves: Curves, results: Results) -> Callable[[], Picture]:
    def draw() -> Picture:
        panels = []
        for task, of_task in curves.by_task.items():
            series = [series_of(PROBES[p], c.rows, c.places) for p, c in of_task.items()]
            places = sorted({at for curve in of_task.values() for at in curve.places}) or [1]
            answer = tested(results[task], "lm_prob")
            panels.append((task, [*series, level(PROBES["lm_prob"], answer, places)], chance(task)))
        return skill_figures.curves_figure(panels, curves.axis.label)

    return draw
