"""Figures of a study of linearity, at the width of a paper's page. Functions of arrays.

Object-oriented matplotlib: no window system, no global state.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from experiments.reporting import study
from experiments.reporting.escaping import for_figure, for_label

# Okabe & Ito's palette, told apart with any colour vision.
BLUE, ORANGE, GREEN, GREY, BLACK = "#0072B2", "#D55E00", "#009E73", "#8A8A8A", "#222222"
WIDTH = 7.0  # inches: two columns of a paper

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so pictures look the same everywhere
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": BLACK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.frameon": False,
    "legend.fontsize": 7.0,
    "legend.title_fontsize": 7.0,
    "lines.linewidth": 1.2,
    "svg.hashsalt": "negjax",  # the same picture is the same file
    "image.cmap": "viridis",
}


@dataclass(frozen=True)
class Picture:
    """A drawn figure, in both formats."""

    svg: bytes
    png: bytes


def rendered(figure: Figure) -> Picture:
    """A figure as SVG and PNG."""
    FigureCanvasAgg(figure)
    svg, png = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A box stands for a letter that the font lacks: nobody can act on hearing of it.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # A constrained layout knows the size of panels of a fixed aspect only once they are drawn.
        figure.draw_without_rendering()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=200)
    return Picture(svg.getvalue(), png.getvalue())


def linearity_figure(
    ranges: Sequence[float],
    pearson: Sequence[np.ndarray],
    above: Sequence[np.ndarray],
    statistics: Sequence[study.RangeStatistics],
) -> Picture:
    """Distribution of r, and share of linear neurons, by shift range.

    Args:
        ranges: the radii.
        pearson: [P] for each range.
        above: [P] for each range, True where ΔP is resolved.
        statistics: of each range.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        colors = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, len(ranges)))
        for radius, r, kept, color in zip(ranges, pearson, above, colors, strict=True):
            distance = np.sort(np.clip(1 - np.abs(r[kept]), 1e-9, 1.0))
            if distance.size:
                share = np.arange(1, distance.size + 1) / distance.size
                left.step(distance, share, where="post", color=color, label=f"±{radius:g}")
        for threshold, side in ((study.LINEAR, "right"), (study.VERY_LINEAR, "left")):
            left.axvline(1 - threshold, color=GREY, lw=0.6, ls=(0, (4, 3)), zorder=0)
            left.annotate(
                f"|r| = {threshold:g}",
                (1 - threshold, 1.0),
                xytext=(2 if side == "right" else -2, 3),
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
        left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        left.set_title("a   How straight the curves are", pad=14)
        if any(kept.any() for kept in above):
            left.legend(
                title="shifts", loc="lower left", frameon=True, framealpha=1.0, edgecolor="none"
            )
        _share_panel(right, statistics)
        return rendered(figure)


def _share_panel(axes: Axes, statistics: Sequence[study.RangeStatistics]) -> None:
    told = [s for s in statistics if s.every.linear is not None]
    radii = [s.radius for s in told]
    for field, threshold, color, marker in (
        ("linear", study.LINEAR, BLUE, "o"),
        ("very_linear", study.VERY_LINEAR, ORANGE, "s"),
    ):
        every = [getattr(s.every, field) for s in told]
        above = [np.nan if (v := getattr(s.resolved, field)) is None else v for s in told]
        axes.plot(radii, above, color=color, marker=marker, ms=4, label=f"|r| ≥ {threshold:g}")
        axes.plot(radii, every, color=color, marker=marker, ms=4, mfc="white", lw=0.8, ls=":")
    axes.plot(
        [],
        [],
        color=GREY,
        marker="o",
        ms=4,
        mfc="white",
        lw=0.8,
        ls=":",
        label="all neurons",
    )
    if any(s.radius == 2 for s in told):
        axes.vlines(2, 0.9, 1.0, color=GREEN, lw=5, alpha=0.35, zorder=0)
        axes.annotate(
            "paper: over 90%\nwithin ±2, r > 0.95",
            (2, 0.7),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=6.5,
            color=GREEN,
        )
    axes.set(xscale="log", xlabel="largest shift", ylabel="share of neurons", ylim=(0, 1.02))
    axes.set_xticks(radii, [f"±{r:g}" for r in radii])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_title("b   Linear neurons, by shift range", pad=14)
    axes.legend(loc="lower left")


def layers_figure(layer: np.ndarray, slope: np.ndarray, layers: int) -> Picture:
    """|NEG| and the share of positive neurons, layer by layer; layer and slope [P]."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
        # Zero has no place on a logarithmic axis; exact zeros are rare and said in the caption.
        size = np.where(slope == 0, np.nan, np.abs(slope))
        found = np.isfinite(size)
        bands = study.layer_quantiles(layer[found], size[found], layers)
        x = np.arange(layers)
        top.fill_between(x, bands[:, 0], bands[:, 4], color=BLUE, alpha=0.15, lw=0, label="5–95%")
        top.fill_between(x, bands[:, 1], bands[:, 3], color=BLUE, alpha=0.3, lw=0, label="25–75%")
        top.plot(x, bands[:, 2], color=BLUE, marker="o", ms=2.5, label="median")
        top.set(yscale="log" if found.any() else "linear", ylabel="|NEG|\nP per unit of activation")
        top.legend(ncols=3, loc="upper left")
        top.set_title("a   How steep")
        positive = study.layer_shares(layer, slope > 0, layers)
        bottom.axhline(0.5, color=GREY, lw=0.6, ls=(0, (4, 3)))
        bottom.bar(
            x, positive - 0.5, bottom=0.5, width=0.7, color=np.where(positive > 0.5, ORANGE, BLUE)
        )
        bottom.set(xlabel="layer", ylabel="NEG > 0", ylim=(0, 1), xlim=(-0.6, layers - 0.4))
        bottom.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        bottom.set_title("b   Which way")
        return rendered(figure)


def predictions_figure(
    slope: np.ndarray,
    predictions: Sequence[tuple[str, np.ndarray]],
    agreements: Sequence[study.Agreement],
) -> Picture:
    """NEG [P] against predictions of it (name, [P]), each with its agreement."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
        panels = figure.subplots(1, len(predictions), sharey=True, squeeze=False)[0]
        for letter, axes, (name, value), found in zip(
            "abc", panels, predictions, agreements, strict=False
        ):
            hexagons = scatter(axes, value, slope)
            name = for_figure(name)
            axes.set_xlabel(f"{name}   (P per unit of activation)")
            axes.set_title(f"{letter}   NEG against {name}\n{in_words(found)}")
        panels[0].set_ylabel("NEG   (P per unit of activation)")
        figure.colorbar(hexagons, ax=panels, label="neurons", pad=0.01, aspect=30)
        return rendered(figure)


def in_words(found: study.Agreement) -> str:
    """An agreement as the heading of a panel."""
    return (
        f"r = {_number(found.pearson)}, MAE = {_scientific(found.mae)}, "
        f"same sign {_percent(found.same_sign)}"
    )


def scatter(axes: Axes, x: np.ndarray, y: np.ndarray) -> matplotlib.collections.PolyCollection:
    """Hexagons on axes that are linear about 0 and logarithmic beyond; returns them."""
    sizes = np.abs(np.concatenate([x, y]))
    sizes = sizes[sizes > 0]
    inner = float(np.quantile(sizes, 0.25)) if sizes.size else 1e-9
    limit = float(sizes.max()) if sizes.size else 1.0

    def squeezed(values: np.ndarray) -> np.ndarray:
        return np.arcsinh(values / inner)

    edge = float(squeezed(np.asarray(limit))) * 1.06
    hexagons = axes.hexbin(
        squeezed(x),
        squeezed(y),
        gridsize=46,
        extent=(-edge, edge, -edge, edge),
        mincnt=1,
        # Of no point the highest count would be 0, below the lowest.
        norm=LogNorm(vmin=1, vmax=None if x.size else 1),
        linewidths=0.1,
        cmap="viridis_r",
    )
    axes.plot([-edge, edge], [-edge, edge], color=BLACK, lw=0.6, ls=(0, (4, 3)), zorder=3)
    lowest, highest = int(np.ceil(np.log10(inner))), int(np.floor(np.log10(limit)))
    every = max(1, -(-(highest - lowest + 1) // 3))
    powers = 10.0 ** np.arange(highest, lowest - 1, -every)[::-1]
    ticks = np.concatenate([-powers[::-1], [0.0], powers])
    labels = [_power(tick) for tick in ticks]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(squeezed(ticks), labels)
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
    return hexagons


@dataclass(frozen=True)
class Trace:
    """One curve of a gallery."""

    title: str
    answer: str
    shifts: np.ndarray
    changes: np.ndarray
    measured: tuple[np.ndarray, np.ndarray]
    slope: float
    pearson: float
    bound: float

    @property
    def heading(self) -> str:
        """Two lines above it."""
        return f"{for_figure(self.title)}\n“{for_label(self.answer)}”"


def gallery_figure(most: Sequence[Trace], least: Sequence[Trace]) -> Picture:
    """The most linear curves above, the least linear below, each with its line."""
    with matplotlib.rc_context(STYLE):
        columns = max(len(most), len(least), 1)
        figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
        grid = figure.subplots(2, columns, squeeze=False)
        for row, (traces, color) in enumerate(((most, BLUE), (least, ORANGE))):
            for column in range(columns):
                axes = grid[row, column]
                if column >= len(traces):
                    axes.set_axis_off()
                    continue
                _trace(axes, traces[column], color)
                if row == 1:
                    axes.set_xlabel("shift")
        for row, name in enumerate(("most linear", "least linear")):
            grid[row, 0].set_ylabel(f"{name}\nΔP")
        return rendered(figure)


def _trace(axes: Axes, trace: Trace, color: str) -> None:
    axes.axhspan(-trace.bound, trace.bound, color=GREY, alpha=0.25, lw=0)
    axes.axhline(0, color=GREY, lw=0.4)
    axes.plot(trace.shifts, trace.slope * trace.shifts, color=BLACK, lw=0.7, ls=(0, (4, 3)))
    axes.plot(trace.shifts, trace.changes, color=color)
    axes.plot(*trace.measured, ".", color=color, ms=3.5)
    axes.set_title(f"{trace.heading}\n{_straightness(trace.pearson)}", fontsize=6.5)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2), useMathText=True)
    axes.yaxis.get_offset_text().set_fontsize(6.5)
    axes.tick_params(labelsize=6.5)


def noise_figure(
    ranges: Sequence[float], largest_change: Sequence[np.ndarray], bound: np.ndarray
) -> Picture:
    """Sizes of ΔP beside the rounding noise, by range; largest_change [P] each, bound [P]."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
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
        axes.set_yticks(
            np.arange(len(ranges)) + 0.3, [f"±{radius:g}" for radius in reversed(ranges)]
        )
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: _power(10.0**v)))
        axes.set(
            xlim=(edges[0], edges[-1]),
            xlabel="largest |ΔP| of the range ÷ what rounding alone explains",
            ylabel="shifts",
        )
        axes.set_title("grey: within the rounding noise; blue: above it")
        return rendered(figure)


def _power(value: float) -> str:
    """A power of ten, or its negative, or 0."""
    if value == 0:
        return "0"
    exponent = round(float(np.log10(abs(value))))
    return rf"${'-' if value < 0 else ''}10^{{{exponent}}}$"


def _straightness(pearson: float) -> str:
    if 1 - abs(pearson) >= 1e-3:
        return f"r = {pearson:.3f}"
    return f"|r| = 1 − {1 - abs(pearson):.0e}"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def _scientific(value: float | None) -> str:
    return "—" if value is None else f"{value:.1e}"


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"
