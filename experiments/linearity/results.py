"""What the study of linearity reports, computed from the measurements that its folder holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.inputs import facts, fitted_curves
from experiments.inputs.fitted_curves import Curves, FittedCurves
from experiments.reporting import statistics
from experiments.reporting.explorers import Explorer
from experiments.reporting.figures import Trace
from negjax.storage.store import RunFolder

GALLERY = 4
"""Curves shown of the most linear neurons, and of the least."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything the report shows."""

    curves: FittedCurves
    by_range: Mapping[str, list[statistics.RangeStatistics]]
    """By measure, a range each."""
    comparison: statistics.Comparison | None
    """Series against grid, if both were measured."""
    most_linear: list[Trace]
    least_linear: list[Trace]
    explorer: Explorer | None
    """Of all neurons, where their curves are series."""


def analyse(
    inputs: facts.Inputs, folder: RunFolder, done: Sequence[range], curves: FittedCurves
) -> Results:
    """Takes the statistics of the curves of finished prompts, for every range."""
    neurons = curves.neurons
    predictions = {"neurgrad": neurons["neurgrad"], "computed": neurons["computed"]}
    by_range = {
        measure: [
            statistics.range_statistics(
                r, fits, neurons["bound"], predictions, curves.error(measure)
            )
            for r, fits in of_measure.items()
        ]
        for measure, of_measure in curves.fits.items()
    }
    widest = curves.fits[curves.measure][curves.ranges[-1]]
    most, least = statistics.most_and_least_linear(
        widest.pearson, widest.largest_change, curves.resolved(widest, curves.measure), GALLERY
    )
    signed = folder.attributes["convention"] == "signed"
    slope = ("NeurGrad", "neurgrad") if signed else ("CG", "computed")
    most_linear, least_linear = (
        [fitted_curves.traced_neuron(inputs, folder, curves, i) for i in chosen]
        for chosen in (most, least)
    )
    return Results(
        curves=curves,
        by_range=by_range,
        comparison=_comparison(folder, done, neurons["noise"]) if len(curves.fits) > 1 else None,
        most_linear=most_linear,
        least_linear=least_linear,
        explorer=fitted_curves.explorer(inputs, folder, done, curves, slope),
    )


def _comparison(
    folder: RunFolder, done: Sequence[range], noise: np.ndarray
) -> statistics.Comparison:
    shifts = folder.read("shifts")
    parts = []
    for prompts in done:
        first, second = (
            Curves(folder, measure, prompts).change(shifts).reshape(-1, shifts.size)
            for measure in ("response", "grid")
        )
        parts.append(vars(statistics.paired(shifts, first, second)))
    return statistics.comparison(statistics.Pairs(**fitted_curves.joined(parts)), noise)
