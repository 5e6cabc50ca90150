"""What a training run shows: losses, summary, the model's card, and its report's numbers."""

import dataclasses
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.pretrain_bert import card, figures
from experiments.pretrain_bert.job import Job
from experiments.pretrain_bert.results import Results, corpus_facts, epoch_losses, loss_table
from experiments.reporting import page_parts
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Column, Table
from experiments.reporting.templates import Contents
from experiments.running import in_buckets, provenance
from experiments.running.study import Findings, Report
from negjax.storage import store
from negjax.storage.store import RunFolder

NAMES = {"trained": "trained facts", "held_out": "held-out paraphrases"}
README = "README.md"
RECALL = (
    Column("", lambda row: NAMES[row[0]]),
    Column("facts", lambda row: row[1]["facts"], ","),
    Column("P > 0.5", lambda row: row[1]["above_half"], ".1%"),
    Column("mean P", lambda row: row[1]["mean_probability"], ".3f"),
    Column("answer first", lambda row: row[1]["first"], ".1%"),
)


def findings(job: Job, folder: RunFolder, results: Results) -> Findings:
    """Losses and summary of the run, and its report; writes the card of a model that is there."""
    first, last = epoch_losses(job, results)
    environment = provenance.environment()
    environment["packages"] |= {
        name: importlib.metadata.version(name) for name in ("optax", "orbax-checkpoint")
    }
    summary = {
        "complete": results.complete,
        "command": provenance.command(),
        "flags": provenance.flag_values(),
        "environment": environment,
        "settings": {"experiment": "pretrain_bert", **job.settings},
        "corpus": corpus_facts(job),
        "model": dataclasses.asdict(job.config),
        "steps": results.steps,
        "loss": {"first_epoch": first, "last_epoch": last},
        "recall": {name: facts.recall.summary for name, facts in results.recalled.items()},
        "speed": results.speed,
        "seconds": {"measure": dict(folder.finished)},
    }
    files = []
    if results.complete:
        text = card.model_card(summary)
        folder.write_bytes(str(Path(store.MODEL) / README), text.encode())
        files.append(f"model: {in_buckets.shown(folder, store.MODEL)}")
    return Findings(
        tables={store.LOSSES: loss_table(results)},
        summary=summary,
        report=lambda summary: make_report(summary, _figures(results), job.recipe.steps, files),
    )


def make_report(
    summary: Mapping[str, Any],
    draws: Mapping[str, Callable[[], Picture] | None],
    wanted: int,
    files: list[str],
) -> Report:
    """What is shown of the run.

    Args:
        draws: figures by name, None where there is nothing to draw.
        wanted: steps of the whole training.
        files: lines that say where it left what it made.
    """
    loss, speed, recall = summary["loss"], summary["speed"], summary["recall"]
    sources = summary["corpus"]["by_source"]
    machine = page_parts.machine_rows(summary["environment"])
    table = Table(columns=RECALL, rows=list(recall.items())) if recall else None
    return Report(
        contents=Contents(
            values={
                **summary,
                "trained": recall.get("trained"),
                "held_out": recall.get("held_out"),
                "parts": ", ".join(f"{n:,} of {name}" for name, n in sources.items()),
                "machine": [": ".join(row) for row in machine],
            },
            tables={"recall": table},
            figures=draws,
        ),
        headline=f"{summary['steps']:,} of {wanted:,} steps; loss {loss['first_epoch']:.3f} in the "
        f"first epoch, {loss['last_epoch']:.3f} in the last; {speed['tokens_a_second']:,.0f} "
        f"tokens a second, {speed['share_of_the_product_rate']:.1%} of the rate of a plain matrix "
        "product",
        printed=table,
        files=files,
        measured=None,
    )


def _figures(results: Results) -> dict[str, Callable[[], Picture] | None]:
    measured = results.measured
    shares = {label: measured[f"{name}_above_half"] for name, label in NAMES.items()}
    on_the_way = {label: share for label, share in shares.items() if (share == share).any()}
    recalled = {NAMES[name]: facts.recall.probability for name, facts in results.recalled.items()}
    return {
        "training": lambda: figures.training_figure(
            measured["loss"], measured["learning_rate"], on_the_way
        ),
        "recall": (lambda: figures.recall_figure(recalled)) if recalled else None,
    }
