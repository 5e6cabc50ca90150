"""Figures of the study of control: turned neurons, steered prompts, edited facts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.control.results import Turning
from experiments.control.settings import DIRECTIONS
from experiments.reporting.escaping import for_label
from experiments.reporting.figures import (
    BLACK,
    BLUE,
    DASHES,
    GREY,
    PALETTE,
    Picture,
    drawing,
    percent,
    steps,
    titled,
)
from experiments.reporting.line_panels import Panel, line, panels_figure

TURNED: Mapping[str, Mapping[str, Any]] = {
    "probability": {"label": "median P(answer)", "kind": "plain"},
    "kl": {"label": "median KL, nats", "kind": "log"},
}
"""What turning does: panels."""
QUARTILES = (0.25, 0.5, 0.75)


def turning_figure(turning: Sequence[Turning], amounts: Sequence[tuple[str, float]]) -> Picture:
    """What turning does, by number of neurons and amount; a column a direction."""

    colors: dict[tuple[str, float], Any] = {}
    for name in {name for name, _ in amounts}:
        own = [amount for other, amount in amounts if other == name]
        colors |= {(name, amount): c for amount, c in zip(own, steps(len(own)), strict=True)}

    def panel(field: str, direction: str) -> Panel:
        lines = []
        for name, amount in amounts:
            label, color = f"{name} {amount:g}", colors[name, amount]
            rows = [r for r in turning if (r.direction, r.amount) == (direction, label)]
            lines.append(line(label, color, rows, field, size="count", dashed=name == "ratio"))
        return Panel(title=direction, lines=lines, **TURNED[field])

    return panels_figure([[panel(field, way) for way in DIRECTIONS] for field in TURNED])


@drawing(height=3.1)
def steering_figure(
    figure: Figure,
    wanted: np.ndarray,
    missed: Mapping[str, np.ndarray],
    norms: Mapping[str, np.ndarray],
    divergences: Mapping[str, np.ndarray],
) -> None:
    """How far lines miss, how long shifts are and what else they do, by wanted probability.

    Args:
        wanted: [W].
        missed: |P − wanted| [B, W] where each line predicts the wanted P.
        norms: [B, W] of shifts, over the norm of the activations.
        divergences: [B, W], KL in nats.
    """
    panels = figure.subplots(1, 3)
    for axes, letter, title, label, groups in zip(
        panels,
        "abc",
        ("Where a straight line ends", "Length of the shift", "What it does"),
        ("|P − wanted|", "‖shift‖ / ‖activations‖", "KL, nats"),
        (missed, norms, divergences),
        strict=True,
    ):
        _quartiles(axes, wanted, groups)
        axes.set(yscale="log", xlabel="wanted P(answer)", ylabel=for_label(label))
        titled(axes, f"{letter}   {title}", 1)


def _quartiles(axes: Axes, wanted: np.ndarray, groups: Mapping[str, np.ndarray]) -> None:
    """Medians as points, quartiles as bars, beside each other for each wanted probability."""
    for number, (name, values) in enumerate(groups.items()):
        # Zeros, of a shift that was not needed, have no place on a logarithmic axis.
        shown = np.where(values > 0, values, np.nan)
        quartiles = np.full((len(wanted), 3), np.nan)
        for row, column in enumerate(shown.T):
            if np.isfinite(column).any():
                quartiles[row] = np.quantile(column[np.isfinite(column)], QUARTILES)
        x = np.arange(len(wanted)) + 0.2 * (number - (len(groups) - 1) / 2)
        color = PALETTE[number % len(PALETTE)]
        axes.vlines(x, quartiles[:, 0], quartiles[:, 2], color=color, lw=1.6, alpha=0.5)
        axes.plot(x, quartiles[:, 1], "o", color=color, ms=3, label=for_label(name))
    axes.set_xticks(np.arange(len(wanted)), [f"{p:g}" for p in wanted])


@drawing(height=2.8)
def editing_figure(
    figure: Figure,
    ways: Sequence[str],
    scores: Mapping[str, np.ndarray],
    perplexity: np.ndarray,
    divergence: np.ndarray,
) -> None:
    """The measures of each way to edit, the unedited model first.

    Args:
        ways: V names.
        scores: shares [V] by measure.
        perplexity: [V], of plain text; the first is the unedited model's.
        divergence: [V], KL at unrelated prompts, NaN for the first.
    """
    left, middle, right = figure.subplots(1, 3, width_ratios=(2.2, 1, 1))
    width = 0.8 / len(scores)
    x = np.arange(len(ways))
    for number, (name, values) in enumerate(scores.items()):
        at = x + width * (number - (len(scores) - 1) / 2)
        left.bar(
            at, values, 0.92 * width, color=PALETTE[number % len(PALETTE)], label=for_label(name)
        )
    left.set(ylim=(0, 1.02), ylabel="share of the prompts")
    percent(left.yaxis)
    titled(left, "a   Does it take, carry over, keep to itself?", len(scores))
    middle.bar(x, perplexity / perplexity[0], color=[GREY, *[BLUE] * (len(ways) - 1)])
    middle.axhline(1, color=BLACK, lw=0.6, ls=DASHES)
    middle.set(ylabel="perplexity ÷ unedited")
    middle.set_title("b   Plain text")
    right.bar(x, divergence, color=BLUE)
    right.set(ylabel="KL, nats")
    right.set_title("c   Other prompts")
    for axes in (left, middle, right):
        axes.set_xticks(x, [for_label(way) for way in ways], rotation=35, ha="right")
