"""Figures of the studies of skill neurons. Functions of arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from experiments.reporting.escaping import for_figure, for_label
from experiments.reporting.figures import BLACK, BLUE, DASHES, GREY, WIDTH, drawing

MARKERS = "osD^vPXd"
PANELS = 4
"""Side by side, at the most."""
SMALLEST = 5.0
"""Points of a number that can be read; squares too small for it have none."""
# Red to blue through white: told apart with any colour vision, white is no difference.
SIGNED = "RdBu"
LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Accuracies along one axis, with their intervals."""

    label: str
    color: str = BLUE
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
    percent: bool = True,
) -> None:
    """A line a task, or what else `tasks` names, with a dot and its interval a probe.

    Args:
        tasks: names, from top to bottom.
        series: of each probe, `at` numbers of tasks.
        chance: where the dashed mark of each task is: at a guess, or at no difference.
        across: what the dots are, where they are not accuracies.
        limits: of the horizontal axis; None: those of the dots.
        percent: whether that is in per cent.
    """
    figure.set_figheight(1.0 + max(0.3, 0.065 * len(series)) * len(tasks))
    axes = figure.subplots()
    step = 0.7 / max(len(series), 1)
    for number, dots in enumerate(series):
        y = np.asarray(dots.at) + (number - (len(series) - 1) / 2) * step
        axes.hlines(y, dots.low, dots.high, color=dots.color, lw=0.8)
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(dots.accuracy, y, marker, ms=3, color=dots.color, label=for_label(dots.label))
    for task, share in enumerate(chance):
        axes.vlines(share, task - 0.42, task + 0.42, color=GREY, lw=0.8, ls=(0, (2, 2)))
    axes.set_yticks(range(len(tasks)), [for_label(task) for task in tasks])
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set_xlim(limits)
    if percent:
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
        for curve in series:
            axes.plot(
                curve.at,
                curve.accuracy,
                color=curve.color,
                ls=DASHES if curve.dashed else "-",
                marker="o",
                ms=2,
                label=for_label(curve.label),
            )
            axes.fill_between(curve.at, curve.low, curve.high, color=curve.color, alpha=0.15, lw=0)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    for column in range(columns):
        shown = grid[: len(panels) // columns + (column < len(panels) % columns), column]
        shown[-1].tick_params(labelbottom=True)
    figure.supxlabel(for_label(across), fontsize=8)
    figure.supylabel("accuracy", fontsize=8)
    entries = [axes.get_legend_handles_labels() for axes in grid.flat]
    handles = {label: handle for pair in entries for handle, label in zip(*pair, strict=True)}
    # Above: below it would lie on the axis' name.
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=min(5, len(handles)))


@drawing()
def matrix_figure(
    figure: Figure,
    matrices: Sequence[tuple[str, np.ndarray]],
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    *,
    form: str = "",
    percent: bool = False,
    axes_names: tuple[str, str] = ("", ""),
    reference: bool = False,
    apart: bool = False,
    breaks: Sequence[int] = (),
) -> None:
    """Coloured squares, with their numbers where these can be read, panels side by side.

    Args:
        matrices: titles, and values [rows, columns], NaN where there is none.
        label: of the colours.
        form: of the numbers; signed ones have colours of two sides of 0; without it: no numbers.
        percent: whether numbers are shown in per cent.
        axes_names: of rows and columns.
        reference: whether the diagonal is something else: its colours are left out.
        apart: whether each panel has colours of its own.
        breaks: numbers of rows and columns before which a line parts groups.
    """
    across = min(PANELS, len(matrices), max(1 if form else 2, 28 // len(columns)))
    lines, cell = math.ceil(len(matrices) / across), 0.76 * WIDTH / across / len(columns)
    figure.set_figheight(0.6 + lines * (0.75 + len(rows) * min(0.4, max(0.16, cell))))
    grid = figure.subplots(lines, across, sharey=True, squeeze=False)
    every = [np.where(np.eye(*m.shape) > 0, np.nan, m) if reference else m for _, m in matrices]
    for axes in grid.flat[len(matrices) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel(for_label(axes_names[0]))
    for axes, (title, matrix), colored in zip(grid.flat, matrices, every, strict=False):
        low, high = _limits([colored] if apart else every, signed="+" in form)
        scale = Normalize(low, high)
        image = axes.imshow(
            colored, norm=scale, aspect="auto", cmap=SIGNED if "+" in form else "viridis"
        )
        axes.set_title(for_figure(title))
        axes.set_xlabel(for_label(axes_names[1]))
        step = 1 if form else 5
        names = [for_label(name) for name in columns[::step]]
        turned = 90 if max(map(len, names)) > 3 else 0
        axes.set_xticks(range(0, len(columns), step), names, rotation=turned, fontsize=7)
        axes.set_yticks(range(len(rows)), [for_label(name) for name in rows])
        for edge in breaks:
            for line, most in ((axes.axhline, len(rows)), (axes.axvline, len(columns))):
                if edge < most:
                    line(edge - 0.5, color=GREY, lw=0.8)
        if form:
            _numbers(axes, matrix, image.to_rgba(colored), form, percent, 72 * cell)
        if apart or axes is grid.flat[len(matrices) - 1]:
            figure.colorbar(
                image,
                ax=axes if apart else list(grid.flat),
                label=for_label(label),
                shrink=0.8 if apart or lines == 1 else 2 / lines,
                aspect=20 if apart else 20 * min(lines, 2),
                format=PercentFormatter(1, decimals=None) if percent else None,
            )


def _limits(matrices: Sequence[np.ndarray], signed: bool) -> tuple[float, float]:
    known = np.concatenate([matrix[np.isfinite(matrix)] for matrix in matrices])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return (-max(-low, high), max(-low, high)) if signed else (low, high)


def _numbers(
    axes: Axes, matrix: np.ndarray, colors: np.ndarray, form: str, percent: bool, width: float
) -> None:
    """Numbers in the squares, in white on dark ones; none where they would be too small.

    Args:
        width: of a square, in points.
    """
    texts = {
        (row, column): format((100 if percent else 1) * matrix[row, column], form)
        .replace("0.", ".")
        .replace("-", "−")
        .replace("−0", "0")
        .replace("+0", "0")
        for row, column in np.argwhere(np.isfinite(matrix))
    }
    size = min(7.0, width / (0.68 * max(map(len, texts.values()), default=1)))
    for (row, column), text in texts.items() if size >= SMALLEST else ():
        # What is not coloured is transparent.
        dark = colors[row, column, 3] and colors[row, column, :3] @ LUMINANCE < 0.5
        color = "white" if dark else BLACK
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)
