"""What is known of a corpus so far: batches' sums, merged on the host in float64, in their order.

Means and squared distances of two parts are merged as Chan, Golub and LeVeque do (*Updating
formulae and a pairwise algorithm for computing sample variances*, 1979), which loses nothing where
a mean is large beside the spread.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from negjax.corpus.histograms import BINS
from negjax.corpus.reductions import Reduced

FARTHEST = np.iinfo(np.int64).max
"""Number of a text that does not exist, behind all others."""


@dataclasses.dataclass(kw_only=True)
class Largest:
    """The k largest of some values of every neuron, and where they are; equal ones in the order of
    the corpus."""

    value: np.ndarray
    """[L, F, k], descending; −∞ where there are fewer tokens."""
    text: np.ndarray
    """[L, F, k], number of the text."""
    place: np.ndarray
    """[L, F, k], number of the token in it."""

    @classmethod
    def none(cls, shape: tuple[int, int], count: int) -> "Largest":
        """Of no tokens."""
        size = (*shape, count)
        return cls(
            value=np.full(size, -np.inf),
            text=np.full(size, FARTHEST),
            place=np.zeros(size, np.int64),
        )

    def add(self, value: np.ndarray, text: np.ndarray, place: np.ndarray) -> None:
        """Takes the largest of those that there are and some more [L, F, n]."""
        count = self.value.shape[-1]
        # What does not count has no place, so that it is never preferred to what is missing.
        text = np.where(np.isfinite(value), text, FARTHEST)
        values = np.concatenate([self.value, value], axis=-1)
        texts = np.concatenate([self.text, text], axis=-1)
        places = np.concatenate([self.place, place], axis=-1)
        order = np.lexsort((places, texts, -values), axis=-1)[..., :count]
        self.value, self.text, self.place = (
            np.take_along_axis(every, order, axis=-1) for every in (values, texts, places)
        )


@dataclasses.dataclass(kw_only=True)
class Accumulated:
    """Sums over all counted tokens of the texts so far, G groups of them."""

    groups: list[str]
    """In the order in which they were first seen."""
    texts: list[int]
    """Of each group."""
    tokens: np.ndarray
    """[G], that count."""
    mean: np.ndarray
    squares: np.ndarray
    """[G, L, F] each, float64; the second of distances from the first."""
    fired: np.ndarray
    """[G, L, F], int64."""
    signs: np.ndarray
    """[4, L, F], int64; [0, L, F] in models without gates."""
    lowest: np.ndarray
    highest: np.ndarray
    """[L, F] each."""
    bottom: Largest
    """Of the negated values."""
    top: Largest
    histogram: np.ndarray
    """[L, F, BINS], uint32; [L, F, 0] where it was not asked for."""

    @classmethod
    def none(
        cls, shape: tuple[int, int], *, gated: bool, extremes: int, histograms: bool
    ) -> "Accumulated":
        """Of no texts, of a model with (L, F) neurons."""
        return cls(
            groups=[],
            texts=[],
            tokens=np.zeros(0, np.int64),
            mean=np.zeros((0, *shape)),
            squares=np.zeros((0, *shape)),
            fired=np.zeros((0, *shape), np.int64),
            signs=np.zeros((4 if gated else 0, *shape), np.int64),
            lowest=np.full(shape, np.inf),
            highest=np.full(shape, -np.inf),
            bottom=Largest.none(shape, extremes),
            top=Largest.none(shape, extremes),
            histogram=np.zeros((*shape, BINS if histograms else 0), np.uint32),
        )

    def number_of(self, label: str) -> int:
        """The number of a group, which is a new one if it was not seen before."""
        if label not in self.groups:
            self.groups.append(label)
            self.texts.append(0)
            self.tokens = np.append(self.tokens, 0)
            for name in ("mean", "squares", "fired"):
                held = getattr(self, name)
                more = np.zeros((1, *held.shape[1:]), held.dtype)
                setattr(self, name, np.concatenate([held, more]))
        return self.groups.index(label)

    def add(
        self,
        found: Reduced,
        members: Sequence[int],
        tokens: np.ndarray,
        text: np.ndarray,
        place: np.ndarray,
    ) -> None:
        """Takes what was computed of a batch.

        Args:
            found: as numpy arrays.
            members: numbers of the groups of its g rows; what stands behind them is left aside.
            tokens: [g], that count of each.
            text, place: [P · T], number of the text and of the token in it, of each token.
        """
        for row, (group, count) in enumerate(zip(members, tokens.tolist(), strict=True)):
            before = int(self.tokens[group])
            if not count:
                continue
            away = found.mean[:, row].astype(np.float64) - self.mean[group]
            self.tokens[group] = before + count
            self.mean[group] += away * (count / (before + count))
            self.squares[group] += found.squares[:, row]
            self.squares[group] += np.square(away) * (before * count / (before + count))
            self.fired[group] += found.fired[:, row]
        if found.signs is not None:
            self.signs += found.signs.swapaxes(0, 1)
        self.lowest = np.minimum(self.lowest, found.lowest)
        self.highest = np.maximum(self.highest, found.highest)
        self.top.add(np.asarray(found.top, np.float64), text[found.top_at], place[found.top_at])
        lowest = -np.asarray(found.bottom, np.float64)
        self.bottom.add(lowest, text[found.bottom_at], place[found.bottom_at])
        if found.histogram is not None:
            self.histogram += found.histogram.astype(np.uint32)
