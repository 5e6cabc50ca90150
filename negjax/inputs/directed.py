"""Directions in place of neurons: what is asked for, and sets of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from negjax.checks import instance, listed, real_numbers, shown
from negjax.errors import Argument, ArgumentError
from negjax.inputs.neurons import (
    NeuronSets,
    SetMembers,
    check_neurons,
    filled_up,
    values_of_members,
)
from negjax.inputs.residual_directions import MADE_BY, Directions, check_directions
from negjax.model.config import SiteOrPlace
from negjax.model.language_model import LanguageModel


class Asked(NamedTuple):
    """What is shifted: neurons of a site, or directions of a place."""

    neurons: Int[np.ndarray, "B N 2"]
    """(layer, index); of directions (layer, number)."""
    site: SiteOrPlace
    directions: Directions | None


def asked_neurons(
    lm: LanguageModel,
    neurons: ArrayLike | Directions,
    prompts: int,
    site: str | None,
    convention: str = "additive",
) -> Asked:
    """Neurons or directions of each prompt, checked.

    Raises:
        ValueError: as `check_neurons`; directions of another width or of layers that the model does
            not have, beside a site or the `signed` convention.
    """
    if not isinstance(neurons, Directions):
        return Asked(check_neurons(lm.config, neurons, prompts), lm.config.site(site), None)
    check_directions(lm, neurons, "neurons")
    refuse_site(site)
    refuse_signs(convention)
    pairs = np.stack([neurons.layer, np.arange(len(neurons), dtype=np.int32)], axis=-1)
    each = np.broadcast_to(pairs, (prompts, *pairs.shape))
    return Asked(each.astype(np.int32), neurons.place, neurons)


def refuse_site(site: str | None) -> None:
    """Refuses a site beside directions.

    Raises:
        ArgumentError: there is one.
    """
    if site is not None:
        raise ArgumentError(
            Argument("site", site), " is of neurons, and directions have a place; leave it out"
        )


def refuse_signs(convention: str) -> None:
    """Refuses the convention that takes an activation's sign.

    Raises:
        ArgumentError: it is `signed`.
    """
    if convention == "signed":
        raise ArgumentError(
            *(Argument("convention", convention), " takes the sign of a neuron's activation, and "),
            *("directions have none; pass ", Argument("convention", "additive")),
        )


def direction_sets(
    directions: Directions, sets: Sequence[tuple[ArrayLike, ArrayLike]]
) -> NeuronSets:
    """Sets of directions with values, for `joint` and for `Intervention`.

    Args:
        directions: that the sets' members are of.
        sets: R pairs of numbers of directions [n] and shifts [n], or one for all of them; n may
            differ. Of a direction that a set names more than once, shifts are added up; other
            values must be the same.

    Raises:
        ValueError: no sets, an empty set, a number or a shift of another kind; the set is named by
            its number.
    """
    found = instance(directions, "directions", Directions, MADE_BY)
    pairs = listed(sets, "sets", "a list of (numbers, shifts) pairs")
    if not pairs:
        raise ArgumentError(Argument("sets"), " are none, expected at least one")
    merged = []
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ArgumentError(
                Argument("sets"),
                f": set {number}: {shown(pair)}, expected a pair of numbers and shifts",
            )
        try:
            merged.append(_merged(found, *pair))
        except ValueError as error:
            raise ArgumentError(Argument("sets"), f": set {number}: {error}") from None
    shape = (int(found.layer.max()) + 1, len(found))
    return filled_up(shape, merged, found)


def _merged(directions: Directions, index: ArrayLike, shifts: ArrayLike) -> SetMembers:
    """Different directions [n, 2], (layer, number), the sum of each one's values [n], and the value
    itself [n], NaN where there are several."""
    numbers = directions.numbers(index, "numbers")
    values = real_numbers(shifts, "shifts")
    if values.shape not in ((), numbers.shape) or not np.isfinite(values).all():
        raise ArgumentError(
            Argument("shifts"),
            f" are {shown(shifts)} for {len(numbers)} directions, expected a finite number each, "
            "or one for all",
        )
    own, total, level = values_of_members(numbers, values)
    return SetMembers(np.stack([directions.layer[own], own], axis=-1), total, level)
