"""How a training run is shown: printed lines, summary.json, losses, figures, card and report."""

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.pretrain_bert import card as pretrain_card
from experiments.pretrain_bert import figures as training_figures
from experiments.pretrain_bert.job import Job
from experiments.pretrain_bert.results import Results, corpus_facts, epoch_losses, loss_table
from experiments.reporting import page_parts, report
from experiments.reporting.page_parts import number, percent
from experiments.reporting.report import Drawing, Figure, Paragraph, Section, Table, drawings
from experiments.running import documents, provenance
from negjax.storage import store
from negjax.storage.store import RunFolder

TITLE = "A small BERT trained on statements of facts"
NAMES = {"trained": "trained facts", "held_out": "held-out paraphrases"}
README = "README.md"


def write(job: Job, folder: RunFolder, results: Results) -> None:
    """Writes losses, summary, pictures and report into the run's folder, and the model's card."""
    summary = summarise(job, folder, results)
    if results.complete:
        card = pretrain_card.model_card(summary)
        folder.write_bytes(str(Path(store.MODEL) / README), card.encode())
    documents.write(
        folder,
        {store.LOSSES: loss_table(results)},
        summary,
        lambda: document(summary, draw(results)),
    )


def summarise(job: Job, folder: RunFolder, results: Results) -> dict[str, Any]:
    """summary.json."""
    first, last = epoch_losses(job, results)
    environment = provenance.environment()
    environment["packages"] |= {
        name: importlib.metadata.version(name) for name in ("optax", "orbax-checkpoint")
    }
    return {
        "complete": results.complete,
        "command": provenance.command(),
        "flags": provenance.flag_values(),
        "environment": environment,
        "settings": job.settings,
        "corpus": corpus_facts(job),
        "model": dataclasses.asdict(job.config),
        "steps": results.steps,
        "loss": {"first_epoch": first, "last_epoch": last},
        "recall": {name: asked.recall.summary for name, asked in results.asked.items()},
        "speed": results.speed,
        "seconds": {"measure": dict(folder.finished)},
    }


def draw(results: Results) -> dict[str, Drawing]:
    """The figures, by name of file."""
    measured = results.measured
    shares = {label: measured[f"{name}_above_half"] for name, label in NAMES.items()}
    asked = {label: share for label, share in shares.items() if (share == share).any()}
    recalled = {NAMES[name]: found.recall.probability for name, found in results.asked.items()}
    return drawings(
        {
            "training": lambda: training_figures.training_figure(
                measured["loss"], measured["learning_rate"], asked
            ),
            "recall": lambda: training_figures.recall_figure(recalled),
        }
    )


def printed(job: Job, folder: RunFolder, results: Results) -> str:
    """Lines for the terminal."""
    first, last = epoch_losses(job, results)
    speed = results.speed
    lines = [
        f"{results.steps:,} of {job.recipe.steps:,} steps; loss {first:.3f} in the first epoch, "
        f"{last:.3f} in the last; {speed['tokens_a_second']:,.0f} tokens a second, "
        f"{percent(speed['share_of_the_product_rate'])} of the rate of a plain matrix product"
    ]
    for name, asked in results.asked.items():
        found = asked.recall.summary
        lines.append(
            f"{NAMES[name]} ({found['facts']:,}): P(answer) > 0.5 for "
            f"{percent(found['above_half'])}, mean P {found['mean_probability']:.3f}, answer first "
            f"for {percent(found['first'])}"
        )
    if results.complete:
        lines.append(f"model: {folder.path / store.MODEL}")
    return "\n".join([*lines, "", f"report: {folder.path / store.REPORT}"])


def document(summary: Mapping[str, Any], pictures: Mapping[str, Drawing]) -> report.Document:
    """The report."""
    sections = [
        Section("Result", [*page_parts.unfinished(summary["complete"]), *_result(summary)]),
        Section("Training", _training(summary, pictures)),
        *([Section("Recall", _recall(summary, pictures))] if summary["recall"] else []),
        Section("What was trained", [report.Facts(_about(summary))]),
        page_parts.reproduce(summary),
    ]
    return report.Document(TITLE, _lead(summary), sections)


def _lead(summary: Mapping[str, Any]) -> str:
    model, loss = summary["model"], summary["loss"]
    text = (
        f"{model['layers']} layers of {model['neurons']:,} neurons, width {model['width']}, "
        f"vocabulary {model['vocab_size']:,}: the loss fell from {loss['first_epoch']:.2f} to "
        f"{loss['last_epoch']:.2f} nats in {summary['steps']:,} steps."
    )
    trained = summary["recall"].get("trained")
    if trained:
        text += (
            f" Of {trained['facts']:,} facts it was trained on, {percent(trained['above_half'])} "
            "are recalled with P(answer) > 0.5."
        )
    return text


def _result(summary: Mapping[str, Any]) -> list[report.Block]:
    if not summary["recall"]:
        return [Paragraph("Nothing was asked: training has not ended, or the text has no facts.")]
    rows = [
        [
            NAMES[name],
            f"{found['facts']:,}",
            percent(found["above_half"]),
            number(found["mean_probability"], ".3f"),
            percent(found["first"]),
        ]
        for name, found in summary["recall"].items()
    ]
    caption = (
        "What the exported model (bfloat16 weights) recalls of facts whose answer is one token: "
        "each is asked with [MASK] for its answer. Held-out paraphrases were not trained on; their "
        "facts were, in other words."
    )
    return [Table(caption, ("", "facts", "P > 0.5", "mean P", "answer first"), rows)]


def _training(summary: Mapping[str, Any], pictures: Mapping[str, Drawing]) -> list[report.Block]:
    settings, speed, corpus = summary["settings"], summary["speed"], summary["corpus"]
    text = (
        f"A batch holds {settings['batch_tokens']:,} tokens, {percent(speed['padding'])} of them "
        f"padding; {corpus['steps_an_epoch']:,} steps show every text once. In "
        f"{percent(settings['answer_share'])} of the facts the answer is masked whole and nothing "
        "else; in the others 15% of the tokens are to be predicted, of which 80% are masked, 10% "
        "replaced, 10% left."
    )
    rates = (
        f"A step took {speed['seconds_a_step']:.2f} s and {speed['cpu_seconds_a_step']:.2f} "
        f"CPU-seconds (medians): {speed['tokens_a_second']:,.0f} tokens a second, "
        f"{speed['gigaflops_a_cpu_second']:.0f} GFLOP a CPU-second in matrix products, "
        f"{percent(speed['share_of_the_product_rate'])} of a plain product's "
        f"{speed['product_gigaflops_a_cpu_second']:.0f}."
    )
    caption = (
        "a: mean cross-entropy of the predicted tokens before each step, and the learning rate. b: "
        "a sample of the trained facts and all held-out paraphrases, asked at each saved state."
    )
    figure = Figure(pictures["training"], caption, "Loss, learning rate and recall by step.")
    return [Paragraph(text), Paragraph(rates), figure]


def _recall(summary: Mapping[str, Any], pictures: Mapping[str, Drawing]) -> list[report.Block]:
    caption = "Distribution of P(answer) over the facts, under the exported model."
    text = (
        "Several statements may share a gap's text but not its answer, and templates ask for one "
        "of several right answers, so that not every P(answer) can be high."
    )
    return [
        Figure(pictures["recall"], caption, "Histograms of the answer's probability."),
        Paragraph(text),
    ]


def _about(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    corpus, settings, machine = summary["corpus"], summary["settings"], summary["environment"]
    parts = ", ".join(f"{count:,} of {name}" for name, count in corpus["by_source"].items())
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return [
        ("Text", f"{corpus['statements']:,} statements: {parts}"),
        ("Held out", f"{corpus['held_out']:,} paraphrases"),
        ("Vocabulary", f"{corpus['vocabulary']:,} WordPiece tokens, cased"),
        ("One-token answers", percent(corpus["single_token_answers"])),
        (
            "Optimiser",
            f"AdamW (β {settings['beta1']}, {settings['beta2']}; weight decay "
            f"{settings['weight_decay']}), learning rate up to {settings['learning_rate']}, "
            f"{settings['warmup']:,} steps of warm-up, cosine; gradients clipped at norm "
            f"{settings['clip']}",
        ),
        ("Seed", str(settings["seed"])),
        ("Time", f"{summary['speed']['hours']:.2f} h, {summary['speed']['cpu_hours']:.2f} CPU-h"),
        ("Versions", f"negjax {machine['negjax']}, {packages}, Python {machine['python']}"),
        (
            "Machine",
            f"{machine['system']}, {machine['cpus']} CPUs, {', '.join(machine['devices'])}",
        ),
    ]
