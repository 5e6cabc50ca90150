"""What the study of MCEval8K's overlaps shows: its table, and the numbers of its template."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.mceval8k_leaks.results import Leaks, largest_overlap, overlap_table, wholly_leaked
from experiments.reporting.report import Facts
from experiments.reporting.tables import Column, Table
from experiments.reporting.templates import Contents
from experiments.running import provenance
from experiments.running.study import Findings, Report
from negjax.storage import store

PARTS = ("train", "valid", "test")
ABSENT = "–"


def _sizes(split: str) -> Callable[[Leaks], str]:
    def cell(task: Leaks) -> str:
        sizes = task.sizes[split]
        return ", ".join(f"{sizes[part]:,}" if part in sizes else ABSENT for part in PARTS)

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
    Column("published: train, valid, test", _sizes("original")),
    Column("test in train", _pair("test", "train")),
    Column("test in valid", _pair("test", "valid")),
    Column("valid in train", _pair("valid", "train")),
    Column("demonstrations in test", _pair("test", "demonstrations")),
    Column("ours: train, valid, test", _sizes("disjoint")),
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
        "test_is_training": wholly_leaked(leaks, "test", "train"),
        "test_is_valid": wholly_leaked(leaks, "test", "valid"),
        "valid_is_training": wholly_leaked(leaks, "valid", "train"),
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
    listed = {
        "test item is a training item": summary["test_is_training"],
        "test item is a validation item": summary["test_is_valid"],
        "validation item is a training item": summary["valid_is_training"],
    }
    wholly = [
        f"Every published {what}: {len(names)} of {len(leaks)} tasks"
        + (f" ({', '.join(names)})." if names else ".")
        for what, names in listed.items()
    ]
    ours = (
        "Largest overlap of any two parts, demonstrations included, of negjax's disjoint split: "
        f"{summary['largest_overlap']['disjoint']}."
    )
    overlaps = Table(columns=COLUMNS, rows=leaks)
    return Report(
        contents=Contents(
            values={
                "wholly": wholly,
                "ours": ours,
                "left_out": Facts([(t.name, "; ".join(t.notes)) for t in leaks if t.notes]),
                "machine": summary["environment"],
                "seconds": summary["seconds"],
            },
            tables={"overlaps": overlaps},
        ),
        headline=f"MCEval8K, {len(leaks)} tasks: items of one part that stand in another",
        printed=[overlaps, "\n".join([*wholly, ours])],
        measured=None,
    )
