"""What the trace reports, computed from the measurements that its folder holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.inputs import facts
from experiments.reporting import intervals
from experiments.reporting.intervals import Estimate
from experiments.trace.pairs import ROLES, Pair
from negjax.storage.store import RunFolder

QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One pair's T tokens and L layers."""

    number: int
    clean: str
    corrupted: str
    answers: tuple[str, str]
    """Of the clean prompt, and of the corrupted one."""
    pieces: tuple[str, ...]
    """T, tokens of the corrupted prompt as text."""
    difference: np.ndarray
    """[2], of the answers' logits in the clean prompt and in the corrupted one."""
    effect: np.ndarray
    """[T, L]."""
    attribution: np.ndarray
    """[T, L]."""
    role: np.ndarray
    """[T], numbers in `ROLES`."""

    @property
    def whole(self) -> float:
        """What restoring everything would bring back."""
        return float(self.difference[0] - self.difference[1])

    @property
    def strongest(self) -> tuple[int, int]:
        """Token and layer of the largest effect."""
        token, layer = np.unravel_index(np.argmax(self.effect), self.effect.shape)
        return int(token), int(layer)


class Place(NamedTuple):
    """A role and a layer over all pairs."""

    role: str
    layer: int
    share: float
    """Of the differences, that it brings back: sums over the pairs."""
    interval: Estimate
    """The same with its interval over the pairs that have such a token."""
    quartiles: tuple[float, ...]
    """Of the shares of pairs."""


class Over(NamedTuple):
    """All pairs together."""

    exact: np.ndarray
    """[roles, L], shares; NaN where no pair has such a token."""
    predicted: np.ndarray
    """[roles, L], likewise, to first order."""
    top: list[Place]
    """From the largest share down."""
    pearson: float
    """Of effects and attributions at all tokens and layers where the prompts may differ."""


def read_trace(inputs: facts.Inputs, folder: RunFolder, number: int, pair: Pair) -> Trace:
    """Reads a finished pair."""
    effect, attribution, role, difference = (
        folder.read(name, (number,)) for name in ("effect", "attribution", "role", "difference")
    )
    there = role >= 0
    probes = inputs.probes
    ids = probes.tokens[pair.corrupted, probes.mask[pair.corrupted]].tolist()
    return Trace(
        number=number,
        clean=probes.prompts[pair.clean],
        corrupted=probes.prompts[pair.corrupted],
        answers=(probes.targets[pair.clean][0], probes.targets[pair.corrupted][0]),
        pieces=tuple(str(inputs.lm.tokenizer.decode([i])) for i in ids),
        difference=difference,
        effect=effect[there],
        attribution=attribution[there],
        role=role[there],
    )


def over_pairs(traces: Sequence[Trace]) -> Over:
    """What pairs have in common, by role and layer.

    A pair counts with the mean of its tokens of a role; shares are ratios of sums over pairs, so
    that a pair of small difference counts little.
    """
    layers = traces[0].effect.shape[1]
    exact, predicted = (np.full((len(ROLES), layers), np.nan) for _ in range(2))
    top = []
    for number, role in enumerate(ROLES):
        some = [trace for trace in traces if (trace.role == number).any()]
        if not some:
            continue
        whole = np.asarray([trace.whole for trace in some])
        means, guesses = (
            np.stack([values(trace)[trace.role == number].mean(0) for trace in some])
            for values in (lambda trace: trace.effect, lambda trace: trace.attribution)
        )
        exact[number] = means.sum(0) / whole.sum()
        predicted[number] = guesses.sum(0) / whole.sum()
        for layer in range(layers):
            own = means[:, layer]
            share = intervals.ratio(own, whole, np.arange(len(some)), "pair")
            quartiles = np.quantile(own / whole, QUARTILES)
            top.append(Place(role, layer, exact[number, layer].item(), share, tuple(quartiles)))
    effects, guesses = (
        np.concatenate([values.ravel() for values in each]) for each in _apart(traces)
    )
    return Over(
        exact=exact,
        predicted=predicted,
        top=sorted(top, key=lambda place: -place.share),
        pearson=float(np.corrcoef(effects, guesses)[0, 1])
        if effects.std() and guesses.std()
        else 0.0,
    )


def _apart(traces: Sequence[Trace]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Effects and attributions where they are not 0 because the prompts are still the same."""
    kept = [trace.role > 0 for trace in traces]
    return (
        [trace.effect[some] for trace, some in zip(traces, kept, strict=True)],
        [trace.attribution[some] for trace, some in zip(traces, kept, strict=True)],
    )
