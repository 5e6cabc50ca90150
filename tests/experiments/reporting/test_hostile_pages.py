"""Markdown that the experiments write, with hostile text wherever text stands: it stays a table."""

import re
from pathlib import Path
from typing import Any

import pytest

from experiments.bench import table as bench_table
from experiments.compare import report as compare
from experiments.mceval8k_leaks import report as mceval8k_leaks
from experiments.mceval8k_leaks.results import Leaks, Overlap
from experiments.reporting import escaping, templates
from experiments.reporting.markdown import markdown_page
from experiments.reporting.report import Failure
from experiments.reporting.tables import Table, columns, terminal_lines
from experiments.running import provenance, study
from tests.support.hostile_text import ALL_OF_THEM, HOSTILE, SHORT, unseen


def cells(line: str) -> int:
    """Of a line of a table."""
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) - 1


def check(markdown: str, columns: int, rows: int) -> None:
    assert not unseen(markdown) - {"\n"}
    outside_code = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", markdown)
    assert "<script" not in outside_code and not re.search(r"(?<!\\)\]\(", outside_code)
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert [cells(line) for line in table] == [columns] * rows


def test_overlaps_of_tasks_with_any_names() -> None:
    sizes = {"train": 3, "valid": 2, "test": 1}
    leaks = [
        Leaks(
            name=name,
            genre=name,
            sizes={"original": sizes, "disjoint": sizes},
            overlaps=tuple(
                Overlap(split=split, part="test", other="train", level=level, items=1, shared=1)
                for split in ("original", "disjoint")
                for level in ("item", "text", "normalised")
            ),
            notes=(name, ALL_OF_THEM),
            key=name,
        )
        for name in HOSTILE
    ]
    listed = ("test_is_training", "test_is_valid", "valid_is_training")
    summary = dict.fromkeys(listed, HOSTILE) | {
        "largest_overlap": {"disjoint": 1},
        "environment": {"negjax": ALL_OF_THEM, "python": "3", "cpus": 2},
        "seconds": 1.0,
    }
    report = mceval8k_leaks.make_report(leaks, summary)
    document = templates.document(study.template("mceval8k_leaks"), report.contents)
    check(markdown_page(document, {"shares": Failure(ALL_OF_THEM)}), 8, len(HOSTILE) + 2)
    lines = terminal_lines(Table(columns=columns("task"), rows=[[name] for name in HOSTILE]))
    assert len(lines) == len(HOSTILE) + 1
    assert not unseen("".join(lines)) and max(map(len, lines)) <= escaping.MOST


def run(name: str) -> compare.Run:
    sums = {"pearson": 0.5, "explained": float("nan")}
    added: dict[str, Any] = {"choice": name, "size": 4, "magnitude": None, "variant": "added"}
    return compare.Run(
        folder=Path(name.replace("/", "") or "empty"),
        kind="multi_neuron",
        summary={
            "model": {"name": name},
            "site": name,
            "command": name,
            "prompts_measured": 2,
            "sets_measured": 2,
            "convention": name,
            "additivity": [added | {"predictions": {"neg": sums}}],
        },
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_runs_of_models_with_any_names(name: str) -> None:
    check(compare.comparison([run(name), run(name)]), 4, 6)


def test_the_bench_names_devices_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "environment", lambda: {"devices": [*SHORT], "cpus": 2})
    assert "<script" not in "".join(bench_table._machine())
