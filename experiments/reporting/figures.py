"""How figures look, at the width of a paper's page, and what those of several studies draw.

Object-oriented matplotlib: no window system, no global state.
"""

import functools
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.reporting import statistics
from experiments.reporting.escaping import FONT, for_figure, for_label
from experiments.reporting.tables import written

# Okabe & Ito's palette, told apart with any colour vision.
BLUE, ORANGE, GREEN, GREY, BLACK = "#0072B2", "#D55E00", "#009E73", "#8A8A8A", "#222222"
PURPLE, YELLOW, SKY = "#CC79A7", "#E69F00", "#56B4E9"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, BLACK, GREY)
COLORS = dict(
    zip(("neurgrad", "cg", "ig", "lpi", "relp", "cgxa", "ablation"), PALETTE, strict=False)
)
"""Of estimators, in every figure; `steps` has those of sizes of shifts."""
# Blue to red through white: told apart with any colour vision, white is no effect.
DIVERGING = "RdBu_r"
DASHES = (0, (4, 3))
WIDTH = 7.0  # inches: two columns of a paper
STEPS = 250  # of a cumulative curve: of more, each is lower than the line is thick

STYLE = {
    "font.family": FONT,
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


# A browser that darkens pages would turn letters white, and leave the ground below them white.
_LIGHT = b'style="color-scheme: only light"'


@dataclass(frozen=True)
class Picture:
    """A drawn figure, in both formats."""

    svg: bytes
    png: bytes


def rendered(figure: Figure) -> Picture:
    """A figure as SVG and PNG."""
    FigureCanvasAgg(figure)
    svg, png = io.BytesIO(), io.BytesIO()
    with matplotlib.rc_context(STYLE):
        # A constrained layout knows the size of panels of a fixed aspect only once they are drawn.
        figure.draw_without_rendering()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=200)
    # To a hundredth of a point: what is finer nobody sees.
    short = re.sub(rb"(\d\d\.\d\d)\d+", rb"\1", svg.getvalue())
    return Picture(short.replace(b"<svg ", b"<svg %s " % _LIGHT, 1), png.getvalue())


P = ParamSpec("P")


def drawing(
    height: float = 3.0,
) -> Callable[[Callable[Concatenate[Figure, P], None]], Callable[P, Picture]]:
    """Makes a function that draws on an empty figure one that returns the picture.

    Args:
        height: in inches.
    """

    def decorate(draw: Callable[Concatenate[Figure, P], None]) -> Callable[P, Picture]:
        @functools.wraps(draw)
        def picture(*args: P.args, **kwargs: P.kwargs) -> Picture:
            with matplotlib.rc_context(STYLE):
                figure = Figure(figsize=(WIDTH, height), layout="constrained")
                draw(figure, *args, **kwargs)
                return rendered(figure)

        return picture

    return decorate


def steps(count: int) -> list[Any]:
    """Colors of so many sizes of shifts (doses, ranges), the smallest first."""
    return list(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, max(count, 1))))


def titled(axes: Axes, title: str, across: int = 0) -> None:
    """Sets a panel's title and, between it and the panel, its legend, which so hides nothing.

    Args:
        across: entries of the legend side by side; 0: it has none.
    """
    count = len(axes.get_legend_handles_labels()[1])
    lines = -(-count // across) if across else 0
    axes.set_title(title, pad=6 + 11 * lines)
    if lines:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=across,
            borderaxespad=0.2,
            borderpad=0.1,
            handlelength=1.2,
            columnspacing=1.0,
        )


def percent(axis: Axis) -> None:
    """Writes an axis' shares in per cent."""
    axis.set_major_formatter(PercentFormatter(1, decimals=0))


def in_words(found: statistics.Agreement) -> str:
    """An agreement as the heading of a panel."""
    return (
        f"r = {written(found.pearson, '.4f')}, MAE = {written(found.mae, '.1e')}\n"
        f"same sign {written(found.same_sign, '.1%')}"
    )


def scatter(
    axes: Axes, x: np.ndarray, y: np.ndarray, most: int = 5
) -> matplotlib.collections.PolyCollection:
    """Hexagons on axes that are linear about 0 and logarithmic beyond; returns them.

    Args:
        most: ticks of an axis.
    """
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
        # All lie inside, and one by one a clip would take as many bytes as they do.
        clip_on=False,
    )
    axes.plot([-edge, edge], [-edge, edge], color=BLACK, lw=0.6, ls=DASHES, zorder=3)
    ticks = powers_apart(squeezed, inner, limit, 2 * edge / (most + 1))
    labels = [power(tick) for tick in ticks]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(squeezed(ticks), labels)
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
    return hexagons


def powers_apart(
    place: Callable[[np.ndarray], np.ndarray], least: float, most: float, gap: float
) -> np.ndarray:
    """0 and powers of ten of both signs, from the largest down, as far apart as labels need.

    Args:
        place: where values lie on the axis, 0 at 0.
        least, most: sizes of the smallest power and of the largest.
        gap: on the axis.
    """
    kept: list[float] = []
    last = np.inf
    for exponent in range(int(np.floor(np.log10(most))), int(np.ceil(np.log10(least))) - 1, -1):
        at = float(place(np.asarray(10.0**exponent)))
        if gap <= at <= last - gap:
            kept, last = [*kept, 10.0**exponent], at
    return np.asarray([*(-p for p in kept), 0.0, *reversed(kept)])


def predictions(
    figure: Figure,
    panels: Sequence[Axes],
    slope: np.ndarray,
    predicted: Sequence[tuple[str, np.ndarray]],
    agreements: Sequence[statistics.Agreement],
) -> None:
    """Draws NEG [P] against predictions of it (name, [P]), each with its agreement."""
    for letter, axes, (name, value), agreement in zip(
        "abc", panels, predicted, agreements, strict=False
    ):
        hexagons = scatter(axes, value, slope)
        name = for_figure(name)
        axes.set_xlabel(f"{name}   (P per unit of activation)")
        axes.set_title(f"{letter}   NEG against {name}\n{in_words(agreement)}")
    panels[0].set_ylabel("NEG   (P per unit of activation)")
    figure.colorbar(hexagons, ax=panels, label="neurons", pad=0.01, aspect=30)


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


def curve(axes: Axes, trace: Trace, color: str) -> None:
    """Draws a curve, the line fitted to it, and what rounding alone explains."""
    axes.axhspan(-trace.bound, trace.bound, color=GREY, alpha=0.25, lw=0)
    axes.axhline(0, color=GREY, lw=0.4)
    axes.plot(trace.shifts, trace.slope * trace.shifts, color=BLACK, lw=0.7, ls=DASHES)
    axes.plot(trace.shifts, trace.changes, color=color)
    axes.plot(*trace.measured, ".", color=color, ms=3.5)
    axes.set_title(f"{trace.heading}\n{_straightness(trace.pearson)}", fontsize=6.5)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2), useMathText=True)
    axes.yaxis.get_offset_text().set_fontsize(6.5)
    axes.tick_params(labelsize=6.5)


def cumulative(axes: Axes, values: np.ndarray, **style: Any) -> None:
    """Draws which share of values [P] is at most x; nothing where there are none."""
    if values.size:
        steps = min(values.size, STEPS)
        count = np.arange(1, steps + 1) * values.size // steps
        axes.step(np.sort(values)[count - 1], count / values.size, where="post", **style)


def power(value: float) -> str:
    """A power of ten, or its negative, or 0."""
    if value == 0:
        return "0"
    exponent = round(float(np.log10(abs(value))))
    return rf"${'-' if value < 0 else ''}10^{{{exponent}}}$"


def _straightness(pearson: float) -> str:
    if 1 - abs(pearson) >= 1e-3:
        return f"r = {written(pearson, '.3f')}"
    return f"|r| = 1 − {written(1 - abs(pearson), '.0e')}"
