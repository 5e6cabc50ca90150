"""Blocks to which directions are written: at which place of a layer, and how long they are there.

A direction of layer l enters the network one layer lower than a neuron does: as the residual that
enters layer l, which then runs with the write.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from negjax.model.attention import KeysValues
from negjax.model.placement import Placement
from negjax.model.products import Products
from negjax.model.transformer import Block
from negjax.replay.suffixes import Pass, Suffix, Trace, take_at

# Directions whose coefficients are made at once.
DIRECTIONS = 256


class LayerVectors(NamedTuple):
    """N directions on the device."""

    layer: Int[jax.Array, " N"]
    vectors: Float[jax.Array, "N D"]


def layer_writes(
    along: LayerVectors, amount: Float[jax.Array, "P R N"], layers: int
) -> Float[jax.Array, "{layers} P R D"]:
    """What so much of each direction writes in its layer."""

    def of_layer(number: jax.Array) -> jax.Array:
        return jnp.where(along.layer == number, amount, 0) @ along.vectors

    result: jax.Array = jax.lax.map(of_layer, jnp.arange(layers))
    return result


def written_block(
    block: Block,
    resid: Float[jax.Array, "P R S D"],
    write: Float[jax.Array, "P R S D"],
    where: Placement,
    prefix: KeysValues | None,
    place: str,
    common: KeysValues | None = None,
    products: Products | None = None,
) -> Float[jax.Array, "P R S D"]:
    """The residual leaving one layer, with a write at a place of it.

    Args:
        common: of a common head.
        products: recalled ones need no multiplication; they are those without a write.
    """
    if place == "residual_before":
        resid = resid + write
    to_attention = write if place == "attention_out" else None
    mid, _ = block.attend(resid, where, prefix, common, products, to_attention)
    ffn_out, _ = block.feed_forward(resid, mid, products=products, routes=where.routed)
    if place == "ffn_out":
        ffn_out = ffn_out + write
    after = block.finish(mid, ffn_out)
    return after + write if place == "residual_after" else after


def direction_writes(
    vectors: Float[jax.Array, "N D"],
    number: Int[jax.Array, "P R"],
    delta: Float[jax.Array, "P R Q"],
    here: Bool[jax.Array, "P R"],
    suffix: Suffix,
) -> Float[jax.Array, "P R S D"]:
    """What rows write along their directions, at the positions that are meant.

    Args:
        number: of each row's direction.
        delta: how much of it, at each position.
        here: False for rows that write nothing in this layer.
    """
    at = jnp.arange(suffix.tokens.shape[1])[:, None] == suffix.at[:, None]
    amount = jnp.where(here[..., None], delta, 0).astype(vectors.dtype)
    added = jnp.where(at[:, None], amount[:, :, None], 0).sum(-1)
    return added[..., None] * vectors[number][:, :, None]


def states_at(
    trace: Trace, resid: Float[jax.Array, "P 1 S D"], suffix: Suffix, place: str
) -> Float[jax.Array, "L P Q D"]:
    """Residuals that a place's writes join, unperturbed, at the positions that are meant.

    The residual entering the layer for `residual_before`, the one between attention and
    feed-forward for `attention_out`, else the one that leaves.

    Args:
        resid: last residuals.
    """
    if place == "residual_before":
        states = trace.entering
    elif place == "attention_out":
        states = trace.mid
    else:
        states = jnp.concatenate([trace.entering[1:], resid[None, :, 0]])
    result: jax.Array = jax.vmap(lambda x: take_at(x, suffix))(states)
    return result


def coefficients(
    passed: Pass,
    suffix: Suffix,
    layer: Int[jax.Array, " N"],
    vectors: Float[jax.Array, "N D"],
    place: str,
) -> Float[jax.Array, "P N"]:
    """x·v / |v|² of the unperturbed residual x at a place along each direction v of its layer.

    At the last of the positions that are meant.
    """
    states = states_at(passed.trace, passed.resid, suffix, place)[:, :, -1]

    def along(one: tuple[jax.Array, jax.Array]) -> jax.Array:
        at, vector = one
        found: jax.Array = states[at] @ coefficient_vectors(vector)
        return found

    result: jax.Array = jax.lax.map(along, (layer, vectors), batch_size=DIRECTIONS).T
    return result


def coefficient_vectors(vectors: Float[jax.Array, "*N D"]) -> Float[jax.Array, "*N D"]:
    """v / |v|² of each vector v: products with them are coefficients."""
    # A unit vector first: squares of short or long ones leave the range of float32.
    largest = jnp.abs(vectors).max(-1, keepdims=True)
    size = jnp.linalg.norm(vectors / largest, axis=-1, keepdims=True) * largest
    result: jax.Array = vectors / size / size
    return result
