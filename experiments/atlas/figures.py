"""The figure of an atlas: how strong neurons are by layer, and how straight their curves."""

import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.figures import BLUE, drawing, titled


@drawing(height=3.3)
def layers_figure(
    figure: Figure, layers: np.ndarray, slope: np.ndarray, straight: np.ndarray
) -> None:
    """Of each of the layers [L] the largest |slopes| [L, F], and the linear ranges [L, F]."""
    left, right = figure.subplots(1, 2)
    for axes, values, title, label in (
        (left, np.abs(slope), "a   Strongest effect", "largest |NeurGrad| of a neuron"),
        (right, straight, "b   Linear range", "straight up to a shift of"),
    ):
        low, middle, high = np.nanquantile(values, [0.05, 0.5, 0.95], axis=1)
        axes.fill_between(layers, low, high, color=BLUE, alpha=0.2, lw=0, label="5% to 95%")
        axes.plot(layers, middle, color=BLUE, marker="o", ms=2.5, label="median neuron")
        axes.set(xlabel="layer", ylabel=label)
        if (low > 0).all():
            axes.set_yscale("log")
        titled(axes, title, 2)
