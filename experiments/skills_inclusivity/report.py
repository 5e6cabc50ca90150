"""What the study of inclusivity shows: maps of overlaps, layers, and what neurons know."""

import functools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Column, Table
from experiments.reporting.templates import Contents
from experiments.running import common
from experiments.running.study import Findings
from experiments.skill_studies.accuracies import RULES, chance, highest, interval
from experiments.skill_studies.jobs import Results, Row
from experiments.skill_studies.study import findings_of
from experiments.skills_inclusivity.results import (
    RANDOM,
    Kinship,
    by_chance,
    cells_of,
    compared,
    kinships_of,
    shared_of,
)
from negjax.model.language_model import LanguageModel


def _share(name: str) -> Column:
    return Column(name, lambda c: getattr(c.knowledge, name), ".1%")


RULE = Column("", lambda c: RULES[c.rule])
OVERLAP = (
    Column("Jaccard", lambda c: c.overlap.mean, ".3f"),
    Column("chance", lambda c: c.overlap.chance.expected, ".3f"),
    Column("above", lambda c: f"{c.overlap.above}/{c.overlap.pairs}"),
)
OVERLAP_ALONE = (
    Column("times chance", lambda c: c.overlap.mean / c.overlap.chance.expected, ".1f"),
    Column("random", lambda c: c.overlap.chance.low, ".3f", under="from"),
    Column("random", lambda c: c.overlap.chance.high, ".3f", under="to"),
    Column("above by luck", lambda c: c.overlap.by_luck, ".1f"),
    Column("halves", lambda c: c.overlap.halves, ".3f"),
)
KNOWLEDGE = tuple(map(_share, ("own", "others", "random", "guess")))
KNOWLEDGE_ALONE = (
    Column("tasks", lambda c: c.knowledge.tasks),
    Column("noise", lambda c: c.knowledge.noise, ".1%"),
    Column("kept", lambda c: c.knowledge.kept, ".0%"),
)


def findings(results: Results, lm: LanguageModel) -> Findings:
    """Tables, figures and summary of the finished tasks."""
    comparisons = compared(results)
    kinships = {rule: kinships_of(results, rule, common.seed()) for rule in RULES}
    by_rule = {comparison.rule: comparison for comparison in comparisons}
    averages = [
        f"{RULES[c.rule]}: Jaccard index {c.overlap.mean:.3f} on average, "
        f"{c.overlap.chance.expected:.3f} by chance; {c.overlap.above} of {c.overlap.pairs} pairs "
        "above the band of random ones."
        for c in comparisons
    ]

    def shown(*columns: Column) -> Table | None:
        return Table(columns=[RULE, *columns], rows=comparisons) if comparisons else None

    k = int(next(iter(results.values())).more["k"])
    return findings_of(
        results,
        lm,
        contents=Contents(
            values={
                "k": k,
                "averages": " ".join(averages),
                "several": bool(comparisons),
                "shared": [f"{RULES[c.rule]}: {c.overlap.verdict}." for c in comparisons],
                "known": [f"{RULES[c.rule]}: {c.knowledge.verdict}." for c in comparisons],
                "band": by_chance(results).high,
            },
            tables={
                "overlaps": shown(*OVERLAP, *OVERLAP_ALONE),
                "kinships": _kinships(kinships),
                "knowledge": shown(*KNOWLEDGE, *KNOWLEDGE_ALONE),
                "known": [_known(results, rule) for rule in RULES],
            },
            figures=_figures(results),
        ),
        printed=Table(columns=[RULE, *OVERLAP, *KNOWLEDGE], rows=comparisons),
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


def _kinships(kinships: Mapping[str, Mapping[str, Kinship | None]]) -> Table | None:
    """None where no tasks are alike, or all are."""
    rows = [
        (rule, group, kin)
        for rule, some in kinships.items()
        for group, kin in some.items()
        if kin is not None
    ]
    if not rows:
        return None
    return Table(
        columns=[
            Column("", lambda row: RULES[row[0]]),
            Column("same", lambda row: row[1]),
            Column("pairs", lambda row: row[2].pairs),
            Column("alike", lambda row: row[2].mean, ".3f"),
            Column("others", lambda row: row[2].others, ".3f"),
            Column("p", lambda row: "< 0.001" if row[2].chance < 0.001 else f"{row[2].chance:.3f}"),
            Column("says", lambda row: row[2].verdict),
        ],
        rows=rows,
    )


def _known(results: Results, rule: str) -> Table:
    cells = cells_of(results, rule)

    def others(task: str) -> list[Row]:
        return [cells[source, task] for source in results if source != task]

    def mean(task: str) -> float | None:
        rows = others(task)
        return statistics.fmean(row.accuracy for row in rows) if rows else None

    def best(task: str) -> str | None:
        rows = others(task)
        return f"{highest(rows).accuracy:.1%} ({highest(rows).source})" if rows else None

    return Table(
        name=f"known_{rule}",
        title=RULES[rule],
        columns=[
            Column("task", str),
            Column("genre", lambda task: results[task].more["genre"]),
            Column("guess", chance, ".1%"),
            Column("own", lambda task: interval(cells[task, task])),
            Column("others, mean", mean, ".1%"),
            Column("best other", best),
            Column("random", lambda task: interval(cells[RANDOM, task])),
        ],
        rows=list(results),
    )


def _figures(results: Results) -> dict[str, Callable[[], Picture] | None]:
    tasks = list(results)
    genres = [result.more["genre"] for result in results.values()]
    drawn = functools.partial(
        skill_figures.matrix_figure,
        rows=tasks,
        columns=tasks,
        breaks=[n for n in range(1, len(tasks)) if genres[n] != genres[n - 1]],
    )

    def shared(rule: str) -> Picture:
        matrix = shared_of(results, rule)
        pairs = matrix[~np.eye(len(tasks), dtype=bool)]
        limits = (0, max(float(pairs.max(initial=0)), by_chance(results).high))
        return drawn([(RULES[rule], matrix)], label="Jaccard index", limits=limits, decimals=3)

    def known(rule: str) -> Picture:
        cells = cells_of(results, rule)
        lead = np.asarray(
            [[cells[s, t].accuracy - cells[RANDOM, t].accuracy for t in tasks] for s in tasks]
        )
        limits = (float(lead.min()), float(lead.max()))
        return drawn([(RULES[rule], lead)], label="lead over random neurons", limits=limits)

    def layers() -> Picture:
        counts = {r: [result.more["layers"][r] for result in results.values()] for r in RULES}
        return skill_figures.layers_figure([(RULES[r], tasks, counts[r]) for r in RULES])

    return {
        "layers": layers,
        **{f"shared_{rule}": functools.partial(shared, rule) for rule in RULES},
        **{f"known_{rule}": functools.partial(known, rule) for rule in RULES},
    }
