"""Figures of the NEG of every neuron of a model: layer × neuron maps. Functions of arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from negjax import study
from negjax.figures import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    STYLE,
    WIDTH,
    Picture,
    in_words,
    rendered,
    scatter,
)

# Blue to red through white: told apart with any colour vision, white is no effect.
DIVERGING = "RdBu_r"


@dataclass(frozen=True)
class Named:
    """A neuron to point at."""

    layer: int
    neuron: int
    value: float
    """NEG."""


def map_figure(
    layer: np.ndarray, slope: np.ndarray, predicted: np.ndarray, name: str, top: Sequence[Named]
) -> Picture:
    """NEG of every neuron of some layers, and the prediction `name` of it in the same order.

    layer [l]: numbers of the layers; slope, predicted [l, F].

    Within a layer the neurons stand in order of their NEG, so that the border between blue and red
    is the share of positive neurons, and a prediction that is right repeats the picture.
    """
    layers, neurons = slope.shape
    order = np.argsort(slope, axis=1, kind="stable")
    scale = color_scale(slope)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 7.4), layout="constrained")
        grid = figure.add_gridspec(3, 3, width_ratios=(7, 1, 1), height_ratios=(1, 1, 1))
        panels = (
            ("a   Exact NEG, by interventions on one neuron at a time", slope),
            (f"b   {name}, one backward pass, the neurons in the same places", predicted),
            (f"c   NEG − {name}, on the same scale", slope - predicted),
        )
        image = None
        for row, (title, values) in enumerate(panels):
            axes = figure.add_subplot(grid[row, 0])
            image = axes.imshow(
                np.take_along_axis(values, order, axis=1),
                aspect="auto",
                interpolation="nearest",
                origin="lower",
                cmap=DIVERGING,
                norm=scale,
                extent=(0, neurons, -0.5, layers - 0.5),
                rasterized=True,
            )
            axes.set_title(title)
            axes.set_ylabel("layer")
            rows = np.arange(0, layers, max(1, layers // 6))
            axes.set_yticks(rows, [str(layer[at]) for at in rows])
            if row == len(panels) - 1:
                axes.set_xlabel("neurons of the layer, by NEG: most negative to most positive")
            axes.set_xticks([0, neurons // 4, neurons // 2, neurons - neurons // 4, neurons])
            if row == 0:
                _mark(axes, layer, order, top)
            _profiles(figure, grid, row, values, axes)
        if image is not None:
            figure.colorbar(
                image,
                ax=figure.axes,
                location="bottom",
                aspect=60,
                shrink=0.7,
                label="change of P(answer) per unit of activation",
            )
        return rendered(figure)


def color_scale(values: np.ndarray) -> SymLogNorm:
    """Colours of [L, F]: linear below the median size, logarithmic above it."""
    size = np.abs(values)
    positive = size[size > 0]
    limit = float(positive.max()) if positive.size else 1.0
    inner = float(np.median(positive)) if positive.size else 0.1
    return SymLogNorm(linthresh=inner, linscale=0.6, vmin=-limit, vmax=limit)


def _mark(axes: Axes, layer: np.ndarray, order: np.ndarray, top: Sequence[Named]) -> None:
    """Circles around the strongest neurons, and their names beside them."""
    neurons = order.shape[1]
    for named in top:
        row = int(np.flatnonzero(layer == named.layer)[0])
        place = int(np.flatnonzero(order[row] == named.neuron)[0])
        right = place > neurons // 2
        axes.plot(place + 0.5, row, "o", ms=4, mfc="none", mec=BLACK, mew=0.7, clip_on=False)
        axes.annotate(
            f"{named.layer}.{named.neuron}",
            (place + 0.5, row),
            xytext=(-6 if right else 6, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            fontsize=6,
        )


def _profiles(
    figure: Figure, grid: matplotlib.gridspec.GridSpec, row: int, values: np.ndarray, beside: Axes
) -> None:
    """Two profiles over the layers, right of a map: summed size and share of positive neurons."""
    layer = np.arange(len(values))
    total = figure.add_subplot(grid[row, 1], sharey=beside)
    positive, negative = (np.where(s * values > 0, np.abs(values), 0).sum(1) for s in (1, -1))
    total.barh(layer, positive, height=0.8, color=ORANGE)
    total.barh(layer, -negative, height=0.8, color=BLUE)
    total.axvline(0, color=BLACK, lw=0.5)
    limit = 1.1 * max(float(positive.max()), float(negative.max()), 1e-12)
    total.set(xlim=(-limit, limit))
    share = figure.add_subplot(grid[row, 2], sharey=beside)
    share.axvline(0.5, color=GREY, lw=0.6, ls=(0, (4, 3)))
    share.plot((values > 0).mean(1), layer, color=BLACK, marker="o", ms=2, lw=0.8)
    share.set(xlim=(0, 1))
    share.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in (total, share):
        axes.tick_params(axis="y", labelleft=False)
        axes.tick_params(axis="x", labelsize=6)
    if row == 0:
        total.set_title("Σ by sign")
        share.set_title("> 0")


def scatter_figure(
    layer: np.ndarray,
    slope: np.ndarray,
    neurgrad: np.ndarray,
    computed: np.ndarray,
    statistics: study.RangeStatistics,
) -> Picture:
    """NEG [l, F] against its predictions [l, F], and the error of NeurGrad by layer [l]."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(2.1, 1))
        hexagons, panels = None, []
        for column, (letter, name, key, value) in enumerate(
            (("a", "NeurGrad", "neurgrad", neurgrad), ("b", "CG", "computed", computed))
        ):
            axes = figure.add_subplot(grid[0, column])
            hexagons = scatter(axes, value.reshape(-1), slope.reshape(-1))
            axes.set_title(
                f"{letter}   NEG against {name}\n{in_words(statistics.predictions[key])}"
            )
            axes.set_xlabel(f"{name}   (P per unit of activation)")
            panels.append(axes)
        panels[0].set_ylabel("NEG   (P per unit of activation)")
        if hexagons is not None:
            figure.colorbar(hexagons, ax=panels, label="neurons", pad=0.01, aspect=30)
        below = figure.add_subplot(grid[1, :])
        for values, label, color in (
            (slope, "mean |NEG|", BLACK),
            (slope - neurgrad, "mean |NEG − NeurGrad|", BLUE),
            (slope - computed, "mean |NEG − CG|", ORANGE),
        ):
            size = np.abs(values).mean(1)
            below.plot(
                layer,
                np.where(size > 0, size, np.nan),
                color=color,
                marker="o",
                ms=2.5,
                label=label,
            )
        below.set(yscale="log", xlabel="layer", ylabel="P per unit\nof activation")
        below.set_title("c   Size and error, by layer")
        below.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.3))
        return rendered(figure)


def strongest(slope: np.ndarray, count: int) -> list[Named]:
    """The `count` neurons of largest |NEG| [L, F]; the lowest flat index first among equals."""
    flat = np.argsort(-np.abs(slope).reshape(-1), kind="stable")[:count]
    layer, neuron = np.divmod(flat, slope.shape[1])
    return [
        Named(int(at), int(i), float(slope[at, i])) for at, i in zip(layer, neuron, strict=True)
    ]
