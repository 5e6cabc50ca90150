"""Everything the report on estimators shows, read from a run's folder and put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.estimators.against_neg import Agreement, Comparison, compared
from experiments.estimators.doses import Doses
from experiments.estimators.hidden import DoseStatistics, Hidden, dose_statistics, listed
from experiments.estimators.ranges import (
    Ranges,
    check_ranges,
    ratio_shares,
    slope_ratio,
)
from experiments.estimators.work import DosedLayer, Plan
from experiments.inputs import facts, fitted_curves
from experiments.inputs.estimates import CONVENTIONS
from experiments.inputs.fitted_curves import Curves, FittedCurves, slice_of
from experiments.inputs.measured_ranges import distances, measured_range
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


@dataclass(frozen=True, kw_only=True)
class Results:
    """What is to be shown."""

    measured: Convention
    """The convention of the sweep."""
    comparison: Comparison
    agreements: Mapping[Convention, Mapping[float, Mapping[str, Agreement]]]
    """By convention, radius and name of the form."""
    seconds: Mapping[str, float | None]
    """A prompt, all neurons, by method; of the ablation from one layer."""
    ranges: Ranges
    ratios: Mapping[float, Mapping[str, float | None]]
    """Shares of the neurons above the noise by kind of curve, by radius."""
    thirds: Mapping[str, Mapping[str, Agreement]]
    """At the widest radius, under the sweep's convention: a third of the neurons each, by predicted
    range; by form."""
    worst: list[Trace]
    """Curves on which NeurGrad errs most at the widest radius."""
    doses: list[Doses]
    """Of the dosed prompts, their finished layers."""
    dosed_layers: int
    silent: int
    """Neurons of these layers without a dose, since they write nothing."""
    by_dose: list[DoseStatistics]
    """Empty if nothing was dosed."""
    hidden: list[list[Hidden]]
    """By dosed prompt."""

    @property
    def curves(self) -> FittedCurves:
        """Of the sampled neurons."""
        return self.comparison.curves

    @property
    def headline(self) -> float:
        """The radius that figures of one range show."""
        return self.curves.headline

    @property
    def at_headline(self) -> Mapping[Convention, Mapping[str, Agreement]]:
        """Agreements within that radius."""
        return {c: by_range[self.headline] for c, by_range in self.agreements.items()}


def analyse(
    plan: Plan, folder: RunFolder, done: Sequence[range], dosed: Sequence[DosedLayer]
) -> Results:
    """Reads the finished groups of prompts and the finished dosed layers, and takes statistics."""
    sampling, settings, measured = plan.sampling, plan.settings, facts.convention()
    curves = fitted_curves.read(
        folder, done, radius=sampling.range, step=sampling.step, measures=("response",)
    )
    columns, fits = curves.neurons, curves.fits["response"]
    rows = list(enumerate(settings.methods))
    estimates = {
        name: np.concatenate([folder.read("estimates", (row, slice_of(p))).ravel() for p in done])
        for row, name in rows
    }
    comparison = compared(curves, measured, estimates, settings.top)
    first = columns["neurgrad"] if measured == "signed" else columns["computed"]
    second = np.concatenate([folder.read("second", (slice_of(p),)).ravel() for p in done])
    ranges = _ranges(
        folder, done, sampling.range, settings.tolerance, first, second, columns["bound"]
    )
    widest = fits[sampling.range]
    worst = np.argsort(-np.abs(widest.slope - first), kind="stable")[:WORST]
    thirds = np.array_split(np.argsort(-ranges.predicted, kind="stable"), len(THIRDS))
    seconds = {name: folder.read("seconds", (row, 0)) for row, name in rows}
    doses, silent = _doses(plan, folder, dosed)
    limits = settings.thresholds
    return Results(
        measured=measured,
        comparison=comparison,
        agreements={
            convention: {radius: comparison.agreements(convention, radius) for radius in fits}
            for convention in CONVENTIONS
        },
        seconds={name: float(s) if np.isfinite(s) else None for name, s in seconds.items()},
        ranges=ranges,
        ratios={
            radius: ratio_shares(
                slope_ratio(fit.slope, first)[fit.largest_change >= columns["bound"]]
            )
            for radius, fit in fits.items()
        },
        thirds={
            name: comparison.agreements(measured, sampling.range, part)
            for name, part in zip(THIRDS, thirds, strict=True)
        },
        # Each with the tangent for its line.
        worst=[
            fitted_curves.traced_neuron(plan.inputs, folder, curves, int(i), first) for i in worst
        ],
        doses=doses,
        dosed_layers=len(dosed),
        silent=silent,
        by_dose=[dose_statistics(doses, dose, limits) for dose in settings.doses if doses],
        hidden=[listed(swept, limits, LISTED) for swept in doses],
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
        rows = slice(start, start + len(changes))
        start = rows.stop
        parts.append(
            [
                measured_range(shifts, changes, first[rows], share, bound[rows])
                for share in (tolerance, 2 * tolerance)
            ]
        )
    measured, granted = np.concatenate(parts, axis=1)
    # What was saved as no number has no range, and takes none from the others.
    known = np.isfinite(first) & np.isfinite(second)
    predicted = np.full(first.shape, np.nan)
    predicted[known] = linear_range(first[known], second[known], tolerance)
    return check_ranges(radius, first, predicted, measured, granted, bound, tolerance)


def _doses(plan: Plan, folder: RunFolder, dosed: Sequence[DosedLayer]) -> tuple[list[Doses], int]:
    """Dosed prompts, and how many neurons of their finished layers have no dose."""
    swept, silent = [], 0
    for prompt in sorted({item.prompt for item in dosed}):
        layers = [item.layer for item in dosed if item.prompt == prompt]
        unit = folder.read("dose_unit", (prompt,))[layers]
        writes = np.isfinite(unit)
        silent += int((~writes).sum())

        def of_layers(
            name: str, prompt: int = prompt, layers: list[int] = layers, kept: np.ndarray = writes
        ) -> np.ndarray:
            return np.stack([folder.read(name, (prompt, layer)) for layer in layers])[kept]

        estimates = {}
        for row, method in enumerate(plan.settings.methods):
            if method == "ablation":
                estimates[method] = of_layers("dose_ablation")
            else:
                every = folder.read("estimates_everywhere", (row, prompt))
                estimates[method] = every[layers][writes]
        at, neuron = np.nonzero(writes)
        before = (prompt, layers[0])
        swept.append(
            Doses(
                prompt=prompt,
                layer=np.asarray(layers)[at],
                neuron=neuron,
                activation=folder.read("dose_activation", (prompt,))[layers][writes],
                unit=unit[writes],
                doses=folder.read("doses"),
                change=of_layers("dose_change"),
                kl=of_layers("dose_kl"),
                entropy=of_layers("dose_entropy"),
                top_token=of_layers("dose_top_token"),
                baseline_entropy=float(folder.read("dose_baseline_entropy", before)),
                baseline_top_token=int(folder.read("dose_baseline_top_token", before)),
                vocabulary=plan.inputs.lm.config.vocab_size,
                bound=float(statistics.noise_bound(folder.read("noise", (prompt,)))),
                estimates=estimates,
            )
        )
    return swept, silent
