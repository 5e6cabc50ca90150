"""Grouped-query attention of suffix rows over a shared prefix and over themselves.

One function serves the prefix pass (no prefix, one row a prompt), replays (S suffix tokens over the
prefix's keys and values) and intervention sweeps (R rows a prompt, all over the same keys).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.model.config import ModelConfig
from negjax.model.layers import MASKED_SCORE, Linear, Norm, rotate


class KeysValues(NamedTuple):
    """Keys and values of P prompts' tokens, heads before tokens: [P, G, T, C] each."""

    keys: jax.Array
    values: jax.Array


class Attention(nnx.Module):
    """Projections, per-head norms and positions around `mix`."""

    def __init__(self, config: ModelConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        d, c = {"D": config.width}, {"C": config.head_width}
        h, g = {"H": config.heads}, {"G": config.kv_heads}
        bias = config.qkv_bias
        self.query = Linear(d, h | c, bias=bias, dtype=dtype, rngs=rngs)
        self.key = Linear(d, g | c, bias=bias, dtype=dtype, rngs=rngs)
        self.value = Linear(d, g | c, bias=bias, dtype=dtype, rngs=rngs)
        self.out = Linear(h | c, d, bias=config.out_bias, dtype=dtype, rngs=rngs)
        self.query_norm = (
            Norm(config, "C", config.head_width, dtype=dtype) if config.qk_norm else None
        )
        self.key_norm = (
            Norm(config, "C", config.head_width, dtype=dtype) if config.qk_norm else None
        )
        self.rope = config.rope
        self.causal = config.causal

    def keys_values(self, x: jax.Array, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Keys and values [..., S, G, C] of x [..., S, D] at positions [..., S]."""
        return self._placed(self.key(x), positions, self.key_norm), self.value(x)

    def __call__(
        self,
        x: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        prefix: KeysValues | None,
        prefix_mask: jax.Array | None,
    ) -> jax.Array:
        """Attention output [P, R, S, D] of suffix rows.

        Args:
            x: [P, R, S, D], what attention reads.
            positions: [P, 1, S], the same for all rows of a prompt.
            mask: [P, S], True where a suffix token is real.
            prefix: keys and values of the tokens before the suffix, or None.
            prefix_mask: [P, T], True where a prefix token is real.
        """
        query = self._placed(self.query(x), positions, self.query_norm)
        keys, values = self.keys_values(x, positions)
        p, r, s, h, c = query.shape
        query = query.reshape(p, r, s, keys.shape[3], -1, c) * c**-0.5
        mixed = mix(query, keys, values, mask, prefix, prefix_mask, causal=self.causal)
        return self.out(mixed.reshape(p, r, s, h, c))

    def _placed(self, x: jax.Array, positions: jax.Array, norm: Norm | None) -> jax.Array:
        x = x if norm is None else norm(x)
        return x if self.rope is None else rotate(x, positions, self.rope)


def mix(
    query: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: jax.Array,
    prefix: KeysValues | None,
    prefix_mask: jax.Array | None,
    *,
    causal: bool,
) -> jax.Array:
    """Softmax-weighted values [P, R, S, G, J, C] over the prefix and the row's own suffix.

    Args:
        query: [P, R, S, G, J, C], scaled.
        keys, values: [P, R, S, G, C], the suffix's own.
        mask: [P, S]; prefix_mask: [P, T].
    """
    s = query.shape[2]
    allowed_psu = jnp.broadcast_to(mask[:, None, :], (mask.shape[0], s, s))
    if causal:
        allowed_psu = allowed_psu & jnp.tril(jnp.ones((s, s), bool))
    # Own scores: every row has keys of its own, a batch of small products.
    own = jnp.einsum("prsgjc,prugc->pgrsju", query, keys)
    own = jnp.where(allowed_psu[:, None, None, :, None, :], own, MASKED_SCORE)
    peak = own.max(-1, keepdims=True)
    if prefix is None or prefix_mask is None:
        weight = jnp.exp(own - jax.lax.stop_gradient(peak))
        mixed = jnp.einsum("pgrsju,prugc->prsgjc", weight, values)
        return mixed / jnp.einsum("pgrsju->prsgj", weight)[..., None]
    # Prefix scores: all rows of a prompt share its keys, one matrix product a key/value head.
    far = jnp.einsum("prsgjc,pgtc->pgrsjt", query, prefix.keys)
    far = jnp.where(prefix_mask[:, None, None, None, None, :], far, MASKED_SCORE)
    peak = jax.lax.stop_gradient(jnp.maximum(peak, far.max(-1, keepdims=True)))
    own_weight, far_weight = jnp.exp(own - peak), jnp.exp(far - peak)
    total = jnp.einsum("pgrsju->prsgj", own_weight) + jnp.einsum("pgrsjt->prsgj", far_weight)
    mixed = jnp.einsum("pgrsju,prugc->prsgjc", own_weight, values)
    mixed = mixed + jnp.einsum("pgrsjt,pgtc->prsgjc", far_weight, prefix.values)
    return mixed / total[..., None]
