"""Gradients at the residuals with which rows enter the network above a layer.

The way up is `negjax.replay.rows`': rows sorted by layer, those already inside the first n of the
buffer, chunk by chunk. Every layer keeps what its rows brought to it. On the way down it is run
again from there and pulled back, for the rows that it saw; a row's cotangent stays as it is below
the layer where the row entered.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from negjax.model.transformer import Transformer
from negjax.replay.chunks import over_chunks
from negjax.replay.rows import prefix_seen, row_places
from negjax.replay.suffixes import Prefix, Suffix, block_at, layer_count, stacked_blocks


def pull_back_rows(
    model: Transformer,
    prefix: Prefix | None,
    suffix: Suffix,
    layer: Int[jax.Array, "P R"],
    resid: Float[jax.Array, "P R S D"],
    outputs: Callable[[Float[jax.Array, "P r S D"]], Float[jax.Array, "P r K"]],
    *,
    chunk: int,
    head_chunk: int,
    routes: Int[jax.Array, "L P S k"] | None,
) -> Float[jax.Array, "K P R S D"]:
    """Gradients of K outputs with respect to the residuals leaving rows' layers.

    Args:
        layer: ascending along R; layer L marks padding, whose gradients mean nothing.
        resid: leaving each row's layer.
        outputs: of last residuals, the outputs; rows must not interact.
        chunk: rows of each prompt that go through a layer at once; divides R.
        head_chunk: rows of each prompt whose outputs are made at once; divides `chunk`.
        routes: experts that tokens pass; None: those that the router chooses.
    """
    graphdef, params = stacked_blocks(model)
    layers = layer_count(params)
    where = row_places(prefix, suffix, resid.dtype, routes)
    take, put = jax.lax.dynamic_slice_in_dim, jax.lax.dynamic_update_slice_in_dim
    tokens = chunk * suffix.tokens.size
    lowest, used = layer.min(), (layer < layers).sum(1).max()

    def function_at(layer: jax.Array) -> Callable[[jax.Array], jax.Array]:
        block = block_at(graphdef, params, layer)
        keys_values = prefix_seen(block, prefix, layer, where)
        return lambda resid: block(resid, where.at(layer), keys_values)

    def entered(at: jax.Array, start: jax.Array, size: int) -> jax.Array:
        return (take(layer, start, size, axis=1) < at)[:, :, None, None]

    def corner(at: jax.Array, start: jax.Array) -> tuple[jax.Array, ...]:
        # Slices of several axes want starts of one type.
        return tuple(jnp.asarray(number, jnp.int32) for number in (at, 0, start, 0, 0))

    def inside(at: jax.Array) -> jax.Array:
        return (layer < at).sum(1).max()

    def rise(at: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        run_layer = function_at(at)

        def run_chunk(
            size: int, i: jax.Array, carry: tuple[jax.Array, jax.Array]
        ) -> tuple[jax.Array, jax.Array]:
            resid, brought = carry
            before = take(resid, i * size, size, axis=1)
            start = corner(at, i * size)
            brought = jax.lax.dynamic_update_slice(brought, before[None], start)
            after = jnp.where(entered(at, i * size, size), run_layer(before), before)
            return put(resid, after, i * size, axis=1), brought

        return over_chunks(inside(at), chunk, tokens, run_chunk, carry)

    brought = jnp.zeros((layers, *resid.shape), resid.dtype)
    last, brought = jax.lax.fori_loop(lowest + 1, layers, rise, (resid, brought))

    def read(i: jax.Array, cotangents: jax.Array) -> jax.Array:
        value, pull = jax.vjp(outputs, take(last, i * head_chunk, head_chunk, axis=1))
        # Rows do not interact: one cotangent a target serves all of them at once.
        targets = jnp.eye(k, dtype=value.dtype)[:, None, None]
        each = jnp.broadcast_to(targets, (k, *value.shape))
        (found,) = jax.vmap(pull)(each)
        return put(cotangents, found, i * head_chunk, axis=2)

    k = jax.eval_shape(outputs, last[:, :head_chunk]).shape[-1]
    cotangents = jnp.zeros((k, *resid.shape), resid.dtype)
    cotangents = jax.lax.fori_loop(0, (used + head_chunk - 1) // head_chunk, read, cotangents)

    def descend(step: jax.Array, cotangents: jax.Array) -> jax.Array:
        at = layers - 1 - step
        run_layer = function_at(at)

        def pull_chunk(size: int, i: jax.Array, cotangents: jax.Array) -> jax.Array:
            sizes = (1, resid.shape[0], size, *resid.shape[2:])
            before = jax.lax.dynamic_slice(brought, corner(at, i * size), sizes)[0]
            _, pull = jax.vjp(run_layer, before)
            above = take(cotangents, i * size, size, axis=2)
            (below,) = jax.vmap(pull)(above)
            below = jnp.where(entered(at, i * size, size), below, above)
            return put(cotangents, below, i * size, axis=2)

        return over_chunks(inside(at), chunk, tokens, pull_chunk, cotangents)

    result: jax.Array = jax.lax.fori_loop(0, layers - 1 - lowest, descend, cotangents)
    return result
