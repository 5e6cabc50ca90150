"""Panels of lines over numbers of neurons, or ranges of shifts. Functions of arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.reporting.escaping import for_figure, for_label
from experiments.reporting.figures import DASHES, GREY, drawing
from experiments.reporting.intervals import Estimate

LETTERS = "abcdefghijklmnop"
# A share of variance far below 0 says "no use", however far: the axis ends there, and a triangle
# points to what lies below.
LOWEST_SHARE = -1.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """A quantity by size of set, or by range."""

    label: str
    points: Sequence[tuple[float, float | None]]
    """(size or range, value)."""
    color: Any
    dashed: bool = False
    intervals: Sequence[Estimate] = ()
    """Of the values."""


def line(
    label: str,
    color: Any,
    rows: Sequence[Any],
    value: str,
    *,
    size: str = "size",
    dashed: bool = False,
    interval: str = "",
) -> Line:
    """A line of records, whose `size`, `value` and `interval` are named as of `attrgetter`."""
    points = [(attrgetter(size)(row), attrgetter(value)(row)) for row in rows]
    ends = [attrgetter(interval)(row) for row in rows] if interval else []
    return Line(label=label, points=points, color=color, dashed=dashed, intervals=ends)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines on common axes."""

    title: str
    label: str = ""
    """Of the vertical axis."""
    lines: Sequence[Line]
    kind: str
    """`r`, `share` of variance, `log` or `plain`."""
    mark: tuple[int, float, str] | None = None
    """(size, value, words) of a published figure."""


@drawing()
def panels_figure(
    figure: Figure,
    rows: Sequence[Sequence[Panel]],
    *,
    across: str = "neurons shifted together",
    ticks: Mapping[float, str] | None = None,
    legend: str = "",
) -> None:
    """Panels of lines on a logarithmic axis, with one legend.

    Args:
        across: name of the horizontal axis.
        ticks: labels of its places; default: powers of 2.
        legend: its title.
    """
    columns = max(map(len, rows))
    figure.set_figheight(0.6 + 2.1 * len(rows))
    grid = figure.subplots(len(rows), columns, squeeze=False, sharex=True)
    for axes in grid.flat:
        axes.set_axis_off()
    letters = iter(LETTERS)
    for row, panels in enumerate(rows):
        for column, panel in enumerate(panels):
            axes = grid[row, column]
            axes.set_axis_on()
            _panel(axes, panel)
            axes.set_title(f"{next(letters)}   {for_figure(panel.title)}")
            if column == 0 or panel.label != panels[column - 1].label:
                axes.set_ylabel(for_label(panel.label))
    for axes in grid[-1]:
        axes.set_xlabel(for_label(across))
        if ticks is not None:
            axes.set_xticks(list(ticks), [for_label(name) for name in ticks.values()])
            axes.minorticks_off()
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        title=for_label(legend) or None,
        loc="outside lower center",
        ncols=min(len(labels), 4),
    )


def _panel(axes: Axes, panel: Panel) -> None:
    for line in panel.lines:
        sizes = np.asarray([size for size, _ in line.points], float)
        values = np.asarray([np.nan if v is None else v for _, v in line.points], float)
        if panel.kind == "share":
            beyond = sizes[values < LOWEST_SHARE]
            axes.plot(beyond, np.full(beyond.size, LOWEST_SHARE), "v", color=line.color, ms=3.5)
            values = np.where(values < LOWEST_SHARE, np.nan, values)
        if panel.kind == "log":
            values = np.where(values > 0, values, np.nan)
        known = [
            (x, e.low, e.high)
            for x, e in zip(sizes, line.intervals, strict=False)
            if e.low is not None
        ]
        if known:
            axes.vlines(*zip(*known, strict=True), color=line.color, lw=2.0, alpha=0.3)
        axes.plot(
            sizes,
            values,
            color=line.color,
            ls=DASHES if line.dashed else "-",
            lw=0.9 if line.dashed else 1.2,
            marker="o",
            ms=2.0 if line.dashed else 2.8,
            label=for_label(line.label),
        )
    if panel.mark is not None:
        size, value, words = panel.mark
        axes.plot([size], [value], marker="D", ms=4, color=GREY, ls="")
        at = (4, 6)
        axes.annotate(
            words, (size, value), xytext=at, textcoords="offset points", ha="right", fontsize=6.5
        )
    axes.set_xscale("log", base=2)
    if panel.kind == "r":
        lowest = min([0.0, *(value for line in panel.lines for _, value in line.points if value)])
        axes.set_ylim(lowest - 0.05, 1.03)
        if lowest < 0:
            axes.axhline(0, color=GREY, lw=0.5)
    if panel.kind == "share":
        axes.set_ylim(LOWEST_SHARE - 0.05, 1.05)
        axes.axhline(0, color=GREY, lw=0.5)
    if panel.kind == "log":
        axes.set_yscale("log")
