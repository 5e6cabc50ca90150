"""Hidden controllers: neurons that move the output far while their NeurGrad is small."""

import dataclasses
from collections.abc import Sequence

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


@dataclasses.dataclass(frozen=True)
class Shown:
    """How high an attribution ranks hidden controllers among all swept neurons of their prompt."""

    median: float | None
    """Median of their `percentiles`."""
    top_tenth: float | None
    """Share of them in the top tenth."""
    top_hundredth: float | None


@dataclasses.dataclass(frozen=True)
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


@dataclasses.dataclass(frozen=True)
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


def statistics(found: Sequence[Doses], dose: float, thresholds: Thresholds) -> DoseStatistics:
    """Counts of all prompts' neurons at ±dose; what is large or small is so within its prompt."""
    each = [controllers(prompt, dose, thresholds) for prompt in found]
    little = [small(p.estimates["neurgrad"], thresholds.small) for p in found]
    on_line = [small(attributions(p)[BY_DOSE], thresholds.small) for p in found]
    at_dose = [np.abs(p.doses) == dose for p in found]
    both = [c.large_effect & c.large_divergence for c in each]
    hidden = [c.hidden for c in each]

    def count(masks: Sequence[np.ndarray]) -> int:
        return sum(int(mask.sum()) for mask in masks)

    collapsed = [
        collapses(p, thresholds.flat)[:, at].any(1) for p, at in zip(found, at_dose, strict=True)
    ]
    flipped = [
        (p.top_token[:, at] != p.baseline_top_token).any(1)
        for p, at in zip(found, at_dose, strict=True)
    ]
    layer = np.concatenate([p.layer[h] for p, h in zip(found, hidden, strict=True)])
    ranked = [
        {name: percentiles(value)[h] for name, value in attributions(p).items()}
        for p, h in zip(found, hidden, strict=True)
    ]
    return DoseStatistics(
        dose=dose,
        neurons=sum(len(p.layer) for p in found),
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
        shown={name: _shown([own[name] for own in ranked]) for name in ranked[0]},
    )


def listed(found: Doses, thresholds: Thresholds, count: int) -> list[Hidden]:
    """A prompt's hidden controllers of largest |ΔP|, each at the dose where that is largest."""
    each = [controllers(found, dose, thresholds) for dose in found.doses[found.doses > 0]]
    effect = np.stack([np.where(c.hidden, np.abs(c.effect), -np.inf) for c in each], axis=1)
    best = effect.argmax(1)
    strength = effect.max(1)
    collapse = collapse_doses(found, thresholds.flat)
    place = {name: percentiles(value) for name, value in attributions(found).items()}
    entries = []
    for row in np.argsort(-strength, kind="stable")[:count]:
        if not np.isfinite(strength[row]):
            break
        at = each[best[row]]
        column = int(stronger_sign(found.doses, at.dose, found.change[row : row + 1])[0])
        dose = float(found.doses[column])
        own = float(collapse[row, int(dose > 0)])
        entries.append(
            Hidden(
                prompt=found.prompt,
                layer=int(found.layer[row]),
                neuron=int(found.neuron[row]),
                activation=float(found.activation[row]),
                dose=dose,
                shift=dose * float(found.unit[row]),
                change=float(found.change[row, column]),
                kl=float(found.kl[row, column]),
                collapsed=bool(at.collapsed[row]),
                collapse_dose=own if np.isfinite(own) else None,
                percentiles={name: float(value[row]) for name, value in place.items()},
            )
        )
    return entries


def _shown(parts: Sequence[np.ndarray]) -> Shown:
    found = np.concatenate(parts)
    if not found.size:
        return Shown(None, None, None)
    return Shown(
        float(np.median(found)), statistics.share(found >= 0.9), statistics.share(found >= 0.99)
    )
