"""The table of the bench: ratios, goals, and what misses them."""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest

from experiments.bench import table as bench_table
from experiments.bench.cases import CASES, COMPILING, Goal, judged
from tests.support.bench_cases import NAMED, arrays_of
from tests.support.block_shapes import tiny


@pytest.mark.parametrize(
    ("name", "serial_bytes", "ratio", "memory"),
    [
        ("neurgrad_35_4", 9e9, "4.0 (4)", "9.00 GB, 2.00 GB, 2.00 GB"),
        ("neurgrad_440_4", 1e10, "**4.0 (6.5)**", "10.00 GB, 2.00 GB, 2.00 GB; 5.0 × (5)"),
        ("neurgrad_440_4", 9e9, "**4.0 (6.5)**", "9.00 GB, 2.00 GB, 2.00 GB; **4.5 × (5)**"),
    ],
)
def test_the_table_says_ratios_and_what_was_wanted(
    name: str, serial_bytes: float, ratio: str, memory: str
) -> None:
    lm = tiny("gated")
    case = NAMED[name]
    run = {"rates": [1e11], "peak_bytes": 2e9}
    found = {
        "serial": run | {"seconds": 8.0, "peak_bytes": serial_bytes},
        "best": run | {"seconds": 1.5},
        "negjax": run | {"seconds": 2.0},
    }
    lines = bench_table.markdown_table(
        lm,
        [case],
        {case.name: arrays_of(case, lm)},
        {case.name: found},
        {case.name: {"serial": 2e-5, "best": 1e-5}},
        {"neurgrad": {"cold": 4.0, "cached": 1.0}},
        {},
    )
    row = next(line for line in lines if line.startswith(f"| {case.what}"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:4] == ["1 s", "0.188 s", "0.25 s"]
    assert cells[4:7] == [ratio, "0.75", "–"]
    assert cells[7:] == [memory, "2e-05, 1e-05"]
    told = "4.0 s (at most 10) in a first process, 1.0 s in a second"
    assert any(told in line for line in lines)


@pytest.mark.parametrize("reached", [True, False])
def test_every_goal_is_judged(reached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures far better than wanted, or far worse: what misses its goal is bold."""
    lm = tiny("gated")
    better = 1e3 if reached else 1e-3
    monkeypatch.setattr(bench_table, "arithmetic", lambda *given: 1e9)
    theirs = {"rates": [1e9], "peak_bytes": 1e9, "seconds": better}
    ours = {"rates": [1e9], "peak_bytes": 1e9 / better, "seconds": 1 / better, "beside": [1.0]}
    found: dict[str, dict[str, Any]] = {
        case.name: {tool: ours if tool == "negjax" else theirs for tool in case.tools}
        for case in CASES
    }
    lines = bench_table.markdown_table(
        lm,
        list(CASES),
        {case.name: arrays_of(case, lm) for case in CASES},
        found,
        {case.name: {} for case in CASES},
        {kind: {"cold": 10 / better, "cached": 1.0} for kind in COMPILING},
        {
            case.name: {"median": 1e-5 / better, "95%": 1e-3 / better}
            for case in CASES
            if case.kind in ("response", "neg")
        },
    )
    goals = [goal for case in CASES for goal in case.wanted] + list(COMPILING.values())
    told = [f"({'at most ' if goal.at_most else ''}{goal.value:g})" for goal in goals]
    figures = re.findall(r"(\((?:at most )?[\d.e-]+\))(\*\*)?", "\n".join(lines[2:]))
    assert [bold == "" for _, bold in figures] == [reached] * len(goals)
    assert Counter(text for text, _ in figures) == Counter(told)


def test_no_number_is_a_miss() -> None:
    for goal in (Goal("one", 1.0), Goal("two", 1.0, at_most=True)):
        assert judged(goal, 1.0, "x").startswith("x (") and judged(None, 0.0, "x") == "x"
        assert judged(goal, np.nan, "x").startswith("**x (")
