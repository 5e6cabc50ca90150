"""Loops over the first rows of a buffer, by chunks whose number is traced."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from negjax.model.meshes import rows_apart, rows_together

# The rows that do not fill a chunk of at least so many tokens go by quarters of one.
QUARTERED_TOKENS = 256

Carry = TypeVar("Carry")


def over_chunks(
    inside: Int[jax.Array, ""],
    chunk: int,
    tokens: int,
    body: Callable[[int, Int[jax.Array, ""], Carry], Carry],
    carry: Carry,
) -> Carry:
    """Runs `body(size, i, carry)` for slices of rows that cover the first `inside` ones.

    Slice i holds the rows from i · size. Whole chunks, of so many tokens each, go first, the rest
    by quarters of one.
    """
    part = chunk // 4 if chunk % 4 == 0 and tokens >= QUARTERED_TOKENS else chunk
    first: int | jax.Array = 0
    last = (inside + part - 1) // part
    if part != chunk:
        whole = inside // chunk
        carry = jax.lax.fori_loop(0, whole, partial(body, chunk), carry)
        first = whole * (chunk // part)
    result: Carry = jax.lax.fori_loop(first, last, partial(body, part), carry)
    return result


def through_layer(
    layer: int | Int[jax.Array, ""],
    own: Int[jax.Array, "P R"],
    chunk: int,
    tokens: int,
    run: Callable[
        [int, Int[jax.Array, ""], Float[jax.Array, "P r S D"]], Float[jax.Array, "P r S D"]
    ],
    rows: Float[jax.Array, "P R S D"],
) -> Float[jax.Array, "P R S D"]:
    """Rows after a layer, which those run through that entered the network below it.

    Args:
        own: the layer that each row leaves, ascending.
        chunk, tokens: rows of each prompt that run at once, and their tokens.
        run: takes the size and the number of a slice of the rows, and them, [P, r, S, D]; what they
            become.
    """

    def run_chunk(size: int, i: jax.Array, rows: jax.Array) -> jax.Array:
        before = rows_apart(jax.lax.dynamic_slice_in_dim(rows, i * size, size, axis=1))
        entered = jax.lax.dynamic_slice_in_dim(own, i * size, size, axis=1) < layer
        after = jnp.where(entered[:, :, None, None], run(size, i, before), before)
        return jax.lax.dynamic_update_slice_in_dim(rows, rows_together(after), i * size, axis=1)

    return over_chunks((own < layer).sum(1).max(), chunk, tokens, run_chunk, rows)
