"""Figures of control windows: shares of facts by dose, and neurons by the dose that flips."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.escaping import for_figure
from experiments.reporting.figures import BLUE, GREEN, ORANGE, drawing, percent, titled
from experiments.reporting.intervals import Estimate

QUARTILES = (0.25, 0.5, 0.75)


@drawing(height=3.0)
def window_figure(
    figure: Figure,
    doses: np.ndarray,
    shares: Mapping[str, Sequence[Estimate]],
    window: tuple[float | None, float | None],
) -> None:
    """Shares of facts by dose, and the window between the median doses.

    Args:
        doses: [D], ascending.
        shares: by what they are of, D each.
        window: median dose at which answers flip, and at which texts collapse; None: at no dose.
    """
    axes = figure.subplots()
    # Before the first dose and after the last there is room for half a step.
    step = np.sqrt(doses[1] / doses[0]) if len(doses) > 1 else 2.0
    edges = doses[0] / step, doses[-1] * step
    start, stop = window
    stop = edges[1] if stop is None else stop
    if start is not None and start < stop:
        axes.axvspan(start, stop, color=GREEN, alpha=0.13, lw=0, label="window of the medians")
    for (name, values), color, marker in zip(shares.items(), (ORANGE, BLUE), "os", strict=True):
        low, high = ([getattr(e, end) for e in values] for end in ("low", "high"))
        axes.fill_between(doses, low, high, color=color, alpha=0.15, lw=0)
        middle = np.asarray([e.value for e in values], float)
        axes.plot(
            doses,
            middle,
            color=color,
            marker=marker,
            ms=3.5,
            label=for_figure(name),
        )
    axes.set(
        xscale="log",
        xlim=edges,
        ylim=(-0.03, 1.03),
        xlabel="dose   (norm of what is written in a layer / norm of its residual stream)",
        ylabel="share of facts",
    )
    axes.set_xticks(doses, [f"{dose:g}" for dose in doses])
    axes.minorticks_off()
    percent(axes.yaxis)
    titled(axes, "", 3)


@drawing(height=2.7)
def reach_figure(
    figure: Figure, doses: Sequence[float], flip: np.ndarray, sizes: Mapping[str, np.ndarray]
) -> None:
    """How large the gradients are of neurons that flip an answer at each dose.

    Args:
        doses: D, ascending.
        flip: [n], the dose at which each neuron flips its answer; infinite: none.
        sizes: [n] each, by the label of their axis.
    """
    panels = figure.subplots(1, len(sizes), squeeze=False)[0]
    places = [*doses, np.inf]
    for axes, letter, (label, values) in zip(panels, "ab", sizes.items(), strict=False):
        for x, dose in enumerate(places):
            own = values[(flip == dose) & (values > 0)]
            if own.size:
                low, middle, high = np.quantile(own, QUARTILES)
                axes.vlines(x, low, high, color=BLUE, lw=2.2, alpha=0.5)
                axes.plot(x, middle, "o", color=BLUE, ms=3.5)
        axes.set(xlabel="dose that flips the answer", ylabel=for_figure(label))
        if (values > 0).any():
            axes.set_yscale("log")
        names = [*(f"{dose:g}" for dose in doses), "none"]
        axes.set_xticks(range(len(places)), names, rotation=35, ha="right")
        axes.set_title(f"{letter}   {for_figure(label.partition(',')[0])}")
