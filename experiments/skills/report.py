"""What the study of probes' accuracies shows: tables, figures, numbers of its report's template."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Column, Table
from experiments.reporting.templates import Contents
from experiments.running.study import Findings
from experiments.skill_studies.accuracies import (
    PROBES,
    by_probe,
    chance,
    interval,
    select,
    series_of,
)
from experiments.skill_studies.inputs import PARTS
from experiments.skill_studies.jobs import Results, Row
from experiments.skill_studies.study import findings_of
from negjax.model.language_model import LanguageModel

PAPER: Mapping[str, tuple[float, float, float, float]] = {
    "ner": (0.361, 0.453, 0.498, 0.740),
    "agnews": (0.588, 0.849, 0.702, 0.872),
    "paws": (0.524, 0.825, 0.815, 0.888),
    "csqa": (0.610, 0.613, 0.639, 0.773),
    "halueval": (0.520, 0.788, 0.783, 0.818),
    "mlama": (0.608, 0.622, 0.637, 0.724),
}
"""Reported for Llama2-7B by Zhao, Jiang and Yoshinaga (ACL 2025): LM-Prob, Act, Magn, Tree."""
PAPER_PROBES = ("lm_prob", "act", "magn", "tree")
MEAN = "mean"


def findings(results: Results, lm: LanguageModel) -> Findings:
    """Tables, figures and summary of the finished tasks."""
    rows = [row for result in results.values() for row in result.rows]
    cells = {(row.task, row.split, row.part, row.probe): row for row in rows}
    splits = list(dict.fromkeys(row.split for row in rows))
    probes = [name for name in PROBES if any(row.probe == name for row in rows)]
    means = {
        split: {part: {p: _mean(rows, split, part, p) for p in probes} for part in PARTS}
        for split in splits
    }

    def accuracy(task: str, probe: str, split: str = splits[0]) -> float:
        return means[split]["test"][probe] if task == MEAN else cell((task, split, "test"), probe)

    def cell(at: tuple[str, str, str], probe: str) -> float:
        return cells[*at, probe].accuracy

    def leak(task: str, probe: str) -> float:
        return accuracy(task, probe, "original") - accuracy(task, probe, "disjoint")

    def beside_paper(task: str, probe: str) -> str:
        there = PAPER[task][PAPER_PROBES.index(probe)]
        return f"{accuracy(task, probe):.1%} | {there:.1%}"

    name = Column("task", str)
    reported = [task for task in results if task in PAPER and set(PAPER_PROBES) <= set(probes)]
    averages = Table(
        columns=[Column("", str), *by_probe(probes, accuracy, ".1%")], rows=[*results, MEAN]
    )
    tables = {
        "accuracies": Table(
            columns=[
                Column("task", lambda at: at[0]),
                Column("genre", lambda at: results[at[0]].more["genre"]),
                Column("split", lambda at: at[1]),
                Column("part", lambda at: f"{at[2]}, {cells[*at, probes[0]].tested}"),
                *by_probe(probes, lambda at, probe: interval(cells[*at, probe])),
            ],
            rows=[(task, split, part) for task in results for split in splits for part in PARTS],
        ),
        "paper": Table(columns=[name, *by_probe(PAPER_PROBES, beside_paper)], rows=reported)
        if reported
        else None,
        "leaks": Table(columns=[name, *by_probe(probes, leak, "+.1%")], rows=list(results))
        if len(splits) > 1
        else None,
    }
    shown = ", ".join(f"{PROBES[probe]} {accuracy(MEAN, probe):.1%}" for probe in probes)
    return findings_of(
        results,
        lm,
        contents=Contents(
            values={"split": splits[0], "means": shown},
            tables=tables,
            figures=_figures(results, probes, select(rows, split=splits[0], part="test")),
        ),
        printed=averages,
        summary={"accuracy": means},
    )


def _mean(rows: Sequence[Row], split: str, part: str, probe: str) -> float:
    cells = select(rows, split=split, part=part, probe=probe)
    return statistics.fmean(row.accuracy for row in cells)


def _figures(
    results: Results, probes: Sequence[str], rows: Sequence[Row]
) -> dict[str, Callable[[], Picture] | None]:
    tasks = list(results)
    # Tasks whose probes have neurons.
    placed = [task for task in tasks if results[task].more["layers"]]

    def accuracy() -> Picture:
        by_name = [(PROBES[probe], select(rows, probe=probe)) for probe in probes]
        series = [
            series_of(name, some, [tasks.index(row.task) for row in some]) for name, some in by_name
        ]
        return skill_figures.dots_figure(tasks, series, [chance(task) for task in tasks])

    def layers() -> Picture:
        counts = {task: results[task].more["layers"] for task in placed}
        panels = [
            (PROBES[probe], placed, [counts[task].get(probe, []) for task in placed])
            for probe in counts[placed[0]]
        ]
        return skill_figures.layers_figure(panels)

    return {"accuracy": accuracy, "layers": layers if placed else None}
