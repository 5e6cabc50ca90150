"""Figures of the study of many neurons at once."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments import paper
from experiments.multi_neuron.results import VARIANTS, Results
from experiments.reporting.figures import Picture, drawing, scatter
from experiments.reporting.set_figures import LETTERS, Line, Panel, panels_figure

LABELS = {"neg": "Σ NEG x", "gradient": "Σ gradient x"}
PAPER = (paper.TOGETHER, paper.TOGETHER_PEARSON, f"paper: r ≥ {paper.TOGETHER_PEARSON:g}")
AGREEMENT = {"pearson": ("Pearson r", "r"), "explained": ("share of variance explained", "share")}
"""Of sums with what was measured: label and kind of a panel."""
EFFECTS = {
    "change": ("median |ΔP|", "log"),
    "kl": ("median KL, nats", "log"),
    "kept_top": ("likeliest token kept", "plain"),
    "entropy": ("median change of entropy, nats", "plain"),
}
"""Of the shifts: title and kind of a panel."""


def additivity_figure(results: Results) -> Picture:
    """How well sums predict, by size, choice and prediction; a column a variant."""

    def panel(field: str, variant: str) -> Panel:
        lines = [
            Line(
                label=f"{choice}, {label}",
                points=[(row.size, getattr(row.predictions[name], field)) for row in rows],
                color=color,
                dashed=name == "gradient",
            )
            for color, choice in enumerate(results.choices)
            for rows in [results.by_size(choice, variant)]
            for name, label in LABELS.items()
        ]
        mark = PAPER if (field, variant) == ("pearson", "added") else None
        return _agreement(field, variant, lines, mark)

    return panels_figure([[panel(field, variant) for variant in VARIANTS] for field in AGREEMENT])


def magnitudes_figure(results: Results) -> Picture:
    """How well Σ NEG x predicts, by size and magnitude of the shifts; a column a choice."""

    def panel(field: str, choice: str) -> Panel:
        lines = [
            Line(
                label=f"±{magnitude:g}",
                points=[
                    (row.size, getattr(row.neg, field))
                    for row in results.by_size(choice, "added", magnitude)
                ],
                color=color,
            )
            for color, magnitude in enumerate(results.magnitudes)
        ]
        return _agreement(field, choice, lines)

    return panels_figure(
        [[panel(field, choice) for choice in results.choices] for field in AGREEMENT],
        legend="size of every shift",
        scale=len(results.magnitudes),
    )


def effects_figure(results: Results) -> Picture:
    """What the shifts do to the answer and to the next token's distribution, by size."""

    def panel(field: str, title: str, kind: str) -> Panel:
        lines = [
            Line(
                label=f"{choice}, {variant}",
                points=[
                    (row.size, getattr(row, field)) for row in results.by_size(choice, variant)
                ],
                color=color,
                dashed=variant == "clamped",
            )
            for color, choice in enumerate(results.choices)
            for variant in VARIANTS
        ]
        return Panel(title=title, lines=lines, kind=kind)

    panels = [panel(field, *how) for field, how in EFFECTS.items()]
    return panels_figure([panels[:2], panels[2:]])


def _agreement(
    field: str, title: str, lines: Sequence[Line], mark: tuple[int, float, str] | None = None
) -> Panel:
    label, kind = AGREEMENT[field]
    return Panel(title=title, label=label, lines=lines, kind=kind, mark=mark)


@drawing(height=2.7)
def sums_figure(figure: Figure, sums: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> None:
    """Predicted against measured changes, (predicted, measured) by number of neurons."""
    panels = figure.subplots(1, len(sums), squeeze=False)[0]
    for letter, axes, (size, (predicted, measured)) in zip(
        LETTERS, panels, sums.items(), strict=False
    ):
        scatter(axes, predicted, measured)
        axes.tick_params(labelsize=6)
        axes.tick_params(axis="x", labelrotation=45)
        axes.set_xlabel("Σ NEG x")
        axes.set_title(f"{letter}   {size:,} neuron{'s' if size > 1 else ''}")
    panels[0].set_ylabel("ΔP measured")
