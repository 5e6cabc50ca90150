"""How neurons rank: sums over prompts of which of their scores are positive, or larger than others.

With g a neuron's score for a label at a prompt and sums over prompts,

    Polar   R = Σ (2 · sign(g of the gold label) − Σ over labels sign(g))
    Magn    R = Σ Σ over labels sign(g of the gold label − g of the label)

Both are integers: batches may be summed in any order, on the device that made the scores. Source:
Zhao, Jiang, Yoshinaga, Neuron Empirical Gradient, ACL 2025, arXiv 2412.18053.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from negjax.checks import as_array, described
from negjax.skills.checks import check_gold
from negjax.skills.probes.codes import check_score_array, order_keys


def polar_votes(scores: ArrayLike, gold: ArrayLike, counted: ArrayLike | None = None) -> jax.Array:
    """Polar's R of a batch.

    Args:
        scores: [B, K, N], or what `decode_scores` makes of their codes.
        gold: [B], the labels' numbers.
        counted: [B], False for rows that only fill up the batch. Default: all count.

    Returns:
        [N], int32.

    Raises:
        ValueError: no numbers, shapes that disagree, gold that is no label's number.
    """
    result: jax.Array = _polar_votes(*_checked(scores, gold, counted))
    return result


@jax.jit
def _polar_votes(scores: ArrayLike, gold: ArrayLike, counted: ArrayLike | None) -> jax.Array:
    signs = jnp.sign(order_keys(scores)).astype(jnp.int8)
    return _sum(2 * _of_gold(signs, gold)[:, 0] - signs.sum(1, dtype=jnp.int8), counted)


def magn_votes(scores: ArrayLike, gold: ArrayLike, counted: ArrayLike | None = None) -> jax.Array:
    """Magn's R of a batch; arguments, result and errors as those of `polar_votes`."""
    result: jax.Array = _magn_votes(*_checked(scores, gold, counted))
    return result


@jax.jit
def _magn_votes(scores: ArrayLike, gold: ArrayLike, counted: ArrayLike | None) -> jax.Array:
    keys = order_keys(scores)
    own = _of_gold(keys, gold)
    # Compared, not subtracted: the difference of two keys may overflow.
    above, below = (own > keys), (own < keys)
    return _sum(above.sum(1, dtype=jnp.int8) - below.sum(1, dtype=jnp.int8), counted)


def _checked(
    scores: ArrayLike, gold: ArrayLike, counted: ArrayLike | None
) -> tuple[jax.Array | np.ndarray, np.ndarray, np.ndarray | None]:
    array = check_score_array(scores)
    if array.ndim != 3:
        raise ValueError(f"scores are {described(scores)}, expected numbers [B, K, N]")
    answers = check_gold(gold, *array.shape[:2])
    if counted is None:
        return array, answers, None
    used = as_array(counted)
    if used.dtype != bool or used.shape != (len(answers),):
        raise ValueError(
            f"counted is {described(counted)}, expected True or False of each of "
            f"{len(answers)} prompts"
        )
    return array, answers, used


def _of_gold(values: jax.Array, gold: ArrayLike) -> jax.Array:
    return jnp.take_along_axis(values, jnp.asarray(gold)[:, None, None], axis=1)


def _sum(votes: jax.Array, counted: ArrayLike | None) -> jax.Array:
    if counted is not None:
        votes = jnp.where(jnp.asarray(counted)[:, None], votes, 0)
    return votes.sum(0, dtype=jnp.int32)
