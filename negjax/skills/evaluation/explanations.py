"""What a fitted probe says: which neurons it asks, where they lie, what they vote on an item."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from negjax.checks import as_array, described, shown
from negjax.records import readable
from negjax.skills.probes.act import ActProbe
from negjax.skills.probes.fitted import ScoreProbe
from negjax.skills.probes.forest import ForestProbe

Explained = ScoreProbe | ActProbe | ForestProbe
"""Probes that ask neurons."""


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """A probe's neurons, and their votes on an item if one was given."""

    neurons: np.ndarray
    """[k, 2], (layer, index), in the probe's order; a neuron of several of Act's nodes stands there
    several times."""
    polarity: np.ndarray
    """[k], int8, as the probe has it."""
    per_layer: np.ndarray
    """[L], how many different neurons of each layer."""
    votes: np.ndarray | None
    """[K, k], what each neuron gives each label; of a forest [K, trees], what each tree does."""
    predicted: int | None
    """The label of the item."""


def explain(probe: Explained, shape: tuple[int, int], item: ArrayLike | None = None) -> Explanation:
    """Explains a probe, or what it predicts of an item.

    Args:
        shape: (L, F) of the model.
        item: what the probe predicts from, of one prompt: scores [K, L, F] or activations [L, F].

    Raises:
        ValueError: the probe has neurons of another number than L · F; an item of another shape.
    """
    if not isinstance(probe, Explained):
        raise ValueError(
            f"probe is {shown(probe)}, expected one that asks neurons: what Polar, Magn, Act, Tree "
            "or Linear fits"
        )
    place = probe.layer_index(shape)
    per_layer = np.bincount(np.unique(place, axis=0)[:, 0], minlength=shape[0])
    if item is None:
        return Explanation(
            neurons=place, polarity=probe.polarity, per_layer=per_layer, votes=None, predicted=None
        )
    one = as_array(item)[None]
    if one.dtype == object:
        raise ValueError(
            f"item: {described(item)} was given, expected what the probe predicts from"
        )
    try:
        votes, predicted = probe.votes(one)[0], int(probe.predict(one)[0])
    except ValueError as error:
        raise ValueError(f"item, as of one prompt: {error}") from None
    return Explanation(
        neurons=place,
        polarity=probe.polarity,
        per_layer=per_layer,
        votes=votes,
        predicted=predicted,
    )
