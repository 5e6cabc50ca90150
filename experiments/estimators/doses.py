"""Every neuron at large doses: which control the output unseen by gradients, what breaks.

A dose d shifts a neuron until its write to the residual stream is d times as long as the residual
itself, at the read position in the neuron's layer. Source of the unit: Liu, 2026, arXiv 2606.19831,
whose coherence budget is residual norm over write norm.

n counts the swept neurons of a prompt in layer-major order; X signed doses, D doses.
"""

import dataclasses

import numpy as np
from scipy.stats import rankdata

from experiments.reporting.dose_grids import first_dose
from negjax.inputs.ranking import top

BY_DOSE = "NeurGrad × dose"
"""NeurGrad times the shift that dose 1 is: the change to expect of a dose, on a line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Doses:
    """One prompt's swept neurons."""

    prompt: int
    layer: np.ndarray
    """[n]."""
    neuron: np.ndarray
    """[n], index within the layer."""
    activation: np.ndarray
    """[n]."""
    unit: np.ndarray
    """[n], shift that dose 1 is; infinite where the neuron writes nothing."""
    doses: np.ndarray
    """[X], ascending, both signs."""
    change: np.ndarray
    """[n, X], ΔP(target)."""
    kl: np.ndarray
    """[n, X], KL(P₀‖P) of the next token, nats."""
    entropy: np.ndarray
    """[n, X], of P, nats."""
    top_token: np.ndarray
    """[n, X]."""
    baseline_entropy: float
    baseline_top_token: int
    vocabulary: int
    """V."""
    bound: float
    """Largest |ΔP| that rounding explains."""
    estimates: dict[str, np.ndarray]
    """[n], by method."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What counts as large, small and collapsed."""

    large: float
    """Quantile of the effects from which they are large."""
    small: float
    """Quantile of |NeurGrad| up to which it is small."""
    flat: float
    """Share of the way from the unperturbed entropy to log V from which an entropy is flat."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Controllers:
    """One prompt's neurons at one dose, the stronger of its two signs each."""

    dose: float
    effect: np.ndarray
    """[n], ΔP of the sign with the larger |ΔP|."""
    divergence: np.ndarray
    """[n], the larger KL."""
    large_effect: np.ndarray
    """[n], True where |ΔP| is large and above the noise."""
    large_divergence: np.ndarray
    """[n]."""
    hidden: np.ndarray
    """[n], True where both are large and |NeurGrad| is small."""
    collapsed: np.ndarray
    """[n], True where the output has collapsed under the sign of `effect`."""


def both_signs(doses: np.ndarray) -> np.ndarray:
    """[2D], ascending, of doses [D]."""
    doses = np.sort(doses)
    return np.concatenate([-doses[::-1], doses])


def stronger_sign(doses: np.ndarray, dose: float, values: np.ndarray) -> np.ndarray:
    """Column [n] of values [n, X], at −dose or +dose, of larger size; −dose of equal ones."""
    down, up = (int(np.flatnonzero(doses == d)[0]) for d in (-dose, dose))
    return np.where(np.abs(values[:, up]) > np.abs(values[:, down]), up, down)


def large(values: np.ndarray, quantile: float) -> np.ndarray:
    """True for the share 1 − quantile of values [n] that are largest; ties to the lowest number.

    At least one; as many as the share says, rounded.
    """
    count = max(1, round((1 - quantile) * values.size))
    largest = np.zeros(values.size, bool)
    largest[top(values, count)] = True
    return largest


def small(values: np.ndarray, quantile: float) -> np.ndarray:
    """True for the share `quantile` of values [n] of smallest size; ties to the lowest number."""
    return large(-np.abs(values), 1 - quantile)


def has_collapsed(
    kl: np.ndarray, entropy: np.ndarray, baseline_entropy: float, vocabulary: int, flat: float
) -> np.ndarray:
    """True where the output has collapsed, of KL and entropies [...] in nats.

    It has where P predicts the unperturbed model's next token no better than the uniform
    distribution U does, KL(P₀‖P) ≥ KL(P₀‖U) = log V − H(P₀); or where the entropy has gone the
    share `flat` of the way from the unperturbed to the uniform one, H(P) ≥ H(P₀) + flat · (log V −
    H(P₀)).
    """
    missing = np.log(vocabulary) - baseline_entropy
    return (kl >= missing) | (entropy >= baseline_entropy + flat * missing)


def percentiles(values: np.ndarray) -> np.ndarray:
    """Share [n] of the values that are smaller in size, half of those as large counted."""
    return (rankdata(np.abs(values)) - 0.5) / values.size


def collapses(swept: Doses, flat: float) -> np.ndarray:
    """[n, X], True where the output has collapsed."""
    return has_collapsed(swept.kl, swept.entropy, swept.baseline_entropy, swept.vocabulary, flat)


def collapse_doses(swept: Doses, flat: float) -> np.ndarray:
    """[n, 2], smallest dose of either sign (− first) at which the output has collapsed."""
    collapsed, positive = collapses(swept, flat), swept.doses > 0
    up = first_dose(swept.doses[positive], collapsed[:, positive])
    down = first_dose(-swept.doses[~positive][::-1], collapsed[:, ~positive][:, ::-1])
    return np.stack([down, up], axis=1)


def controllers(swept: Doses, dose: float, thresholds: Thresholds) -> Controllers:
    """Which neurons control the output at ±dose, and which of them NeurGrad does not show."""
    rows = np.arange(len(swept.layer))
    column = stronger_sign(swept.doses, dose, swept.change)
    effect = swept.change[rows, column]
    at_dose = np.abs(swept.doses) == dose
    divergence = swept.kl[:, at_dose].max(1)
    large_effect = large(np.abs(effect), thresholds.large) & (np.abs(effect) >= swept.bound)
    large_divergence = large(divergence, thresholds.large)
    little = small(swept.estimates["neurgrad"], thresholds.small)
    return Controllers(
        dose=dose,
        effect=effect,
        divergence=divergence,
        large_effect=large_effect,
        large_divergence=large_divergence,
        hidden=large_effect & large_divergence & little,
        collapsed=collapses(swept, thresholds.flat)[rows, column],
    )


def attributions(swept: Doses) -> dict[str, np.ndarray]:
    """What could have shown the neurons, [n] each by name: the estimates, and `BY_DOSE`."""
    return swept.estimates | {BY_DOSE: swept.estimates["neurgrad"] * swept.unit}


def deciles(swept: Doses, chosen: np.ndarray, name: str = "neurgrad") -> np.ndarray:
    """Share [10] of the chosen neurons in each tenth of |attribution|, the smallest first."""
    place = np.minimum((10 * percentiles(attributions(swept)[name])).astype(int), 9)
    counts = np.bincount(place[chosen], minlength=10)
    return counts / max(1, int(counts.sum()))
