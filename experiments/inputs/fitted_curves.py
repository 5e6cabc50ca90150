"""Finished curves of a run, read at any shifts, and the lines through them.

P counts the (prompt, neuron) pairs of the prompts that are finished.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

import negjax
from experiments.inputs import facts
from experiments.reporting import explorers, statistics
from experiments.reporting.explorers import Explorer
from experiments.reporting.figures import Trace
from experiments.reporting.statistics import Fits
from negjax.execution.conventions import sign
from negjax.measurements.chebyshev import Response
from negjax.storage.store import RunFolder

POINTS = 201
"""Of a series that is drawn."""


class Curves:
    """The finished curves of some prompts, read at any shifts that their measure knows."""

    def __init__(self, folder: RunFolder, measure: str, prompts: range):
        at = (slice_of(prompts),)
        self._shifts = folder.read("shifts") if measure == "grid" else None
        if self._shifts is not None:
            unshifted = folder.read("unshifted", at)
            self._changes = folder.read("probability", at) - unshifted[..., None]
            return
        attributes = folder.attributes
        self._response = Response(
            site=attributes["site"],
            convention=attributes["convention"],
            output=attributes["output"],
            neurons=folder.read("neurons", at),
            radius=attributes["radius"],
            activation=folder.read("activation", at),
            baseline=folder.read("baseline", at),
            coefficients=folder.read("coefficients", at),
            nodes=folder.read("nodes", at),
            error=folder.read("error", at),
            noise=folder.read("noise", at),
        )

    def change(self, shifts: np.ndarray) -> np.ndarray:
        """ΔP [b, N, X] at shifts [X]; of a grid, at shifts that are among its own."""
        if self._shifts is None:
            return self._response.change(shifts)
        columns = np.searchsorted(self._shifts, shifts - 1e-9)
        return self._changes[..., columns]

    @property
    def coefficients(self) -> np.ndarray:
        """[b, N, m], of series."""
        return self._response.coefficients

    def measured(self, row: int, column: int) -> np.ndarray:
        """Shifts at which one neuron was replayed."""
        if self._shifts is not None:
            return self._shifts
        nodes = int(self._response.nodes[row, column])
        return self._response.radius * np.polynomial.chebyshev.chebpts1(nodes)


@dataclass(frozen=True, kw_only=True)
class FittedCurves:
    """Neurons of the finished prompts, and the lines fitted to their curves."""

    measure: str
    """`response` or `grid`: what the numbers come from."""
    prompts: np.ndarray
    """[b], finished prompts."""
    probability: np.ndarray
    """[b], P(answer), unperturbed."""
    noise: np.ndarray
    """[b], rounding noise of P."""
    neurons: Mapping[str, np.ndarray]
    """[P] each: prompt, layer, neuron, activation, computed, neurgrad, bound …"""
    fits: Mapping[str, Mapping[float, Fits]]
    """By measure and range."""

    @property
    def ranges(self) -> list[float]:
        """Ascending."""
        return sorted(self.fits[self.measure])

    @property
    def headline(self) -> float:
        """The range that figures of one range show."""
        return statistics.headline(self.ranges)

    def error(self, measure: str) -> np.ndarray | None:
        """Of what was measured [P]; None of a grid."""
        return self.neurons["error"] if measure == "response" else None

    def resolved(self, fits: Fits, measure: str) -> np.ndarray:
        """Where [P] neither rounding nor a series' error hides a neuron's change in a range."""
        bound = self.neurons["bound"]
        return statistics.is_resolved(fits.largest_change, bound, self.error(measure))


def read(
    folder: RunFolder,
    done: Sequence[range],
    *,
    radius: float,
    step: float,
    measures: Sequence[str],
) -> FittedCurves:
    """Fits lines to every finished curve, for every range.

    Args:
        done: groups of prompts that are finished.
        radius: of the sweep.
        step: of the shifts that a line is fitted to.
        measures: `response`, `grid` or both; the first is what the numbers come from.
    """
    fits: dict[str, dict[float, Fits]] = {}
    for measure in measures:
        ranges = [
            r
            for r in statistics.ranges_within(radius)
            if measure == "response" or r >= step * (1 - 1e-9)
        ]
        grids = {r: _grid(folder, measure, r, step) for r in ranges}
        parts: dict[float, list[Fits]] = {r: [] for r in ranges}
        for prompts in done:
            curves = Curves(folder, measure, prompts)
            for r, shifts in grids.items():
                parts[r].append(statistics.fit(shifts, curves.change(shifts)))
        fits[measure] = {r: _joined_fits(some) for r, some in parts.items()}
    return FittedCurves(
        measure=measures[0],
        prompts=np.concatenate([np.asarray(prompts) for prompts in done]),
        probability=np.concatenate([folder.read("baseline", (slice_of(p),)) for p in done]),
        noise=np.concatenate([folder.read("noise", (slice_of(p),)) for p in done]),
        neurons=joined([_neurons(folder, prompts) for prompts in done]),
        fits=fits,
    )


def neuron_table(curves: FittedCurves) -> pa.Table:
    """Returns one row a prompt and neuron."""
    columns = dict(curves.neurons)
    for measure, by_range in curves.fits.items():
        prefix = "" if measure == curves.measure else f"{measure}_"
        for r, fits in by_range.items():
            columns |= {
                f"{prefix}neg_{r:g}": fits.slope,
                f"{prefix}pearson_{r:g}": fits.pearson,
                f"{prefix}largest_change_{r:g}": fits.largest_change,
                f"{prefix}within_noise_{r:g}": fits.largest_change < curves.neurons["bound"],
                f"{prefix}resolved_{r:g}": curves.resolved(fits, measure),
            }
    return pa.table(columns)


def traced_neuron(
    inputs: facts.Inputs,
    folder: RunFolder,
    curves: FittedCurves,
    number: int,
    slope: np.ndarray | None = None,
) -> Trace:
    """Returns one neuron's curve over the widest range, to be drawn.

    Args:
        number: of the neuron among P.
        slope: [P], of the lines that are drawn beside the curves; default: NEG.
    """
    columns, radius = curves.neurons, curves.ranges[-1]
    fits = curves.fits[curves.measure][radius]
    prompt = int(columns["prompt"][number])
    column = int(number) - int(np.flatnonzero(columns["prompt"] == prompt)[0])
    read_off = Curves(folder, curves.measure, range(prompt, prompt + 1))
    measured = read_off.measured(0, column)
    series = curves.measure == "response"
    shifts = np.linspace(-radius, radius, POINTS) if series else measured
    return Trace(
        title=f"layer {columns['layer'][number]}, neuron {columns['neuron'][number]}",
        answer=inputs.probes.targets[prompt][0],
        shifts=shifts,
        changes=read_off.change(shifts)[0, column],
        measured=(measured, read_off.change(measured)[0, column]),
        slope=float((fits.slope if slope is None else slope)[number]),
        pearson=float(fits.pearson[number]),
        bound=float(columns["bound"][number]),
    )


def explorer(
    inputs: facts.Inputs,
    folder: RunFolder,
    done: Sequence[range],
    curves: FittedCurves,
    prediction: tuple[str, str],
) -> Explorer | None:
    """NEG in the headline's range against a prediction, with the curves; None: of a grid.

    Args:
        done: groups of prompts that are finished.
        prediction: its name and its column, a curve's slope at no shift.
    """
    if curves.measure != "response":
        return None
    name, column = prediction
    columns, slope = curves.neurons, curves.fits[curves.measure][curves.headline].slope
    finite = np.flatnonzero(np.isfinite(columns[column]) & np.isfinite(slope))
    shown = finite[explorers.chosen(finite.size)]
    if not shown.size:
        return None
    parts, first = [], 0
    for prompts in done:
        read_off = Curves(folder, curves.measure, prompts).coefficients
        every = read_off.reshape(-1, read_off.shape[-1])
        parts.append(every[shown[(shown >= first) & (shown < first + len(every))] - first])
        first += len(every)
    prompt = np.searchsorted(curves.prompts, columns["prompt"][shown])
    asked = [
        (inputs.probes.prompts[number], inputs.probes.targets[number][0])
        for number in curves.prompts
    ]
    return Explorer(
        axes=(name, "NEG"),
        radius=folder.attributes["radius"],
        prompts=asked,
        prompt=prompt,
        layer=columns["layer"][shown],
        neuron=columns["neuron"][shown],
        across=columns[column][shown],
        up=slope[shown],
        baseline=curves.probability[prompt],
        error=columns["error"][shown],
        coefficients=np.concatenate(parts)[:, : int(columns["nodes"][shown].max())],
    )


def joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns the columns of several parts, one below the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def slice_of(prompts: range) -> slice:
    """Returns where some prompts lie in an array whose first axis is the prompts."""
    return slice(prompts.start, prompts.stop)


def _grid(folder: RunFolder, measure: str, radius: float, step: float) -> np.ndarray:
    if measure == "response":
        return negjax.paper_grid(radius, statistics.reading_step(radius, step))
    shifts = folder.read("shifts")
    return shifts[np.abs(shifts) <= radius * (1 + 1e-9)]


def _joined_fits(parts: Sequence[Fits]) -> Fits:
    arrays = ("slope", "pearson", "largest_change")
    columns = [{name: getattr(part, name) for name in arrays} for part in parts]
    return Fits(points=parts[0].points, **joined(columns))


def _neurons(folder: RunFolder, prompts: range) -> dict[str, np.ndarray]:
    at = (slice_of(prompts),)
    neurons, activation = folder.read("neurons", at), folder.read("activation", at)
    computed = folder.read("computed", at)
    shape = activation.shape
    noise = np.broadcast_to(folder.read("noise", at)[:, None], shape)
    columns = {
        "prompt": np.broadcast_to(np.asarray(prompts)[:, None], shape),
        "layer": neurons[..., 0],
        "neuron": neurons[..., 1],
        "activation": activation,
        "computed": computed,
        "neurgrad": computed * sign(activation),
        "noise": noise,
        "bound": statistics.noise_bound(noise),
    }
    for name in ("nodes", "error"):
        if name in folder.arrays:
            columns[name] = folder.read(name, at)
    return {name: value.reshape(-1) for name, value in columns.items()}
