"""Figures of the studies of skill neurons. Functions of arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.reporting.escaping import for_figure, for_label
from experiments.reporting.figures import BLACK, DASHES, GREY, PALETTE, WIDTH, drawing

MARKERS = "osD^vPXd"
PANELS = 4
"""Side by side, at the most."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Accuracies along one axis, with their intervals."""

    label: str
    at: Sequence[float]
    accuracy: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    dashed: bool = False


@drawing()
def dots_figure(
    figure: Figure,
    tasks: Sequence[str],
    series: Sequence[Series],
    chance: Sequence[float],
    *,
    across: str = "accuracy",
    limits: tuple[float, float] | None = (0, 1),
) -> None:
    """A line a task, a dot with its interval a probe.

    Args:
        tasks: names, from top to bottom.
        series: of each probe, `at` numbers of tasks.
        chance: accuracy of a guess, of each task.
        across: what the dots are, where they are not accuracies.
        limits: of the horizontal axis; None: those of the dots.
    """
    figure.set_figheight(1.0 + 0.3 * len(tasks))
    axes = figure.subplots()
    step = 0.7 / max(len(series), 1)
    for number, dots in enumerate(series):
        y = np.asarray(dots.at) + (number - (len(series) - 1) / 2) * step
        color = PALETTE[number % len(PALETTE)]
        axes.hlines(y, dots.low, dots.high, color=color, lw=0.8)
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(dots.accuracy, y, marker, ms=3, color=color, label=for_label(dots.label))
    for task, share in enumerate(chance):
        axes.vlines(share, task - 0.42, task + 0.42, color=GREY, lw=0.8, ls=(0, (2, 2)))
    axes.set_yticks(range(len(tasks)), [for_label(task) for task in tasks])
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set_xlim(limits)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(for_label(across))
    axes.grid(axis="y", lw=0.3, color=GREY, alpha=0.5)
    figure.legend(loc="outside lower center", ncols=4)


@drawing()
def curves_figure(
    figure: Figure, panels: Sequence[tuple[str, Sequence[Series], float]], across: str
) -> None:
    """A panel a task: its title, its curves of accuracy with bands, and the accuracy of a guess.

    Args:
        across: name of the horizontal axis, which is logarithmic, by powers of two.
    """
    columns = min(PANELS, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure.set_figheight(0.9 + 1.6 * lines)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, series, chance) in zip(grid.flat, panels, strict=False):
        axes.set_title(for_figure(title))
        axes.axhline(chance, color=GREY, lw=0.6, ls=(0, (2, 2)))
        for number, curve in enumerate(series):
            _curve(axes, curve, PALETTE[number % len(PALETTE)])
        axes.set_xscale("log", base=2)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    for column in range(columns):
        shown = grid[: len(panels) // columns + (column < len(panels) % columns), column]
        shown[-1].tick_params(labelbottom=True)
    figure.supxlabel(for_label(across), fontsize=8)
    figure.supylabel("accuracy", fontsize=8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    # Above: below it would lie on the axis' name.
    figure.legend(handles, labels, loc="outside upper center", ncols=min(5, len(labels)))


def _curve(axes: Axes, curve: Series, color: str) -> None:
    style = DASHES if curve.dashed else "-"
    label = for_label(curve.label)
    axes.plot(curve.at, curve.accuracy, color=color, ls=style, marker="o", ms=2, label=label)
    axes.fill_between(curve.at, curve.low, curve.high, color=color, alpha=0.15, lw=0)


@drawing()
def matrix_figure(
    figure: Figure,
    matrices: Sequence[tuple[str, np.ndarray]],
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    *,
    limits: tuple[float, float],
    breaks: Sequence[int] = (),
    decimals: int = 2,
) -> None:
    """Coloured squares with their numbers, side by side, four at the most.

    Args:
        matrices: titles, and values [rows, columns], NaN where there is none.
        label: of the colours.
        limits: of the colours.
        breaks: numbers of rows and columns before which a line parts groups.
        decimals: of the numbers.
    """
    low, high = limits
    across = min(PANELS, len(matrices))
    lines, width = math.ceil(len(matrices) / across), WIDTH / across
    cell = min(0.45, 0.75 * width / max(len(columns), 1))
    figure.set_figheight(1.4 + lines * max(1.2, cell * len(rows)))
    grid = figure.subplots(lines, across, sharey=True, squeeze=False).ravel()
    small = 4.0 if len(columns) > 12 or across == PANELS else 7.0
    for axes in grid[len(matrices) :]:
        axes.set_axis_off()
    for axes, (title, matrix) in zip(grid, matrices, strict=False):
        image = axes.imshow(matrix, vmin=low, vmax=high, cmap="viridis", aspect="auto")
        axes.set_title(for_figure(title))
        axes.set_xticks(range(len(columns)), [for_label(name) for name in columns], rotation=90)
        axes.set_yticks(range(len(rows)), [for_label(name) for name in rows])
        for edge in breaks:
            for line, most in ((axes.axhline, len(rows)), (axes.axvline, len(columns))):
                if edge < most:
                    line(edge - 0.5, color="white", lw=0.8)
        for row, column in np.argwhere(np.isfinite(matrix)):
            value = matrix[row, column]
            light = (value - low) / max(high - low, 1e-12) < 0.6
            axes.text(
                *(column, row, f"{value:.{decimals}f}".replace("0.", ".")),
                ha="center",
                va="center",
                fontsize=small,
                color="white" if light else BLACK,
            )
    figure.colorbar(image, ax=list(grid), label=for_label(label), shrink=0.8)


@drawing()
def layers_figure(
    figure: Figure, panels: Sequence[tuple[str, Sequence[str], Sequence[Sequence[int]]]]
) -> None:
    """Shares of neurons by layer: a panel a probe, a line a task.

    Args:
        panels: title, tasks, and numbers of neurons [tasks, L].
    """
    figure.set_figheight(1.3 + 0.17 * max(len(tasks) for _, tasks, _ in panels))
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, tasks, numbers) in zip(grid, panels, strict=True):
        counts = np.asarray(numbers, float)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        image = axes.imshow(shares, vmin=0, vmax=shares.max(), aspect="auto", cmap="viridis")
        axes.set_title(for_figure(title))
        axes.set_xlabel("layer")
        axes.set_yticks(range(len(tasks)), [for_label(task) for task in tasks])
        figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(1))
