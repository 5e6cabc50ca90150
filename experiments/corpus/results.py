"""From the statistics of two halves of a corpus to what a report says of groups and neurons."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import negjax
from negjax import corpus, skills
from negjax.corpus import CorpusStatistics, GroupStatistics, LanguageNeurons

HALVES = ("choose neurons", "test them")
"""What each half of the texts does."""
SILENT, BUSY = 0.001, 0.999
"""Shares of firing below and above which a neuron hardly ever fires, or nearly always."""
SHOWN_LEVELS = (0.01, 0.1, 0.5, 0.9, 0.99)
"""Of quantiles in the table of neurons."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of texts, and its neurons."""

    label: str
    texts: int
    """Of both halves."""
    tokens: int
    neurons: int
    """Chosen by one half, and tested on the other."""
    own: float | None
    """Share of the group's held-out tokens at which they fire; None: it has no neurons."""
    others: float | None
    """Share of the other groups' tokens, each group counting alike."""
    jaccard: float | None
    """Of the neurons that either half chooses for the group; None: neither does."""

    @property
    def times(self) -> float | None:
        """How many times as often they fire at home."""
        return self.own / self.others if self.own is not None and self.others else None


@dataclass(frozen=True, kw_only=True)
class Overall:
    """All neurons, over the half that chooses."""

    silent: float
    """Share of neurons that fire at less than `SILENT` of the tokens."""
    busy: float
    """That fire at more than `BUSY`."""
    median: float
    """Of the neurons' shares of firing."""
    signs: dict[str, float] | None
    """Mean shares of tokens by the signs of act(gate) and up."""
    level: float
    """Often enough to fire for a group."""
    chosen: int
    jaccard: float
    """Of what the halves choose, whatever the group."""
    chance: float
    """The same of random sets."""


@dataclass(frozen=True, kw_only=True)
class Halves:
    """Statistics of both halves, and neurons by group of each."""

    statistics: tuple[CorpusStatistics, CorpusStatistics]
    neurons: tuple[LanguageNeurons, LanguageNeurons]

    @classmethod
    def of(cls, *statistics: CorpusStatistics, share: float, quantile: float) -> "Halves":
        """Chooses neurons on both halves."""
        first, second = statistics
        chosen = [corpus.language_neurons(half, share, quantile) for half in statistics]
        return cls(statistics=(first, second), neurons=(chosen[0], chosen[1]))

    def by_label(self, half: int) -> GroupStatistics:
        """Groups of a half."""
        found = self.statistics[half].groups
        assert found is not None
        return found

    def groups(self) -> list[Group]:
        """Every group, those with most neurons first."""
        chosen, tested = self.by_label(0), self.by_label(1)
        found = []
        for number, label in enumerate(chosen.labels):
            again = tested.number(label)
            mask = self.neurons[0].masks[number]
            firing = tested.firing[:, mask].mean(1) if mask.any() else None
            others = None if firing is None else np.delete(firing, again).mean()
            found.append(
                Group(
                    label=label,
                    texts=chosen.texts[number] + tested.texts[again],
                    tokens=int(chosen.tokens[number] + tested.tokens[again]),
                    neurons=int(mask.sum()),
                    own=None if firing is None else float(firing[again]),
                    others=None if others is None else float(others),
                    jaccard=mask_jaccard(mask, self.neurons[1].masks[again]),
                )
            )
        return sorted(found, key=lambda group: -group.neurons)

    def overall(self) -> Overall:
        """All neurons."""
        first, (one, other) = self.statistics[0], self.neurons
        chosen = int(one.chosen.sum())
        signs = None if first.signs is None else first.signs.mean((1, 2)).tolist()
        return Overall(
            silent=float((first.firing < SILENT).mean()),
            busy=float((first.firing > BUSY).mean()),
            median=float(np.median(first.firing)),
            signs=None if signs is None else dict(zip(corpus.SIGNS, signs, strict=True)),
            level=one.level,
            chosen=chosen,
            jaccard=mask_jaccard(one.chosen, other.chosen) or 0.0,
            chance=skills.chance_jaccard(chosen, one.chosen.size).expected if chosen else 0.0,
        )

    def best(self, count: int) -> np.ndarray:
        """Neurons [n, 2] of the lowest entropy, among them those that fire most in one group."""
        first, neurons = self.by_label(0), self.neurons[0]
        firing = first.firing.max(0)
        order = np.lexsort((-firing.reshape(-1), neurons.entropy.reshape(-1)))
        kept = order[neurons.chosen.reshape(-1)[order]][:count]
        return np.stack(np.divmod(kept, firing.shape[1]), -1)

    def labels_of(self, layer: int, index: int) -> list[str]:
        """Groups of a neuron."""
        masks = self.neurons[0].masks[:, layer, index]
        return [self.neurons[0].labels[number] for number in np.flatnonzero(masks)]

    def table(self) -> dict[str, Any]:
        """Columns of all neurons, over the half that chooses."""
        found, neurons = self.statistics[0], self.neurons[0]
        layer, index = np.divmod(np.arange(found.mean.size), found.shape[1])
        quantiles = found.quantiles(SHOWN_LEVELS)
        named = [
            "|".join(self.labels_of(*at)) if neurons.chosen[at] else ""
            for at in zip(layer.tolist(), index.tolist(), strict=True)
        ]
        return {
            "layer": layer,
            "neuron": index,
            **{
                name: getattr(found, name).reshape(-1)
                for name in ("mean", "deviation", "lowest", "highest", "firing")
            },
            **{
                f"quantile_{level:g}": values.reshape(-1)
                for level, values in zip(SHOWN_LEVELS, quantiles, strict=True)
            },
            "entropy": neurons.entropy.reshape(-1),
            "groups": named,
        }


def shown_context(context: negjax.corpus.Context) -> str:
    """A token in its text, as a cell of a table."""
    return f"{context.before}⟦{context.at}⟧{context.after}".replace("\n", " ")


def mask_jaccard(one: np.ndarray, other: np.ndarray) -> float | None:
    """Jaccard index of two masks; None: both are empty."""
    every = int((one | other).sum())
    return float((one & other).sum() / every) if every else None
