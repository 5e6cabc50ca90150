"""Figures of the NEG of every neuron of a model: layer × neuron maps. Functions of arrays."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter

from experiments.reporting.escaping import for_label
from experiments.reporting.figures import (
    BLACK,
    BLUE,
    COLORS,
    DASHES,
    DIVERGING,
    GREY,
    ORANGE,
    drawing,
    percent,
    power,
    powers_apart,
    predictions,
    titled,
)
from experiments.reporting.statistics import Agreement

# Neurons' worth of axis before the first: more of it gives the extremes less room.
END_ROOM = 2.0


@drawing(height=7.6)
def map_figure(
    figure: Figure,
    layer: np.ndarray,
    slope: np.ndarray,
    predicted: np.ndarray,
    name: str,
    top: Sequence[tuple[int, int]],
) -> None:
    """NEG of every neuron of some layers, and the prediction `name` of it in the same order.

    Within a layer the neurons stand in order of their NEG, on an axis that gives the extremes room;
    a prediction that is right repeats the picture.

    layer [l]: numbers of the layers; slope, predicted [l, F]; top: neurons to point at, by layer
    and index.
    """
    layers, neurons = slope.shape
    order = np.argsort(slope, axis=1, kind="stable")
    scale = color_scale(slope)
    edges = places(np.arange(neurons + 1), neurons)
    grid = figure.add_gridspec(4, 3, width_ratios=(7, 1.2, 0.9), height_ratios=(1, 1, 1, 0.035))
    name = for_label(name)
    panels = (
        ("a   Exact NEG, by interventions on one neuron at a time", slope),
        (f"b   {name}, by one backward pass, each neuron where it is in a", predicted),
        (f"c   NEG − {name}, in the colors of a and b", slope - predicted),
    )
    for row, (title, values) in enumerate(panels):
        axes = figure.add_subplot(grid[row, 0])
        axes.pcolormesh(
            edges,
            np.arange(layers + 1) - 0.5,
            np.take_along_axis(values, order, axis=1),
            cmap=DIVERGING,
            norm=scale,
            rasterized=True,
        )
        axes.set_title(title)
        _ticks(axes, layer, neurons)
        if row == 0:
            _mark(axes, layer, order, top)
        _profiles(figure, grid, row, values, axes)
    axes.set_xlabel("neurons of a layer in order of NEG, counted from the nearer end")
    figure.colorbar(
        ScalarMappable(scale, DIVERGING),
        cax=figure.add_subplot(grid[3, 0]),
        orientation="horizontal",
        label="change of P(answer) per unit of activation",
        ticks=powers_apart(
            lambda x: scale(x) - 0.5, scale.linthresh / 10, scale.inverse(1.0), 0.07
        ),
        format=FuncFormatter(lambda value, _: power(value)),
    )


def places(rank: np.ndarray, neurons: int) -> np.ndarray:
    """Where ranks 0 … F lie on an axis that is logarithmic from either end, 0 in the middle."""
    return np.log10((rank + END_ROOM) / (neurons - rank + END_ROOM))


def color_scale(values: np.ndarray) -> SymLogNorm:
    """Colors of [l, F]: linear below the median size, logarithmic above it."""
    size = np.abs(values)
    positive = size[size > 0]
    limit = float(positive.max()) if positive.size else 1.0
    inner = float(np.median(positive)) if positive.size else 0.1
    return SymLogNorm(linthresh=inner, linscale=0.6, vmin=-limit, vmax=limit)


def _ticks(axes: Axes, layer: np.ndarray, neurons: int) -> None:
    counts = [n for n in (1, 10, 100, 1000, 10000) if n < neurons / 3]
    ranks = [n - 0.5 for n in counts]
    ranks += [neurons / 2, *(neurons - rank for rank in reversed(ranks))]
    labels = [f"{n:,}" for n in counts]
    axes.set_xticks(
        places(np.asarray(ranks), neurons), [*labels, f"{neurons // 2:,}", *reversed(labels)]
    )
    rows = np.arange(0, len(layer), max(1, len(layer) // 6))
    axes.set_yticks(rows, [str(layer[at]) for at in rows])
    axes.set_ylabel("layer")


def _mark(axes: Axes, layer: np.ndarray, order: np.ndarray, top: Sequence[tuple[int, int]]) -> None:
    """Circles on the strongest neurons, and beside them their numbers within the layer."""
    neurons = order.shape[1]
    marked: dict[tuple[int, bool], list[tuple[int, int]]] = {}
    for number, neuron in top:
        row = int(np.flatnonzero(layer == number)[0])
        rank = int(np.flatnonzero(order[row] == neuron)[0])
        marked.setdefault((row, rank > neurons // 2), []).append((rank, neuron))
    for (row, right), of_row in marked.items():
        of_row.sort()
        x = places(np.asarray([rank + 0.5 for rank, _ in of_row]), neurons)
        axes.plot(x, np.full(len(of_row), row), "o", ms=3.5, mfc="none", mec="white", mew=0.9)
        axes.annotate(
            ", ".join(str(neuron) for _, neuron in of_row),
            (x[0] if right else x[-1], row),
            xytext=(-6 if right else 6, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            fontsize=6,
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
        )


def _profiles(figure: Figure, grid: GridSpec, row: int, values: np.ndarray, beside: Axes) -> None:
    """Profiles over the layers, right of a map: sums by sign and, in a and b, positive neurons."""
    layer = np.arange(len(values))
    total = figure.add_subplot(grid[row, 1], sharey=beside)
    positive, negative = (np.where(s * values > 0, np.abs(values), 0).sum(1) for s in (1, -1))
    total.barh(layer, positive, height=0.8, color=ORANGE)
    total.barh(layer, -negative, height=0.8, color=BLUE)
    total.axvline(0, color=BLACK, lw=0.5)
    limit = 1.1 * max(float(positive.max()), float(negative.max()), 1e-12)
    total.set(xlim=(-limit, limit))
    total.locator_params(axis="x", nbins=2)
    total.ticklabel_format(axis="x", style="sci", scilimits=(-1, 2), useMathText=True)
    total.xaxis.get_offset_text().set_fontsize(6)
    total.set_title("sum by sign")
    drawn = [total]
    if row < 2:
        share = figure.add_subplot(grid[row, 2], sharey=beside)
        share.axvline(0.5, color=GREY, lw=0.6, ls=DASHES)
        share.plot((values > 0).mean(1), layer, color=BLACK, marker="o", ms=2, lw=0.8)
        share.set(xlim=(0.3, 0.7))
        share.set_xticks([0.4, 0.6])
        percent(share.xaxis)
        share.set_title("positive")
        drawn.append(share)
    for axes in drawn:
        axes.tick_params(axis="y", labelleft=False)
        axes.tick_params(axis="x", labelsize=6)


@drawing(height=5.0)
def scatter_figure(
    figure: Figure,
    layer: np.ndarray,
    slope: np.ndarray,
    neurgrad: np.ndarray,
    computed: np.ndarray,
    agreements: Mapping[str, Agreement],
) -> None:
    """NEG [l, F] against its predictions [l, F], and the error of NeurGrad by layer [l]."""
    grid = figure.add_gridspec(2, 2, height_ratios=(2.1, 1))
    panels = [figure.add_subplot(grid[0, column]) for column in range(2)]
    predicted = [("NeurGrad", neurgrad.reshape(-1)), ("CG", computed.reshape(-1))]
    of_predicted = [agreements["neurgrad"], agreements["computed"]]
    predictions(figure, panels, slope.reshape(-1), predicted, of_predicted)
    below = figure.add_subplot(grid[1, :])
    for values, label, color in (
        (slope, "mean |NEG|", BLACK),
        (slope - neurgrad, "mean |NEG − NeurGrad|", COLORS["neurgrad"]),
        (slope - computed, "mean |NEG − CG|", COLORS["cg"]),
    ):
        size = np.abs(values).mean(1)
        shown = np.where(size > 0, size, np.nan)
        below.plot(layer, shown, color=color, marker="o", ms=2.5, label=label)
    below.set(yscale="log", xlabel="layer", ylabel="P per unit\nof activation")
    titled(below, "c   Size and error, by layer", 3)
