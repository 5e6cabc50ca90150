"""Hidden controllers: neurons that move the output far while their NeurGrad is small."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.estimators.doses import (
    BY_DOSE,
    Doses,
    Thresholds,
    attributions,
    collapse_doses,
    collapses,
    controllers,
    percentiles,
    small,
    stronger_sign,
)
from experiments.reporting import statistics


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How high an attribution ranks hidden controllers among all swept neurons of their prompt."""

    median: float | None
    """Median of their `percentiles`."""
    top_tenth: float | None
    """Share of them in the top tenth."""
    top_hundredth: float | None


@dataclass(frozen=True, kw_only=True)
class DoseStatistics:
    """All prompts' neurons at one dose."""

    dose: float
    neurons: int
    collapsed: float | None
    """Share with a collapsed output at either sign."""
    flipped: float | None
    """Share that change the most probable token, at either sign."""
    kl: dict[str, float] | None
    """Quantiles of the larger KL."""
    large_effect: int
    large_divergence: int
    large_both: int
    hidden_effect: int
    """Of large effect and small NeurGrad."""
    hidden_divergence: int
    hidden: int
    """Of both large and small NeurGrad: the hidden controllers."""
    by_chance: float
    """How many would be hidden if NeurGrad said nothing of the effect."""
    hidden_on_the_line: int
    """Hidden controllers whose NeurGrad × dose is small too."""
    hidden_collapsed: int
    """Hidden controllers under which the output has collapsed."""
    layers: dict[int, int]
    """Hidden controllers by layer, where there are any."""
    shown: dict[str, Shown]
    """Of the hidden controllers, by attribution."""


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """A hidden controller, at the dose where it moves P most."""

    prompt: int
    layer: int
    neuron: int
    activation: float
    dose: float
    """Negative: weakened (signed) or decreased (additive)."""
    shift: float
    """That the dose is, in units of the activation."""
    change: float
    kl: float
    collapsed: bool
    collapse_dose: float | None
    """Of the same sign; None if the output collapses at no dose."""
    percentiles: dict[str, float]
    """By attribution."""


def dose_statistics(swept: Sequence[Doses], dose: float, thresholds: Thresholds) -> DoseStatistics:
    """Counts of all prompts' neurons at ±dose; what is large or small is so within its prompt."""
    each = [controllers(prompt, dose, thresholds) for prompt in swept]
    little = [small(p.estimates["neurgrad"], thresholds.small) for p in swept]
    on_line = [small(attributions(p)[BY_DOSE], thresholds.small) for p in swept]
    at_dose = [np.abs(p.doses) == dose for p in swept]
    both = [c.large_effect & c.large_divergence for c in each]
    hidden = [c.hidden for c in each]

    def count(masks: Sequence[np.ndarray]) -> int:
        return sum(int(mask.sum()) for mask in masks)

    collapsed = [
        collapses(p, thresholds.flat)[:, at].any(1) for p, at in zip(swept, at_dose, strict=True)
    ]
    flipped = [
        (p.top_token[:, at] != p.baseline_top_token).any(1)
        for p, at in zip(swept, at_dose, strict=True)
    ]
    layer = np.concatenate([p.layer[h] for p, h in zip(swept, hidden, strict=True)])
    ranked = [
        {name: percentiles(value)[h] for name, value in attributions(p).items()}
        for p, h in zip(swept, hidden, strict=True)
    ]
    return DoseStatistics(
        dose=dose,
        neurons=sum(len(p.layer) for p in swept),
        collapsed=statistics.share(np.concatenate(collapsed)),
        flipped=statistics.share(np.concatenate(flipped)),
        kl=statistics.quantiles(np.concatenate([c.divergence for c in each])),
        large_effect=count([c.large_effect for c in each]),
        large_divergence=count([c.large_divergence for c in each]),
        large_both=count(both),
        hidden_effect=count([c.large_effect & s for c, s in zip(each, little, strict=True)]),
        hidden_divergence=count(
            [c.large_divergence & s for c, s in zip(each, little, strict=True)]
        ),
        hidden=count(hidden),
        by_chance=sum(float(b.sum() * s.mean()) for b, s in zip(both, little, strict=True)),
        hidden_on_the_line=count([h & s for h, s in zip(hidden, on_line, strict=True)]),
        hidden_collapsed=count([c.hidden & c.collapsed for c in each]),
        layers={int(at): int((layer == at).sum()) for at in np.unique(layer)},
        shown={name: _shown([prompt[name] for prompt in ranked]) for name in ranked[0]},
    )


def listed(swept: Doses, thresholds: Thresholds, count: int) -> list[Hidden]:
    """A prompt's hidden controllers of largest |ΔP|, each at the dose where that is largest."""
    each = [controllers(swept, dose, thresholds) for dose in swept.doses[swept.doses > 0]]
    effect = np.stack([np.where(c.hidden, np.abs(c.effect), -np.inf) for c in each], axis=1)
    best = effect.argmax(1)
    strength = effect.max(1)
    collapse = collapse_doses(swept, thresholds.flat)
    place = {name: percentiles(value) for name, value in attributions(swept).items()}
    entries = []
    for row in np.argsort(-strength, kind="stable")[:count]:
        if not np.isfinite(strength[row]):
            break
        at = each[best[row]]
        column = int(stronger_sign(swept.doses, at.dose, swept.change[row : row + 1])[0])
        dose = float(swept.doses[column])
        breaks = float(collapse[row, int(dose > 0)])
        entries.append(
            Hidden(
                prompt=swept.prompt,
                layer=int(swept.layer[row]),
                neuron=int(swept.neuron[row]),
                activation=float(swept.activation[row]),
                dose=dose,
                shift=dose * float(swept.unit[row]),
                change=float(swept.change[row, column]),
                kl=float(swept.kl[row, column]),
                collapsed=bool(at.collapsed[row]),
                collapse_dose=breaks if np.isfinite(breaks) else None,
                percentiles={name: float(value[row]) for name, value in place.items()},
            )
        )
    return entries


def _shown(parts: Sequence[np.ndarray]) -> Shown:
    places = np.concatenate(parts)
    return Shown(
        median=statistics.median(places),
        top_tenth=statistics.share(places >= 0.9),
        top_hundredth=statistics.share(places >= 0.99),
    )
