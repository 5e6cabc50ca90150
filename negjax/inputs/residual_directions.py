"""Directions of the residual stream, written at a place of a layer: what goes where neurons go."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from negjax.checks import (
    as_array,
    described,
    finite_in,
    instance,
    integers,
    one_of,
    real_numbers,
    shown,
)
from negjax.errors import Argument, ArgumentError
from negjax.model.config import PLACES, Place
from negjax.model.language_model import LanguageModel
from negjax.records import readable

MOST_LAYERS = 2**31
MADE_BY = "directions(layer, vectors)"


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Directions:
    """N directions, each written in one layer; made by `directions`, which checks its input."""

    layer: Int[np.ndarray, " N"]
    """From 0."""
    vectors: Float[np.ndarray, "N D"]
    """A shift x writes x times the vector."""
    place: Place
    """Where in the layer: `residual_before`, `attention_out`, `ffn_out` or `residual_after`."""

    def __post_init__(self) -> None:
        vectors = real_numbers(self.vectors, "vectors")
        if vectors.ndim != 2 or not vectors.size:
            raise ArgumentError(
                Argument("vectors"),
                f" are {described(self.vectors)}, expected numbers [N, D], a direction a row",
            )
        layer = integers(self.layer, "layer", "whole numbers: one, or one a vector")
        inside = (layer >= 0) & (layer < MOST_LAYERS)
        if layer.shape not in ((), (len(vectors),)) or not inside.all():
            raise ArgumentError(
                Argument("layer"),
                f" is {shown(self.layer)} for {len(vectors)} vectors, expected one number, "
                f"or one a vector, from 0 to {MOST_LAYERS - 1}",
            )
        _check_each(vectors)
        one_of(self.place, "place", PLACES)
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "layer", np.broadcast_to(layer, len(vectors)).astype(np.int32))

    def __len__(self) -> int:
        """N."""
        return len(self.vectors)

    def select(self, index: ArrayLike) -> "Directions":
        """Some of the directions, in the order of their numbers.

        Args:
            index: [n], numbers from 0 to N - 1.

        Raises:
            ArgumentError: no such numbers.
        """
        chosen = self.numbers(index, "index")
        return dataclasses.replace(self, layer=self.layer[chosen], vectors=self.vectors[chosen])

    def numbers(self, index: ArrayLike, name: str) -> Int[np.ndarray, " n"]:
        """Numbers of directions, checked.

        Args:
            name: what an error calls them.

        Raises:
            ArgumentError: not one axis of whole numbers from 0 to N - 1, or none.
        """
        expected = f"whole numbers [n] from 0 to {len(self) - 1}, one or more"
        found = integers(index, name, expected)
        if found.ndim != 1 or not found.size or (found < 0).any() or (found >= len(self)).any():
            raise ArgumentError(Argument(name), f" are {shown(index)}, expected {expected}")
        return found


def _check_each(vectors: np.ndarray) -> None:
    sound = np.isfinite(vectors).all(1)
    if not sound.all():
        raise ArgumentError(
            Argument("vectors"),
            f": number {np.argmin(sound)} holds what is no finite number, expected finite ones",
        )
    written = (vectors != 0).any(1)
    if not written.all():
        raise ArgumentError(
            Argument("vectors"),
            f": number {np.argmin(written)} is zero, and writes nothing; leave it out",
        )


def directions(layer: ArrayLike, vectors: ArrayLike, place: Place = "residual_after") -> Directions:
    """Directions of the residual stream, to be passed in place of neurons.

    An SAE's or a transcoder's latent, a steering vector, a probe's weight: whatever is a vector of
    the model's width that is written in a layer.

    Args:
        layer: one number, from 0, or one a vector [N].
        vectors: [N, D], finite, none of them zero. A shift x writes x · v: units are the vector's.
        place: `residual_before` and `residual_after`, the residual that enters and leaves the
            layer; `attention_out` and `ffn_out`, what attention and the feed-forward network
            return, before any norm of it.

    Raises:
        ArgumentError: layers, vectors or a place of another kind, by name.
    """
    return Directions(layer=as_array(layer), vectors=as_array(vectors), place=place)


def check_directions(lm: LanguageModel, given: object, name: str) -> Directions:
    """Directions that the model has.

    Args:
        name: of the argument.

    Raises:
        ArgumentError: none, of another width, of layers that the model does not have, or too long
            for its numbers.
    """
    found = instance(given, name, Directions, MADE_BY)
    config = lm.config
    if found.vectors.shape[1] != config.width:
        raise ArgumentError(
            Argument(name),
            f": directions of width {found.vectors.shape[1]}, and {lm.name} has a residual stream "
            f"of {config.width}; pass those of this model",
        )
    if (found.layer >= config.layers).any():
        raise ArgumentError(
            Argument(name),
            f": a direction of layer {found.layer.max()}, and {lm.name} has layers "
            f"0…{config.layers - 1}; pass those of this model",
        )
    finite_in(found.vectors, "vectors", lm.compute_dtype)
    return found
