"""What is done to neurons while a model reads and writes, and where in the text.

A prompt has two rows: the model as it is, and the model that is moved. Both read the same text, so
that the sign of an unperturbed activation, which the `signed` convention asks for, is known at
every token. What moves a model otherwise, such as a vector that is added to a layer's residual, is
one more field of `Moves` and one more line of `moved_block`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.inputs.neurons import NeuronSets
from negjax.model.experts import Experts
from negjax.model.language_model import LanguageModel
from negjax.model.products import Products
from negjax.model.transformer import Block
from negjax.records import readable

Move = Literal["signed", "additive", "scale", "clamp"]
KINDS: tuple[Move, ...] = get_args(Move)
"""Numbered from 1 in `Moves.kind`."""
SIGNED, ADDITIVE, SCALE, CLAMP = range(1, 5)

ROWS = 2
"""Of a prompt whose neurons are moved: the model as it is, and as it is moved."""


@readable
@dataclasses.dataclass(frozen=True)
class Intervention:
    """Sets of neurons and what is done to them, at every token where they are moved.

    With a for what the activation has become because of what is moved below:

    | how | the activation becomes |
    |---|---|
    | `signed` | a + x·s(a₀), a₀ the activation of the unmoved model, reading the same text |
    | `additive` | a + x |
    | `scale` | x·a |
    | `clamp` | x |
    """

    sets: NeuronSets
    """Of `neuron_sets`: one for all prompts, or one a prompt; x are its values."""
    how: Move = "signed"

    def __post_init__(self) -> None:
        made_by = "negjax.neuron_sets(lm.config, [(neurons, values), …])"
        checks.instance(self.sets, "sets", NeuronSets, made_by)
        if self.sets.directions is not None:
            raise ArgumentError(
                Argument("sets"), f" are of directions, expected neurons: {made_by}"
            )
        checks.one_of(self.how, "how", KINDS)
        several = np.argwhere(np.isnan(self.values))
        if len(several):
            row, column = several[0]
            layer, index = self.sets.neurons[row, column]
            raise ArgumentError(
                Argument("how", self.how),
                f": set {row} names neuron (layer {layer}, index {index}) with different values; "
                "name it once",
            )

    @property
    def values(self) -> Float[np.ndarray, "R n"]:
        """x of each neuron: shifts of one that is named twice add up, other values are itself."""
        adds = self.how in ("signed", "additive")
        return self.sets.values if adds else self.sets.levels


class Moves(NamedTuple):
    """What is done to every neuron of P prompts."""

    kind: Int[jax.Array, "P L F"]
    """0: nothing; else 1 + the place in `KINDS`."""
    value: Float[jax.Array, "P L F"]
    """x."""


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
        if some.sets.model_shape != shape:
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
    for prompt in range(prompts if len(interventions) > 1 else 0):
        mover: dict[tuple[int, int], int] = {}
        for number, some in enumerate(interventions):
            layer, index = _set_of(some, prompt)[0].T
            for neuron in zip(layer.tolist(), index.tolist(), strict=True):
                if neuron in mover:
                    raise ArgumentError(
                        Argument(f"interventions[{number}]"),
                        f" moves neuron (layer {neuron[0]}, index {neuron[1]}) of prompt {prompt}, "
                        f"which interventions[{mover[neuron]}] moves, too; name it in one of them",
                    )
                mover[neuron] = number


def _set_of(some: Intervention, prompt: int) -> tuple[np.ndarray, np.ndarray]:
    """Neurons [n, 2] that are moved in a prompt, and x [n]."""
    row = prompt % len(some.sets)
    used = some.sets.used[row]
    return some.sets.neurons[row, used], some.values[row, used]


def moves_of(
    lm: LanguageModel, interventions: Sequence[Intervention], prompts: Int[np.ndarray, " P"]
) -> Moves | None:
    """All interventions on the prompts of these numbers; None: there are none."""
    if not interventions:
        return None
    shape = (len(prompts), lm.config.layers, lm.config.neurons)
    kind, value = np.zeros(shape, np.int8), np.zeros(shape, lm.compute_dtype)
    for some in interventions:
        for row, prompt in enumerate(prompts.tolist()):
            neurons, values = _set_of(some, prompt)
            at = (row, *neurons.T)
            kind[at], value[at] = 1 + KINDS.index(some.how), values
    return Moves(jnp.asarray(kind), jnp.asarray(value))


def moved_block(
    block: Block,
    resid: Float[jax.Array, "rows 1 S D"],
    mid: Float[jax.Array, "rows 1 S D"],
    moves: Moves | None,
    layer: Int[jax.Array, ""],
    there: Bool[jax.Array, "rows S"],
    site: str,
    reroute: bool,
) -> Float[jax.Array, "rows 1 S D"]:
    """What leaves a block in which neurons are moved.

    Args:
        resid: entering the block; a prompt's rows stand side by side.
        mid: what attention has made of it.
        moves: None: nothing is moved, and a prompt has one row.
        there: True at the tokens of moved rows where neurons are moved.
        reroute: moved tokens pass experts that the router chooses for them, not the unmoved ones'.
    """
    if moves is None:
        return block.finish(mid, block.feed_forward(resid, mid)[0])

    def unmoved(x: jax.Array) -> jax.Array:
        """[rows, …]: of each row what the first of its prompt has."""
        pairs = x.reshape(-1, ROWS, *x.shape[1:])
        return jnp.broadcast_to(pairs[:, :1], pairs.shape).reshape(x.shape)

    def of_layer(x: jax.Array) -> jax.Array:
        """[rows, 1, 1, F]."""
        return jnp.repeat(x[:, layer], ROWS, axis=0)[:, None, None]

    routes, products = None, Products()
    if isinstance(block.ffn, Experts) and not reroute:
        routes = unmoved(block.feed_forward(resid, mid)[1]["routes"])
    # Only the activations are used: nothing is multiplied that is not multiplied below, too.
    _, inner = block.feed_forward(resid, mid, products=products, routes=routes)
    tokens = {name: x.reshape(-1, *x.shape[3:]) for name, x in inner.items()}
    activation = block.ffn.by_neuron(tokens)[site].reshape(*mid.shape[:3], -1)
    kind, value = of_layer(moves.kind), of_layer(moves.value)
    positive = unmoved(activation) > 0
    shift = jnp.select(
        [kind == SIGNED, kind == SCALE, kind > 0],
        [jnp.where(positive, value, -value), (value - 1) * activation, value],
        0,
    )
    at = there[:, None, :, None]
    out, _ = block.feed_forward(
        resid,
        mid,
        jnp.where(at, shift, 0),
        site,
        at & (kind == CLAMP),
        Products(products.found),
        routes,
    )
    return block.finish(mid, out)
