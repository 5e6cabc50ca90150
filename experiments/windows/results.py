"""What the study of control windows reports, computed from what its folder holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.inputs.written_texts import NONE, text_of
from experiments.reporting import intervals
from experiments.reporting.dose_grids import first_dose
from experiments.reporting.intervals import Estimate
from experiments.reporting.rank_correlation import spearman
from experiments.reporting.statistics import distinct_pairs
from experiments.windows.settings import Settings
from experiments.windows.work import Plan
from negjax.storage.store import RunFolder

FACT = "fact"
"""What intervals are over."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """What is written at one dose."""

    dose: float
    """0: no shift."""
    token: str
    """The most probable first one."""
    probability: float
    """P(answer)."""
    flipped: bool
    """Whether another token than the answer's is the most probable."""
    text: str
    distinct: float
    """Share of different ones among the pairs of neighbouring tokens; 1 of a single token."""
    perplexity: float
    """Under the unshifted model."""
    own_perplexity: float
    """Under the model that wrote it."""
    entropy: float
    """Mean over its tokens, of what the model that wrote it took each from, in nats."""
    keeps: bool
    """Its meaning, as the settings define it."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A fact whose answer the model gives."""

    number: int
    prompt: str
    answer: str
    texts: tuple[Text, ...]
    """Unshifted, then by dose."""
    flip: float
    """Smallest dose at which the answer flips; infinite where it does at none."""
    collapse: float
    """Smallest dose at which a text does not keep its meaning; infinite likewise."""
    single: np.ndarray
    """[S, 2], neurons dosed one by one."""
    slope: np.ndarray
    """[S], |NeurGrad|."""
    reach: np.ndarray
    """[S], what NeurGrad expects of dose 1: |NeurGrad| times its shift."""
    single_flip: np.ndarray
    """[S], smallest dose at which each flips the answer; infinite where it does at none."""

    @property
    def window(self) -> bool:
        """Whether there is a dose at which the answer is another and the text keeps its meaning,
        below the collapse."""
        return self.flip < self.collapse

    def at(self, dose: float) -> Text | None:
        """The text at a dose, if it was swept."""
        return next((text for text in self.texts if text.dose == dose), None)


@dataclass(frozen=True, kw_only=True)
class Dose:
    """All facts at one dose."""

    dose: float
    flipped: Estimate
    kept: Estimate
    both: Estimate
    """Another answer in a text that keeps its meaning."""
    perplexity: float
    """Median."""
    distinct: float
    """Median."""
    entropy: float
    """Median."""


@dataclass(frozen=True, kw_only=True)
class Over:
    """All facts."""

    doses: list[Dose]
    window: Estimate
    """Share of the facts that have one."""
    flip: Estimate
    """Median dose; None: half of the facts or more flip at none."""
    collapse: Estimate
    """Likewise."""
    slope: Estimate
    """Mean over the facts of Spearman ρ between |NeurGrad| of neurons and the dose at which each
    flips the answer; those that do at none come last, alike."""
    reach: Estimate
    """The same of what NeurGrad expects of dose 1."""
    singles: int
    """Neurons dosed one by one."""
    single_flips: int
    """Of these, those that flip the answer at some dose."""


def read_facts(folder: RunFolder, plan: Plan, numbers: Sequence[int]) -> list[Fact]:
    """The finished facts whose answer the model gives."""
    return [
        _read_fact(folder, plan, number)
        for number in numbers
        if folder.read("answer", (number,)) == folder.read("top", (number,))[0]
    ]


def _read_fact(folder: RunFolder, plan: Plan, number: int) -> Fact:
    probability, first, ids = (
        folder.read(name, (number,)) for name in ("probability", "top", "text")
    )
    means = [
        np.nanmean(folder.read(name, (number,)), axis=1) for name in ("unmoved", "moved", "entropy")
    ]
    inputs, settings = plan.inputs, plan.settings
    doses = np.asarray(settings.dose_grid)
    distinct = [distinct_pairs(row[row != NONE]) for row in ids]
    flipped = first != first[0]
    perplexities, own, entropy = np.exp(-means[0]), np.exp(-means[1]), means[2]
    keeps = keeps_meaning(settings, np.asarray(distinct), perplexities, entropy)
    texts = [
        Text(
            dose=float(dose),
            token=str(inputs.lm.tokenizer.decode([int(first[row])])),
            probability=float(probability[row]),
            flipped=bool(flipped[row]),
            text=text_of(inputs.lm, inputs.probes, number, ids[row]),
            distinct=distinct[row],
            perplexity=float(perplexities[row]),
            own_perplexity=float(own[row]),
            entropy=float(entropy[row]),
            keeps=bool(keeps[row]),
        )
        for row, dose in enumerate([0.0, *doses])
    ]
    single, slope, unit, single_flip = np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0)
    if settings.singles:
        single, slope, unit, single_top = (
            folder.read(name, (number,)) for name in ("single", "gradient", "unit", "single_top")
        )
        single_flip = first_dose(doses, single_top != first[0])
    return Fact(
        number=number,
        prompt=inputs.probes.prompts[number],
        answer=inputs.probes.targets[number][0],
        texts=tuple(texts),
        flip=float(first_dose(doses, flipped[1:])),
        collapse=float(first_dose(doses, ~keeps[1:])),
        single=single,
        slope=np.abs(slope),
        reach=np.abs(slope * unit),
        single_flip=single_flip,
    )


def keeps_meaning(
    settings: Settings, distinct: np.ndarray, perplexity: np.ndarray, entropy: np.ndarray
) -> np.ndarray:
    """Where a text keeps its meaning, of [R] texts, the first of which is the unshifted model's."""
    varied = distinct >= settings.least_distinct * distinct[0]
    kept: np.ndarray = varied & (perplexity <= settings.most_perplexity)
    kept &= entropy <= settings.most_entropy
    return kept


def over_facts(facts: Sequence[Fact], seed: int) -> Over:
    """What facts, one or more, have in common."""

    def drawn(values: Sequence[float | None], of: Callable[[np.ndarray], float]) -> Estimate:
        there = np.asarray([value for value in values if value is not None], np.float64)
        return intervals.drawn(there, of, FACT, seed)

    every = [fact.single_flip for fact in facts]
    flips = [(fact.slope, fact.reach, own) for fact, own in zip(facts, every, strict=True)]
    return Over(
        doses=[_at_dose(facts, row) for row in range(1, len(facts[0].texts))],
        window=intervals.share([fact.window for fact in facts], FACT),
        flip=drawn([fact.flip for fact in facts], _median),
        collapse=drawn([fact.collapse for fact in facts], _median),
        slope=drawn([spearman(slope, own) for slope, _, own in flips], _mean),
        reach=drawn([spearman(reach, own) for _, reach, own in flips], _mean),
        singles=sum(own.size for own in every),
        single_flips=int(sum(np.isfinite(own).sum() for own in every)),
    )


def _at_dose(facts: Sequence[Fact], row: int) -> Dose:
    texts = [fact.texts[row] for fact in facts]
    return Dose(
        dose=texts[0].dose,
        flipped=intervals.share([text.flipped for text in texts], FACT),
        kept=intervals.share([text.keeps for text in texts], FACT),
        both=intervals.share([text.flipped and text.keeps for text in texts], FACT),
        perplexity=float(np.median([text.perplexity for text in texts])),
        distinct=float(np.median([text.distinct for text in texts])),
        entropy=float(np.median([text.entropy for text in texts])),
    )


def _median(values: np.ndarray) -> float:
    """One of the values, of which some may be infinite: the lower median."""
    return float(np.quantile(values, 0.5, method="inverted_cdf"))


def _mean(values: np.ndarray) -> float:
    return float(values.mean())
