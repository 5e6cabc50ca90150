"""Figures of the study of many neurons at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments import paper
from experiments.multi_neuron.results import VARIANTS, Results
from experiments.multi_neuron.sets import CHOICES
from experiments.reporting.figures import PALETTE, Picture, drawing, scatter, steps
from experiments.reporting.line_panels import LETTERS, Panel, line, panels_figure
from experiments.reporting.tables import counted

LABELS = {"neg": "Σ NEG x", "gradient": "Σ gradient x"}
PAPER = (paper.TOGETHER, paper.TOGETHER_PEARSON, f"paper: r ≥ {paper.TOGETHER_PEARSON:g}")
COLORS = dict(zip(CHOICES, PALETTE, strict=False))
"""Of ways of choosing, in every figure."""
AGREEMENT: Mapping[str, Mapping[str, Any]] = {
    "pearson": {"label": "Pearson r", "kind": "r"},
    "explained": {"label": "share of variance explained", "kind": "share"},
}
"""Of sums with what was measured: panels."""
EFFECTS: Mapping[str, Mapping[str, Any]] = {
    "change": {"title": "median |ΔP|", "kind": "log"},
    "kl": {"title": "median KL, nats", "kind": "log"},
    "kept_top": {"title": "likeliest token kept", "kind": "plain"},
    "entropy": {"title": "median change of entropy, nats", "kind": "plain"},
}
"""Of the shifts: panels."""


def additivity_figure(results: Results) -> Picture:
    """How well sums predict, by size, choice and prediction; a column a variant."""

    def panel(field: str, variant: str) -> Panel:
        lines = [
            line(
                f"{choice}, {label}",
                COLORS[choice],
                rows,
                f"{name}.{field}",
                dashed=name == "gradient",
                interval=f"{name}.{field}_interval",
            )
            for choice in results.choices
            for rows in [results.by_size(choice, variant)]
            for name, label in LABELS.items()
        ]
        mark = PAPER if (field, variant) == ("pearson", "added") else None
        return Panel(title=variant, lines=lines, mark=mark, **AGREEMENT[field])

    return panels_figure([[panel(field, variant) for variant in VARIANTS] for field in AGREEMENT])


def magnitudes_figure(results: Results) -> Picture:
    """How well Σ NEG x predicts, by size and magnitude of the shifts; a column a choice."""

    def panel(field: str, choice: str) -> Panel:
        lines = [
            line(
                f"±{m:g}",
                color,
                results.by_size(choice, "added", m),
                f"neg.{field}",
                interval=f"neg.{field}_interval",
            )
            for color, m in zip(steps(len(results.magnitudes)), results.magnitudes, strict=True)
        ]
        return Panel(title=choice, lines=lines, **AGREEMENT[field])

    rows = [[panel(field, choice) for choice in results.choices] for field in AGREEMENT]
    return panels_figure(rows, across="neurons together", legend="size of every shift")


def effects_figure(results: Results) -> Picture:
    """What the shifts do to the answer and to the next token's distribution, by size."""

    def panel(field: str) -> Panel:
        lines = [
            line(f"{choice}, {variant}", COLORS[choice], rows, field, dashed=variant == "clamped")
            for choice in results.choices
            for variant in VARIANTS
            for rows in [results.by_size(choice, variant)]
        ]
        return Panel(lines=lines, **EFFECTS[field])

    return panels_figure([[panel("change"), panel("kl")], [panel("kept_top"), panel("entropy")]])


@drawing(height=2.7)
def sums_figure(figure: Figure, sums: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> None:
    """Predicted against measured changes, (predicted, measured) by number of neurons."""
    panels = figure.subplots(1, len(sums), squeeze=False)[0]
    for letter, axes, (size, (predicted, measured)) in zip(
        LETTERS, panels, sums.items(), strict=False
    ):
        scatter(axes, predicted, measured, most=3)
        axes.set_xlabel("Σ NEG x")
        axes.set_title(f"{letter}   {counted(size, 'neuron')}")
    panels[0].set_ylabel("ΔP measured")
