"""How well estimators tell exact NEG, from the measurements that a run's folder holds.

P is one (prompt, neuron) pair an entry.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.linearity import results as linearity_results
from experiments.reporting import statistics
from experiments.reporting.rank_correlation import spearman
from negjax.execution.conventions import Convention, sign
from negjax.inputs.ranking import top_overlap

CONVENTIONS: tuple[Convention, ...] = ("signed", "additive")


@dataclasses.dataclass(frozen=True)
class Form:
    """An estimate as it is compared with NEG."""

    name: str
    label: str
    method: str
    per_unit: bool = False
    """Divided by |a| (signed) or a (additive)."""
    slope: bool = True
    """In NEG's units, so that its error can be told."""

    def written(self, convention: Convention) -> str:
        """The label, with what it is divided by."""
        if not self.per_unit:
            return self.label
        return f"{self.label} / {'|a|' if convention == 'signed' else 'a'}"


# CG × activation per unit is NeurGrad (signed) or CG (additive), so it has no form of its own.
FORMS = (
    Form("cg", "CG", "cg"),
    Form("neurgrad", "NeurGrad", "neurgrad"),
    Form("ig", "IG", "ig", slope=False),
    Form("ig_per_unit", "IG", "ig", per_unit=True),
    Form("lpi", "LPI", "lpi", slope=False),
    Form("lpi_per_unit", "LPI", "lpi", per_unit=True, slope=False),
    Form("relp", "RelP", "relp", slope=False),
    Form("relp_per_unit", "RelP", "relp", per_unit=True),
    Form("cgxa", "CG × a", "cgxa", slope=False),
    Form("ablation", "−ablation", "ablation", slope=False),
    Form("ablation_per_unit", "−ablation", "ablation", per_unit=True),
)


@dataclasses.dataclass(frozen=True)
class Told:
    """How well one form of an estimate tells NEG."""

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


@dataclasses.dataclass(frozen=True)
class Results:
    """What the estimators' part of the report shows."""

    curves: linearity_results.Results
    forms: tuple[Form, ...]
    ranges: list[float]
    """Radii, ascending."""
    slopes: dict[Convention, dict[float, np.ndarray]]
    """[P], NEG by convention and radius."""
    values: dict[Convention, dict[str, np.ndarray]]
    """[P], by convention and name of the form; NaN where it says nothing."""
    told: dict[Convention, dict[float, dict[str, Told]]]
    top: int
    """How many make a prompt's top."""

    @property
    def headline(self) -> float:
        """The radius that figures of one range show."""
        return self.curves.headline


def analyse(
    curves: linearity_results.Results,
    measured: Convention,
    estimates: Mapping[str, np.ndarray],
    top: int,
) -> Results:
    """Compares estimates [P] with the slopes of the sampled curves, under both conventions.

    Args:
        curves: of the sampled neurons, swept under the convention `measured`.
        estimates: [P], by method.
        top: neurons of a prompt's top.
    """
    columns, fits = curves.neurons, curves.fits[curves.measure]
    activation, bound, prompt = columns["activation"], columns["bound"], columns["prompt"]
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
    told: dict[Convention, dict[float, dict[str, Told]]] = {
        convention: {
            radius: {
                form.name: judged(
                    values[convention][form.name],
                    slope,
                    prompt,
                    fits[radius].largest_change >= bound,
                    top,
                    slope_units=form.slope,
                )
                for form in forms
            }
            for radius, slope in slopes[convention].items()
        }
        for convention in CONVENTIONS
    }
    return Results(curves, forms, curves.ranges, slopes, values, told, top)


def mirrored(values: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """NEG or r [P] of one convention from those of the other, of a range that is symmetric about 0.

    The additive curve is the signed one, mirrored where s(a) = −1: ΔP_additive(x) =
    ΔP_signed(s·x). Of points at ±x₁, ±x₂, …, Σ x ΔP(s·x) = s Σ x ΔP(x): a mirrored curve's slope
    and r are those of the curve with the other sign.
    """
    return values * sign(activation)


def form_values(
    form: Form,
    estimate: np.ndarray,
    activation: np.ndarray,
    bound: np.ndarray,
    convention: Convention,
) -> np.ndarray:
    """Estimates [P] of a method in one form; NaN where the form says nothing.

    The ablation is turned round, f(a) − f(0), so that its sign is that of what the neuron gives.
    Per unit of activation it is told only where it is above the rounding noise `bound` [P]: of a
    neuron next to 0 there is nothing left but noise, over next to nothing.
    """
    value = np.asarray(estimate, np.float64)
    told = np.ones(value.shape, bool)
    if form.method == "ablation":
        told = np.abs(value) >= bound if form.per_unit else told
        value = -value
    if not form.per_unit:
        return value
    unit = np.abs(activation) if convention == "signed" else activation
    nothing = np.full(value.shape, np.nan)
    return np.divide(value, unit, out=nothing, where=told & (activation != 0))


def judged(
    estimate: np.ndarray,
    slope: np.ndarray,
    prompt: np.ndarray,
    above: np.ndarray,
    top: int,
    *,
    slope_units: bool,
) -> Told:
    """How well estimates [P] tell slopes [P].

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
        own = prompt == number
        r = statistics.correlation(estimate[own], slope[own])
        if r is not None:
            within.append(r)
        if own.sum() > top:
            overlaps.append(top_overlap(np.abs(estimate[own]), np.abs(slope[own]), top))
    return Told(
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
