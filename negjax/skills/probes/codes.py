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
from numpy.typing import ArrayLike

from negjax.checks import as_array, described, is_whole, shown

MOST_LABELS = 8
"""Of a code: with more, the places would not fit 32 bits."""


def code_dtype(labels: int) -> np.dtype:
    """The unsigned integer that holds the codes of K labels.

    Raises:
        ValueError: fewer than 2 labels, or more than `MOST_LABELS`.
    """
    if not is_whole(labels) or not 2 <= labels <= MOST_LABELS:
        raise ValueError(f"{shown(labels)} labels: codes hold 2 to {MOST_LABELS}")
    return np.dtype(np.min_scalar_type((labels + 1) ** (labels + 1) - 1))


def encode_scores(scores: ArrayLike) -> jax.Array:
    """Scores as codes; they may be any floats or integers, but not NaN, which has no place.

    Args:
        scores: [..., K, N], of K labels.

    Returns:
        [..., N], of `code_dtype(K)`.

    Raises:
        ValueError: no numbers, fewer than 2 labels, or more than `MOST_LABELS`.
    """
    array = check_score_array(scores)
    try:
        code_dtype(array.shape[-2])
    except ValueError as error:
        raise ValueError(f"scores {list(array.shape)} are of {error}") from None
    result: jax.Array = _encode(array)
    return result


@jax.jit
def _encode(scores: jax.Array) -> jax.Array:
    keys = order_keys(scores)
    labels = keys.shape[-2]
    dtype = code_dtype(labels)
    elements = [*(keys[..., i, :] for i in range(labels)), jnp.zeros_like(keys[..., 0, :])]
    places = (sum((y < x).astype(dtype) for y in elements) for x in elements)
    return sum(
        (place * dtype.type((labels + 1) ** i) for i, place in enumerate(places)),
        start=jnp.zeros(elements[0].shape, dtype),
    )


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
    dtype = code_dtype(labels)
    array = codes if isinstance(codes, jax.Array) else as_array(codes)
    if array.dtype != dtype or not array.ndim:
        raise ValueError(
            f"codes are {array.dtype}{list(array.shape)}, those of {labels} labels are {dtype} "
            "[..., N], as encode_scores makes them"
        )
    result: jax.Array = _decode(array, labels)
    return result


@functools.partial(jax.jit, static_argnames="labels")
def _decode(codes: jax.Array, labels: int) -> jax.Array:
    base = labels + 1

    def place(i: int) -> jax.Array:
        result: jax.Array = (codes // codes.dtype.type(base**i) % codes.dtype.type(base)).astype(
            jnp.int8
        )
        return result

    zero = place(labels)
    return jnp.stack([place(i) - zero for i in range(labels)], axis=-2)


def check_score_array(scores: ArrayLike, name: str = "scores") -> jax.Array | np.ndarray:
    """Scores [..., K, N] where they are, on the device or off it; their values are not looked at.

    Raises:
        ValueError: no numbers, or no axes of labels and neurons.
    """
    array = scores if isinstance(scores, jax.Array) else as_array(scores)
    numbers = jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)
    if not numbers or array.ndim < 2:
        raise ValueError(
            f"{name} are {described(scores)}, expected numbers [..., K, N] of labels and neurons"
        )
    return array


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
