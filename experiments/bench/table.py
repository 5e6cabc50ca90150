"""The table of `experiments.bench`, and the lines below it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.bench.cases import COMPILING, Case, arithmetic, judged
from experiments.reporting.escaping import for_markdown
from experiments.reporting.tables import Column, Table, markdown_lines
from experiments.running import provenance
from negjax import paper_grid
from negjax.model.language_model import LanguageModel

Runs = dict[str, Any]
"""Figures of a case's tools, by tool."""
TOOLS = ("serial", "best", "negjax")
ABSENT = "–"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A case, and what its tools did."""

    case: Case
    runs: Runs
    units: int
    """(neuron, shift) pairs, sets, written tokens, or prompts."""
    operations: float
    """Of floating-point numbers that the case cannot avoid; 0 where they are not counted."""
    differences: dict[str, float]
    """Of the baselines' answers from negjax's."""

    def seconds(self, tool: str) -> float | None:
        """That a tool took for a unit."""
        return self.runs[tool]["seconds"] / self.units if tool in self.runs else None


def _time(tool: str) -> Callable[[Measured], str]:
    def cell(row: Measured) -> str:
        seconds = row.seconds(tool)
        if seconds is None:
            return ABSENT
        return f"{seconds:.3g} s" if seconds >= 0.1 else f"{seconds * 1e3:.3g} ms"

    return cell


def _ratio(tool: str, digits: int) -> Callable[[Measured], str]:
    """How many times a tool takes what negjax takes."""

    def cell(row: Measured) -> str:
        theirs, ours = row.seconds(tool), row.seconds("negjax")
        if theirs is None or ours is None:
            return ABSENT
        return judged(row.case.goal(f"× {tool}"), theirs / ours, f"{theirs / ours:,.{digits}f}")

    return cell


def _share(row: Measured) -> str:
    """Of the rates that were measured in turn with the work: the machine's pace varies."""
    if not row.operations:
        return ABSENT
    here = row.operations / row.runs["negjax"]["seconds"]
    in_jax = here / max(row.runs["negjax"]["rates"])
    in_any = here / max(rate for run in row.runs.values() for rate in run["rates"])
    return judged(row.case.goal("of the product rate"), in_jax, f"{in_jax:.0%}, {in_any:.0%}")


def _memory(row: Measured) -> str:
    """Peaks of the tools; where that is to reach something, how many times negjax's serial has."""
    peaks = {tool: run["peak_bytes"] for tool, run in row.runs.items()}
    text = ", ".join(f"{peaks[t] / 1e9:.2f} GB" if t in peaks else ABSENT for t in TOOLS)
    goal = row.case.goal("memory × serial")
    if goal is None or "serial" not in peaks:
        return text
    ratio = peaks["serial"] / peaks["negjax"]
    return f"{text}; {judged(goal, ratio, f'{ratio:.1f} ×')}"


def _differences(row: Measured) -> str:
    texts = [f"{row.differences[t]:.0e}" for t in ("serial", "best") if t in row.differences]
    return ", ".join(texts) or ABSENT


COLUMNS = (
    Column("work", lambda row: row.case.what),
    Column("serial", _time("serial")),
    Column("best PyTorch", _time("best")),
    Column("negjax", _time("negjax")),
    Column("× serial (to reach)", _ratio("serial", 1), marked=True),
    Column("× best (to reach)", _ratio("best", 2), marked=True),
    Column("of the product rate in JAX (to reach), in any tool", _share, marked=True),
    Column("peak memory: serial, best, negjax; × serial (to reach)", _memory, marked=True),
    Column("largest difference from serial, best", _differences),
)


def markdown_table(
    lm: LanguageModel,
    cases: list[Case],
    arrays: dict[str, dict[str, np.ndarray]],
    runs: dict[str, Runs],
    agreement: dict[str, dict[str, float]],
    compile_times: dict[str, dict[str, float]],
    slopes: dict[str, dict[str, float]],
) -> list[str]:
    """The results as Markdown."""
    rates = [rate for tools in runs.values() for run in tools.values() for rate in run["rates"]]
    rate, slowest = max(rates), min(rates)
    counted = ("sweep", "response", "features", "lpi", "joint")
    rows = [
        Measured(
            case=case,
            runs=runs[case.name],
            units=_units(case, arrays[case.name]),
            operations=arithmetic(lm, case, arrays[case.name]) if case.kind in counted else 0.0,
            differences=agreement[case.name],
        )
        for case in cases
    ]
    return [
        f"Measured {time.strftime('%Y-%m-%d')} with `python -m experiments.bench`: "
        f"{lm.dtype.name}, {', '.join(_machine())}. "
        f"A plain matrix product of 4096 × 1536 × 1536 reached {rate / 1e9:.0f} GFLOP/s in the "
        f"best moment of all processes, {slowest / 1e9:.0f} in the worst.",
        "",
        *markdown_lines(Table(columns=COLUMNS, rows=rows)),
        "",
        *_further(cases, runs, compile_times, slopes),
    ]


def _further(
    cases: list[Case],
    runs: dict[str, Runs],
    compile_times: dict[str, dict[str, float]],
    slopes: dict[str, dict[str, float]],
) -> list[str]:
    """Figures that have no column, as a list."""
    lines = []
    for case in cases:
        run = runs[case.name]["negjax"]
        if "beside" in run:
            what, ratio = "× NeurGrad in the same process", run["seconds"] / min(run["beside"])
            if case.kind == "neg":
                what, ratio = "× the speed of a line through 4 nodes", 1 / ratio
            lines.append(f"- {case.what}: {judged(case.goal(what), ratio, f'{ratio:.1f} {what}')}")
        if case.sets:
            seconds = run["seconds"]
            text = judged(case.goal("seconds for all sets"), seconds, f"{seconds:.1f} s")
            lines.append(f"- {case.what}: {text} for all {case.sets:,} sets")
        if case.name in slopes:
            figures = (
                f"{name} {judged(case.goal(f'NEG: {name}'), value, f'{value:.1e}')}"
                for name, value in slopes[case.name].items()
            )
            by = f"through {case.nodes} nodes" if case.nodes else "by quadrature"
            grid = len(paper_grid(*case.shifts))
            lines.append(
                f"- NEG over ±{case.shifts[0]:g} {by} against NEG of the {grid}-shift grid, "
                f"relative difference: {', '.join(figures)}"
            )
    for kind, times in compile_times.items():
        cold = judged(COMPILING.get(kind), times["cold"], f"{times['cold']:.1f} s")
        lines.append(
            f"- compiling the {kind}: {cold} in a first process, {times['cached']:.1f} s in a "
            "second one, from JAX's persistent cache"
        )
    return lines


def _machine() -> list[str]:
    """What computed: the accelerators, or the processor's cores."""
    machine = provenance.environment()
    devices = [name for name in machine["devices"] if not name.startswith("cpu")]
    return [for_markdown(name) for name in devices] or [f"{machine['cpus']} cores"]


def _units(case: Case, arrays: dict[str, np.ndarray]) -> int:
    """(neuron, shift) pairs, sets, written tokens, or prompts."""
    if case.kind in ("neurgrad", "features", "ig", "lpi"):
        return case.prompts
    if case.kind == "generate":
        return case.prompts * case.written
    if case.kind == "joint":
        return case.sets
    if case.kind == "neg":
        return len(arrays["neurons"])
    return len(arrays["neurons"]) * len(arrays["shifts"])
