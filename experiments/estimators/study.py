"""Everything the report on estimators shows, read from a run's folder and put together."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.estimators import results as estimators_results
from experiments.estimators.doses import Doses, Thresholds
from experiments.estimators.hidden import DoseStatistics, Hidden, listed, statistics
from experiments.estimators.ranges import (
    Ranges,
    check_ranges,
    distances,
    measured_range,
    ratio_shares,
    slope_ratio,
)
from experiments.estimators.results import Told
from experiments.estimators.work import Asked, DosedLayer
from experiments.inputs import facts
from experiments.linearity import results as linearity_results
from experiments.linearity.results import Curves
from experiments.reporting import statistics
from experiments.reporting.figures import Trace
from negjax.execution.conventions import Convention
from negjax.measurements.second_order import linear_range
from negjax.storage.store import RunFolder

LISTED = 15
"""Hidden controllers listed for a prompt."""
WORST = 4
"""Curves shown on which NeurGrad errs most."""
THIRDS = ("straightest", "middle", "most bent")


@dataclasses.dataclass(frozen=True)
class Found:
    """What is to be shown."""

    asked: Asked
    measured: Convention
    """The convention of the sweep."""
    results: estimators_results.Results
    seconds: dict[str, float | None]
    """A prompt, all neurons, by method; of the ablation from one layer."""
    first: np.ndarray
    """[P], slope at no shift under the convention of the sweep."""
    ranges: Ranges
    ratios: dict[float, dict[str, float | None]]
    """Shares of the neurons above the noise by kind of curve, by radius."""
    thirds: dict[str, dict[str, Told]]
    """At the widest radius, under the sweep's convention: a third of the neurons each, by predicted
    range; by form."""
    worst: list[Trace]
    """Curves on which NeurGrad errs most at the widest radius."""
    thresholds: Thresholds
    doses: list[Doses]
    """Of the dosed prompts, their finished layers."""
    dosed_layers: int
    silent: int
    """Neurons of these layers without a dose, since they write nothing."""
    statistics: list[DoseStatistics]
    """By dose; empty if nothing was dosed."""
    hidden: list[list[Hidden]]
    """By dosed prompt."""


def read(
    inputs: facts.Inputs,
    folder: RunFolder,
    asked: Asked,
    done: Sequence[range],
    dosed: Sequence[DosedLayer],
    *,
    top: int,
    tolerance: float,
    thresholds: Thresholds,
) -> Found:
    """Reads the finished groups of prompts and the finished dosed layers, and takes statistics."""
    plan, measured = asked.plan, facts.convention()
    sampled = linearity_results.analyse(
        inputs, folder, done, radius=plan.radius, step=plan.step, measures=("response",)
    )
    columns = sampled.neurons
    estimates = {
        name: np.concatenate([folder.read("estimates", (row, _at(p))).reshape(-1) for p in done])
        for row, name in enumerate(asked.methods)
    }
    results = estimators_results.analyse(sampled, measured, estimates, top)
    first = columns["neurgrad"] if measured == "signed" else columns["computed"]
    second = np.concatenate([folder.read("second", (_at(p),)).reshape(-1) for p in done])
    ranges = _ranges(folder, done, plan.radius, tolerance, first, second, columns["bound"])
    fits = sampled.fits["response"]
    ratios = {
        radius: ratio_shares(slope_ratio(fit.slope, first)[fit.largest_change >= columns["bound"]])
        for radius, fit in fits.items()
    }
    doses, layers, silent = _doses(inputs, folder, asked, dosed, measured)
    return Found(
        asked=asked,
        measured=measured,
        results=results,
        seconds={
            name: _finite(folder.read("seconds", (row, 0)))
            for row, name in enumerate(asked.methods)
        },
        first=first,
        ranges=ranges,
        ratios=ratios,
        thirds=_thirds(results, ranges.predicted, measured, plan.radius),
        worst=_worst(inputs, folder, sampled, first),
        thresholds=thresholds,
        doses=doses,
        dosed_layers=layers,
        silent=silent,
        statistics=[statistics(doses, float(d), thresholds) for d in asked.doses] if doses else [],
        hidden=[listed(found, thresholds, LISTED) for found in doses],
    )


def _ranges(
    folder: RunFolder,
    done: Sequence[range],
    radius: float,
    tolerance: float,
    first: np.ndarray,
    second: np.ndarray,
    bound: np.ndarray,
) -> Ranges:
    shifts = distances(radius)
    parts, start = [], 0
    for prompts in done:
        curves = Curves(folder, "response", prompts)
        sides = [curves.change(side).reshape(-1, shifts.size) for side in (-shifts, shifts)]
        changes = np.stack(sides, axis=1)
        own = slice(start, start + len(changes))
        start = own.stop
        parts.append(
            [
                measured_range(shifts, changes, first[own], share, bound[own])
                for share in (tolerance, 2 * tolerance)
            ]
        )
    measured, granted = np.concatenate(parts, axis=1)
    # What was saved as no number has no range, and takes none from the others.
    known = np.isfinite(first) & np.isfinite(second)
    predicted = np.full(first.shape, np.nan)
    predicted[known] = linear_range(first[known], second[known], tolerance)
    return check_ranges(radius, first, predicted, measured, granted, bound, tolerance)


def _thirds(
    results: estimators_results.Results,
    predicted: np.ndarray,
    convention: Convention,
    radius: float,
) -> dict[str, dict[str, Told]]:
    """A third of the neurons each, from the widest predicted range to the narrowest."""
    columns = results.curves.neurons
    fit = results.curves.fits[results.curves.measure][radius]
    above = fit.largest_change >= columns["bound"]
    parts = np.array_split(np.argsort(-predicted, kind="stable"), len(THIRDS))
    return {
        name: {
            form.name: estimators_results.judged(
                results.values[convention][form.name][part],
                results.slopes[convention][radius][part],
                columns["prompt"][part],
                above[part],
                results.top,
                slope_units=form.slope,
            )
            for form in results.forms
        }
        for name, part in zip(THIRDS, parts, strict=True)
    }


def _worst(
    inputs: facts.Inputs,
    folder: RunFolder,
    sampled: linearity_results.Results,
    first: np.ndarray,
) -> list[Trace]:
    """Curves of largest |NEG − slope at 0|, each with the tangent for its line."""
    columns, radius = sampled.neurons, sampled.ranges[-1]
    fit = sampled.fits[sampled.measure][radius]
    traces = []
    for number in np.argsort(-np.abs(fit.slope - first), kind="stable")[:WORST]:
        prompt = int(columns["prompt"][number])
        column = int(number) - int(np.flatnonzero(columns["prompt"] == prompt)[0])
        curves = Curves(folder, "response", range(prompt, prompt + 1))
        shifts, nodes = np.linspace(-radius, radius, 201), curves.measured(0, column)
        layer, neuron = columns["layer"][number], columns["neuron"][number]
        traces.append(
            Trace(
                title=f"layer {layer}, neuron {neuron}",
                answer=inputs.probes.targets[prompt][0],
                shifts=shifts,
                changes=curves.change(shifts)[0, column],
                measured=(nodes, curves.change(nodes)[0, column]),
                slope=float(first[number]),
                pearson=float(fit.pearson[number]),
                bound=float(columns["bound"][number]),
            )
        )
    return traces


def _doses(
    inputs: facts.Inputs,
    folder: RunFolder,
    asked: Asked,
    dosed: Sequence[DosedLayer],
    convention: Convention,
) -> tuple[list[Doses], int, int]:
    """Dosed prompts, how many of their layers are finished, and neurons without a dose."""
    found, silent = [], 0
    for prompt in sorted({item.prompt for item in dosed}):
        layers = [item.layer for item in dosed if item.prompt == prompt]
        unit = folder.read("dose_unit", (prompt,))[layers]
        writes = np.isfinite(unit)
        silent += int((~writes).sum())
        activation = folder.read("dose_activation", (prompt,))[layers]

        def swept(
            name: str, prompt: int = prompt, layers: list[int] = layers, kept: np.ndarray = writes
        ) -> np.ndarray:
            return np.stack([folder.read(name, (prompt, layer)) for layer in layers])[kept]

        estimates = {}
        for row, method in enumerate(asked.methods):
            if method == "ablation":
                estimates[method] = swept("dose_ablation")
            else:
                every = folder.read("estimates_everywhere", (row, prompt))
                estimates[method] = every[layers][writes]
        at, neuron = np.nonzero(writes)
        noise = folder.read("noise", (prompt,))
        before = (prompt, layers[0])
        found.append(
            Doses(
                prompt=prompt,
                layer=np.asarray(layers)[at],
                neuron=neuron,
                activation=activation[writes],
                unit=unit[writes],
                doses=folder.read("doses"),
                change=swept("dose_change"),
                kl=swept("dose_kl"),
                entropy=swept("dose_entropy"),
                top_token=swept("dose_top_token"),
                baseline_entropy=float(folder.read("dose_baseline_entropy", before)),
                baseline_top_token=int(folder.read("dose_baseline_top_token", before)),
                vocabulary=inputs.lm.config.vocab_size,
                bound=float(statistics.noise_bound(noise)),
                estimates=estimates,
            )
        )
    return found, len(dosed), silent


def _finite(value: np.ndarray) -> float | None:
    return float(value) if np.isfinite(value) else None


def _at(prompts: range) -> slice:
    return slice(prompts.start, prompts.stop)
