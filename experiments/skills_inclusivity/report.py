"""What the study of inclusivity shows: maps of overlaps, layers, and what neurons know."""

import functools
import statistics
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Table
from experiments.running import common
from experiments.skill_studies import accuracies as acc
from experiments.skill_studies.accuracies import RULES
from experiments.skill_studies.jobs import Results
from experiments.skill_studies.study import Shown
from experiments.skills_inclusivity.results import (
    RANDOM,
    Comparison,
    by_chance,
    cells_of,
    compared,
    kinships_of,
    shared_of,
)

KNOWLEDGE = ("own", "others", "random", "guess", "noise")


def findings(results: Results) -> Shown:
    """Tables, figures and summary of the finished tasks."""
    comparisons = compared(results)
    by_rule = {comparison.rule: comparison for comparison in comparisons}
    kinships = {rule: kinships_of(results, rule, common.seed()) for rule in RULES}
    k = int(next(iter(results.values())).more["k"])
    return Shown(
        values={
            "k": k,
            "shared": "; ".join(map(_shared, comparisons)),
            "known": [f"{RULES[c.rule]}: {c.knowledge.verdict}." for c in comparisons],
        },
        tables={
            "overlaps": acc.table_of(
                "by; Jaccard|.3f; halves|.3f; random|.3f; random|.3f|from; random|.3f|to; pairs; "
                "pairs||above; pairs|.1f|by luck",
                [
                    (RULES[c.rule], o.mean, o.halves, *o.chance, o.pairs, o.above, o.by_luck)
                    for c in comparisons
                    for o in [c.overlap]
                ],
            ),
            "knowledge": acc.table_of(
                "by; own|.1%; others|.1%; random|.1%; guess|.1%; noise|.1%; kept|.0%; tasks",
                [
                    (
                        RULES[c.rule],
                        *(getattr(known, n) for n in KNOWLEDGE),
                        known.kept,
                        known.tasks,
                    )
                    for c in comparisons
                    for known in [c.knowledge]
                ],
            ),
            "kinships": acc.table_of(
                "by; same; pairs; alike|.3f; others|.3f; p|.4f; says",
                [
                    (RULES[rule], group, kin.pairs, kin.mean, kin.others, kin.chance, kin.verdict)
                    for rule, some in kinships.items()
                    for group, kin in some.items()
                    if kin is not None
                ],
            ),
            "known": _known(results),
        },
        figures=_figures(results, comparisons),
        printed="overlaps",
        summary={
            "k": k,
            "chance": by_chance(results)._asdict(),
            "overlap": {r: by_rule[r].overlap if by_rule else None for r in RULES},
            "kinship": kinships,
            "knowledge": {
                r: asdict(by_rule[r].knowledge) | {"kept": by_rule[r].knowledge.kept}
                if by_rule
                else None
                for r in RULES
            },
            "shared": {rule: shared_of(results, rule).tolist() for rule in RULES},
        },
    )


def _shared(comparison: Comparison) -> str:
    overlap, random = comparison.overlap, comparison.overlap.chance
    pairs = f"{overlap.pairs} pair{'' if overlap.pairs == 1 else 's'}"
    return (
        f"by {RULES[comparison.rule]} {overlap.mean:.3f} ({pairs}), where random neurons have "
        f"{random.expected:.3f} (95% of pairs: {random.low:.3f} to {random.high:.3f}): "
        f"{overlap.verdict}"
    )


def _known(results: Results) -> Table:
    rows = []
    for task, result in results.items():
        for rule, name in RULES.items():
            cells = cells_of(results, rule)
            others = [cells[source, task] for source in results if source != task]
            mean = statistics.fmean(row.accuracy for row in others) if others else None
            best = acc.highest(others) if others else None
            rows.append(
                (
                    *(task, result.more["genre"], name, acc.interval(cells[task, task]), mean),
                    best and f"{best.accuracy:.1%} ({best.source})",
                    *(acc.interval(cells[RANDOM, task]), acc.chance(task)),
                )
            )
    return acc.table_of(
        "task; genre; by; own; others, mean|.1%; best other; random; guess|.1%",
        rows,
    )


def _figures(
    results: Results, comparisons: list[Comparison]
) -> dict[str, Callable[[], Picture] | None]:
    tasks, every = list(results), results.values()
    genres = [result.more["genre"] for result in every]
    breaks = [n for n in range(1, len(tasks)) if genres[n] != genres[n - 1]]
    squares = functools.partial(
        skill_figures.matrix_figure, rows=tasks, columns=tasks, breaks=breaks
    )
    maps = {rule: shared_of(results, rule) for rule in RULES}

    def pairs() -> Picture:
        random = by_chance(results)
        series = []
        for rule, matrix in maps.items():
            found = matrix[np.triu_indices(len(tasks), 1)]
            of_tasks = acc.Mean(found.mean(), *np.quantile(found, [0.025, 0.975]))
            series.append(acc.series_of([of_tasks, acc.Mean(*random)], range(2), probe=rule))
        return skill_figures.dots_figure(
            *(["pairs of tasks", "random sets"], series, [random.expected] * 2),
            across="Jaccard index",
            limits=None,
            percent=False,
        )

    def shared() -> Picture:
        panels = [(RULES[rule], maps[rule]) for rule in RULES]
        return squares(panels, label="Jaccard index", form=".3f", reference=True, apart=True)

    def known() -> Picture:
        panels = []
        for rule, name in RULES.items():
            cells = {at: row.accuracy for at, row in cells_of(results, rule).items()}
            lead = [[cells[s, t] - cells[RANDOM, t] for t in tasks] for s in tasks]
            panels.append((name, np.asarray(lead)))
        ends, label = ("neurons of", "asked about"), "lead over random neurons"
        return squares(panels, label=label, form="+.0f", percent=True, axes_names=ends)

    def layers() -> Picture:
        counts = {rule: [result.more["layers"][rule] for result in every] for rule in RULES}
        return acc.layers_figure(tasks, counts)

    return {
        "pairs": pairs if comparisons else None,
        "shared": shared if len(tasks) > 2 else None,
        "known": known if comparisons else None,
        "layers": layers,
    }
