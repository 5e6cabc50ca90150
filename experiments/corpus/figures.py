"""Figures of a corpus: when neurons fire, and in which layers groups have theirs."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.escaping import for_label
from experiments.reporting.figures import BLUE, GREY, PALETTE, drawing, percent, titled

MOST_GROUPS = len(PALETTE) - 1
"""Drawn apart; the others are one color."""


@drawing(height=3.3)
def layers_figure(figure: Figure, firing: np.ndarray, groups: Mapping[str, np.ndarray]) -> None:
    """How often neurons fire, firing [L, F], and how many are a group's, [L] by its label."""
    left, right = figure.subplots(1, 2)
    layer = np.arange(len(firing))
    low, middle, high = np.quantile(firing, [0.05, 0.5, 0.95], axis=1)
    left.fill_between(layer, low, high, color=BLUE, alpha=0.2, lw=0, label="5% to 95%")
    left.plot(layer, middle, color=BLUE, marker="o", ms=2.5, label="median neuron")
    left.set(xlabel="layer", ylabel="share of tokens at which it fires", ylim=(0, 1))
    percent(left.yaxis)
    titled(left, "a   When neurons fire", 2)
    bottom = np.zeros(len(layer))
    names = list(groups)
    for label, color in zip(names[:MOST_GROUPS], PALETTE, strict=False):
        right.bar(layer, groups[label], bottom=bottom, color=color, label=for_label(label))
        bottom = bottom + groups[label]
    if rest := names[MOST_GROUPS:]:
        others = np.sum([groups[label] for label in rest], axis=0)
        right.bar(layer, others, bottom=bottom, color=GREY, label=f"{len(rest)} others")
    right.set(xlabel="layer", ylabel="neurons of groups")
    titled(right, "b   Where groups have their neurons", 2)
