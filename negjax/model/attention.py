"""Grouped-query attention of suffix rows over a shared prefix and over themselves.

One function serves the pass over whole prompts (no prefix, one row a prompt), replays (S suffix
tokens over the prefix's keys and values) and sweeps (R rows a prompt, all over the same keys).

Where all prompts begin with the same tokens, a common head, its keys and values exist once: the
rows of all prompts attend to them in one product, which is merged with the rest.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.model.config import ModelConfig
from negjax.model.layers import MASKED_SCORE, Linear, Norm, rotate
from negjax.model.packing import Packing
from negjax.model.products import Products

# Queries attended at once: of a long text, scores of this many against all keys stay in cache.
QUERY_BLOCK = 64


class KeysValues(NamedTuple):
    """Keys and values, each [P, G, T, C] of a prefix and [P, R, S, G, C] of rows of suffixes.

    Of a common head [G, T, C]: it is no prompt's own.
    """

    keys: jax.Array
    values: jax.Array


class WeightedSums(NamedTuple):
    """A softmax over some of the keys, before its division: sums of e^(score − peak)."""

    mixed: jax.Array
    """[..., C], of the values, weighted."""
    total: jax.Array
    """[..., 1], of the weights."""
    peak: jax.Array
    """[..., 1], a constant of the derivative."""


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
        self.linearised = False

    def keys_values(
        self, x: jax.Array, positions: jax.Array | None, products: Products | None = None
    ) -> KeysValues:
        """Keys and values [..., S, G, C] of x [..., S, D] at positions [..., S]."""
        products = Products() if products is None else products
        key, value = products.of("key", self.key, x), products.of("value", self.value, x)
        return KeysValues(self._placed(key, positions, self.key_norm), value)

    def __call__(
        self,
        x: jax.Array,
        positions: jax.Array | None,
        mask: jax.Array,
        prefix: KeysValues | None,
        prefix_mask: jax.Array | None,
        head: KeysValues | None = None,
        head_mask: jax.Array | None = None,
        packing: Packing | None = None,
        products: Products | None = None,
    ) -> tuple[jax.Array, KeysValues]:
        """Attention output [P, R, S, D] of suffix rows, and their own keys and values.

        Args:
            x: [P, R, S, D], what attention reads.
            positions: [P, 1, S], the same for all rows of a prompt; None: all stand at the origin.
            mask: [P, S], True where a suffix token is real.
            prefix: keys and values of the tokens before the suffix, or None.
            prefix_mask: [P, T], True where a prefix token is real.
            head, head_mask: [G, T, C] and [T], the same of a common head before all prefixes.
            packing: of x, positions and output [1, 1, N, D], where they are packed; the mask and
                the keys and values returned are those of P padded rows.
            products: records or recalls `query`, `key`, `value` and `out`.

        Returns:
            the output, and keys and values [P, R, S, G, C].
        """
        products = Products() if products is None else products
        query = self._placed(products.of("query", self.query, x), positions, self.query_norm)
        own = self.keys_values(x, positions, products)
        if packing is not None:
            query, own = packing.unpack(query), KeysValues(*map(packing.unpack, own))
        p, r, s, h, c = query.shape
        query = query.reshape(p, r, s, own.keys.shape[3], -1, c) * c**-0.5
        if self.linearised:
            # Attention weights are functions of queries and keys, and constant if these are.
            query = jax.lax.stop_gradient(query)
            own = own._replace(keys=jax.lax.stop_gradient(own.keys))
        mixed = mix(query, own, mask, prefix, prefix_mask, head, head_mask, causal=self.causal)
        mixed = mixed.reshape(p, r, s, h, c)
        mixed = mixed if packing is None else packing.pack(mixed)
        return products.of("out", self.out, mixed), own

    def seen_from(self, prefix: KeysValues, positions: jax.Array) -> KeysValues:
        """A prefix [P, G, T, C] with the tokens at positions [P] as the origin of positions.

        Scores depend on differences of positions alone, so a query there needs no rotation.
        """
        if self.rope is None:
            return prefix
        back = -positions[:, None, None]
        return prefix._replace(keys=rotate(prefix.keys[..., None, :], back, self.rope)[..., 0, :])

    def _placed(self, x: jax.Array, positions: jax.Array | None, norm: Norm | None) -> jax.Array:
        x = x if norm is None else norm(x)
        if self.rope is None or positions is None:
            return x
        return rotate(x, positions, self.rope)


def mix(
    query: jax.Array,
    own: KeysValues,
    mask: jax.Array,
    prefix: KeysValues | None,
    prefix_mask: jax.Array | None,
    head: KeysValues | None = None,
    head_mask: jax.Array | None = None,
    *,
    causal: bool,
) -> jax.Array:
    """Softmax-weighted values [P, R, S, G, J, C] over head, prefix and the row's own suffix.

    Args:
        query: [P, R, S, G, J, C], scaled.
        own: the suffix's keys and values, [P, R, S, G, C] each.
        mask: [P, S]; prefix_mask: [P, T]; head_mask: [T].
    """
    length = query.shape[2]
    # Heads outermost, once for all: products over heads then need no further copies.
    query = query.transpose(0, 3, 1, 2, 4, 5)
    keys, values = (x.transpose(0, 3, 1, 2, 4) for x in own)
    blocks = []
    for start in range(0, length, QUERY_BLOCK):
        stop = min(start + QUERY_BLOCK, length)
        # What no query of the block may see is not even multiplied.
        seen = stop if causal else length
        allowed = jnp.broadcast_to(mask[:, None, :seen], (mask.shape[0], stop - start, seen))
        if causal:
            allowed = allowed & (jnp.arange(seen) <= jnp.arange(start, stop)[:, None])
        near = KeysValues(keys[:, :, :, :seen], values[:, :, :, :seen])
        blocks.append(_mix_block(query[:, :, :, start:stop], near, allowed, prefix, prefix_mask))
    sums = blocks[0]
    if len(blocks) > 1:
        sums = WeightedSums(*(jnp.concatenate(x, axis=3) for x in zip(*blocks, strict=True)))
    if head is not None and head_mask is not None:
        sums = _over_both(sums, _mix_head(query, head, head_mask))
    mixed = sums.mixed / sums.total
    return mixed.transpose(0, 2, 3, 1, 4, 5)


def _mix_block(
    query: jax.Array,
    own: KeysValues,
    allowed: jax.Array,
    prefix: KeysValues | None,
    prefix_mask: jax.Array | None,
) -> WeightedSums:
    """`mix` of queries [P, G, R, S, J, C] over own keys [P, G, R, U, C], `allowed` [P, S, U]."""
    # Own scores: every row has keys of its own, a batch of small products.
    near = jnp.einsum("pgrsjc,pgruc->pgrsju", query, own.keys)
    near = jnp.where(allowed[:, None, None, :, None, :], near, MASKED_SCORE)
    peak = jax.lax.stop_gradient(near.max(-1, keepdims=True))
    if prefix is None or prefix_mask is None:
        weight = jnp.exp(near - peak)
        mixed = jnp.einsum("pgrsju,pgruc->pgrsjc", weight, own.values)
        return WeightedSums(mixed, weight.sum(-1, keepdims=True), peak)
    # Prefix scores: all rows of a prompt share its keys, one matrix product a key/value head.
    far = jnp.einsum("pgrsjc,pgtc->pgrsjt", query, prefix.keys)
    far = jnp.where(prefix_mask[:, None, None, None, None, :], far, MASKED_SCORE)
    peak = jax.lax.stop_gradient(jnp.maximum(peak, far.max(-1, keepdims=True)))
    near_weight, far_weight = jnp.exp(near - peak), jnp.exp(far - peak)
    total = near_weight.sum(-1, keepdims=True) + far_weight.sum(-1, keepdims=True)
    mixed = jnp.einsum("pgrsju,pgruc->pgrsjc", near_weight, own.values)
    mixed = mixed + jnp.einsum("pgrsjt,pgtc->pgrsjc", far_weight, prefix.values)
    return WeightedSums(mixed, total, peak)


def _mix_head(query: jax.Array, head: KeysValues, mask: jax.Array) -> WeightedSums:
    """`_mix_block` of queries [P, G, R, S, J, C] over a common head alone."""
    # No prompt has keys of its own here: all their queries are rows of one product a head.
    p, g, r, s, j, c = query.shape
    score = jnp.einsum("gnc,gtc->gnt", query.swapaxes(0, 1).reshape(g, -1, c), head.keys)
    # The head's padding repeats a real key, so this is the peak of the real scores; to mask the
    # scores themselves would be one more pass over them.
    peak = jax.lax.stop_gradient(score.max(-1, keepdims=True))
    weight = jnp.exp(score - peak) * mask
    mixed = jnp.einsum("gnt,gtc->gnc", weight, head.values)
    found = WeightedSums(mixed, weight.sum(-1, keepdims=True), peak)
    return WeightedSums(*(x.reshape(g, p, r, s, j, -1).swapaxes(0, 1) for x in found))


def _over_both(one: WeightedSums, two: WeightedSums) -> WeightedSums:
    """The sums over the keys of both."""
    # Shares made of two rounded log-sum-exps would not add up to 1.
    peak = jnp.maximum(one.peak, two.peak)
    first, second = jnp.exp(one.peak - peak), jnp.exp(two.peak - peak)
    mixed = one.mixed * first + two.mixed * second
    return WeightedSums(mixed, one.total * first + two.total * second, peak)
