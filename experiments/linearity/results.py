"""What the study of linearity reports, computed from the measurements that its folder holds."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

import negjax
from experiments import paper
from experiments.inputs import facts
from experiments.reporting import statistics
from experiments.reporting.figures import Trace
from negjax.execution.conventions import sign
from negjax.measurements.chebyshev import Response
from negjax.measurements.linearity import fit_changes
from negjax.storage.store import RunFolder

GALLERY = 4
"""Curves shown of the most linear neurons, and of the least."""


@dataclasses.dataclass(frozen=True)
class Fits:
    """Lines through the changes of P neurons within one range."""

    points: int
    slope: np.ndarray
    """[P], NEG."""
    pearson: np.ndarray
    """[P]."""
    largest_change: np.ndarray
    """[P]."""


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything the report shows. P counts the (prompt, neuron) pairs that are finished."""

    measure: str
    """`response` or `grid`: what the numbers come from."""
    prompts: np.ndarray
    """[b], finished prompts."""
    probability: np.ndarray
    """[b], P(answer), unperturbed."""
    noise: np.ndarray
    """[b], rounding noise of P."""
    neurons: dict[str, np.ndarray]
    """[P] each: prompt, layer, neuron, activation, computed, neurgrad, bound …"""
    fits: dict[str, dict[float, Fits]]
    """By measure and range."""
    by_range: dict[str, list[statistics.RangeStatistics]]
    """By measure, a range each."""
    comparison: statistics.Comparison | None
    """Series against grid, if both were measured."""
    most_linear: list[Trace]
    least_linear: list[Trace]

    @property
    def headline(self) -> float:
        """The range that figures of one range show."""
        return headline(self.ranges)

    @property
    def ranges(self) -> list[float]:
        """Ascending."""
        return sorted(self.fits[self.measure])


def headline(ranges: Sequence[float]) -> float:
    """The range that figures of one range show: the paper's, if it was swept."""
    return max(r for r in ranges if r <= paper.RADIUS or r == min(ranges))


def analyse(
    inputs: facts.Inputs,
    folder: RunFolder,
    done: Sequence[range],
    *,
    radius: float,
    step: float,
    measures: Sequence[str],
) -> Results:
    """Fits lines to every finished curve, for every range, and takes their statistics."""
    grids = {
        measure: {
            r: _grid(folder, measure, r, step)
            for r in statistics.ranges_within(radius)
            if measure == "response" or r >= step * (1 - 1e-9)
        }
        for measure in measures
    }
    neurons = _joined([_neurons(folder, prompts) for prompts in done])
    parts: dict[str, dict[float, list[Fits]]] = {m: {r: [] for r in grids[m]} for m in measures}
    for prompts in done:
        curves = {measure: Curves(folder, measure, prompts) for measure in measures}
        for measure, ranges in grids.items():
            for r, shifts in ranges.items():
                parts[measure][r].append(_fit(shifts, curves[measure].change(shifts)))
    fits = {m: {r: _joined_fits(some) for r, some in found.items()} for m, found in parts.items()}
    predictions = {"neurgrad": neurons["neurgrad"], "computed": neurons["computed"]}
    by_range = {
        measure: [
            statistics.range_statistics(
                r,
                fit.points,
                fit.slope,
                fit.pearson,
                fit.largest_change,
                neurons["bound"],
                predictions,
                _error(neurons, measure),
            )
            for r, fit in found.items()
        ]
        for measure, found in fits.items()
    }
    widest = fits[measures[0]][radius]
    most, least = statistics.most_and_least_linear(
        widest.pearson,
        widest.largest_change,
        resolved(neurons, widest, measures[0]),
        GALLERY,
    )
    return Results(
        measure=measures[0],
        prompts=np.concatenate([np.asarray(prompts) for prompts in done]),
        probability=np.concatenate([folder.read("baseline", (_at(p),)) for p in done]),
        noise=np.concatenate([folder.read("noise", (_at(p),)) for p in done]),
        neurons=neurons,
        fits=fits,
        by_range=by_range,
        comparison=_comparison(folder, done) if len(measures) > 1 else None,
        most_linear=[_curve(inputs, folder, neurons, widest, measures[0], radius, i) for i in most],
        least_linear=[
            _curve(inputs, folder, neurons, widest, measures[0], radius, i) for i in least
        ],
    )


def resolved(neurons: Mapping[str, np.ndarray], fit: Fits, measure: str) -> np.ndarray:
    """Where [P] neither rounding nor a series' error hides a neuron's change within a range."""
    return statistics.is_resolved(fit.largest_change, neurons["bound"], _error(neurons, measure))


def _error(neurons: Mapping[str, np.ndarray], measure: str) -> np.ndarray | None:
    """Of what was measured [P]; None of a grid."""
    return neurons["error"] if measure == "response" else None


class Curves:
    """The finished curves of some prompts, read at any shifts that their measure knows."""

    def __init__(self, folder: RunFolder, measure: str, prompts: range):
        at = (_at(prompts),)
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

    def measured(self, row: int, column: int) -> np.ndarray:
        """Shifts at which one neuron was replayed."""
        if self._shifts is not None:
            return self._shifts
        nodes = int(self._response.nodes[row, column])
        return self._response.radius * np.polynomial.chebyshev.chebpts1(nodes)


def neuron_table(results: Results) -> pa.Table:
    """One row a prompt and neuron."""
    columns = dict(results.neurons)
    for measure, found in results.fits.items():
        prefix = "" if measure == results.measure else f"{measure}_"
        for r, fit in found.items():
            columns |= {
                f"{prefix}neg_{r:g}": fit.slope,
                f"{prefix}pearson_{r:g}": fit.pearson,
                f"{prefix}largest_change_{r:g}": fit.largest_change,
                f"{prefix}within_noise_{r:g}": fit.largest_change < results.neurons["bound"],
                f"{prefix}resolved_{r:g}": resolved(results.neurons, fit, measure),
            }
    return pa.table(columns)


def _grid(folder: RunFolder, measure: str, radius: float, step: float) -> np.ndarray:
    if measure == "response":
        return negjax.paper_grid(radius, statistics.reading_step(radius, step))
    shifts = folder.read("shifts")
    return shifts[np.abs(shifts) <= radius * (1 + 1e-9)]


def _neurons(folder: RunFolder, prompts: range) -> dict[str, np.ndarray]:
    at = (_at(prompts),)
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


def _fit(shifts: np.ndarray, changes: np.ndarray) -> Fits:
    slope, pearson = fit_changes(shifts, changes)
    largest = np.abs(changes).max(-1)
    return Fits(shifts.size, slope.reshape(-1), pearson.reshape(-1), largest.reshape(-1))


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _joined_fits(parts: Sequence[Fits]) -> Fits:
    return Fits(
        parts[0].points,
        np.concatenate([part.slope for part in parts]),
        np.concatenate([part.pearson for part in parts]),
        np.concatenate([part.largest_change for part in parts]),
    )


def _comparison(folder: RunFolder, done: Sequence[range]) -> statistics.Comparison:
    shifts = folder.read("shifts")
    parts = []
    for prompts in done:
        first, second = (
            Curves(folder, measure, prompts).change(shifts).reshape(-1, shifts.size)
            for measure in ("response", "grid")
        )
        parts.append(vars(statistics.pairs(shifts, first, second)))
    noise = np.concatenate([_neurons(folder, prompts)["noise"] for prompts in done])
    return statistics.comparison(statistics.Pairs(**_joined(parts)), noise)


def _curve(
    inputs: facts.Inputs,
    folder: RunFolder,
    neurons: Mapping[str, np.ndarray],
    fit: Fits,
    measure: str,
    radius: float,
    number: int,
) -> Trace:
    prompt = int(neurons["prompt"][number])
    first = int(np.flatnonzero(neurons["prompt"] == prompt)[0])
    curves, column = Curves(folder, measure, range(prompt, prompt + 1)), number - first
    measured = curves.measured(0, column)
    shifts = measured if measure == "grid" else np.linspace(-radius, radius, 201)
    layer, neuron = neurons["layer"][number], neurons["neuron"][number]
    return Trace(
        title=f"layer {layer}, neuron {neuron}",
        answer=inputs.probes.targets[prompt][0],
        shifts=shifts,
        changes=curves.change(shifts)[0, column],
        measured=(measured, curves.change(measured)[0, column]),
        slope=float(fit.slope[number]),
        pearson=float(fit.pearson[number]),
        bound=float(neurons["bound"][number]),
    )


def _at(prompts: range) -> slice:
    return slice(prompts.start, prompts.stop)
