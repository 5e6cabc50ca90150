"""What last residuals say of the vocabulary: targets' scores and, if asked, the spread over it.

`target_scores` (`negjax.replay.targets`) for many rows: the logits are made in blocks of the
vocabulary that stay in cache, each block of the output embedding fetched once, and folded into
running sums. With the same blocks, for the next token at the read position,

- KL(P₀‖P), in nats, of the unperturbed distribution P₀ from the row's. With d_v the change of logit
  v and m = Σ_v p0_v d_v its mean, KL = log Σ_v p0_v e^(d_v - m) = log(1 + Σ_v p0_v φ(d_v - m)),
  φ(x) = e^x - 1 - x ≥ 0. Nothing cancels there: roundings of the logits enter squared, so that the
  KL of a shift that moves P by 1e-6 is still told in float32. m needs no pass of its own: it is the
  change of the features times Σ_v p0_v W_v. Of capped logits that is only nearly so: the
  rest of the mean, ε = Σ_v p0_v (d_v - m), is summed, too, and the KL is
  log(1 + ε + Σ_v p0_v φ(d_v - m)) - ε, into which roundings still enter squared.
- The entropy of P in nats, log Z - Σ_v p_v logit_v.
- The token of highest probability; of several, the first.
"""

import math
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from negjax.model.layers import MASKED_SCORE
from negjax.model.meshes import rows_apart, rows_together
from negjax.model.transformer import Transformer

# Tokens of the vocabulary whose logits are made at once: with a few hundred rows, some megabytes.
VOCAB_BLOCK = 2048
# Below it, φ is summed as a series, of which 8 terms leave out less than 1e-11 of the first.
SERIES_LIMIT, SERIES_TERMS = 0.25, 8
# Σ_v p0_v φ from which log Z - log Z₀ - m, a difference of large numbers, is as good; larger sums
# may overflow.
LARGE_SUM = 1.0


Array = TypeVar("Array")


class Spread(NamedTuple, Generic[Array]):
    """The next token's distribution at the read position, over the whole vocabulary.

    Arrays of JAX, or of NumPy once they have left the device.
    """

    kl: Float[Array, "P R"]
    """KL(P₀‖P) in nats, of the unperturbed distribution P₀ from the row's P."""
    entropy: Float[Array, "P R"]
    """Of P, in nats."""
    top_token: Int[Array, "P R"]
    """Token id of highest probability."""


class Scores(NamedTuple, Generic[Array]):
    """What R rows of P prompts predict; arrays as in `Spread`."""

    log_probability: Float[Array, "P R K"]
    """Of the targets; of several tokens, the joint one."""
    logit: Float[Array, "P R K"]
    """Summed over a target's tokens."""
    spread: Spread[Array] | None


class _Unperturbed(NamedTuple):
    logits: Float[jax.Array, "P V"]
    """Of P₀."""
    total: Float[jax.Array, "P 1"]
    """log Z₀."""
    mean_change: Float[jax.Array, "P R"]
    """m, or nearly."""


class _SpreadSums(NamedTuple):
    """Running sums [P, R] at the read position."""

    excess: jax.Array
    """Σ_v p0_v φ(d_v - m)."""
    mean_rest: jax.Array
    """Σ_v p0_v (d_v - m), of capped logits."""
    weighted: jax.Array
    """Σ_v e^(logit_v - peak) · (logit_v - peak)."""
    top: jax.Array


class _Sums(NamedTuple):
    peak: Float[jax.Array, "P R M"]
    """Largest logit."""
    total: Float[jax.Array, "P R M"]
    """Σ_v e^(logit_v - peak)."""
    picked: Float[jax.Array, "P R M K"]
    """The targets' logits."""
    spread: _SpreadSums | None


def read_rows(
    model: Transformer,
    resid: Float[jax.Array, "P R M D"],
    targets: Int[jax.Array, "P K M"],
    real: Bool[jax.Array, "P K M"],
    chunks: Int[jax.Array, ""] | int,
    chunk: int,
    unperturbed: Float[jax.Array, "P D"] | None = None,
) -> Scores[jax.Array]:
    """Scores of the first `chunks` chunks of rows; those of further rows mean nothing.

    Args:
        resid: last residuals at the scored positions, the read position first.
        targets, real: token ids and which of them count.
        chunk: rows of each prompt read at once; divides R.
        unperturbed: last residual at the read position without a shift; asks for the spread.
    """
    p, r, m, _ = resid.shape
    embedding = model.output_embedding()
    vocab = embedding.shape[0]
    size = min(VOCAB_BLOCK, vocab)
    index = targets.swapaxes(1, 2)[:, None]  # [P, 1, M, K]
    take, put = jax.lax.dynamic_slice_in_dim, jax.lax.dynamic_update_slice_in_dim
    features = model.head.features(resid)
    before = None if unperturbed is None else _unperturbed(model, features, unperturbed)

    def add_block(number: jax.Array, sums: _Sums) -> _Sums:
        # The last block is moved back to end with the vocabulary; what it repeats is masked.
        start = jnp.minimum(number * size, vocab - size)
        fresh = jnp.arange(size) >= number * size - start
        # Turned once a block: left to itself, XLA turns it again for every chunk.
        weight = jax.lax.optimization_barrier(
            take(embedding, start, size, axis=0).astype(resid.dtype).T
        )
        bias = None if model.head.bias is None else take(model.head.bias[...], start, size)
        inside = (index >= number * size) & (index < start + size)
        own = None
        if before is not None:
            logits = jnp.where(fresh, take(before.logits, start, size, axis=1), MASKED_SCORE)
            own = before._replace(logits=logits)

        def add_chunk(i: jax.Array, every: _Sums) -> _Sums:
            sums = jax.tree.map(lambda x: take(x, i * chunk, chunk, axis=1), every)
            x = rows_apart(take(features, i * chunk, chunk, axis=1))
            logits = (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], size)
            logits = logits if bias is None else logits + bias.astype(resid.dtype)
            logits = jnp.where(fresh, model.capped(logits), MASKED_SCORE)
            higher, total = folded(sums.peak, sums.total, logits)
            at = jnp.clip(index - start, 0, size - 1)
            found = jnp.take_along_axis(
                logits, jnp.broadcast_to(at, (p, chunk, m, at.shape[-1])), -1
            )
            spread = None
            if own is not None:
                mean = take(own.mean_change, i * chunk, chunk, axis=1)
                spread = _spread_sums(
                    sums,
                    logits[:, :, 0],
                    higher[:, :, 0],
                    own._replace(mean_change=mean),
                    start,
                    model.logit_cap is not None,
                )
            new = _Sums(
                peak=higher,
                total=total,
                picked=jnp.where(inside, found, sums.picked),
                spread=spread,
            )
            new = jax.tree.map(rows_together, new)
            result: _Sums = jax.tree.map(lambda old, x: put(old, x, i * chunk, 1), every, new)
            return result

        result: _Sums = jax.lax.fori_loop(0, chunks, add_chunk, sums)
        return result

    zeros = jnp.zeros((p, r, m), resid.dtype)
    picked = jnp.zeros((p, r, m, targets.shape[1]), resid.dtype)
    at_read = zeros[:, :, 0]
    spread = None
    if before is not None:
        top = at_read.astype(jnp.int32)
        spread = _SpreadSums(excess=at_read, mean_rest=at_read, weighted=at_read, top=top)
    start = _Sums(peak=zeros + MASKED_SCORE, total=zeros, picked=picked, spread=spread)
    sums = jax.lax.fori_loop(0, -(-vocab // size), add_block, start)
    totals = sums.peak + jnp.log(sums.total)
    counted = real.swapaxes(1, 2)[:, None]
    logit = jnp.where(counted, sums.picked, 0)
    log_probability = jnp.where(counted, sums.picked - totals[..., None], 0)
    found = None if before is None else _spread(sums, totals[:, :, 0], before)
    return Scores(log_probability.sum(2), logit.sum(2), found)


def folded(
    peak: Float[jax.Array, "*axes"],
    total: Float[jax.Array, "*axes"],
    logits: Float[jax.Array, "*axes V"],
) -> tuple[Float[jax.Array, "*axes"], Float[jax.Array, "*axes"]]:
    """Running peak and Σ e^(logit - peak), with further logits taken in."""
    higher = jnp.maximum(peak, logits.max(-1))
    total = total * jnp.exp(peak - higher)
    return higher, total + jnp.exp(logits - higher[..., None]).sum(-1)


def _unperturbed(model: Transformer, features: jax.Array, resid: jax.Array) -> _Unperturbed:
    """What KL compares with, of residuals [P, D] without a shift; features [P, R, M, D]."""
    logits = model.logits(resid)
    total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    weight, cap_slope = jnp.exp(logits - total), model.cap_slope(logits)
    weight = weight if cap_slope is None else weight * cap_slope
    mean_embedding = weight @ model.output_embedding().astype(resid.dtype)
    change = features[:, :, 0] - model.head.features(resid)[:, None]
    return _Unperturbed(logits, total, jnp.einsum("prd,pd->pr", change, mean_embedding))


def _spread_sums(
    sums: _Sums,
    logits: jax.Array,
    higher: jax.Array,
    before: _Unperturbed,
    start: jax.Array,
    capped: bool,
) -> _SpreadSums:
    """The running sums after a block whose logits [P, R, block] begin with token `start`."""
    assert sums.spread is not None
    peak, total = sums.peak[:, :, 0], sums.total[:, :, 0]
    # A higher peak: Σ e^(x - h)(x - h) = e^(p - h) (Σ e^(x - p)(x - p) + (p - h) Σ e^(x - p)).
    kept = jnp.exp(peak - higher) * (sums.spread.weighted + (peak - higher) * total)
    below = logits - higher[..., None]
    weighted = kept + (jnp.exp(below) * below).sum(-1)
    log_p0 = before.logits - before.total
    change = logits - before.logits[:, None] - before.mean_change[..., None]
    excess = sums.spread.excess + _excess(change, log_p0[:, None]).sum(-1)
    rest = sums.spread.mean_rest
    if capped:
        rest = rest + (jnp.exp(log_p0)[:, None] * change).sum(-1)
    highest = logits.max(-1)
    numbers = jnp.arange(logits.shape[-1], dtype=jnp.int32)
    first = jnp.where(logits == highest[..., None], numbers, logits.shape[-1]).min(-1)
    top = jnp.where(highest > peak, start.astype(jnp.int32) + first, sums.spread.top)
    return _SpreadSums(excess=excess, mean_rest=rest, weighted=weighted, top=top)


def _excess(change: jax.Array, log_p0: jax.Array) -> jax.Array:
    """p0 · φ(change), φ(x) = e^x - 1 - x, exact to rounding for every x."""
    p0 = jnp.exp(log_p0)
    series = jnp.zeros_like(change)
    for power in range(SERIES_TERMS + 1, 1, -1):
        series = series * change + 1 / math.factorial(power)
    # Under one exponential: a token may be as unlikely before as it is likely afterwards.
    direct = jnp.exp(log_p0 + change) - p0 * (1 + change)
    return jnp.where(jnp.abs(change) < SERIES_LIMIT, p0 * series * change * change, direct)


def _spread(sums: _Sums, totals: jax.Array, before: _Unperturbed) -> Spread[jax.Array]:
    assert sums.spread is not None
    rest = sums.spread.mean_rest
    above = sums.spread.excess + rest
    large = totals - before.total - before.mean_change
    kl = jnp.where(above < LARGE_SUM, jnp.log1p(jnp.minimum(above, LARGE_SUM)), large) - rest
    total = sums.total[:, :, 0]
    entropy = jnp.log(total) - sums.spread.weighted / total
    return Spread(jnp.maximum(kl, 0), jnp.maximum(entropy, 0), sums.spread.top)
