"""Scores as small integers: of every neuron the order of its K scores and of zero among them.

Skill-neuron probes look at a neuron's scores g (one a label) through their signs and through which
of two labels' is larger, and at nothing else, but for the sums that Magn makes of its training
prompts. So of K floats it is enough to keep how K labels and zero are ordered, ties included:

    place of x = how many of the K scores and zero are smaller than x         0 … K
    code       = Σ place of label i · (K + 1)^i  +  place of zero · (K + 1)^K

One byte holds it for K ≤ 3, two for K ≤ 5, four for K ≤ 8. Decoded, label i is place of i − place
of zero: small integers with the signs, the order and the ties of the scores, which every rule takes
in their stead.
"""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

MOST_LABELS = 8
"""Of a code: with more, the places would not fit 32 bits."""


def code_dtype(labels: int) -> np.dtype:
    """The unsigned integer that holds the codes of K labels.

    Raises:
        ValueError: fewer than 2 labels, or more than `MOST_LABELS`.
    """
    if not 2 <= labels <= MOST_LABELS:
        raise ValueError(f"{labels} labels: codes hold 2 to {MOST_LABELS}")
    return np.dtype(np.min_scalar_type((labels + 1) ** (labels + 1) - 1))


@jax.jit
def encode_scores(scores: ArrayLike) -> jax.Array:
    """Scores as codes; they may be any floats or integers, but not NaN, which has no place.

    Args:
        scores: [..., K, N], of K labels.

    Returns:
        [..., N], of `code_dtype(K)`.

    Raises:
        ValueError: fewer than 2 labels, or more than `MOST_LABELS`.
    """
    keys = order_keys(scores)
    labels = keys.shape[-2]
    dtype = code_dtype(labels)
    elements = [*(keys[..., i, :] for i in range(labels)), jnp.zeros_like(keys[..., 0, :])]
    places = (sum((y < x).astype(dtype) for y in elements) for x in elements)
    return sum(
        (place * dtype.type((labels + 1) ** i) for i, place in enumerate(places)),
        start=jnp.zeros(elements[0].shape, dtype),
    )


@functools.partial(jax.jit, static_argnames="labels")
def decode_scores(codes: ArrayLike, labels: int) -> jax.Array:
    """Integers with the signs, the order and the ties of the scores that were encoded.

    Args:
        codes: [..., N], of any neurons; of `code_dtype(labels)`.
        labels: K.

    Returns:
        [..., K, N], int8: −K … K, the place of each label less that of zero.

    Raises:
        ValueError: codes of another type than K labels have.
    """
    codes = jnp.asarray(codes)
    if codes.dtype != code_dtype(labels):
        raise ValueError(
            f"codes are {codes.dtype}, those of {labels} labels are {code_dtype(labels)}"
        )
    base = labels + 1

    def place(i: int) -> jax.Array:
        return (codes // codes.dtype.type(base**i) % codes.dtype.type(base)).astype(jnp.int8)

    zero = place(labels)
    return jnp.stack([place(i) - zero for i in range(labels)], axis=-2)


def order_keys(scores: ArrayLike) -> jax.Array:
    """Signed integers with the order, the signs and the ties of the scores [...], zero being 0.

    Floats are compared by their bits: compiled comparisons take subnormal numbers for zeros.
    """
    scores = jnp.asarray(scores)
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        return scores
    integer = INTEGERS[scores.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(scores, integer)
    # Negative floats have their sign bit set and grow, as integers, with their size; −0 becomes 0.
    return jnp.where(bits < 0, jnp.iinfo(integer).min - bits, bits)


INTEGERS = types.MappingProxyType({2: jnp.int16, 4: jnp.int32, 8: jnp.int64})
"""Of as many bytes as a float has."""
