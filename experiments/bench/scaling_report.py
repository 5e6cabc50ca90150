"""Exponents of cost, their tables and their log-log plots, for `experiments.bench --scaling`."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from experiments.bench.scaling import Point
from experiments.reporting.figures import BLUE, GREEN, ORANGE, drawing
from experiments.reporting.tables import NOTHING, Column, Table, markdown_lines
from experiments.running import provenance

COLUMNS = 4
"""Panels beside each other."""


class Exponent(NamedTuple):
    """b of cost ∝ size^b, by least squares of the logarithms."""

    value: float
    error: float
    """Standard error; NaN of two sizes, which a line always meets."""

    def __str__(self) -> str:
        if np.isnan(self.value):
            return NOTHING
        return f"{self.value:.2f}" + ("" if np.isnan(self.error) else f" ± {self.error:.2f}")


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> Exponent:
    """The exponent by which costs grow with sizes; NaN where fewer than two costs are above 0."""
    x, y = (np.asarray(values, float) for values in (sizes, costs))
    x, y = np.log(x[y > 0]), np.log(y[y > 0])
    if len(x) < 2:
        return Exponent(np.nan, np.nan)
    x = x - x.mean()
    slope = float((x * y).sum() / (x * x).sum())
    if len(x) == 2:
        return Exponent(slope, np.nan)
    rest = y - y.mean() - slope * x
    return Exponent(slope, float(np.sqrt((rest**2).sum() / (len(x) - 2) / (x * x).sum())))


class Growth(NamedTuple):
    """What an axis's points say."""

    axis: str
    work: str
    points: list[Point]

    def by(self, cost: Callable[[Point], float]) -> Exponent:
        """The exponent of a cost."""
        return exponent([p.size for p in self.points], [cost(p) for p in self.points])

    @property
    def sizes(self) -> str:
        """The smallest and the largest."""
        return f"{self.points[0].size:,} to {self.points[-1].size:,}"


WORKS = {"neurgrad": "NeurGrad", "sweep": "a sweep"}


def _seconds(point: Point) -> float:
    return point.seconds


def _compiling(point: Point) -> float:
    return point.compile_seconds


def _held(point: Point) -> float:
    return point.held_bytes or 0.0


GROWTHS = (
    Column("size", lambda row: row.axis),
    Column("of", lambda row: WORKS[row.work]),
    Column("from, to", lambda row: row.sizes),
    Column("exponent of time", lambda row: str(row.by(_seconds))),
    Column("of time to compile", lambda row: str(row.by(_compiling))),
    Column("of memory", lambda row: str(row.by(_held))),
)
POINTS = (
    Column("size", lambda row: row.axis),
    Column("value", lambda row: row.size, ","),
    Column("seconds", lambda row: row.seconds, ".3g"),
    Column("seconds to compile", lambda row: row.compile_seconds, ".2f"),
    Column("memory besides the weights, MB", lambda row: _megabytes(row), ",.1f"),
)


def _megabytes(point: Point) -> float | None:
    return None if point.held_bytes is None else point.held_bytes / 1e6


def growths(points: Sequence[Point]) -> list[Growth]:
    """Points by their axes."""
    names = dict.fromkeys((point.axis, point.work) for point in points)
    return [Growth(axis, work, [p for p in points if p.axis == axis]) for axis, work in names]


def lines(points: Sequence[Point]) -> list[str]:
    """Tables of exponents and of points, as Markdown."""
    cores = provenance.environment()["cpus"]
    return [
        f"Measured {time.strftime('%Y-%m-%d')} with `python -m experiments.bench --scaling`: "
        f"random Llamas in float32, {cores} cores. Cost ∝ size^exponent, by least squares of the "
        "logarithms, ± its standard error.",
        "",
        *markdown_lines(Table(columns=GROWTHS, rows=growths(points))),
        "",
        *markdown_lines(Table(columns=POINTS, rows=points)),
    ]


@drawing(height=4.2)
def growth_panels(figure: Figure, found: Sequence[Growth]) -> None:
    """Costs over sizes, both logarithmic: a panel an axis."""
    rows = -(-len(found) // COLUMNS)
    panels = figure.subplots(rows, min(COLUMNS, len(found)), squeeze=False).ravel()
    for panel in panels[len(found) :]:
        panel.set_axis_off()
    for panel, growth in zip(panels, found, strict=False):
        sizes = [point.size for point in growth.points]
        costs = (("s", _seconds, BLUE), ("s to compile", _compiling, ORANGE))
        for name, cost, color in (*costs, ("GB", lambda point: _held(point) / 1e9, GREEN)):
            values = np.asarray([cost(point) for point in growth.points])
            shown = values > 0
            if shown.any():
                panel.loglog(np.asarray(sizes)[shown], values[shown], "o-", color=color, label=name)
        power = f"{growth.by(_seconds).value:.2f}".replace("-", "−")
        panel.set_title(f"s ∝ {growth.axis}^{power}")
        panel.set_xlabel(f"{growth.axis}, {WORKS[growth.work]}")
        # What was measured, and nothing between: labels of a part of a decade overlap.
        panel.set_xticks(sizes, [EngFormatter(places=0, sep="")(size) for size in sizes])
        panel.set_xticks([], minor=True)
    panels[0].legend()
