"""Figures of the trace: maps of tokens by layers. Functions of arrays."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.reporting.escaping import for_label
from experiments.reporting.figures import DIVERGING, drawing

LABEL = "share of the answers' difference that is brought back"


@drawing(height=3.4)
def roles_figure(
    figure: Figure, exact: np.ndarray, predicted: np.ndarray, roles: Sequence[str]
) -> None:
    """Shares [roles, L] that are brought back, exact and to first order."""
    scale = _scale(exact)
    panels = figure.subplots(1, 2, sharey=True)
    titles = ("a   Exact: one layer's activations restored", "b   By the gradient")
    for axes, values, title in zip(panels, (exact, predicted), titles, strict=True):
        _map(axes, values, scale, roles)
        axes.set_title(title)
    _bar(figure, list(panels), scale)


@drawing(height=6.2)
def pairs_figure(
    figure: Figure, effects: Sequence[np.ndarray], tokens: Sequence[Sequence[str]]
) -> None:
    """Shares [T, L] of some pairs, with their tokens."""
    scale = _scale(*effects)
    panels = figure.subplots(-(-len(effects) // 2), 2, squeeze=False).ravel()
    for axes, values, pieces in zip(panels, effects, tokens, strict=False):
        _map(axes, values, scale, pieces)
    for axes in panels[len(effects) :]:
        axes.remove()
    _bar(figure, list(panels[: len(effects)]), scale)


def _map(axes: Axes, values: np.ndarray, scale: Normalize, rows: Sequence[str]) -> None:
    axes.imshow(values, aspect="auto", cmap=DIVERGING, norm=scale, interpolation="nearest")
    axes.set_yticks(np.arange(len(rows)), [for_label(row) for row in rows])
    axes.set_xlabel("layer")


def _scale(*values: np.ndarray) -> Normalize:
    """From blue, against the clean answer, through white to red.

    Colors end at the largest share above layer 0, which would leave no color to the others.
    """
    above = [np.abs(x[:, 1:] if x.shape[1] > 1 else x) for x in values]
    limit = max((float(np.nanmax(x, initial=0.0)) for x in above), default=0.0) or 1.0
    return Normalize(-limit, limit)


def _bar(figure: Figure, panels: list[Axes], scale: Normalize) -> None:
    figure.colorbar(
        ScalarMappable(scale, DIVERGING),
        ax=panels,
        orientation="horizontal",
        fraction=0.05,
        aspect=40,
        label=LABEL,
        extend="both",
        format=PercentFormatter(1, decimals=0),
    )
