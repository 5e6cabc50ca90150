"""What the study of MCEval8K's overlaps shows: its table, and the numbers of its template."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.mceval8k_leaks.results import Leaks, largest_overlap, overlap_table, wholly_leaked
from experiments.reporting import skill_figures
from experiments.reporting.figures import BLUE, GREY, ORANGE, Picture
from experiments.reporting.report import Facts
from experiments.reporting.skill_figures import Series
from experiments.reporting.tables import Column, Table
from experiments.reporting.templates import Contents
from experiments.running import provenance
from experiments.running.study import Findings, Report
from negjax.storage import store

PARTS = ("train", "valid", "test")
ABSENT = "–"
PAIRS = {
    "test_is_training": ("test", "train", BLUE),
    "test_is_valid": ("test", "valid", ORANGE),
    "valid_is_training": ("valid", "train", GREY),
}
"""Of published parts: how much of the first stands in the second; by the key of summary.json."""


def _sizes(split: str) -> Callable[[Leaks], str]:
    def cell(task: Leaks) -> str:
        sizes = task.sizes[split]
        return " / ".join(f"{sizes[part]:,}" if part in sizes else ABSENT for part in PARTS)

    return cell


def _pair(part: str, other: str) -> Callable[[Leaks], str]:
    """Overlaps by exact and by normalised text."""

    def cell(task: Leaks) -> str:
        exact, wide = (task.published(part, other, level) for level in ("text", "normalised"))
        if exact is None or wide is None:
            return ABSENT
        few, many = f"{exact.shared:,}", f"{wide.shared:,}"
        return few if few == many else f"{few}–{many}"

    return cell


COLUMNS = (
    Column("task", lambda task: task.name),
    Column("published: train / valid / test", _sizes("original")),
    Column("test in train", _pair("test", "train")),
    Column("test in valid", _pair("test", "valid")),
    Column("valid in train", _pair("valid", "train")),
    Column("demonstrations in test", _pair("test", "demonstrations")),
    Column("ours: train / valid / test", _sizes("disjoint")),
    Column("shared", lambda task: task.most("disjoint")),
)


def findings(leaks: Sequence[Leaks], seconds: float) -> Findings:
    """Table and summary of the tasks' overlaps, and the report."""
    summary = {
        "complete": True,
        "command": provenance.command(),
        "flags": provenance.flag_values(),
        "environment": provenance.environment(),
        "seconds": seconds,
        **{key: wholly_leaked(leaks, part, other) for key, (part, other, _) in PAIRS.items()},
        "largest_overlap": {
            split: largest_overlap(leaks, split) for split in ("original", "disjoint")
        },
        "tasks": leaks,
    }
    return Findings(
        tables={store.OVERLAPS: overlap_table(leaks)},
        summary=summary,
        report=lambda summary: make_report(leaks, summary),
    )


def make_report(leaks: Sequence[Leaks], summary: Mapping[str, Any]) -> Report:
    """What is shown of the overlaps."""
    wholly = [
        f"Every published {part} item is a {other} item: {len(summary[key])} of {len(leaks)} tasks"
        + (f" ({', '.join(summary[key])})." if summary[key] else ".")
        for key, (part, other, _) in PAIRS.items()
    ]
    overlaps = Table(columns=COLUMNS, rows=leaks)
    return Report(
        contents=Contents(
            values={
                **summary,
                "count": len(leaks),
                "leaked": len(summary["test_is_training"]),
                "wholly": wholly,
                "left_out": Facts([(t.name, "; ".join(t.notes)) for t in leaks if t.notes]),
            },
            tables={"overlaps": overlaps},
            figures={"shares": lambda: _shares(leaks)},
        ),
        headline=f"MCEval8K, {len(leaks)} tasks: items of one part that stand in another",
        printed=overlaps,
        measured=None,
    )


def _shares(leaks: Sequence[Leaks]) -> Picture:
    """Which share of a published part's items stands in another, by exact text."""
    series = []
    for part, other, color in PAIRS.values():
        found = [(n, task.published(part, other, "text")) for n, task in enumerate(leaks)]
        known = {n: overlap.shared / overlap.items for n, overlap in found if overlap is not None}
        shares = list(known.values())
        series.append(
            Series(
                label=f"{part} in {other}",
                color=color,
                at=list(known),
                accuracy=shares,
                low=shares,
                high=shares,
            )
        )
    names, none = [task.name for task in leaks], [0.0] * len(leaks)
    return skill_figures.dots_figure(names, series, none, across="share of the items", limits=None)
