"""Which token follows: the likeliest one, or a draw."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Shaped


class Draws(NamedTuple):
    """How tokens are drawn."""

    temperature: Float[jax.Array, ""]
    top_p: Float[jax.Array, ""]
    seed: Shaped[jax.Array, ""]
    """uint32."""
    prompt: Int[jax.Array, " P"]
    """Numbers of the prompts, which with the seed and the step decide what is drawn: nothing of a
    batch does."""


def next_tokens(
    logits: Float[jax.Array, "P V"],
    draws: Draws,
    step: Int[jax.Array, ""],
    *,
    greedy: bool,
    whole: bool,
) -> Int[jax.Array, " P"]:
    """A token for each prompt.

    Args:
        step: how many tokens were written before.
        greedy: the likeliest, of equal ones the lowest.
        whole: nothing is left out by `top_p`.
    """
    if greedy:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    scaled = logits / draws.temperature.astype(logits.dtype)
    if not whole:
        scaled = jnp.where(in_nucleus(scaled, draws.top_p), scaled, -jnp.inf)
    key = jax.random.key(draws.seed)

    def noise(prompt: jax.Array) -> jax.Array:
        own = jax.random.fold_in(jax.random.fold_in(key, prompt), step)
        return jax.random.gumbel(own, logits.shape[1:], jnp.float32)

    return jnp.argmax(scaled + jax.vmap(noise)(draws.prompt), axis=-1).astype(jnp.int32)


def in_nucleus(
    logits: Float[jax.Array, "P V"], top_p: Float[jax.Array, ""]
) -> Bool[jax.Array, "P V"]:
    """The fewest tokens, likeliest first, whose probabilities add up to `top_p` (Holtzman et al.
    2020, arXiv 1904.09751); of equal ones the lowest come first."""
    order = jnp.argsort(-logits, axis=-1, stable=True)
    probability = jnp.take_along_axis(jax.nn.softmax(logits, axis=-1), order, axis=-1)
    before = jnp.cumsum(probability, axis=-1) - probability
    row = jnp.arange(len(logits))[:, None]
    # The first counts whatever rounding says of the sum before it.
    kept = (before < top_p).at[:, 0].set(True)
    return jnp.zeros(logits.shape, bool).at[row, order].set(kept)
