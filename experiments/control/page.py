"""How the study of control is shown: printed tables, summary.json, tables, figures and report."""

import dataclasses

import numpy as np

from experiments.control import figures as control_figures
from experiments.control import report as control_report
from experiments.control.report import EDITING_HEAD, STEERING_HEAD, TURNING_HEAD
from experiments.control.results import Results
from experiments.control.work import DIRECTIONS, LINES, PARTS, Asked
from experiments.inputs import facts, facts_page
from experiments.reporting import set_figures
from experiments.reporting.figures import Picture
from experiments.reporting.page_parts import aligned
from experiments.reporting.report import Drawing, drawings
from experiments.reporting.set_figures import Line, Panel
from experiments.running import documents
from negjax.storage import store
from negjax.storage.store import RunFolder

TABLES = dict(zip(PARTS, store.CONTROLS, strict=True))


def write(
    inputs: facts.Inputs, asked: Asked, folder: RunFolder, results: Results, complete: bool
) -> None:
    """Writes tables, summary, pictures and report into the run's folder."""
    noise = np.full(len(inputs.probes), np.nan)
    tables = {store.PROMPTS: facts_page.prompt_table(inputs, results.probability, noise)}
    tables |= {TABLES[part]: table for part, table in results.tables.items()}
    edits = asked.edits
    summary = facts_page.about_run(inputs, folder, complete) | {
        # Whatever the flag: all shifts here are additive.
        "convention": "additive",
        "measured": {part: len(done) for part, done in results.prompts.items()},
        "turning": [dataclasses.asdict(found) for found in results.turning],
        "steering": [dataclasses.asdict(found) for found in results.steering],
        "editing": [dataclasses.asdict(found) for found in results.editing],
        "edits": edits
        and {
            "source": edits.source,
            "source_sha256": edits.sha256,
            "facts": len(results.prompts.get("editing", [])),
            "left_out": [{"fact": name, "reason": reason} for name, reason in edits.skipped],
        },
    }
    documents.write(
        folder,
        tables,
        summary,
        lambda: control_report.document(inputs, asked, results, summary, draw(asked, results)),
    )


def draw(asked: Asked, results: Results) -> dict[str, Drawing]:
    """The figures, by name of file."""
    return drawings(
        {
            "turning": lambda: _turning(asked, results),
            "steering": lambda: _steered(asked, results),
            "editing": lambda: _edited(results),
        }
    )


def _turning(asked: Asked, results: Results) -> Picture:
    return set_figures.panels_figure(
        [
            [
                _turned(asked, results, direction, "probability", "plain", "median P(answer)")
                for direction in DIRECTIONS
            ],
            [
                _turned(asked, results, direction, "kl", "log", "median KL, nats")
                for direction in DIRECTIONS
            ],
        ]
    )


def _edited(results: Results) -> Picture:
    scores = {
        name: np.asarray([getattr(e, name).score for e in results.editing])
        for name in ("efficacy", "paraphrase", "neighbourhood")
    }
    return control_figures.editing_figure(
        [e.way for e in results.editing],
        scores,
        np.asarray([e.perplexity for e in results.editing]),
        np.asarray([np.nan if e.kl is None else e.kl for e in results.editing]),
    )


def _turned(
    asked: Asked, results: Results, direction: str, field: str, kind: str, label: str
) -> Panel:
    lines = []
    for color, (name, amount) in enumerate(asked.amounts):
        own = [
            found
            for found in results.turning
            if (found.direction, found.amount) == (direction, f"{name} {amount:g}")
        ]
        lines.append(
            Line(
                f"{name} {amount:g}",
                [found.count for found in own],
                [getattr(found, field) for found in own],
                color if name == "volume" else color - len(asked.volumes),
                dashed=name == "ratio",
            )
        )
    return Panel(direction, label, lines, kind)


def _steered(asked: Asked, results: Results) -> Picture:
    table = results.tables["steering"]
    shape = (-1, len(asked.wanted))
    column = {
        name: table[name].to_numpy().reshape(shape)
        for name in table.column_names
        if name not in ("reached",)
    }
    size = column["activation_norm"]
    return control_figures.steering_figure(
        asked.wanted,
        {f"line in {name}": np.abs(column[f"line in {name}"] - column["wanted"]) for name in LINES},
        {
            "first gradient": column["straight_norm"] / size,
            "shortest": column["norm"] / size,
        },
        {"prompt": column["kl"], "unrelated": column["unrelated_mean"]},
    )


def printed(inputs: facts.Inputs, asked: Asked, folder: RunFolder, results: Results) -> str:
    """The tables for the terminal, and where the report lies."""
    measured = ", ".join(f"{part} {len(done)}" for part, done in results.prompts.items())
    lines = [f"{inputs.lm.name} (site {inputs.site}): {measured}"]
    largest = int(asked.counts.max())
    turning = [found for found in results.turning if found.count == largest]
    for head, rows in (
        (TURNING_HEAD, [control_report.turning_cells(found) for found in turning]),
        (STEERING_HEAD, [control_report.steering_cells(found) for found in results.steering]),
        (EDITING_HEAD, [control_report.editing_cells(found) for found in results.editing]),
    ):
        if rows:
            lines += ["", *aligned(head, rows)]
    return "\n".join([*lines, "", f"report: {folder.path / store.REPORT}"])
