"""What the study of flexibility shows: tables, figures, and numbers of its report's template."""

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.skill_figures import Series
from experiments.reporting.tables import Column, Table
from experiments.reporting.templates import Contents
from experiments.running.study import Findings
from experiments.skill_studies.accuracies import (
    PROBES,
    TASK,
    chance,
    interval,
    level,
    median,
    percent,
    tasks_in_words,
    tested,
)
from experiments.skill_studies.jobs import Results, Row
from experiments.skill_studies.study import findings_of
from experiments.skills_flexibility.results import Sets, SetsByTask, sets_of, verdicts_of
from negjax.model.language_model import LanguageModel

RULES = ("polar", "magn")
ALONE = 8
"""Sets that figures show one by one."""


def findings(results: Results, lm: LanguageModel) -> Findings:
    """Tables, figures and summary of the finished tasks."""
    sets = {rule: {t: sets_of(result, rule) for t, result in results.items()} for rule in RULES}
    size = sets["polar"][next(iter(results))].first.neurons
    return findings_of(
        results,
        lm,
        contents=Contents(
            values={
                "size": size,
                "alone": ALONE,
                "medians": [_medians(rule, sets[rule]) for rule in RULES],
            },
            tables={"sets": [_table(rule, sets[rule], results) for rule in RULES]},
            figures={"sets": lambda: _drawn(results, sets)},
        ),
        printed=Table(
            columns=[Column("", str), *(c for rule in RULES for c in _columns(rule, sets[rule]))],
            rows=list(results),
        ),
        summary={
            "set_size": size,
            "sets": {rule: {t: some.summary for t, some in sets[rule].items()} for rule in RULES},
        },
        verdicts=[verdict for rule in RULES for verdict in verdicts_of(rule, sets[rule])],
    )


def _medians(rule: str, sets: SetsByTask) -> str:
    heard = [some for some in sets.values() if not some.silent]
    if not heard:
        return f"{PROBES[rule]}: in no task is the first set above a guess."
    share = statistics.fmean(some.as_good for some in heard)
    return (
        f"{PROBES[rule]}: sets in a row that are not below the interval of the first, median of "
        f"the {tasks_in_words(len(heard))} in which the first is above a guess: "
        f"{median([some.in_a_row for some in heard])}; of all later sets {percent(share)} are not "
        "below it."
    )


def _columns(rule: str, sets: SetsByTask) -> list[Column]:
    return [
        Column(PROBES[rule], lambda task: sets[task].at(1), ".1%", under="set 1"),
        Column(PROBES[rule], lambda task: sets[task].at(2), ".1%", under="set 2"),
        Column(PROBES[rule], lambda task: sets[task].ranked[-1].accuracy, ".1%", under="last"),
        Column(PROBES[rule], lambda task: sets[task].in_a_row, under="in a row"),
        Column(PROBES[rule], lambda task: sets[task].random.accuracy, ".1%", under="random"),
    ]


def _table(rule: str, sets: SetsByTask, results: Results) -> Table:
    most = max(len(some.ranked) for some in sets.values())

    def place(number: int) -> Column:
        return Column(f"set {number}", lambda task: sets[task].at(number), ".1%")

    def random(some: Sets) -> str:
        return f"{some.random.accuracy:.1%} (97.5% at or below {some.high_random:.1%})"

    return Table(
        name=f"sets_{rule}",
        title=PROBES[rule],
        columns=[
            *TASK,
            Column("set 1", lambda task: interval(sets[task].first)),
            *(place(2**n) for n in range(1, most.bit_length())),
            Column("in a row", lambda task: f"{sets[task].in_a_row} of {len(sets[task].ranked)}"),
            Column("as good", lambda task: sets[task].as_good, ".1%"),
            Column("random", lambda task: random(sets[task])),
            Column("LM-Prob", lambda task: tested(results[task], "lm_prob").accuracy, ".1%"),
        ],
        rows=list(results),
    )


def _drawn(results: Results, sets: Mapping[str, SetsByTask]) -> Picture:
    panels = []
    for task, result in results.items():
        of_task = {PROBES[rule]: sets[rule][task] for rule in RULES}
        ends = [1, max(len(some.ranked) for some in of_task.values())]
        series = [
            *(_curve(name, some.ranked) for name, some in of_task.items()),
            *(level(f"random, {n}'s votes", some.random, ends) for n, some in of_task.items()),
            level(PROBES["lm_prob"], tested(result, "lm_prob"), ends),
        ]
        panels.append((task, series, chance(task)))
    return skill_figures.curves_figure(panels, "place in the ranking")


def _curve(label: str, ranked: Sequence[Row]) -> Series:
    """The first sets alone, the further ones as means of ever more."""
    spans = [(n, n + 1) for n in range(min(ALONE, len(ranked)))]
    while spans[-1][1] < len(ranked):
        start = spans[-1][1]
        spans.append((start, min(2 * start, len(ranked))))
    numbers = np.asarray([(row.accuracy, row.low, row.high) for row in ranked])
    accuracy, low, high = np.stack([numbers[a:b].mean(0) for a, b in spans], axis=-1).tolist()
    at = [math.sqrt((a + 1) * b) for a, b in spans]
    return Series(label=label, at=at, accuracy=accuracy, low=low, high=high)
