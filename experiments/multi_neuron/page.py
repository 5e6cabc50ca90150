"""How the study of many neurons is shown: the printed table, summary.json, tables and figures."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments import paper
from experiments.inputs import facts, facts_page
from experiments.multi_neuron import report as multi_neuron_report
from experiments.multi_neuron.results import VARIANTS, Results, neuron_table, set_table
from experiments.reporting import set_figures, statistics
from experiments.reporting.page_parts import aligned
from experiments.reporting.report import Drawing, drawings
from experiments.reporting.set_figures import Line, Panel
from experiments.running import documents
from negjax.storage import store
from negjax.storage.store import RunFolder

PREDICTION_NAMES = {"neg": "Σ NEG x", "gradient": "Σ gradient x"}
PAPER = (paper.TOGETHER, paper.TOGETHER_PEARSON, f"paper: r ≥ {paper.TOGETHER_PEARSON:g}")
SCATTERED = 3
"""Sizes whose sums are drawn against what was measured."""


def write(
    inputs: facts.Inputs,
    folder: RunFolder,
    results: Results,
    done: Sequence[tuple[int, str]],
    complete: bool,
) -> None:
    """Writes tables, summary, pictures and report into the run's folder."""
    probability, noise = (np.full(len(inputs.probes), np.nan) for _ in range(2))
    probability[results.prompts], noise[results.prompts] = results.probability, results.noise
    tables = {
        store.PROMPTS: facts_page.prompt_table(inputs, probability, noise),
        store.NEURONS: neuron_table(folder, done),
        store.SETS: set_table(results),
    }
    summary = facts_page.about_run(inputs, folder, complete) | {
        "prompts_measured": len(results.prompts),
        "neurons_measured": results.neurons,
        "sets_measured": len(results.sets["size"]),
        "noise": statistics.quantiles(results.noise),
        "additivity": [
            dataclasses.asdict(results.of(choice, variant, size, magnitude))
            for choice in results.choices
            for variant in VARIANTS
            for size in results.sizes_of(choice)
            for magnitude in (None, *results.magnitudes)
        ],
        "by_signs": [
            dataclasses.asdict(results.of(choice, variant, size, signs=signs))
            for choice in results.choices
            for variant in VARIANTS
            for size in results.sizes_of(choice)
            for signs in results.signs
        ],
    }
    documents.write(
        folder,
        tables,
        summary,
        lambda: multi_neuron_report.document(inputs, results, summary, draw(results)),
    )


def draw(results: Results) -> dict[str, Drawing]:
    """The figures, by name of file."""
    sizes = [max(results.sizes_of(choice)) for choice in results.choices]
    shared = results.sizes[:: max(1, (len(results.sizes) - 1) // (SCATTERED - 1))]
    return drawings(
        {
            "additivity": lambda: set_figures.panels_figure(
                [
                    [_of_choices(results, "pearson", variant) for variant in VARIANTS],
                    [_of_choices(results, "explained", variant) for variant in VARIANTS],
                ]
            ),
            "magnitudes": lambda: set_figures.panels_figure(
                [
                    [_of_magnitudes(results, "pearson", choice) for choice in results.choices],
                    [_of_magnitudes(results, "explained", choice) for choice in results.choices],
                ],
                legend="size of every shift",
                scale=len(results.magnitudes),
            ),
            "effects": lambda: set_figures.panels_figure(
                [
                    [
                        _effect(results, "change", "median |ΔP|"),
                        _effect(results, "kl", "median KL, nats"),
                    ],
                    [
                        _effect(results, "kept_top", "likeliest token kept"),
                        _effect(results, "entropy", "median change of entropy, nats"),
                    ],
                ]
            ),
            "sums": lambda: set_figures.sums_figure(
                {size: _sums(results, size) for size in shared if size <= max(sizes)}
            ),
        }
    )


def _of_choices(results: Results, field: str, variant: str) -> Panel:
    lines = []
    for color, choice in enumerate(results.choices):
        found = [results.of(choice, variant, size) for size in results.sizes_of(choice)]
        for name, label in PREDICTION_NAMES.items():
            lines.append(
                Line(
                    f"{choice}, {label}",
                    [a.size for a in found],
                    [getattr(a.predictions[name], field) for a in found],
                    color,
                    dashed=name == "gradient",
                )
            )
    return _panel(field, variant, lines, PAPER if variant == "added" else None)


def _of_magnitudes(results: Results, field: str, choice: str) -> Panel:
    lines = []
    for color, magnitude in enumerate(results.magnitudes):
        found = [results.of(choice, "added", size, magnitude) for size in results.sizes_of(choice)]
        values = [getattr(a.predictions["neg"], field) for a in found]
        lines.append(Line(f"±{magnitude:g}", [a.size for a in found], values, color))
    return _panel(field, choice, lines, None)


def _panel(
    field: str, title: str, lines: Sequence[Line], mark: tuple[int, float, str] | None
) -> Panel:
    if field == "pearson":
        return Panel(title, "Pearson r", lines, "r", mark)
    return Panel(title, "share of variance explained", lines, "share")


def _effect(results: Results, field: str, title: str) -> Panel:
    lines = []
    for color, choice in enumerate(results.choices):
        for variant in VARIANTS:
            found = [results.of(choice, variant, size) for size in results.sizes_of(choice)]
            lines.append(
                Line(
                    f"{choice}, {variant}",
                    [a.size for a in found],
                    [getattr(a, field) for a in found],
                    color,
                    dashed=variant == "clamped",
                )
            )
    return Panel(title, "", lines, "log" if field in ("change", "kl") else "plain")


def _sums(results: Results, size: int) -> tuple[np.ndarray, np.ndarray]:
    keep = results.sets["size"] == size
    return results.sets["predicted_neg"][keep], results.sets["change_added"][keep]


def printed(inputs: facts.Inputs, folder: RunFolder, results: Results) -> str:
    """The table for the terminal, and where the report lies."""
    lines = [
        f"{inputs.lm.name}: {len(results.prompts)} prompts, {len(results.sets['size']):,} sets of "
        f"neurons (site {inputs.site}), shifts {facts.convention()}, up to "
        f"±{results.magnitudes[-1]:g}"
    ]
    for choice in results.choices:
        rows = [multi_neuron_report.cells(results, choice, s) for s in results.sizes_of(choice)]
        described = multi_neuron_report.CHOICES[choice]
        lines += ["", f"{choice}: {described}", *aligned(multi_neuron_report.HEAD, rows)]
    return "\n".join([*lines, "", f"report: {folder.path / store.REPORT}"])
