"""A histogram of every neuron whose bins are the same for all, so that counts add up in any order.

Bins are an eighth of an octave wide, on either side of 0, from 2^−10 to 2^10. What is smaller than
that is one bin, what is larger one on each side. A quantile that is read off its bin's geometric
middle is wrong by a factor of 2^(1/16) at most, 4.5%; by 2^−10 at most around 0; and of outliers it
lies between 2^10 and the largest value, which is known.
"""

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 8
"""Bins an octave."""
LOWEST, HIGHEST = -10, 10
"""Powers of two between which there are such bins."""
SIDE = STEPS * (HIGHEST - LOWEST) + 1
"""Bins of a sign, the last of what lies beyond."""
BINS = 2 * SIDE + 1
"""Ascending; number `SIDE` is that around 0."""
RELATIVE_ERROR = 2 ** (1 / (2 * STEPS)) - 1
"""Of a quantile between the powers, at most."""
SMALLEST = 2.0**LOWEST
"""Absolute error of a quantile around 0, at most."""


def bin_numbers(values: jax.Array) -> jax.Array:
    """Numbers of the bins, int32, of values of any shape."""
    size = jnp.abs(values)
    # Nothing below the smallest bin reaches the logarithm.
    step = jnp.floor((jnp.log2(jnp.maximum(size, SMALLEST)) - LOWEST) * STEPS)
    outward = 1 + jnp.minimum(step, SIDE - 1).astype(jnp.int32)
    outward = jnp.where(size < SMALLEST, 0, outward)
    return SIDE + jnp.where(values > 0, outward, -outward)


def bin_counts(values: jax.Array, counted: jax.Array) -> jax.Array:
    """How many of N tokens fall into each neuron's bins, int32 [F, BINS].

    Args:
        values: [N, F].
        counted: [N], True where a token counts.
    """
    neurons = values.shape[1]
    # As one list, which a processor adds to twice as fast as to a table.
    place = (bin_numbers(values) + jnp.arange(neurons) * BINS).reshape(-1)
    ones = jnp.broadcast_to(counted[:, None], values.shape).reshape(-1).astype(jnp.int32)
    return jnp.zeros(neurons * BINS, jnp.int32).at[place].add(ones).reshape(neurons, BINS)


def middles() -> np.ndarray:
    """The number that stands for each bin, [BINS]; of the outermost their inner edge."""
    inner = SMALLEST * 2.0 ** ((np.arange(SIDE - 1) + 0.5) / STEPS)
    side = np.append(inner, 2.0**HIGHEST)
    return np.concatenate([-side[::-1], [0.0], side])


def quantiles_of(
    histogram: np.ndarray, lowest: np.ndarray, highest: np.ndarray, levels: np.ndarray
) -> np.ndarray:
    """Quantiles [Q, L, F]: the value of the token that stands at the level, as its bin has it.

    Args:
        histogram: [L, F, BINS].
        lowest, highest: [L, F], of all tokens, beyond which no quantile lies.
        levels: [Q], from 0 to 1.
    """
    cumulated = np.cumsum(histogram, axis=-1, dtype=np.int64)
    total = cumulated[0, 0, -1]
    # The same token as numpy's method "inverted_cdf" takes.
    ranks = np.maximum(np.ceil(levels * total), 1).astype(np.int64)
    marks = middles()
    found = np.stack([marks[(cumulated < rank).sum(-1)] for rank in ranks])
    result: np.ndarray = np.clip(found, lowest, highest)
    return result
