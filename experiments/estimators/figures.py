"""Figures of the study of estimators: against NEG, ranges, doses. Functions of arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from experiments.estimators.hidden import DoseStatistics
from experiments.reporting.escaping import for_figure, for_label
from experiments.reporting.figures import (
    BLACK,
    BLUE,
    DASHES,
    GREY,
    ORANGE,
    PURPLE,
    Trace,
    cumulative,
    curve,
    drawing,
    percent,
    scatter,
    steps,
    titled,
)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate [P] to be drawn against NEG."""

    label: str
    values: np.ndarray
    """NaN where there is none."""
    heading: str
    slope_units: bool
    """Drawn as it is; others are scaled to the size of NEG."""


@drawing()
def estimates_figure(figure: Figure, slope: np.ndarray, panels: Sequence[Estimate]) -> None:
    """NEG [P] against each estimate, four panels a row."""
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure.set_figheight(0.5 + 2.05 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for number, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        known = np.isfinite(panel.values)
        x, y = panel.values[known], slope[known]
        factor = 1.0 if panel.slope_units else _scale(x, y)
        scatter(axes, x * factor, y, most=3)
        lines = [for_label(panel.label), *map(for_figure, panel.heading.split("\n"))]
        axes.set_title("\n".join(lines), fontsize=7)
        units = "" if panel.slope_units else " (scaled)"
        axes.set_xlabel(f"{for_label(panel.label)}{units}")
        if number % columns == 0:
            axes.set_ylabel("NEG")


def _scale(x: np.ndarray, y: np.ndarray) -> float:
    """Factor that gives x the median size of y."""
    sizes = [float(np.median(np.abs(values))) if values.size else 0.0 for values in (x, y)]
    return sizes[1] / sizes[0] if sizes[0] > 0 else 1.0


@drawing(height=2.7)
def ranges_figure(
    figure: Figure,
    predicted: np.ndarray,
    measured: np.ndarray,
    checked: np.ndarray,
    radius: float,
    kinds: Mapping[float, Mapping[str, float | None]],
) -> None:
    """Predicted against measured linear range, their ratio, and the shapes of the curves.

    Args:
        predicted, measured: [P].
        checked: [P], True where the prediction ends within the sweep, above the noise.
        radius: of the sweep.
        kinds: shares of the curves by kind, by shift range.
    """
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1))
    _against(left, predicted[checked], measured[checked], radius)
    cumulative(middle, np.clip(measured[checked] / predicted[checked], 1e-2, 1e2), color=BLUE)
    for at in (0.5, 1.0, 2.0):
        middle.axvline(at, color=GREY, lw=0.6, ls=DASHES, zorder=0)
    middle.set(xscale="log", xlim=(0.05, 20), ylim=(0, 1), xlabel="measured ÷ predicted range")
    middle.set_ylabel("share of neurons at most")
    percent(middle.yaxis)
    middle.set_title("b   Their ratio")
    _kinds(right, kinds)


def _against(axes: Axes, predicted: np.ndarray, measured: np.ndarray, radius: float) -> None:
    smallest = radius * 1e-2
    x, y = (np.clip(values, smallest, radius) for values in (predicted, measured))
    extent = (np.log10(smallest), np.log10(radius)) * 2
    axes.hexbin(
        x,
        y,
        xscale="log",
        yscale="log",
        gridsize=32,
        extent=extent,
        mincnt=1,
        bins="log",
        linewidths=0.1,
        cmap="viridis_r",
    )
    ends = np.asarray([smallest, radius])
    for factor, style in ((1.0, "-"), (0.5, DASHES), (2.0, DASHES)):
        axes.plot(ends, factor * ends, color=BLACK, lw=0.6, ls=style)
    axes.set(xlim=(smallest, radius * 1.1), ylim=(smallest, radius * 1.1))
    axes.set(xlabel="predicted linear range", ylabel="measured linear range")
    axes.set_title("a   Predicted and measured")


def _kinds(axes: Axes, kinds: Mapping[float, Mapping[str, float | None]]) -> None:
    base = np.zeros(len(kinds))
    names = list(next(iter(kinds.values())))
    for name, color in zip(names, (PURPLE, ORANGE, GREY, BLUE), strict=True):
        height = np.asarray([shares[name] or 0.0 for shares in kinds.values()])
        axes.bar(range(len(kinds)), height, bottom=base, color=color, width=0.8, label=name)
        base += height
    axes.set_xticks(range(len(kinds)), [f"±{radius:g}" for radius in kinds], rotation=90)
    axes.set(xlabel="shifts", ylabel="share of neurons", ylim=(0, 1))
    percent(axes.yaxis)
    titled(axes, "c   NEG ÷ slope at 0", 2)


@drawing(height=2.2)
def tangents_figure(figure: Figure, traces: Sequence[Trace]) -> None:
    """Curves on which the slope at 0 says least, each with its tangent."""
    grid = figure.subplots(1, max(1, len(traces)), squeeze=False)[0]
    for axes, trace in zip(grid, traces, strict=False):
        curve(axes, trace, ORANGE)
        low, high = min(0.0, trace.changes.min()), max(0.0, trace.changes.max())
        room = 0.1 * max(high - low, 1e-12)
        axes.set(xlabel="shift", ylim=(low - room, high + room))
    grid[0].set_ylabel("ΔP")


@drawing(height=5.0)
def doses_figure(
    figure: Figure,
    doses: Sequence[DoseStatistics],
    deciles: Sequence[np.ndarray],
    layers: int,
    labels: Mapping[str, str],
) -> None:
    """Collapse by dose; large effects by NeurGrad; hidden controllers by layer; who shows them.

    Args:
        deciles: [10] of each dose, neurons of large effect by tenths of |NeurGrad|, the smallest
            first.
        layers: of the model.
        labels: of attributions, by name.
    """
    (top, by_gradient), (by_layer, by_attribution) = figure.subplots(2, 2)
    sizes, colors = [d.dose for d in doses], steps(len(doses))
    for field, label, style, marker in (
        ("flipped", "another token on top", "-", "o"),
        ("collapsed", "output collapsed", DASHES, "s"),
    ):
        shares = [np.nan if (v := getattr(d, field)) is None else v for d in doses]
        top.plot(sizes, shares, color=GREY, ls=style, marker=marker, ms=3.5, label=label)
        top.scatter(sizes, shares, color=colors, marker=marker, s=14, zorder=3)
    top.set(xscale="log", ylim=(0, 1.02), xlabel="dose", ylabel="share of neurons")
    top.set_xticks(sizes, [f"{dose:g}" for dose in sizes])
    top.minorticks_off()
    titled(top, "a   What a dose does, at either sign", 2)
    by_gradient.axhline(0.1, color=GREY, lw=0.6, ls=DASHES)
    for tenths, color in zip(deciles, colors, strict=True):
        by_gradient.plot(range(1, 11), tenths, color=color, marker="o", ms=2.5)
    by_gradient.set(xlabel="tenth of |NeurGrad|, smallest first", ylabel="share of large effects")
    by_gradient.set(xlim=(0.5, 10.5), ylim=(0, None))
    by_gradient.set_xticks(range(1, 11))
    titled(by_gradient, "b   Neurons of large |ΔP|, by gradient")
    width = 0.8 / max(1, len(doses))
    for number, (dose, color) in enumerate(zip(doses, colors, strict=True)):
        at = np.asarray([*dose.layers], float) + (number + 0.5) * width - 0.4
        by_layer.bar(at, [*dose.layers.values()], width=width, color=color)
    by_layer.set(xlabel="layer", ylabel="hidden controllers", xlim=(-0.6, layers - 0.4))
    titled(by_layer, "c   Hidden controllers, by layer and dose")
    names = list(doses[0].shown) if doses else []
    for dose, color in zip(doses, colors, strict=True):
        medians = [dose.shown[name].median for name in names]
        places = [(value, row) for row, value in enumerate(medians) if value is not None]
        if places:
            by_attribution.plot(*zip(*places, strict=True), "o", color=color, ms=3.5)
    by_attribution.axvline(0.5, color=GREY, lw=0.6, ls=DASHES)
    by_attribution.set_yticks(range(len(names)), [for_label(labels[name]) for name in names])
    by_attribution.set(xlim=(-0.02, 1.02), ylim=(len(names) - 0.5, -0.5))
    by_attribution.set_xlabel("median rank (100%: the largest)")
    titled(by_attribution, "d   Which attribution ranks them high")
    for axis in (top.yaxis, by_gradient.yaxis, by_attribution.xaxis):
        percent(axis)
    patches = [Patch(color=c, label=f"±{dose:g}") for c, dose in zip(colors, sizes, strict=True)]
    figure.legend(handles=patches, title="dose", loc="outside lower center", ncols=len(sizes))
