"""What the study of flexibility shows: tables, figures, and numbers of its report's template."""

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.skill_figures import Series
from experiments.skill_studies import accuracies as acc
from experiments.skill_studies.jobs import Results
from experiments.skill_studies.study import Shown
from experiments.skills_flexibility.results import Sets, sets_of, verdicts_of

ALONE = 8
"""Sets that figures show one by one."""
PLACES = (2, 8, 64)
"""Of sets whose accuracies a table has."""


def findings(results: Results) -> Shown:
    """Tables, figures and summary of the finished tasks."""
    sets = {rule: [sets_of(result, rule) for result in results.values()] for rule in acc.RULES}
    by_task = dict(zip(results, zip(*sets.values(), strict=True), strict=True))
    size = sets["polar"][0].first.neurons
    places = "; ".join(f"set {place}|.1%" for place in PLACES)
    return Shown(
        values={
            "size": size,
            "alone": ALONE,
            "medians": "; ".join(_medians(acc.PROBES[rule], sets[rule]) for rule in acc.RULES),
        },
        tables={
            "sets": acc.table_of(
                f"task; probe; set 1; {places}; last|.1%; in a row; as good|.1%; random|.1%|mean; "
                "random|.1%|97.5%; LM-Prob|.1%; guess|.1%",
                [
                    (
                        *(task, acc.PROBES[s.probe], acc.interval(s.first), *map(s.at, PLACES)),
                        *(s.at(len(s.ranked)), f"{s.in_a_row} of {len(s.ranked)}", s.as_good),
                        *(s.random.accuracy, s.high_random),
                        *(acc.tested(results[task], "lm_prob").accuracy, acc.chance(task)),
                    )
                    for task, of_task in by_task.items()
                    for s in of_task
                ],
            )
        },
        figures={"sets": lambda: _drawn(results, by_task)},
        printed="sets",
        summary={
            "set_size": size,
            "sets": {rule: {s.task: s.summary for s in some} for rule, some in sets.items()},
        },
        verdicts=[verdict for rule, some in sets.items() for verdict in verdicts_of(rule, some)],
    )


def _medians(name: str, sets: Sequence[Sets]) -> str:
    heard = [s for s in sets if not acc.guessed(s.first)]
    if not heard:
        return f"{name}'s first set is in no task above a guess"
    several = [(s.ranked[1], s.first) for s in heard if len(s.ranked) > 1]
    second = f"the second differs by {acc.signed(acc.mean_gain(several))}, " if several else ""
    return (
        f"where {name}'s first set is above a guess ({acc.tasks_in_words(len(heard))}), {second}"
        f"{acc.median([s.in_a_row for s in heard])} in a row (median) are not below its interval, "
        f"and {statistics.fmean(s.as_good for s in heard):.1%} of all later ones"
    )


def _drawn(results: Results, by_task: Mapping[str, Sequence[Sets]]) -> Picture:
    panels = []
    for task, of_task in by_task.items():
        ends = [1, max(len(s.ranked) for s in of_task)]
        votes = {s.probe: f"random, {acc.PROBES[s.probe]}'s votes" for s in of_task}
        series = [
            *map(_curve, of_task),
            *(acc.level(s.random, ends, probe=s.probe, label=votes[s.probe]) for s in of_task),
            acc.level(acc.tested(results[task], "lm_prob"), ends, probe="lm_prob"),
        ]
        panels.append((task, series, acc.chance(task)))
    return skill_figures.curves_figure(panels, "place in the ranking")


def _curve(sets: Sets) -> Series:
    """The first sets alone, the further ones as means of ever more."""
    count = len(sets.ranked)
    spans = [(n, n + 1) for n in range(min(ALONE, count))]
    while spans[-1][1] < count:
        start = spans[-1][1]
        spans.append((start, min(2 * start, count)))
    numbers = np.asarray([(row.accuracy, row.low, row.high) for row in sets.ranked])
    means = [acc.Mean(*numbers[a:b].mean(0).tolist()) for a, b in spans]
    return acc.series_of(means, [math.sqrt((a + 1) * b) for a, b in spans], probe=sets.probe)
