"""Grouped-query attention of suffix rows over a shared prefix and over themselves.

One function serves the pass over whole prompts (no prefix, one row a prompt), replays (S suffix
tokens over the prefix's keys and values) and sweeps (R rows a prompt, all over the same keys).

Where all prompts begin with the same tokens, a common head, its keys and values exist once: the
rows of all prompts attend to them in one product, which is merged with the rest.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.model.config import ModelConfig
from negjax.model.layers import MASKED_SCORE, Linear, Norm, soft_capped
from negjax.model.placement import Placement
from negjax.model.products import Products
from negjax.model.turning import Turning

# Queries attended at once: of a long text, scores of this many against all keys stay in cache.
QUERY_BLOCK = 64
# Parts into which a long text's queries fall, each with the keys that its last query may see. More
# multiply less that is masked afterwards (8 an eighth more than need be), and make longer programs.
MOST_BANDS = 8


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
    """Projections, norms and positions around `mix`."""

    def __init__(self, config: ModelConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        d, c = {"D": config.width}, {"C": config.head_width}
        h, g = {"H": config.heads}, {"G": config.kv_heads}
        bias = config.qkv_bias
        self.query = Linear(d, h | c, bias=bias, dtype=dtype, rngs=rngs)
        self.key = Linear(d, g | c, bias=bias, dtype=dtype, rngs=rngs)
        self.value = Linear(d, g | c, bias=bias, dtype=dtype, rngs=rngs)
        self.out = Linear(h | c, d, bias=config.out_bias, dtype=dtype, rngs=rngs)
        self.query_norm, self.key_norm = (
            _query_or_key_norm(config, heads, dtype) for heads in (config.heads, config.kv_heads)
        )
        scale = config.attention_scale
        self.scale = config.head_width**-0.5 if scale is None else scale
        self.cap = config.attention_cap
        self.turning = Turning(config.ropes, config.head_width)
        # Tokens are never so far apart that they do not see each other in a layer without a window.
        self.windows = tuple(window or 2**31 - 1 for window in config.windows)
        self.causal = config.causal
        self.linearised = False

    def keys_values(
        self, x: jax.Array, where: Placement, products: Products | None = None
    ) -> KeysValues:
        """Keys and values [..., S, G, C] of x [..., S, D]; of packed x, packed."""
        products = Products() if products is None else products
        key, value = products.of("key", self.key, x), products.of("value", self.value, x)
        return KeysValues(self._placed(key, where, self.key_norm), value)

    def __call__(
        self,
        x: jax.Array,
        where: Placement,
        prefix: KeysValues | None,
        head: KeysValues | None = None,
        products: Products | None = None,
    ) -> tuple[jax.Array, KeysValues]:
        """Attention output [P, R, S, D] of suffix rows, and their own keys and values.

        Args:
            x: [P, R, S, D], what attention reads; [1, 1, N, D] where rows are packed, like the
                output. The keys and values returned are those of P padded rows.
            where: the same for all rows of a prompt.
            prefix: keys and values of the tokens before the suffix, or None.
            head: keys and values [G, T, C] of a common head before all prefixes.
            products: records or recalls `query`, `key`, `value` and `out`.

        Returns:
            the output, and keys and values [P, R, S, G, C].
        """
        products = Products() if products is None else products
        query = self._placed(products.of("query", self.query, x), where, self.query_norm)
        own = self.keys_values(x, where, products)
        packing = where.packing
        if packing is not None:
            query, own = packing.unpack(query), KeysValues(*map(packing.unpack, own))
        p, r, s, h, c = query.shape
        query = query.reshape(p, r, s, own.keys.shape[3], -1, c) * self.scale
        if self.linearised:
            # Attention weights are functions of queries and keys, and constant if these are.
            query = jax.lax.stop_gradient(query)
            own = own._replace(keys=jax.lax.stop_gradient(own.keys))
        window = None
        if self.windows:
            assert where.layer is not None
            window = jnp.asarray(self.windows, jnp.int32)[where.layer]
        rules = Rules(causal=self.causal, window=window, cap=self.cap)
        mixed = mix(query, own, where, prefix, head, rules).reshape(p, r, s, h, c)
        mixed = mixed if packing is None else packing.pack(mixed)
        return products.of("out", self.out, mixed), own

    def seen_from(self, prefix: KeysValues, where: Placement) -> KeysValues:
        """A prefix [P, G, T, C] with the first tokens at `where` as the origin of positions.

        Scores depend on differences of positions alone, so a query there needs no turning.
        """
        back = -where.positions[:, :1, None]
        keys = self.turning.turned(prefix.keys[..., None, :], back, where.layer)
        return prefix._replace(keys=keys[..., 0, :])

    def _placed(self, x: jax.Array, where: Placement, norm: Norm | None) -> jax.Array:
        """Queries or keys [..., S, heads, C], normed and turned by their positions."""
        if norm is not None:
            x = norm(x.reshape(*x.shape[:-2], -1, norm.scale.shape[-1])).reshape(x.shape)
        turns = where.turns
        x = self.turning.scaled(x, where.layer)
        return x if turns is None else self.turning.turned(x, turns, where.layer)


def _query_or_key_norm(config: ModelConfig, heads: int, dtype: jnp.dtype) -> Norm | None:
    if config.qk_norm == "none":
        return None
    if config.qk_norm == "head":
        return Norm(config, "C", config.head_width, dtype=dtype)
    return Norm(config, "HC", heads * config.head_width, dtype=dtype)


class Rules(NamedTuple):
    """Which tokens see which, and how scores are bounded."""

    causal: bool
    window: jax.Array | None
    """Distance from which on tokens do not see each other; None: there is none."""
    cap: float | None
    """Bound of scores; None: there is none."""


def mix(
    query: jax.Array,
    own: KeysValues,
    where: Placement,
    prefix: KeysValues | None,
    head: KeysValues | None,
    rules: Rules,
) -> jax.Array:
    """Softmax-weighted values [P, R, S, G, J, C] over head, prefix and the row's own suffix.

    Args:
        query: [P, R, S, G, J, C], scaled.
        own: the suffix's keys and values, [P, R, S, G, C] each.
    """
    length = query.shape[2]
    # Heads outermost, once for all: products over heads then need no further copies.
    query = query.transpose(0, 3, 1, 2, 4, 5)
    keys, values = (x.transpose(0, 3, 1, 2, 4) for x in own)
    band = QUERY_BLOCK * -(-length // (QUERY_BLOCK * MOST_BANDS))
    parts = []
    for first in range(0, length, band):
        last = min(first + band, length)
        # What no query of the band may see is not even multiplied.
        seen = last if rules.causal else length
        near = KeysValues(keys[:, :, :, :seen], values[:, :, :, :seen])
        block = functools.partial(
            _mix_block, own=near, where=where, prefix=prefix, head=head, rules=rules
        )
        whole = (last - first) // QUERY_BLOCK
        looped = first + whole * QUERY_BLOCK if whole > 1 else first
        if looped > first:
            parts.append(_mix_blocks(block, query[:, :, :, first:looped], first))
        if last > looped:
            parts.append(block(query[:, :, :, looped:last], looped))
    mixed = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=3)
    return mixed.transpose(0, 2, 3, 1, 4, 5)


def _mix_blocks(
    block: Callable[[jax.Array, jax.Array], jax.Array], query: jax.Array, first: int
) -> jax.Array:
    """`block` of query [P, G, R, S, J, C], block by block in a loop, so that neither the program
    nor what it holds of scores grows with S: a derivative makes each block's again."""
    p, g, r, s, j, c = query.shape
    each = jnp.moveaxis(query.reshape(p, g, r, -1, QUERY_BLOCK, j, c), 3, 0)
    starts = first + jnp.arange(len(each)) * QUERY_BLOCK
    # What a loop computes again is never merged with what it computed before.
    again = jax.checkpoint(block, prevent_cse=False)
    mixed = jax.lax.map(lambda part: again(*part), (each, starts))
    return jnp.moveaxis(mixed, 0, 3).reshape(p, g, r, s, j, c)


def _mix_block(
    query: jax.Array,
    start: int | jax.Array,
    *,
    own: KeysValues,
    where: Placement,
    prefix: KeysValues | None,
    head: KeysValues | None,
    rules: Rules,
) -> jax.Array:
    """`mix` of the queries [P, G, R, S, J, C] from `start` on, over own keys [P, G, R, U, C]."""
    rows = start + jnp.arange(query.shape[3])
    allowed = where.near(rows, own.keys.shape[3], rules.causal)
    far = common = None
    if prefix is not None and where.prefix_mask is not None:
        # Without a window all queries see the same of the prefix.
        far = where.prefix_mask[:, None]
    if head is not None and where.head_mask is not None:
        common = where.head_mask[None, None]
    if rules.window is not None:
        allowed = allowed & (where.near_distance(rows, own.keys.shape[3]) < rules.window)
        if far is not None:
            far = far & (where.prefix_distance(rows) < rules.window)
        if common is not None:
            common = common & (where.head_distance(rows) < rules.window)
    sums = _mix_own(query, own, allowed, prefix, far, rules)
    if head is not None and common is not None:
        sums = _over_both(sums, _mix_head(query, head, common, rules))
    return sums.mixed / sums.total


def _mix_own(
    query: jax.Array,
    own: KeysValues,
    allowed: jax.Array,
    prefix: KeysValues | None,
    before: jax.Array | None,
    rules: Rules,
) -> WeightedSums:
    """Of queries [P, G, R, S, J, C] over own keys [P, G, R, U, C], `allowed` [P, S, U], and a
    prefix, `before` [P, S or 1, T]."""
    # Own scores: every row has keys of its own, a batch of small products.
    near = soft_capped(jnp.einsum("pgrsjc,pgruc->pgrsju", query, own.keys), rules.cap)
    near = jnp.where(allowed[:, None, None, :, None, :], near, MASKED_SCORE)
    peak = jax.lax.stop_gradient(near.max(-1, keepdims=True))
    if prefix is None or before is None:
        weight = jnp.exp(near - peak)
        mixed = jnp.einsum("pgrsju,pgruc->pgrsjc", weight, own.values)
        return WeightedSums(mixed, weight.sum(-1, keepdims=True), peak)
    # Prefix scores: all rows of a prompt share its keys, one matrix product a key/value head.
    far = soft_capped(jnp.einsum("pgrsjc,pgtc->pgrsjt", query, prefix.keys), rules.cap)
    far = jnp.where(before[:, None, None, :, None, :], far, MASKED_SCORE)
    peak = jax.lax.stop_gradient(jnp.maximum(peak, far.max(-1, keepdims=True)))
    near_weight, far_weight = jnp.exp(near - peak), jnp.exp(far - peak)
    total = near_weight.sum(-1, keepdims=True) + far_weight.sum(-1, keepdims=True)
    mixed = jnp.einsum("pgrsju,pgruc->pgrsjc", near_weight, own.values)
    mixed = mixed + jnp.einsum("pgrsjt,pgtc->pgrsjc", far_weight, prefix.values)
    return WeightedSums(mixed, total, peak)


def _mix_head(query: jax.Array, head: KeysValues, allowed: jax.Array, rules: Rules) -> WeightedSums:
    """Of queries [P, G, R, S, J, C] over a common head alone, `allowed` [P, S, T]."""
    # No prompt has keys of its own here: all their queries are rows of one product a head.
    p, g, r, s, j, c = query.shape
    score = jnp.einsum("gnc,gtc->gnt", query.swapaxes(0, 1).reshape(g, -1, c), head.keys)
    score = soft_capped(score, rules.cap)
    if rules.window is None:
        mask = allowed[0]
    else:
        mask = jnp.broadcast_to(allowed[:, None, :, None], (p, r, s, j, allowed.shape[-1]))
        mask = mask.reshape(1, -1, allowed.shape[-1])
        # A key that is not seen may have the highest score of all.
        score = jnp.where(mask, score, MASKED_SCORE)
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
