"""What is done to neurons and directions while a model reads and writes, as it is asked for."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.inputs.neurons import NeuronSets
from negjax.inputs.residual_directions import check_directions
from negjax.model.config import Place
from negjax.model.language_model import LanguageModel
from negjax.records import readable

Move = Literal["signed", "additive", "scale", "clamp"]
KINDS: tuple[Move, ...] = get_args(Move)
"""Numbered from 1 in `moves.Amounts.kind`."""
SIGNED, ADDITIVE, SCALE, CLAMP = range(1, 5)


@readable
@dataclasses.dataclass(frozen=True)
class Intervention:
    """Sets of neurons or directions and what is done to them, at every token where they are moved.

    With a for what the activation, or the residual's coefficient along the direction, has become
    because of what is moved below:

    | how | it becomes |
    |---|---|
    | `signed` | a + x·s(a₀), a₀ the activation of the unmoved model, reading the same text |
    | `additive` | a + x |
    | `scale` | x·a |
    | `clamp` | x |

    Directions have no sign of their own, and only those that are written to the residual that
    enters or leaves a layer can be scaled or clamped. Of several at one place of a layer all
    coefficients are read before any of them is moved, and what is written adds up.
    """

    sets: NeuronSets
    """Of `neuron_sets` or `direction_sets`: one for all prompts, or one a prompt; x are its
    values."""
    how: Move = "signed"

    def __post_init__(self) -> None:
        made_by = "negjax.neuron_sets(lm.config, [(neurons, values), …])"
        checks.instance(self.sets, "sets", NeuronSets, made_by)
        checks.one_of(self.how, "how", KINDS)
        several = np.argwhere(np.isnan(self.values))
        if len(several):
            row, column = several[0]
            layer, index = self.sets.neurons[row, column]
            what = "neuron" if self.place is None else "direction"
            raise ArgumentError(
                Argument("how", self.how),
                f": set {row} names {what} (layer {layer}, index {index}) with different values; "
                "name it once",
            )
        if self.place is not None and self.how == "signed":
            raise ArgumentError(
                *(Argument("how", self.how), " takes the sign of a neuron's activation, and "),
                *("directions have none; pass ", Argument("how", "additive")),
            )
        if self.place in ("attention_out", "ffn_out") and self.how != "additive":
            raise ArgumentError(
                Argument("how", self.how),
                f": the directions are at {self.place}, where there is no coefficient that a write "
                "sets; make them at residual_before or residual_after, or pass ",
                Argument("how", "additive"),
            )

    @property
    def place(self) -> Place | None:
        """Of directions; None of neurons."""
        return None if self.sets.directions is None else self.sets.directions.place

    @property
    def values(self) -> Float[np.ndarray, "R n"]:
        """x of each member: shifts of one that is named twice add up, other values are itself."""
        adds = self.how in ("signed", "additive")
        return self.sets.values if adds else self.sets.levels


def checked_interventions(
    lm: LanguageModel, value: object, prompts: int
) -> tuple[Intervention, ...]:
    """Interventions on a model for so many prompts, one of which may stand alone.

    Raises:
        ArgumentError: another kind, sets of another model, values that are not finite, neither one
            set nor one a prompt, a neuron that two of them move.
    """
    name = "interventions"
    expected = "an Intervention, or a list of them"
    alone = (value,) if isinstance(value, Intervention) else value
    given = () if alone is None else tuple(checks.listed(alone, name, expected))
    shape = (lm.config.layers, lm.config.neurons)
    found: list[Intervention] = []
    for number, member in enumerate(given):
        where = f"{name}[{number}]"
        made_by = 'negjax.Intervention(sets, "signed")'
        some = checks.instance(member, where, Intervention, made_by)
        if some.sets.directions is not None:
            check_directions(lm, some.sets.directions, where)
        elif some.sets.model_shape != shape:
            layers, neurons = some.sets.model_shape
            raise ArgumentError(
                Argument(where),
                f" has sets of a model with {layers} layers of {neurons} neurons, {lm.name} has "
                f"{shape[0]} of {shape[1]}; make them with its config",
            )
        checks.finite_in(some.values, where, lm.compute_dtype)
        if len(some.sets) not in (1, prompts):
            raise ArgumentError(
                Argument(where),
                f" has {len(some.sets)} sets for {prompts} prompts, expected one for all of them, "
                "or one each",
            )
        found.append(some)
    _check_apart(found, prompts)
    return tuple(found)


def _check_apart(interventions: Sequence[Intervention], prompts: int) -> None:
    """Refuses a neuron that two interventions move: which of them would be first?"""
    of_neurons = [pair for pair in enumerate(interventions) if pair[1].place is None]
    for prompt in range(prompts if len(of_neurons) > 1 else 0):
        mover: dict[tuple[int, int], int] = {}
        for number, some in of_neurons:
            layer, index = set_of(some, prompt)[0].T
            for neuron in zip(layer.tolist(), index.tolist(), strict=True):
                if neuron in mover:
                    raise ArgumentError(
                        Argument(f"interventions[{number}]"),
                        f" moves neuron (layer {neuron[0]}, index {neuron[1]}) of prompt {prompt}, "
                        f"which interventions[{mover[neuron]}] moves, too; name it in one of them",
                    )
                mover[neuron] = number


def set_of(
    some: Intervention, prompt: int
) -> tuple[Int[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """Neurons [n, 2] that are moved in a prompt, or directions (layer, number), and x [n]."""
    row = prompt % len(some.sets)
    used = some.sets.used[row]
    return some.sets.neurons[row, used], some.values[row, used]
