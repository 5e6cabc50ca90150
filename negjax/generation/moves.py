"""How neurons and directions are moved in a block, and where in the text.

A prompt's last row is the model that is moved. Where the model as it is reads the same text beside
it, in a row before, the sign of an unperturbed activation is known at every token, which the
`signed` convention asks for, and so are the experts that an unmoved token passes.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int

from negjax.generation.interventions import (
    CLAMP,
    KINDS,
    SCALE,
    SIGNED,
    Intervention,
    set_of,
)
from negjax.inputs.residual_directions import Directions
from negjax.model import meshes
from negjax.model.attention import KeysValues
from negjax.model.config import PLACES, Place
from negjax.model.experts import Experts
from negjax.model.language_model import LanguageModel
from negjax.model.placement import Placement
from negjax.model.products import Products
from negjax.model.transformer import Block
from negjax.replay.written_blocks import coefficient_vectors

Columns = Callable[[np.ndarray], np.ndarray]
"""Where a set's members [n, 2] stand in an array of all that may be moved."""


class Amounts(NamedTuple):
    """What is done to N neurons of L layers, or to N directions, of P prompts."""

    kind: Int[jax.Array, "P ..."]
    """0: nothing; else 1 + the place in `KINDS`. Of neurons [P, L, F]."""
    value: Float[jax.Array, "P ..."]
    """x."""


class Table(NamedTuple):
    """Directions at one place."""

    layer: Int[jax.Array, " N"]
    vectors: Float[jax.Array, "N D"]


class Moves(NamedTuple):
    """What is done to P prompts."""

    neurons: Amounts | None
    directions: dict[Place, Amounts]
    tables: dict[Place, Table]
    """Of the same places."""

    def placed(self, mesh: Mesh | None) -> "Moves":
        """The same, the prompts divided among devices."""
        neurons, directions = meshes.by_prompt((self.neurons, self.directions), mesh)
        return self._replace(neurons=neurons, directions=directions)


def moves_of(
    lm: LanguageModel, interventions: Sequence[Intervention], prompts: Int[np.ndarray, " P"]
) -> Moves | None:
    """All interventions on the prompts of these numbers; None: there are none."""
    if not interventions:
        return None
    dtype = lm.compute_dtype
    neurons, directions, tables = None, {}, {}
    of_neurons = [(some, _of_model) for some in interventions if some.place is None]
    if of_neurons:
        shape = (lm.config.layers, lm.config.neurons)
        neurons = _amounts(of_neurons, prompts, shape, dtype)
    for place in PLACES:
        pairs: list[tuple[Intervention, Columns]] = []
        used: list[Directions] = []
        for some in interventions:
            if some.place == place and some.sets.directions is not None:
                numbers = np.unique(some.sets.neurons[some.sets.used][:, 1])
                before = sum(len(own) for own in used)
                pairs.append((some, functools.partial(_of_table, numbers, before)))
                used.append(some.sets.directions.select(numbers))
        if used:
            layer = np.concatenate([own.layer for own in used])
            vectors = np.concatenate([own.vectors for own in used])
            tables[place] = Table(jnp.asarray(layer), jnp.asarray(vectors, dtype))
            directions[place] = _amounts(pairs, prompts, layer.shape, dtype)
    return Moves(neurons, directions, tables)


def _of_model(members: Int[np.ndarray, "n 2"]) -> Int[np.ndarray, "2 n"]:
    """Where arrays [L, F] have neurons of a set."""
    return members.T


def _of_table(
    numbers: Int[np.ndarray, " N"], before: int, members: Int[np.ndarray, "n 2"]
) -> Int[np.ndarray, "1 n"]:
    """Where a table has members of a set, (layer, number), of which it has these numbers."""
    result: np.ndarray = before + np.searchsorted(numbers, members[:, 1])[None]
    return result


def _amounts(
    pairs: Sequence[tuple[Intervention, Columns]],
    prompts: Int[np.ndarray, " P"],
    shape: tuple[int, ...],
    dtype: jnp.dtype,
) -> Amounts:
    """Of interventions, each with what says where its sets' members stand in the shape."""
    kind = np.zeros((len(prompts), *shape), np.int8)
    value = np.zeros(kind.shape, dtype)
    for some, where in pairs:
        for row, prompt in enumerate(prompts.tolist()):
            members, values = set_of(some, prompt)
            at: tuple[int | np.ndarray, ...] = (row, *where(members))
            kind[at], value[at] = 1 + KINDS.index(some.how), values
    return Amounts(jnp.asarray(kind), jnp.asarray(value))


def moved_block(
    block: Block,
    resid: Float[jax.Array, "rows 1 S D"],
    where: Placement,
    prefix: KeysValues | None,
    moves: Moves | None,
    layer: Int[jax.Array, ""],
    there: Bool[jax.Array, "P S"],
    site: str,
    held: bool,
) -> tuple[Float[jax.Array, "rows 1 S D"], KeysValues]:
    """What leaves a block in which something is moved, and its tokens' keys and values.

    Args:
        resid: entering the block; a prompt's rows stand side by side.
        moves: None: nothing is moved.
        there: True at the tokens where the last row of a prompt is moved.
        held: moved tokens pass the experts that those of the first row pass.
    """
    if moves is None:
        mid, own = block.attend(resid, where, prefix)
        return block.finish(mid, block.feed_forward(resid, mid)[0]), own
    rows = len(resid) // len(there)
    last = jnp.arange(len(resid)) % rows == rows - 1
    at = (jnp.repeat(there, rows, axis=0) & last[:, None])[:, None, :, None]

    def write(place: Place, h: jax.Array) -> jax.Array | None:
        """[rows, 1, S, D]: what directions write at a place where the residual is h."""
        if place not in moves.tables:
            return None
        amounts = _of_rows(moves.directions[place], rows)
        return _written(moves.tables[place], amounts, h, layer, at)

    resid = _plus(resid, write("residual_before", resid))
    mid, own = block.attend(resid, where, prefix, write=write("attention_out", resid))
    out = _moved_output(block, resid, mid, moves.neurons, layer, at, site, rows, held)
    after = block.finish(mid, _plus(out, write("ffn_out", mid)))
    return _plus(after, write("residual_after", after)), own


def _plus(x: jax.Array, written: jax.Array | None) -> jax.Array:
    return x if written is None else x + written


def _of_rows(amounts: Amounts, rows: int) -> Amounts:
    """Of each prompt's rows, with axes for the row and the token: [rows, 1, 1, …]."""
    return Amounts(*(jnp.repeat(x, rows, axis=0)[:, None, None] for x in amounts))


def _written(
    table: Table,
    amounts: Amounts,
    h: Float[jax.Array, "rows 1 S D"],
    layer: Int[jax.Array, ""],
    at: Bool[jax.Array, "rows 1 S 1"],
) -> Float[jax.Array, "rows 1 S D"]:
    """What directions write. All coefficients are read before anything is written."""
    held = h @ coefficient_vectors(table.vectors).T
    kind, value = amounts
    delta = jnp.select([kind == SCALE, kind == CLAMP], [(value - 1) * held, value - held], value)
    moved = at & (kind > 0) & (table.layer == layer)
    result: jax.Array = jnp.where(moved, delta, 0) @ table.vectors
    return result


def _moved_output(
    block: Block,
    resid: Float[jax.Array, "rows 1 S D"],
    mid: Float[jax.Array, "rows 1 S D"],
    moves: Amounts | None,
    layer: Int[jax.Array, ""],
    at: Bool[jax.Array, "rows 1 S 1"],
    site: str,
    rows: int,
    held: bool,
) -> Float[jax.Array, "rows 1 S D"]:
    """What the feed-forward network returns.

    Args:
        mid: what attention has made of the residual.
        moves: of neurons; None: none is moved.
        at: True where they are moved.
        held: as for `moved_block`.
    """

    def unmoved(x: jax.Array) -> jax.Array:
        """[rows, …]: of each row what the first of its prompt has."""
        each = x.reshape(-1, rows, *x.shape[1:])
        return jnp.broadcast_to(each[:, :1], each.shape).reshape(x.shape)

    routes = None
    if isinstance(block.ffn, Experts) and held:
        routes = unmoved(block.feed_forward(resid, mid)[1]["routes"])
    if moves is None:
        return block.feed_forward(resid, mid, routes=routes)[0]
    # Only the activations are used: nothing is multiplied that is not multiplied below, too.
    products = Products()
    _, inner = block.feed_forward(resid, mid, products=products, routes=routes)
    tokens = {name: x.reshape(-1, *x.shape[3:]) for name, x in inner.items()}
    activation = block.ffn.by_neuron(tokens)[site].reshape(*mid.shape[:3], -1)
    kind, value = _of_rows(Amounts(*(x[:, layer] for x in moves)), rows)
    # With one row a prompt nothing is `signed`.
    positive = unmoved(activation) > 0
    shift = jnp.select(
        [kind == SIGNED, kind == SCALE, kind > 0],
        [jnp.where(positive, value, -value), (value - 1) * activation, value],
        0,
    )
    clamped = at & (kind == CLAMP)
    shift, products = jnp.where(at, shift, 0), Products(products.found)
    return block.feed_forward(resid, mid, shift, site, clamped, products, routes)[0]
