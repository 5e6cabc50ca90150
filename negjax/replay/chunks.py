"""Loops over the first rows of a buffer, by chunks whose number is traced."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
from jaxtyping import Int

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
