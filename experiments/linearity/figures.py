"""Figures of the study of linearity. Functions of arrays."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation

from experiments.reporting import statistics
from experiments.reporting.figures import (
    BLACK,
    BLUE,
    DASHES,
    GREEN,
    GREY,
    ORANGE,
    Trace,
    cumulative,
    curve,
    drawing,
    percent,
    power,
    predictions,
    steps,
    titled,
)


@drawing(height=2.9)
def linearity_figure(
    figure: Figure,
    ranges: Sequence[float],
    pearson: Sequence[np.ndarray],
    above: Sequence[np.ndarray],
    by_range: Sequence[statistics.RangeStatistics],
) -> None:
    """Distribution of r, and share of linear neurons, by shift range.

    Args:
        ranges: the radii.
        pearson: [P] for each range.
        above: [P] for each range, True where ΔP is resolved.
        by_range: statistics of each range.
    """
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    colors = steps(len(ranges))
    for radius, r, kept, color in zip(ranges, pearson, above, colors, strict=True):
        distance = np.clip(1 - np.abs(r[kept]), 1e-9, 1.0)
        cumulative(left, distance, color=color, label=f"±{radius:g}")
    for threshold, side in ((statistics.LINEAR, "right"), (statistics.VERY_LINEAR, "left")):
        left.axvline(1 - threshold, color=GREY, lw=0.6, ls=DASHES, zorder=0)
        left.annotate(
            f"|r| = {threshold:g}",
            (1 - threshold, 0.02),
            xytext=(2 if side == "right" else -2, 0),
            textcoords="offset points",
            ha=side,
            fontsize=6.5,
            annotation_clip=False,
        )
    left.set(
        xscale="log",
        xlim=(1.0, 1e-7),
        ylim=(0, 1.0),
        xlabel="1 − |r|   (to the right: straighter)",
        ylabel="share of neurons at most this far from a line",
    )
    percent(left.yaxis)
    titled(left, "a   How straight the curves are", 3)
    _share_panel(right, by_range)


def _share_panel(axes: Axes, by_range: Sequence[statistics.RangeStatistics]) -> None:
    known = [s for s in by_range if s.every.linear is not None]
    radii = [s.radius for s in known]
    for field, threshold, color, marker in (
        ("linear", statistics.LINEAR, BLUE, "o"),
        ("very_linear", statistics.VERY_LINEAR, ORANGE, "s"),
    ):
        every = [getattr(s.every, field) for s in known]
        above = [np.nan if (v := getattr(s.resolved, field)) is None else v for s in known]
        axes.plot(radii, above, color=color, marker=marker, ms=4, label=f"|r| ≥ {threshold:g}")
        axes.plot(radii, every, color=color, marker=marker, ms=4, mfc="white", lw=0.8, ls=":")
    axes.plot([], [], color=GREY, marker="o", ms=4, mfc="white", ls=":", label="all neurons")
    if any(s.radius == 2 for s in known):
        axes.vlines(2, 0.9, 1.0, color=GREEN, lw=5, alpha=0.35, zorder=0)
        axes.annotate(
            "paper: over 90%\nwithin ±2, r > 0.95",
            (2, 0.03),
            ha="center",
            va="bottom",
            fontsize=6.5,
            color=GREEN,
        )
    axes.set(xscale="log", xlabel="largest shift", ylabel="share of neurons", ylim=(0, 1.02))
    axes.set_xticks(radii, [f"±{r:g}" for r in radii])
    axes.minorticks_off()
    percent(axes.yaxis)
    titled(axes, "b   Linear neurons, by shift range", 3)


@drawing(height=3.2)
def layers_figure(figure: Figure, layer: np.ndarray, slope: np.ndarray, layers: int) -> None:
    """|NEG| and the share of positive neurons, layer by layer; layer and slope [P]."""
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    # Zero has no place on a logarithmic axis; exact zeros are rare and said in the caption.
    size = np.where(slope == 0, np.nan, np.abs(slope))
    known = np.isfinite(size)
    bands = statistics.layer_quantiles(layer[known], size[known], layers)
    x = np.arange(layers)
    top.fill_between(x, bands[:, 0], bands[:, 4], color=BLUE, alpha=0.15, lw=0, label="5–95%")
    top.fill_between(x, bands[:, 1], bands[:, 3], color=BLUE, alpha=0.3, lw=0, label="25–75%")
    top.plot(x, bands[:, 2], color=BLUE, marker="o", ms=2.5, label="median")
    top.set(yscale="log" if known.any() else "linear", ylabel="|NEG|\nP per unit of activation")
    if known.any():
        # Between powers of ten only where there is no power to be seen.
        top.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(0.3, 0.1)))
    titled(top, "a   How steep", 3)
    positive = statistics.layer_shares(layer, slope > 0, layers)
    bottom.axhline(0.5, color=GREY, lw=0.6, ls=DASHES)
    bottom.bar(
        x, positive - 0.5, bottom=0.5, width=0.7, color=np.where(positive > 0.5, ORANGE, BLUE)
    )
    bottom.set(xlabel="layer", ylabel="NEG > 0", ylim=(0, 1), xlim=(-0.6, layers - 0.4))
    percent(bottom.yaxis)
    bottom.set_title("b   Which way")


@drawing(height=3.3)
def predictions_figure(
    figure: Figure,
    slope: np.ndarray,
    predicted: Sequence[tuple[str, np.ndarray]],
    agreements: Sequence[statistics.Agreement],
) -> None:
    """NEG [P] against predictions of it (name, [P]), each with its agreement."""
    panels = figure.subplots(1, len(predicted), sharey=True, squeeze=False)[0]
    predictions(figure, panels, slope, predicted, agreements)


@drawing(height=3.7)
def gallery_figure(figure: Figure, most: Sequence[Trace], least: Sequence[Trace]) -> None:
    """The most linear curves above, the least linear below, each with its line."""
    grid = figure.subplots(2, max(len(most), len(least), 1), squeeze=False)
    for row, traces, color in zip(grid, (most, least), (BLUE, ORANGE), strict=True):
        for axes, trace in zip(row, traces, strict=False):
            curve(axes, trace, color)
        for axes in row[len(traces) :]:
            axes.set_axis_off()
    for axes in grid[1, : len(least)]:
        axes.set_xlabel("shift")
    for axes, name in zip(grid[:, 0], ("most linear", "least linear"), strict=True):
        axes.set_ylabel(f"{name}\nΔP")


@drawing(height=2.6)
def noise_figure(
    figure: Figure, ranges: Sequence[float], largest_change: Sequence[np.ndarray], bound: np.ndarray
) -> None:
    """Sizes of ΔP beside the rounding noise, by range; largest_change [P] each, bound [P]."""
    axes = figure.subplots()
    positive = bound > 0
    ratio = [np.log10(np.maximum(c[positive] / bound[positive], 1e-6)) for c in largest_change]
    lowest = min((int(np.floor(v.min())) for v in ratio if v.size), default=-1)
    highest = max((int(np.ceil(v.max())) for v in ratio if v.size), default=1)
    edges = np.linspace(
        min(lowest, -1), max(highest, 1), 8 * (max(highest, 1) - min(lowest, -1)) + 1
    )
    below = edges[1:] <= 0
    for number, values in enumerate(ratio):
        counts, _ = np.histogram(values, edges)
        height = 0.9 * counts / max(counts.max(), 1)
        base = len(ranges) - 1 - number
        for side, color in ((below, GREY), (~below, BLUE)):
            shown = np.where(side, height, 0.0)
            axes.stairs(base + shown, edges, baseline=base, fill=True, color=color)
        share = float(np.mean(values < 0)) if values.size else 0.0
        axes.text(edges[0], base + 0.3, f"{share:.1%}", ha="left", fontsize=7)
        axes.text(edges[-1], base + 0.3, f"{1 - share:.1%}", ha="right", color=BLUE, fontsize=7)
    axes.axvline(0, color=BLACK, lw=0.6)
    axes.set_yticks(np.arange(len(ranges)) + 0.3, [f"±{radius:g}" for radius in reversed(ranges)])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: power(10.0**v)))
    axes.set(
        xlim=(edges[0], edges[-1]),
        xlabel="largest |ΔP| of the range ÷ what rounding alone explains",
        ylabel="shifts",
    )
    axes.set_title("grey: within the rounding noise; blue: above it")
