"""How well estimators predict exact NEG, from the measurements that a run's folder holds.

P is one (prompt, neuron) pair an entry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.inputs.estimates import CONVENTIONS, FORMS, Form
from experiments.inputs.fitted_curves import FittedCurves
from experiments.reporting import intervals, statistics
from experiments.reporting.intervals import Estimate
from experiments.reporting.rank_correlation import spearman
from negjax.execution.conventions import Convention, sign
from negjax.inputs.ranking import top_overlap

EVERY = slice(None)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well one form of an estimate predicts NEG."""

    neurons: int
    """Those with an estimate."""
    pearson: float | None
    pearson_of_a_prompt: float | None
    """Median over prompts of Pearson r within a prompt."""
    spearman: float | None
    mae: float | None
    """Mean |estimate − NEG|; None where the estimate is not in NEG's units."""
    mean_size: float | None
    """Mean |NEG|."""
    same_sign: float | None
    same_sign_above_noise: float | None
    """Of the neurons whose largest |ΔP| is above the noise."""
    top_overlap: float | None
    """Mean over prompts: share of a prompt's largest |NEG| that are among its largest |estimate|;
    None where no prompt has more neurons than that."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Estimates beside the slopes of the sampled curves."""

    curves: FittedCurves
    forms: tuple[Form, ...]
    slopes: Mapping[Convention, Mapping[float, np.ndarray]]
    """[P], NEG by convention and radius."""
    values: Mapping[Convention, Mapping[str, np.ndarray]]
    """[P], by convention and name of the form; NaN where it says nothing."""
    top: int
    """How many neurons make a prompt's top."""

    def agreements(
        self, convention: Convention, radius: float, part: np.ndarray | slice = EVERY
    ) -> dict[str, Agreement]:
        """Those of each form, by name, among `part` of the neurons."""
        columns, fits = self.curves.neurons, self.curves.fits[self.curves.measure][radius]
        above = fits.largest_change >= columns["bound"]
        return {
            form.name: agreement(
                self.values[convention][form.name][part],
                self.slopes[convention][radius][part],
                columns["prompt"][part],
                above[part],
                self.top,
                slope_units=form.slope,
            )
            for form in self.forms
        }

    def interval(self, convention: Convention, radius: float, name: str) -> Estimate:
        """Pearson r of a form with NEG, and its interval over the prompts."""
        values = self.values[convention][name]
        kept = np.isfinite(values)
        slopes, prompts = self.slopes[convention][radius], self.curves.neurons["prompt"]
        return intervals.pearson(values[kept], slopes[kept], prompts[kept])


def compared(
    curves: FittedCurves, measured: Convention, estimates: Mapping[str, np.ndarray], top: int
) -> Comparison:
    """Compares estimates [P] with the slopes of the sampled curves, under both conventions.

    Args:
        curves: of the sampled neurons, swept under the convention `measured`.
        estimates: [P], by method.
        top: neurons of a prompt's top.
    """
    columns, fits = curves.neurons, curves.fits[curves.measure]
    activation, bound = columns["activation"], columns["bound"]
    forms = tuple(form for form in FORMS if form.method in estimates)
    slopes: dict[Convention, dict[float, np.ndarray]] = {
        convention: {
            radius: fit.slope if convention == measured else mirrored(fit.slope, activation)
            for radius, fit in fits.items()
        }
        for convention in CONVENTIONS
    }
    values: dict[Convention, dict[str, np.ndarray]] = {
        convention: {
            form.name: form_values(form, estimates[form.method], activation, bound, convention)
            for form in forms
        }
        for convention in CONVENTIONS
    }
    return Comparison(curves=curves, forms=forms, slopes=slopes, values=values, top=top)


def mirrored(values: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """Returns NEG or r [P] of one convention from those of the other.

    The range is to be symmetric about 0. The additive curve is the signed one, mirrored where
    s(a) = −1: ΔP_additive(x) = ΔP_signed(s·x). Of points at ±x₁, ±x₂, …, Σ x ΔP(s·x) = s Σ x ΔP(x):
    a mirrored curve's slope and r are those of the curve with the other sign.
    """
    return values * sign(activation)


def form_values(
    form: Form,
    estimate: np.ndarray,
    activation: np.ndarray,
    bound: np.ndarray,
    convention: Convention,
) -> np.ndarray:
    """Returns estimates [P] of a method in one form; NaN where the form says nothing.

    The ablation is turned round, f(a) − f(0), so that its sign is that of what the neuron gives.
    Per unit of activation it has a value only where it is above the rounding noise `bound` [P]: of
    a neuron next to 0 there is nothing left but noise, over next to nothing.
    """
    value = np.asarray(estimate, np.float64)
    known = activation != 0
    if form.method == "ablation":
        known &= np.abs(value) >= bound
        value = -value
    if not form.per_unit:
        return value
    unit = np.abs(activation) if convention == "signed" else activation
    nothing = np.full(value.shape, np.nan)
    return np.divide(value, unit, out=nothing, where=known)


def agreement(
    estimate: np.ndarray,
    slope: np.ndarray,
    prompt: np.ndarray,
    above: np.ndarray,
    top: int,
    *,
    slope_units: bool,
) -> Agreement:
    """Returns how well estimates [P] predict slopes [P].

    Args:
        estimate: NaN entries are left out.
        prompt: [P], number of each entry's prompt.
        above: [P], True where ΔP is above the noise.
        top: neurons of a prompt's top.
        slope_units: the estimate is in the slope's units.
    """
    kept = np.isfinite(estimate)
    estimate, slope, prompt, above = (x[kept] for x in (estimate, slope, prompt, above))
    whole = statistics.agreement(estimate, slope)
    within, overlaps = [], []
    for number in np.unique(prompt):
        inside = prompt == number
        r = statistics.correlation(estimate[inside], slope[inside])
        if r is not None:
            within.append(r)
        if inside.sum() > top:
            overlaps.append(top_overlap(np.abs(estimate[inside]), np.abs(slope[inside]), top))
    return Agreement(
        neurons=len(slope),
        pearson=whole.pearson,
        pearson_of_a_prompt=_median(within),
        spearman=spearman(estimate, slope),
        mae=whole.mae if slope_units else None,
        mean_size=whole.mean_size,
        same_sign=whole.same_sign,
        same_sign_above_noise=statistics.agreement(estimate[above], slope[above]).same_sign,
        top_overlap=float(np.mean(overlaps)) if overlaps else None,
    )


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
