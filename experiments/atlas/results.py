"""From a run's arrays to what is shown of every neuron."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev

from experiments.atlas.planning import Plan
from experiments.inputs.measured_ranges import distances, measured_range
from experiments.reporting.statistics import noise_bound
from negjax.measurements.linearity import fit_changes, paper_grid
from negjax.storage.store import RunFolder

AT_ONCE = 4096
"""Curves that are evaluated at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """Chebyshev series of P(answer) of C curves, by neuron, each neuron's strongest first."""

    neuron: np.ndarray
    """[C], number among the neurons shown."""
    fact: np.ndarray
    """[C]."""
    slope: np.ndarray
    """[C], derivative at no shift, as the gradient has it."""
    change: np.ndarray
    """[C, m], coefficients of the series less P at no shift; zeros past `nodes`."""
    nodes: np.ndarray
    """[C]."""
    error: np.ndarray
    """[C], estimated largest error of the series."""
    neg: np.ndarray
    """[C], slope of the line through the origin that fits the grid of NEG best."""
    pearson: np.ndarray
    """[C], of the grid's points."""
    straight: np.ndarray
    """[C], shift up to which the curve follows its tangent; NaN where the series is no better."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Atlas:
    """What is shown of N neurons and P facts."""

    plan: Plan
    slope: np.ndarray
    """[P, N], derivative of P(answer) by the shift at none."""
    probability: np.ndarray
    """[P]."""
    curves: Curves
    arrays: Mapping[str, np.ndarray]
    """As they were saved, all but the slopes and the series."""

    @property
    def strongest(self) -> np.ndarray:
        """[N], number of the curve on the fact where a neuron matters most."""
        result: np.ndarray = np.searchsorted(self.curves.neuron, np.arange(self.plan.neurons))
        return result

    def sampled_slopes(self) -> np.ndarray:
        """[S, N], slopes on the facts of the sample."""
        return self.slope[self.arrays["sampled"]]

    def columns(self) -> dict[str, np.ndarray]:
        """[N] each: the numbers by which neurons are sorted."""
        curves, first = self.curves, self.strongest
        return {
            "slope": curves.slope[first],
            "neg": curves.neg[first],
            "pearson": curves.pearson[first],
            "straight": curves.straight[first],
            "size": np.abs(self.slope).mean(0, dtype=np.float64),
            "raises": (self.slope > 0).mean(0),
            "firing": self.arrays["firing"].ravel(),
            "mean": self.arrays["mean"].ravel(),
        }


def read_atlas(plan: Plan, folder: RunFolder) -> Atlas:
    """What a finished run has saved."""
    slope = folder.read("slope").reshape(plan.facts, -1)
    probability = folder.read("probability")
    left = {name for name in folder.arrays if name not in ("slope", "probability", "pair")}
    left = {name for name in left if not name.startswith("series")}
    return Atlas(
        plan=plan,
        slope=slope,
        probability=probability,
        curves=_curves(plan, folder, slope),
        arrays={name: folder.read(name) for name in left},
    )


def _curves(plan: Plan, folder: RunFolder, slope: np.ndarray) -> Curves:
    pair, series = folder.read("pair"), folder.read("series")
    error, noise = folder.read("series_error"), folder.read("series_noise")
    layer = np.searchsorted(plan.layers, pair[:, 0])
    neuron, fact = layer * plan.width + pair[:, 1], pair[:, 2]
    first = slope[fact, neuron].astype(np.float64)
    order = np.lexsort((-np.abs(first), neuron))
    series, first, bound = series[order], first[order], (error + noise_bound(noise))[order]
    settings, radius = plan.settings, plan.settings.curve_range
    grid = paper_grid(min(plan.rule.neg_radius, radius), plan.rule.neg_step)
    away = distances(radius)
    change = series.copy()
    change[:, 0] -= series @ _basis(np.zeros(1), radius, series.shape[1])[:, 0]
    near, low, high = (_basis(x, radius, series.shape[1]) for x in (grid, -away, away))
    neg, pearson, straight = (np.empty(len(series)) for _ in range(3))
    for start in range(0, len(series), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        neg[some], pearson[some] = fit_changes(grid, change[some] @ near)
        sides = [change[some] @ side for side in (low, high)]
        straight[some] = measured_range(
            away, np.stack(sides, axis=1), first[some], settings.straight, bound[some]
        )
        largest = np.max(np.abs(sides), axis=(0, 2))
        resolved = error[order][some] <= settings.straight * largest
        straight[some][~resolved] = np.nan
    return Curves(
        neuron=neuron[order],
        fact=fact[order],
        slope=first,
        change=change,
        nodes=folder.read("series_nodes")[order],
        error=error[order],
        neg=neg,
        pearson=pearson,
        straight=straight,
    )


def _basis(shifts: np.ndarray, radius: float, count: int) -> np.ndarray:
    """[m, X], Chebyshev polynomials at shifts."""
    result: np.ndarray = chebyshev.chebvander(shifts / radius, count - 1).T
    return result
