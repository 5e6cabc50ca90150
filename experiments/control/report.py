"""What the study of control shows: tables, figures, and the numbers of its report's template."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from experiments.control import figures
from experiments.control.continuations import Written
from experiments.control.results import NEAR, Editing, Results, Steering
from experiments.control.settings import LINES, PARTS, WAYS, Settings
from experiments.control.tables import texts_table
from experiments.control.work import Plan
from experiments.inputs import facts, facts_page
from experiments.reporting import intervals
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Column, Table, counted
from experiments.reporting.templates import Contents
from experiments.running.study import Findings, Finished, Report
from negjax.control.steering import PARALLEL, TOLERANCE
from negjax.storage import store
from negjax.storage.store import RunFolder

FILES = dict(zip(PARTS, store.CONTROLS, strict=True))
TURNING = (
    Column("direction", lambda row: row.direction),
    Column("by", lambda row: row.amount),
    Column("neurons of", lambda row: row.count, ",", "each sign"),
    Column("P", lambda row: row.before, ".3g", "before"),
    Column("P", lambda row: row.probability, ".3g", "after"),
    Column("rank", lambda row: row.rank_before, ",g", "before"),
    Column("rank", lambda row: row.rank, ",g", "after"),
    Column("moved", lambda row: row.moved, ".1%", "as meant"),
    Column("answer", lambda row: row.first, ".1%", "first"),
    Column("argmax", lambda row: row.other, ".1%", "changed"),
    Column("KL", lambda row: row.kl, ".2g"),
)


def _missed(line: str, row: Steering) -> float:
    return row.missed[line]


STEERING = (
    Column("wanted", lambda row: row.wanted, "g", "P"),
    Column("within", lambda row: row.hit, ".1%", f"{NEAR:g}"),
    Column("shortest", lambda row: row.shortest, ".1%"),
    Column("‖shift‖", lambda row: row.norm, ".3g"),
    Column("‖shift‖", lambda row: row.relative, ".3f", "/ ‖a‖"),
    Column("saved", lambda row: row.saved, ".1%"),
    Column("KL", lambda row: row.kl, ".2g", "here"),
    Column("KL", lambda row: row.unrelated, ".2g", "elsewhere"),
    *(Column("missed,", partial(_missed, name), ".3f", name) for name in LINES),
)
EDITING = (
    Column("edit", lambda row: row.way),
    Column("efficacy", lambda row: row.efficacy.score, ".1%"),
    Column("P(new)", lambda row: row.efficacy.probability, ".2f"),
    Column("paraphrase", lambda row: row.paraphrase.score, ".1%"),
    Column("neighbourhood", lambda row: row.neighbourhood.score, ".1%"),
    Column("score", lambda row: row.score, ".1%"),
    Column("perplexity", lambda row: row.perplexity, ".1f"),
    Column("KL", lambda row: row.kl, ".2g", "elsewhere"),
    Column("‖shift‖", lambda row: row.norm, ".3g"),
    Column("reached", lambda row: row.reached, ".1%"),
)
WRITTEN = (
    Column("prompt", lambda text: text.prompt),
    Column("answer", lambda text: text.answer),
    Column("done", lambda text: text.what),
    Column("written before", lambda text: text.before),
    Column("written after", lambda text: text.after),
)
PRINTED = ("steering", "editing", "turning")
"""Whose table the terminal shows, if it was measured: the first of these."""
LISTED = 12
"""Texts of steered prompts, and of edited facts, in the report."""


def findings(
    inputs: facts.Inputs, folder: RunFolder, plan: Plan, results: Results, finished: Finished
) -> Findings:
    """Tables and summary of the run, and its report."""
    edits = plan.edits
    summary = facts_page.about_run(inputs, folder, finished.complete) | {
        # Whatever the flag: all shifts here are additive.
        "convention": "additive",
        "measured": {part: len(done) for part, done in results.prompts.items()},
        **{part: getattr(results, part) for part in PARTS},
        "edits": edits
        and {
            "source": edits.source,
            "source_sha256": edits.sha256,
            "facts": len(results.prompts.get("editing", [])),
            "left_out": [{"fact": name, "reason": reason} for name, reason in edits.skipped],
        },
    }
    return Findings(
        tables={
            store.PROMPTS: facts_page.prompt_table(
                inputs, range(len(inputs.probes)), results.probability
            ),
            **{FILES[part]: table for part, table in results.tables.items()},
            **({store.TEXTS: texts_table(results.texts)} if results.texts else {}),
        },
        summary=summary,
        report=lambda summary: make_report(inputs, plan, results, summary),
    )


def make_report(
    inputs: facts.Inputs, plan: Plan, results: Results, summary: Mapping[str, Any]
) -> Report:
    """What is shown of the results."""
    settings = plan.settings
    least, most = min(settings.counts), max(settings.counts)
    turning = [row for row in results.turning if row.count in (least, most)]
    shown = {part: bool(getattr(results, part)) for part in PARTS}
    values = facts_page.values(inputs, summary) | {
        **shown,
        "turning_alone": not (results.steering or results.editing),
        "near": NEAR,
        "parallel": PARALLEL,
        "tolerance": TOLERANCE,
        "edit_probability": settings.edit_probability,
        "edits": summary["edits"],
        "edited": counted(len(results.prompts.get("editing", [])), "fact"),
        "few_edited": len(results.prompts.get("editing", [])) < intervals.FEW,
        "turned": counted(len(results.prompts.get("turning", [])), "prompt"),
        "left_out": len(summary["edits"]["left_out"]) if summary["edits"] else 0,
        "written": plan.written,
        "masked": not inputs.lm.config.causal,
        **(_steered(results) if results.steering else {}),
        **(_edited(results.editing) if results.editing else {}),
    }
    tables = {
        "turning": Table(columns=TURNING, rows=turning),
        "steering": Table(columns=STEERING, rows=results.steering),
        "editing": Table(columns=EDITING, rows=results.editing),
    }
    draws: dict[str, Callable[[], Picture]] = {
        "turning": lambda: figures.turning_figure(results.turning, settings.amounts),
        "steering": lambda: _steering_figure(results, np.asarray(settings.wanted)),
        "editing": lambda: _editing_figure(results.editing),
    }
    measured = ", ".join(f"{part} {len(done)}" for part, done in results.prompts.items())
    return Report(
        contents=Contents(
            values=values,
            tables=tables | {"texts": Table(columns=WRITTEN, rows=_listed(results.texts))},
            figures={part: draw if shown[part] else None for part, draw in draws.items()},
        ),
        headline=f"{inputs.lm.name} (site {inputs.site}): {measured}",
        printed=next((tables[part] for part in PRINTED if shown[part]), None),
        measured=[*facts_page.measured(inputs, summary), *_measured(settings)],
    )


def _listed(texts: Sequence[Written]) -> list[Written]:
    """The first texts of steered prompts, and of edited facts."""
    of_parts = ([text for text in texts if text.part == part] for part in PARTS)
    return [text for some in of_parts for text in some[:LISTED]]


def _steered(results: Results) -> dict[str, Any]:
    steering, table = results.steering, results.tables["steering"]
    hit = np.abs(table["steered"].to_numpy() - table["wanted"].to_numpy()) < NEAR
    missed = {line: sum(row.missed[line] for row in steering) for line in LINES}
    return {
        "pairs": counted(table.num_rows, "(fact, probability) pair"),
        "hit": intervals.shares(hit & table["reached"].to_numpy(), table["prompt"].to_numpy()),
        "line": min(missed, key=lambda line: missed[line]),
    }


def _edited(editing: Sequence[Editing]) -> dict[str, Any]:
    plain, *edited = editing
    return {
        "plain": plain,
        "ways": [f"{row.way}: {WAYS[row.way].meaning}." for row in edited],
        "tried": len(edited),
        "best": max(edited, key=lambda row: row.score),
        "reworded": max(edited, key=lambda row: row.paraphrase.score),
        "kept": max(edited, key=lambda row: row.neighbourhood.score),
    }


def _steering_figure(results: Results, wanted: np.ndarray) -> Picture:
    def column(name: str) -> np.ndarray:
        values = results.tables["steering"][name].to_numpy()
        return values.reshape(-1, len(wanted))

    size = column("activation_norm")
    return figures.steering_figure(
        wanted,
        {f"line in {name}": np.abs(column(f"line in {name}") - wanted) for name in LINES},
        {"first gradient": column("straight_norm") / size, "shortest": column("norm") / size},
        {"prompt": column("kl"), "unrelated": column("unrelated_mean")},
    )


def _editing_figure(editing: Sequence[Editing]) -> Picture:
    measures = ("efficacy", "paraphrase", "neighbourhood")
    return figures.editing_figure(
        [row.way for row in editing],
        {name: np.asarray([getattr(row, name).score for row in editing]) for name in measures},
        np.asarray([row.perplexity for row in editing]),
        np.asarray([np.nan if row.kl is None else row.kl for row in editing]),
    )


def _measured(settings: Settings) -> list[tuple[str, str]]:
    amounts = ", ".join(f"{name} {amount:g}" for name, amount in settings.amounts)
    counts = ", ".join(f"{count:,}" for count in settings.counts)
    rows = {
        "turning": ("Turned", f"{counts} neurons of each sign, by {amounts}"),
        "steering": ("Steered to", ", ".join(f"{p:g}" for p in settings.wanted)),
        "editing": ("Edited to", f"P(new) = {settings.edit_probability:g}"),
    }
    return [row for part, row in rows.items() if part in settings.parts]
