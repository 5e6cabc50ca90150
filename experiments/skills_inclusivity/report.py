"""What the study of inclusivity shows: maps of overlaps, layers, and what neurons know."""

import dataclasses
import functools
import statistics
from collections.abc import Callable, Mapping

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
    Knowledge,
    Overlap,
    by_chance,
    cells_of,
    kinships_of,
    knowledge_of,
    overlap_of,
    shared_of,
)
from negjax.model.language_model import LanguageModel

UNLIKELY = 0.05
ALONE = "one task, nothing to compare."


def findings(results: Results, lm: LanguageModel) -> Findings:
    """Tables, figures and summary of the finished tasks."""
    overlaps = {rule: overlap_of(results, rule) for rule in RULES}
    kinships = {rule: kinships_of(results, rule, common.seed()) for rule in RULES}
    knowledge = {rule: knowledge_of(results, rule) for rule in RULES}
    k = int(next(iter(results.values())).more["k"])
    several = {r: (o, knowledge[r]) for r, o in overlaps.items() if o is not None}
    averages = [
        f"{RULES[rule]}: Jaccard index {o.mean:.3f} on average, {o.chance.expected:.3f} by chance; "
        f"{o.above} of {o.pairs} pairs above the band of random ones."
        for rule, (o, _) in several.items()
    ]
    return findings_of(
        results,
        lm,
        contents=Contents(
            values={
                "k": k,
                "averages": " ".join(averages),
                "overlaps": [_overlap(RULES[r], overlaps[r], kinships[r]) for r in RULES],
                "knowledge": [_knowledge(RULES[r], knowledge[r]) for r in RULES],
                "band": by_chance(results).high,
            },
            tables={
                "kinships": _kinships(kinships),
                "known": [_known(results, rule) for rule in RULES],
            },
            figures=_figures(results),
        ),
        printed=_printed(several),
        summary={
            "k": k,
            "chance": by_chance(results)._asdict(),
            "overlap": {r: o and dataclasses.asdict(o) for r, o in overlaps.items()},
            "kinship": {
                r: {group: kin and dataclasses.asdict(kin) for group, kin in some.items()}
                for r, some in kinships.items()
            },
            "knowledge": {
                r: known and dataclasses.asdict(known) | {"kept": known.kept}
                for r, known in knowledge.items()
            },
            "shared": {rule: shared_of(results, rule).tolist() for rule in RULES},
        },
    )


def _overlap(name: str, o: Overlap | None, kinships: Mapping[str, Kinship | None]) -> str:
    if o is None:
        return f"{name}: {ALONE}"
    sentences = [
        f"{name}: a pair of tasks shares {o.mean:.3f} on average, {o.mean / o.chance.expected:.1f} "
        f"times what random neurons do ({o.chance.expected:.3f}, 95% of random pairs within "
        f"{o.chance.low:.3f} to {o.chance.high:.3f}). {o.above} of {o.pairs} pairs lie above that "
        f"band, at most {o.by_luck:.1f} would by chance: {o.verdict}. Two halves of one task's own "
        f"training prompts share {o.halves:.3f}."
    ]
    for group, kin in kinships.items():
        if kin is not None:
            more = "no more" if kin.chance >= UNLIKELY else "more"
            p = _probability(kin)
            sentences.append(
                f"Same {group}: {kin.mean:.3f}, otherwise {kin.others:.3f}, {more} than chance "
                f"explains (p {p if p.startswith('<') else f'= {p}'})."
            )
    return " ".join(sentences)


def _probability(kin: Kinship) -> str:
    return "< 0.001" if kin.chance < 0.001 else f"{kin.chance:.3f}"


def _knowledge(name: str, known: Knowledge | None) -> str:
    if known is None:
        return f"{name}: {ALONE}"
    shares = (
        f"{name}, mean over {known.tasks} tasks: own neurons {known.own:.1%}, other tasks' "
        f"{known.others:.1%}, random ones {known.random:.1%}, a guess {known.guess:.1%}; "
        f"differences below {known.noise:.1%} may be the test prompts' chance. "
    )
    if known.own - known.guess <= known.noise:
        return shares + "Own neurons are too close to a guess for others' to be compared with them."
    if known.kept is None:
        return shares + (
            "A task's own neurons cannot be distinguished from random ones with the same task's "
            "polarities: how neurons are made to vote matters, not which they are."
        )
    above = known.others - known.random > known.noise
    return shares + (
        f"Other tasks' neurons keep {known.kept:.0%} of the lead of own ones over random ones, "
        f"{'more' if above else 'not more'} than chance explains: tasks "
        f"{'share' if above else 'do not visibly share'} what their neurons know."
    )


def _kinships(kinships: Mapping[str, Mapping[str, Kinship | None]]) -> Table:
    return Table(
        columns=[
            Column("", lambda row: RULES[row[0]]),
            Column("same", lambda row: row[1]),
            Column("pairs", lambda row: row[2].pairs),
            Column("alike", lambda row: row[2].mean, ".3f"),
            Column("others", lambda row: row[2].others, ".3f"),
            Column("p", lambda row: _probability(row[2])),
        ],
        rows=[
            (rule, group, kin)
            for rule, some in kinships.items()
            for group, kin in some.items()
            if kin is not None
        ],
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


def _printed(several: Mapping[str, tuple[Overlap, Knowledge | None]]) -> Table:
    return Table(
        columns=[
            Column("", lambda row: RULES[row[0]]),
            Column("Jaccard", lambda row: row[1].mean, ".3f"),
            Column("chance", lambda row: row[1].chance.expected, ".3f"),
            Column("above", lambda row: f"{row[1].above}/{row[1].pairs}"),
            *(_share(name) for name in ("own", "others", "random", "guess")),
        ],
        rows=[(rule, *pair) for rule, pair in several.items()],
    )


def _share(name: str) -> Column:
    return Column(name, lambda row: getattr(row[2], name), ".1%")


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
        return drawn([(RULES[rule], lead)], label="accuracy less random neurons'", limits=limits)

    def layers() -> Picture:
        counts = {r: [result.more["layers"][r] for result in results.values()] for r in RULES}
        return skill_figures.layers_figure([(RULES[r], tasks, counts[r]) for r in RULES])

    return {
        "layers": layers,
        **{f"shared_{rule}": functools.partial(shared, rule) for rule in RULES},
        **{f"known_{rule}": functools.partial(known, rule) for rule in RULES},
    }
