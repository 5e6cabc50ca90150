"""Which neurons: (layer, index) pairs, checked; random choices, reproducible; sets of them."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from negjax.checks import (
    as_array,
    described,
    integers,
    is_whole,
    listed,
    real_numbers,
    shown,
    whole_number,
)
from negjax.errors import Argument, ArgumentError
from negjax.inputs.residual_directions import Directions
from negjax.model.config import ModelConfig, check_config
from negjax.records import readable

MOST_PROMPTS = 10**7
"""For which neurons are drawn at once: more would not fit memory."""


def check_neurons(
    config: ModelConfig, neurons: ArrayLike, prompts: int
) -> Int[np.ndarray, "{prompts} N 2"]:
    """Neurons of each prompt, int32.

    Args:
        neurons: [N, 2], the same for all prompts, or [B, N, 2]; (layer, index) pairs.

    Raises:
        ValueError: no neurons, another shape or type, or a neuron that the model does not have.
    """
    expected = "integers [N, 2] or [B, N, 2]: (layer, index) pairs"
    array = as_array(neurons)
    if (
        array.ndim not in (2, 3)
        or array.shape[-1] != 2
        or not np.issubdtype(array.dtype, np.integer)
    ):
        raise ValueError(f"neurons are {described(neurons)}, expected {expected}")
    if array.shape[-2] == 0:
        raise ValueError("no neurons: expected at least one (layer, index) pair")
    if array.ndim == 3 and array.shape[0] != prompts:
        raise ValueError(f"neurons are given for {array.shape[0]} prompts, expected {prompts}")
    sizes = np.asarray([config.layers, config.neurons])
    wrong = np.argwhere(((array < 0) | (array >= sizes)).any(-1))
    if len(wrong):
        layer, index = array[tuple(wrong[0])]
        raise ValueError(
            f"neuron (layer {layer}, index {index}) does not exist: the model has layers "
            f"0…{config.layers - 1} of neurons 0…{config.neurons - 1}"
        )
    if array.ndim == 2:
        array = np.broadcast_to(array, (prompts, *array.shape))
    return array.astype(np.int32)


def all_neurons(config: ModelConfig) -> Int[np.ndarray, "N 2"]:
    """(layer, index) of all L · F neurons, layer-major.

    Raises:
        ValueError: no model's config.
    """
    check_config(config)
    layer, index = np.divmod(np.arange(config.layers * config.neurons), config.neurons)
    return np.stack([layer, index], axis=1).astype(np.int32)


def random_neurons(
    config: ModelConfig, count: int, prompts: int, seed: int
) -> Int[np.ndarray, "{prompts} {count} 2"]:
    """`count` different neurons for each prompt, uniformly, sorted by layer and index.

    A prompt's choice depends on the seed and its number alone, not on how many prompts there are.

    Raises:
        ValueError: more neurons than the model has, or fewer than 1; prompts or a seed that are no
            whole numbers.
    """
    check_config(config)
    total = config.layers * config.neurons
    if not is_whole(count) or not 1 <= count <= total:
        raise ArgumentError(
            f"{shown(count)} neurons a prompt: expected 1 to {total}, or all (",
            Argument("count"),
            ")",
        )
    prompts = whole_number(prompts, "prompts", 1, MOST_PROMPTS)
    seed = whole_number(seed, "seed", 0)
    chosen = [
        np.sort(np.random.default_rng([seed, row]).choice(total, count, replace=False))
        for row in range(prompts)
    ]
    return np.stack(np.divmod(np.asarray(chosen), config.neurons), axis=-1).astype(np.int32)


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class NeuronSets:
    """R sets of neurons, each neuron with a value: a shift, or what its activation is set to.

    Made by `neuron_sets`, which checks its input.
    """

    neurons: Int[np.ndarray, "R n 2"]
    """(layer, index), int32, no neuron twice in a set; layer L fills up smaller sets."""
    values: Float[np.ndarray, "R n"]
    """Float64, the sum of a neuron's values: its shift, in units of the activation; 0 where
    a set is filled up."""
    levels: Float[np.ndarray, "R n"]
    """Float64, the value itself: what the activation is set to, however often it was named;
    NaN where a neuron was given different values, 0 where a set is filled up."""
    model_shape: tuple[int, int]
    """(L, F) of the model that the neurons are of; of directions, as many layers as they need, and
    N."""
    directions: Directions | None = None
    """Given, the sets' members are directions: (layer, number). Made by `direction_sets`."""

    def __post_init__(self) -> None:
        shape = self.values.shape
        if len(shape) != 2 or self.neurons.shape != (*shape, 2) or self.levels.shape != shape:
            raise ValueError(
                f"neurons are {list(self.neurons.shape)}, values {list(shape)} and levels "
                f"{list(self.levels.shape)}, expected [R, n, 2], [R, n] and [R, n]; neuron_sets "
                "makes them of lists"
            )
        object.__setattr__(
            self,
            "neurons",
            integers(self.neurons, "neurons", "an array of whole numbers [R, n, 2]"),
        )
        layers, neurons = self.model_shape
        layer, index = self.neurons[..., 0], self.neurons[..., 1]
        # Layer L fills up; on a device an index beyond it would be moved into the model.
        wrong = (layer < 0) | (layer > layers) | (index < 0) | (index >= neurons)
        if wrong.any():
            row, place = np.argwhere(wrong)[0]
            raise ValueError(
                f"set {row} names neuron (layer {layer[row, place]}, index {index[row, place]}): "
                f"the model has layers 0…{layers - 1} of neurons 0…{neurons - 1}"
            )
        if not np.isfinite(self.values).all():
            row, place = np.argwhere(~np.isfinite(self.values))[0]
            raise ValueError(
                f"set {row} has the value {self.values[row, place]}, expected finite numbers"
            )

    def __len__(self) -> int:
        return len(self.neurons)

    @property
    def used(self) -> Bool[np.ndarray, "R n"]:
        """False where a set is filled up."""
        return self.neurons[..., 0] < self.model_shape[0]

    @property
    def sizes(self) -> Int[np.ndarray, " R"]:
        """Neurons of each set."""
        result: np.ndarray = self.used.sum(1)
        return result

    def dense(self) -> Float[np.ndarray, "R L F"]:
        """The values at their neurons, 0 elsewhere."""
        result = np.zeros((len(self), *self.model_shape))
        row, column = np.nonzero(self.used)
        layer, index = self.neurons[row, column].T
        result[row, layer, index] = self.values[row, column]
        return result


class SetMembers(NamedTuple):
    """One set of `NeuronSets`, before it is filled up."""

    neurons: Int[np.ndarray, "n 2"]
    values: Float[np.ndarray, " n"]
    levels: Float[np.ndarray, " n"]


def neuron_sets(config: ModelConfig, sets: Sequence[tuple[ArrayLike, ArrayLike]]) -> NeuronSets:
    """Sets of neurons with values, checked.

    Args:
        config: of the model that has the neurons.
        sets: R pairs of neurons [n, 2], (layer, index), and values [n] or one for all of them; n
            may differ. Of a neuron that a set names more than once, shifts are added up; to clamp,
            all its values must be the same, and it is set to that value.

    Raises:
        ValueError: no sets, an empty set, more neurons than the model has, a neuron that it does
            not have, a value that is not finite; the set is named by its number.
    """
    check_config(config)
    pairs = listed(sets, "sets", "a list of (neurons, values) pairs")
    if not pairs:
        raise ValueError("no sets of neurons: expected at least one")
    merged = []
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(
                f"sets: set {number}: {shown(pair)}, expected a pair of neurons and values"
            )
        neurons, values = pair
        try:
            merged.append(_merged(config, neurons, values))
        except ValueError as error:
            raise ValueError(f"sets: set {number}: {error}") from None
    return filled_up((config.layers, config.neurons), merged)


def dense_sets(config: ModelConfig, shifts: ArrayLike) -> NeuronSets:
    """Sets of the neurons where shifts [R, L, F] are not 0; a set may be empty.

    Raises:
        ValueError: another shape, or a shift that is not finite.
    """
    shifts = real_numbers(shifts, "shifts")
    shape = (config.layers, config.neurons)
    if shifts.ndim != 3 or not len(shifts) or shifts.shape[1:] != shape:
        raise ValueError(
            f"shifts are {list(shifts.shape)}, expected [R, L, F] = [R, {shape[0]}, {shape[1]}]"
        )
    if not np.isfinite(shifts).all():
        row, layer, index = np.argwhere(~np.isfinite(shifts))[0]
        raise ValueError(
            f"shift {shifts[row, layer, index]} of row {row} at neuron (layer {layer}, index "
            f"{index}): expected finite numbers"
        )
    return sets_of_shifts(shifts)


def sets_of_shifts(shifts: Float[np.ndarray, "R L F"]) -> NeuronSets:
    """Sets of the neurons where finite shifts are not 0; a set may be empty."""
    pairs = [(np.argwhere(row), row) for row in shifts]
    values = [(at, row[at[:, 0], at[:, 1]]) for at, row in pairs]
    _, layers, neurons = shifts.shape
    return filled_up((layers, neurons), [SetMembers(at, own, own) for at, own in values])


def _merged(config: ModelConfig, given: ArrayLike, values: ArrayLike) -> SetMembers:
    """Different neurons [n, 2], sorted, the sum of each one's values [n], and the value itself [n],
    NaN where there are several."""
    total = config.layers * config.neurons
    neurons = integers(given, "neurons", "integers [n, 2]: (layer, index) pairs")
    if neurons.ndim == 2 and len(neurons) > total:
        raise ValueError(f"{len(neurons):,} neurons, more than the {total:,} that the model has")
    if neurons.ndim != 2:
        raise ValueError(
            f"neurons are {list(neurons.shape)}, expected [n, 2]: (layer, index) pairs"
        )
    neurons = check_neurons(config, neurons, 1)[0]
    values = real_numbers(values, "value")
    if values.ndim and values.shape != (len(neurons),):
        raise ValueError(
            f"values are {list(values.shape)} for {len(neurons)} neurons, expected one each, or "
            "one number for all"
        )
    values = np.broadcast_to(values, len(neurons))
    if not np.isfinite(values).all():
        wrong = int(np.argmin(np.isfinite(values)))
        layer, index = neurons[wrong]
        raise ValueError(
            f"value {values[wrong]} of neuron (layer {layer}, index {index}), expected a finite "
            "number"
        )
    flat, added, level = values_of_members(neurons @ (config.neurons, 1), values)
    return SetMembers(np.stack(np.divmod(flat, config.neurons), -1), added, level)


def values_of_members(
    members: Int[np.ndarray, " m"], values: Float[np.ndarray, "*m"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Different members in ascending order, the sum of each one's values, and the value itself, NaN
    where there are several.

    Args:
        values: one each, or one for all.
    """
    values = np.broadcast_to(values, members.shape)
    different, first, inverse = np.unique(members, return_index=True, return_inverse=True)
    level = values[first]
    level[inverse[values != level[inverse]]] = np.nan
    return different, np.bincount(inverse, values), level


def filled_up(
    shape: tuple[int, int],
    sets: Sequence[SetMembers],
    directions: Directions | None = None,
) -> NeuronSets:
    """Sets of one size, of a model of (L, F)."""
    longest = max(len(values) for _, values, _ in sets)
    neurons = np.zeros((len(sets), longest, 2), np.int32)
    neurons[..., 0] = shape[0]
    values, levels = np.zeros((2, len(sets), longest))
    for row, (some, own, level) in enumerate(sets):
        neurons[row, : len(own)] = some
        values[row, : len(own)], levels[row, : len(own)] = own, level
    return NeuronSets(
        neurons=neurons,
        values=values,
        levels=levels,
        model_shape=shape,
        directions=directions,
    )
