"""Two groups of texts: the neurons whose means differ most, scaled while the model writes.

Source: Herring et al., *Targeted Neuron Modulation via Contrastive Pair Search*, 2026, arXiv
2605.12290, who choose by activations at prompts' last tokens; here means are of all tokens.
"""

from dataclasses import dataclass

import numpy as np

import negjax
from experiments.corpus.results import Halves, mask_jaccard
from experiments.inputs.text_tables import Texts
from experiments.reporting.statistics import distinct_pairs
from experiments.running.settings import define, setting
from negjax import corpus, skills
from negjax.inputs.prompt_forms import decoded
from negjax.model.language_model import LanguageModel

UNMOVED = 1.0
"""The factor that changes nothing."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which groups are contrasted, and how that is watched."""

    toward: str | None = setting(
        None, "A group whose neurons, told apart from --away's, are scaled.", recorded=False
    )
    away: str | None = setting(None, "The other group of that contrast.", recorded=False)
    contrast_share: float = setting(
        0.001, "Share of all neurons that the contrast chooses.", above=0, most=1, recorded=False
    )
    factor: float = setting(
        0.0, "What their activations are multiplied by while texts are written.", recorded=False
    )
    watched: int = setting(
        4,
        "Held-out texts of either group whose beginnings are written on.",
        least=1,
        recorded=False,
    )
    continued: int = setting(
        16, "Tokens that are written after each beginning.", least=1, recorded=False
    )

    @property
    def asked(self) -> bool:
        """Whether there is a contrast."""
        return self.toward is not None and self.away is not None

    def check(self, lm: LanguageModel, texts: Texts) -> None:
        """Refuses a contrast that cannot be.

        Raises:
            ValueError: one group alone, an unknown one, twice the same; a masked LM, which writes
                no text.
        """
        if (self.toward is None) != (self.away is None):
            given = "--toward" if self.away is None else "--away"
            raise ValueError(f"{given} alone is no contrast: pass --toward and --away")
        if not self.asked:
            return
        known = sorted(set(texts.labels))
        for name, label in (("toward", self.toward), ("away", self.away)):
            if label not in known:
                raise ValueError(
                    f"--{name}={label}: no such group; expected one of {', '.join(known)}"
                )
        if self.toward == self.away:
            raise ValueError(
                f"--away={self.away}: --toward is the same group; expected another one"
            )
        if not lm.config.causal:
            raise ValueError(
                f"--toward={self.toward}: {lm.name} is a masked LM and writes no text; leave the "
                "contrast out, or pass a causal LM"
            )


FLAGS = define(Settings)


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """What was written after the beginning of a held-out text."""

    group: str
    beginning: str
    factor: float
    text: str
    perplexity: float
    """Under the model whose neurons are not scaled."""
    distinct: float
    """Share of different pairs of neighbouring tokens."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """The neurons of a contrast, and texts that were written while they were scaled."""

    toward: str
    away: str
    neurons: list[tuple[int, int]]
    """(layer, index)."""
    jaccard: float
    """Of the neurons that either half of the texts chooses."""
    chance: float
    """The same of random sets."""
    held: float
    """Share of them whose means differ with the same sign on the half that did not choose."""
    factor: float
    continuations: list[Continuation]

    def written(self, factor: float) -> list[Continuation]:
        """Texts by a factor, in one order."""
        return [one for one in self.continuations if one.factor == factor]

    def perplexity(self, factor: float) -> float:
        """Median over the texts."""
        return float(np.median([one.perplexity for one in self.written(factor)]))

    @property
    def changed(self) -> int:
        """Texts that are not those of the unscaled model."""
        pairs = zip(self.written(UNMOVED), self.written(self.factor), strict=True)
        return sum(before.text != after.text for before, after in pairs)


def contrasted(
    lm: LanguageModel, texts: Texts, found: Halves, settings: Settings
) -> Contrast | None:
    """The contrast that the flags name; None: they name none."""
    if settings.toward is None or settings.away is None:
        return None
    sides = settings.toward, settings.away
    chosen = [
        corpus.contrast(half, *sides, settings.contrast_share, how="scale")
        for half in found.statistics
    ]
    shape = found.statistics[0].shape
    masks = [np.zeros(shape, bool), np.zeros(shape, bool)]
    for mask, sets in zip(masks, chosen, strict=True):
        mask[tuple(sets.neurons[0].T)] = True
    groups = [found.by_label(half) for half in (0, 1)]
    signs = [
        np.sign(of.mean[of.number(sides[0])] - of.mean[of.number(sides[1])])[masks[0]]
        for of in groups
    ]
    chance = skills.chance_jaccard(int(masks[0].sum()), masks[0].size)
    return Contrast(
        toward=sides[0],
        away=sides[1],
        neurons=[(int(layer), int(index)) for layer, index in chosen[0].neurons[0]],
        jaccard=mask_jaccard(*masks) or 0.0,
        chance=chance.expected,
        held=float((signs[0] == signs[1]).mean()),
        factor=settings.factor,
        continuations=_written(lm, texts.half(1), chosen[0], found.statistics[0].site, settings),
    )


def _written(
    lm: LanguageModel, texts: Texts, chosen: negjax.NeuronSets, site: str, settings: Settings
) -> list[Continuation]:
    """Beginnings of both groups' held-out texts, written on by each factor."""
    begun = []
    for label in (settings.toward, settings.away):
        own = [text for text, of in zip(texts.texts, texts.labels, strict=True) if of == label]
        begun += [(str(label), _beginning(lm, text)) for text in own[: settings.watched]]
    rows = []
    for factor in dict.fromkeys([UNMOVED, settings.factor]):
        scaled = negjax.neuron_sets(lm.config, [(chosen.neurons[0], factor)])
        written = negjax.generate(
            lm,
            [ids for _, ids in begun],
            negjax.Intervention(scaled, "scale"),
            site=site,
            max_tokens=settings.continued,
        )
        unmoved = written.baseline_log_probability
        assert unmoved is not None
        for number, (label, ids) in enumerate(begun):
            there = written.mask[number]
            rows.append(
                Continuation(
                    group=label,
                    beginning=decoded(lm, ids),
                    factor=float(factor),
                    text=written.texts[number],
                    perplexity=float(np.exp(-unmoved[number, there].mean())),
                    distinct=distinct_pairs(written.tokens[number, there]),
                )
            )
    return sorted(rows, key=lambda row: (row.group != settings.toward, row.beginning))


def _beginning(lm: LanguageModel, text: str) -> list[int]:
    """The first half of a text's tokens, one at least beside those that frame it."""
    ids: list[int] = lm.tokenizer(text)["input_ids"]
    return ids[: max(2, len(ids) // 2)]
