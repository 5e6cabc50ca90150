"""How neurons rank: sums over prompts of which of their scores are positive, or larger than others.

With g a neuron's score for a label at a prompt and sums over prompts,

    Polar   R = Σ (2 · sign(g of the gold label) − Σ over labels sign(g))
    Magn    R = Σ Σ over labels sign(g of the gold label − g of the label)

Both are integers: batches may be summed in any order, on the device that made the scores. Source:
Zhao, Jiang, Yoshinaga, Neuron Empirical Gradient, ACL 2025, arXiv 2412.18053.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from negjax.skills.codes import order_keys


@jax.jit
def polar_votes(scores: ArrayLike, gold: ArrayLike, counted: ArrayLike | None = None) -> jax.Array:
    """Polar's R of a batch.

    Args:
        scores: [B, K, N], or what `decode_scores` makes of their codes.
        gold: [B], the labels' numbers.
        counted: [B], False for rows that only fill up the batch. Default: all count.

    Returns:
        [N], int32.
    """
    signs = jnp.sign(order_keys(scores)).astype(jnp.int8)
    return _sum(2 * _of_gold(signs, gold)[:, 0] - signs.sum(1, dtype=jnp.int8), counted)


@jax.jit
def magn_votes(scores: ArrayLike, gold: ArrayLike, counted: ArrayLike | None = None) -> jax.Array:
    """Magn's R of a batch; arguments and result as those of `polar_votes`."""
    keys = order_keys(scores)
    own = _of_gold(keys, gold)
    # Compared, not subtracted: the difference of two keys may overflow.
    above, below = (own > keys), (own < keys)
    return _sum(above.sum(1, dtype=jnp.int8) - below.sum(1, dtype=jnp.int8), counted)


def _of_gold(values: jax.Array, gold: ArrayLike) -> jax.Array:
    return jnp.take_along_axis(values, jnp.asarray(gold)[:, None, None], axis=1)


def _sum(votes: jax.Array, counted: ArrayLike | None) -> jax.Array:
    if counted is not None:
        votes = jnp.where(jnp.asarray(counted)[:, None], votes, 0)
    return votes.sum(0, dtype=jnp.int32)
