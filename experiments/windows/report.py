"""What the study of control windows shows: tables, figures, and the numbers of its template."""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa

from experiments.inputs import facts_page
from experiments.reporting import page_parts
from experiments.reporting.escaping import storable
from experiments.reporting.intervals import FEW, Estimate
from experiments.reporting.tables import Column, Table, counted
from experiments.reporting.templates import Contents
from experiments.running import common
from experiments.running.study import Findings, Finished, Report
from experiments.windows import figures
from experiments.windows.results import Fact, Over, Text, over_facts
from experiments.windows.work import Plan
from negjax.storage import store
from negjax.storage.store import RunFolder

LISTED = 12
"""Facts listed in the report."""
NONE = "The model's likeliest token is the answer of none of {}: nothing can flip."


def findings(
    folder: RunFolder,
    plan: Plan,
    numbers: Sequence[int],
    facts: Sequence[Fact],
    finished: Finished,
) -> Findings:
    """Tables and summary of the run, and its report.

    Args:
        numbers: of the prompts that were measured, one or more.
        facts: those of them whose answer the model gives.
    """
    inputs = plan.inputs
    over = over_facts(facts, common.seed()) if facts else None
    summary = facts_page.about_run(inputs, folder, finished.complete) | {
        # Whatever the flag: all shifts here are additive.
        "convention": "additive",
        "site": plan.site,
        "measured": len(numbers),
        "answered": len(facts),
        "doses": [] if over is None else over.doses,
        "over": {n: v for n, v in vars(over).items() if n != "doses"} if over else {},
    }
    return Findings(
        tables={
            store.PROMPTS: facts_page.prompt_table(
                inputs, numbers, folder.read("probability")[numbers, 0]
            ),
            store.DOSES: pa.Table.from_pylist([row for fact in facts for row in _rows(fact)]),
            store.NEURONS: pa.Table.from_pylist([row for fact in facts for row in _single(fact)]),
        },
        summary=summary,
        report=lambda summary: make_report(plan, facts, over, summary),
    )


def _rows(fact: Fact) -> list[dict[str, Any]]:
    """One a text."""
    return [
        {
            "fact": fact.number,
            **vars(text),
            "token": storable(text.token),
            "text": storable(text.text),
        }
        for text in fact.texts
    ]


def _single(fact: Fact) -> list[dict[str, Any]]:
    """One a neuron that was dosed alone."""
    columns = (fact.single.astype(int), fact.slope, fact.reach, fact.single_flip)
    return [
        {
            "fact": fact.number,
            "layer": layer,
            "neuron": index,
            "neurgrad": slope,
            "expected": reach,
            "flip": flip if np.isfinite(flip) else None,
        }
        for (layer, index), slope, reach, flip in zip(*(c.tolist() for c in columns), strict=True)
    ]


def make_report(
    plan: Plan, facts: Sequence[Fact], over: Over | None, summary: Mapping[str, Any]
) -> Report:
    """What is shown of the facts."""
    inputs, settings = plan.inputs, plan.settings
    values = facts_page.values(inputs, summary) | {
        "settings": settings,
        "asked": counted(summary["measured"], "prompt"),
        "few": len(facts) < FEW,
        "told": counted(len(facts), "fact"),
        "written": plan.written,
        "size": settings.size,
        "prompt_too": settings.moved == "all",
    }
    contents = Contents(values=values)
    printed: Table | None = None
    if over is not None:
        contents = _contents(plan, facts, over, values)
        printed = _doses(over)
    return Report(
        contents=contents,
        headline=f"{inputs.lm.name}: {counted(len(facts), 'fact')} (site {plan.site})",
        printed=printed,
        measured=[
            ("Prompts", facts_page.measured(inputs, summary)[0][1]),
            ("Site", page_parts.SITES[plan.site]),
            ("Shifts", facts_page.CONVENTIONS["additive"]),
            ("Neurons", f"{settings.size} together, {settings.singles} one by one"),
            ("Texts", f"{plan.written} tokens at most, the likeliest each time"),
        ],
        instead="" if facts else NONE.format(counted(summary["measured"], "prompt")),
    )


def _contents(plan: Plan, facts: Sequence[Fact], over: Over, values: dict[str, Any]) -> Contents:
    settings = plan.settings
    flips = np.concatenate([fact.single_flip for fact in facts])
    sizes = {
        "|NeurGrad|, P per unit of activation": np.concatenate([fact.slope for fact in facts]),
        "NeurGrad × dose 1, P": np.concatenate([fact.reach for fact in facts]),
    }
    shares = {
        "another answer": [dose.flipped for dose in over.doses],
        "the text keeps its meaning": [dose.kept for dose in over.doses],
    }
    return Contents(
        values=values
        | {
            "over": over,
            "flip": _dose(over.flip),
            "collapse": _dose(over.collapse),
            "singles": over.singles,
            "ranked": over.reach.count >= FEW,
            "too_few_ranked": bool(over.singles) and over.reach.count < FEW,
            "best": max(over.doses, key=lambda dose: dose.both.value or 0.0),
        },
        tables={
            "doses": _doses(over),
            "facts": _facts(facts[:LISTED]),
        },
        figures={
            "window": lambda: figures.window_figure(
                np.asarray(settings.dose_grid),
                shares,
                (over.flip.value, over.collapse.value),
            ),
            "reach": (lambda: figures.reach_figure(settings.dose_grid, flips, sizes))
            if over.singles
            else None,
        },
    )


def _dose(found: Estimate) -> str:
    """A median dose with its interval; of half of the facts or more at none, so."""
    if found.value is None:
        return "at no dose of those tried"
    low, high = ("none" if end is None else f"{end:g}" for end in (found.low, found.high))
    return f"at a dose of {found.value:g} (95% interval {low} to {high})"


def _doses(over: Over) -> Table:
    shares = [
        Column(f"{of}, {under}".strip(", "), attrgetter(f"{of}.{end}"), ".1%")
        for of in ("flipped", "kept", "both")
        for under, end in (("", "value"), ("from", "low"), ("to", "high"))
    ]
    columns = (
        Column("dose", lambda dose: dose.dose, "g"),
        *shares,
        Column("perplexity", lambda dose: dose.perplexity, ".3g"),
        Column("different", lambda dose: dose.distinct, ".1%", "pairs"),
        Column("entropy,", lambda dose: dose.entropy, ".2f", "nats"),
    )
    return Table(columns=columns, rows=over.doses)


def _facts(facts: Sequence[Fact]) -> Table:
    def at_flip(fact: Fact, of: Callable[[Text], str]) -> str | None:
        text = fact.at(fact.flip)
        return None if text is None else of(text)

    def finite(value: float) -> float | None:
        return value if np.isfinite(value) else None

    columns = (
        Column("prompt", lambda fact: fact.prompt),
        Column("answer", lambda fact: fact.answer),
        Column("flips", lambda fact: finite(fact.flip), "g", "at"),
        Column("to", lambda fact: at_flip(fact, lambda text: text.token)),
        Column("collapses", lambda fact: finite(fact.collapse), "g", "at"),
        Column("written", lambda fact: fact.texts[0].text, "", "unshifted"),
        Column("written", lambda fact: at_flip(fact, lambda text: text.text), "", "at the flip"),
    )
    return Table(columns=columns, rows=facts)
