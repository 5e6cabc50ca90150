"""Figures of a training run. Functions of arrays."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.reporting.escaping import for_figure, for_label
from experiments.reporting.figures import BLUE, DASHES, GREEN, GREY, ORANGE, drawing

# Steps of a running mean: single batches differ much.
WINDOW = 50


@drawing(height=3.1)
def training_figure(
    figure: Figure, loss: np.ndarray, learning_rate: np.ndarray, recalled: Mapping[str, np.ndarray]
) -> None:
    """Loss and learning rate by step, and the share of facts recalled on the way.

    Args:
        loss: [steps], nats.
        learning_rate: [steps].
        recalled: by name of the facts, [steps], share with P(answer) > 0.5 after a step; NaN where
            they were not asked.
    """
    steps = np.arange(1, len(loss) + 1)
    left, right = figure.subplots(1, 2)
    left.plot(steps, loss, color=GREY, lw=0.3, alpha=0.6, label="each step")
    mean = running_mean(loss, WINDOW)
    left.plot(steps[len(loss) - len(mean) :], mean, color=BLUE, label="running mean")
    left.set(xlabel="step", ylabel="loss (nats)", ylim=(0, None))
    _legend(left)
    left.set_title("a   Loss of the predicted tokens")
    rate = left.twinx()
    rate.plot(steps, learning_rate, color=GREEN, lw=0.8)
    rate.set(ylim=(0, None))
    rate.spines["right"].set_visible(True)
    rate.set_ylabel("learning rate", color=GREEN)
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2), useMathText=True)
    for (name, share), color in zip(recalled.items(), (BLUE, ORANGE), strict=False):
        asked = np.isfinite(share)
        right.plot(steps[asked], share[asked], color=color, marker="o", ms=2, label=for_label(name))
    right.set(xlabel="step", ylabel="facts with P(answer) > 0.5", ylim=(0, 1))
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set_title("b   Facts recalled")
    _legend(right)


def _legend(axes: Axes) -> None:
    """Below the panel, where it hides nothing."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2)


@drawing(height=2.3)
def recall_figure(figure: Figure, probability: Mapping[str, np.ndarray]) -> None:
    """How P(answer) is distributed over facts; by name of the facts, [B] each."""
    panels = figure.subplots(1, len(probability), squeeze=False)[0]
    for axes, (name, values), color in zip(
        panels, probability.items(), (BLUE, ORANGE), strict=False
    ):
        _histogram(axes, values, color)
        axes.set_title(f"{for_figure(name)}: {len(values):,} facts")
    panels[0].set_ylabel("share of the facts")


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Means of `window` consecutive values (of all where there are fewer), [n − window + 1]."""
    window = min(window, len(values))
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def _histogram(axes: Axes, values: np.ndarray, color: str) -> None:
    edges = np.linspace(0, 1, 21)
    counts, _ = np.histogram(values, edges)
    axes.stairs(counts / max(len(values), 1), edges, fill=True, color=color)
    axes.axvline(0.5, color=GREY, lw=0.6, ls=DASHES)
    axes.set(xlabel="P(answer)", xlim=(0, 1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
