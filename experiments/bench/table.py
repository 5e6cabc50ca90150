"""The table of `experiments.bench`, and the lines below it."""

import time
from typing import Any

import numpy as np

from experiments.bench.cases import COMPILING, Case, arithmetic, judged
from experiments.reporting.escaping import for_markdown
from experiments.running import provenance
from negjax.model.language_model import LanguageModel

Found = dict[str, Any]
"""Figures of a case's tools, by tool."""


def markdown_table(
    lm: LanguageModel,
    cases: list[Case],
    arrays: dict[str, dict[str, np.ndarray]],
    found: dict[str, Found],
    agreement: dict[str, dict[str, float]],
    compile_times: dict[str, dict[str, float]],
    slopes: dict[str, float],
) -> list[str]:
    """The results as Markdown."""
    rates = [rate for runs in found.values() for run in runs.values() for rate in run["rates"]]
    rate, slowest = max(rates), min(rates)
    per_row = {case.name: _units(case, arrays[case.name]) for case in cases}
    lines = [
        f"Measured {time.strftime('%Y-%m-%d')} with `python -m experiments.bench`: "
        f"{lm.dtype.name}, {', '.join(_machine())}. "
        f"A plain matrix product of 4096 × 1536 × 1536 reached {rate / 1e9:.0f} GFLOP/s in the "
        f"best moment of all processes, {slowest / 1e9:.0f} in the worst.",
        "",
        "| work | serial | best PyTorch | negjax | × serial (to reach) | × best (to reach) "
        "| of the product rate in JAX (to reach), in any tool | peak memory: serial, best, negjax; "
        "× serial (to reach) | largest difference from serial, best |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        runs, units = found[case.name], per_row[case.name]
        seconds = {tool: run["seconds"] / units for tool, run in runs.items()}
        share = "–"
        if case.kind in ("sweep", "response", "features", "lpi", "joint"):
            # Of the rates that were measured in turn with the work: the machine's pace varies.
            here = arithmetic(lm, case, arrays[case.name]) / runs["negjax"]["seconds"]
            own = max(runs["negjax"]["rates"])
            every = max(r for run in runs.values() for r in run["rates"])
            goal = case.goal("of the product rate")
            share = judged(goal, here / own, f"{here / own:.0%}, {here / every:.0%}")
        differences = agreement[case.name]
        cells = [
            case.what,
            *(_time(seconds.get(tool)) for tool in ("serial", "best", "negjax")),
            _ratio(case, seconds, "serial", digits=1),
            _ratio(case, seconds, "best", digits=2),
            share,
            _memory(case, {tool: run["peak_bytes"] for tool, run in runs.items()}),
            ", ".join(f"{differences[t]:.0e}" for t in ("serial", "best") if t in differences)
            or "–",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, "", *_further(cases, found, compile_times, slopes)]


def _further(
    cases: list[Case],
    found: dict[str, Found],
    compile_times: dict[str, dict[str, float]],
    slopes: dict[str, float],
) -> list[str]:
    """Figures that have no column, as a list."""
    lines = []
    for case in cases:
        run = found[case.name]["negjax"]
        if "beside" in run:
            ratio = run["seconds"] / min(run["beside"])
            goal = case.goal("× NeurGrad in the same process")
            text = f"{ratio:.1f} × NeurGrad in the same process"
            lines.append(f"- {case.what}: {judged(goal, ratio, text)}")
        if case.sets:
            seconds = run["seconds"]
            text = judged(case.goal("seconds for all sets"), seconds, f"{seconds:.1f} s")
            lines.append(f"- {case.what}: {text} for all {case.sets:,} sets")
        if case.kind == "response" and slopes:
            told = (
                f"{name} {judged(case.goal(f'NEG: {name}'), value, f'{value:.1e}')}"
                for name, value in slopes.items()
            )
            lines.append(
                f"- NEG over ±10 through {case.nodes} nodes against NEG of the 100-shift grid, "
                f"relative difference: {', '.join(told)}"
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
    found = provenance.environment()
    devices = [name for name in found["devices"] if not name.startswith("cpu")]
    return [for_markdown(name) for name in devices] or [f"{found['cpus']} cores"]


def _units(case: Case, arrays: dict[str, np.ndarray]) -> int:
    """(neuron, shift) pairs, sets, or prompts."""
    if case.kind in ("neurgrad", "features", "ig", "lpi"):
        return case.prompts
    if case.kind == "joint":
        return case.sets
    return len(arrays["neurons"]) * len(arrays["shifts"])


def _ratio(case: Case, seconds: dict[str, float], tool: str, digits: int) -> str:
    """How many times a tool takes what negjax takes."""
    if tool not in seconds:
        return "–"
    ratio = seconds[tool] / seconds["negjax"]
    return judged(case.goal(f"× {tool}"), ratio, f"{ratio:,.{digits}f}")


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{seconds * 1e3:.3g} ms"


def _memory(case: Case, peaks: dict[str, int]) -> str:
    """Peaks of the tools; where that is to reach something, how many times negjax's serial has."""
    told = (f"{peaks[x] / 1e9:.2f} GB" if x in peaks else "–" for x in ("serial", "best", "negjax"))
    text, goal = ", ".join(told), case.goal("memory × serial")
    if goal is None or "serial" not in peaks:
        return text
    ratio = peaks["serial"] / peaks["negjax"]
    return f"{text}; {judged(goal, ratio, f'{ratio:.1f} ×')}"
