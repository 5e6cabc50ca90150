"""Intervention sweeps as a batch of residuals that enter the network above their neuron's layer.

Shifting neuron i of layer l by δ adds δ · ∂(FFN out)/∂a_i to that layer's FFN output, at the read
position: δ · W_down[i] at sites `act` and `product`, δ · act(gate_i) · W_down[i] at `up`. What lies
below is the unperturbed replay's, so a row starts as the residual leaving layer l and runs through
layers l+1 … L-1 alone.

Rows are sorted by layer, so those already inside the network at layer l are the first n of the
buffer. Each layer's weights are fetched once and applied to those rows chunk by chunk, and by
quarters of a chunk to what fills none; the numbers of chunks are traced loop bounds. One
compilation therefore serves any mixture of layers, and hardly a row is computed only as padding.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from negjax.model.attention import KeysValues
from negjax.model.layers import MASKED_SCORE
from negjax.model.replay import (
    Prefix,
    Suffix,
    Trace,
    block_at,
    stacked_blocks,
    take_scored,
)
from negjax.model.transformer import Transformer, Where

# Tokens of the vocabulary whose logits are made at once: with a few hundred rows, some megabytes.
VOCAB_BLOCK = 2048
# The rows that do not fill a chunk of at least so many tokens go by quarters of one.
QUARTERED_TOKENS = 256


class Rows(NamedTuple):
    """R interventions of each of P prompts, sorted by layer; layer L marks padding."""

    layer: jax.Array
    """[P, R], integers."""
    neuron: jax.Array
    """[P, R], index within the layer."""
    delta: jax.Array
    """[P, R], added to the activation."""


def enter_rows(
    model: Transformer, suffix: Suffix, trace: Trace, rows: Rows, site: str
) -> jax.Array:
    """Residuals [P, R, S, D] leaving each row's layer, its neuron shifted by its delta."""
    graphdef, params = stacked_blocks(model)
    down = model.blocks.ffn.down.kernel[...]
    at_read = jnp.arange(suffix.tokens.shape[1]) == suffix.read[:, None]
    dtype = trace.mid.dtype

    def enter(
        prompt: jax.Array, layer: jax.Array, neuron: jax.Array, delta: jax.Array
    ) -> jax.Array:
        # Padding rows point past the last layer; they are never read, so any layer will do.
        layer = jnp.minimum(layer, down.shape[0] - 1)
        if site == "up":
            delta = delta * trace.at_read["gate"][layer, prompt, neuron]
        write = delta.astype(dtype) * down[layer, neuron].astype(dtype)
        ffn_out = trace.ffn_out[layer, prompt] + jnp.where(at_read[prompt][:, None], write, 0)
        return block_at(graphdef, params, layer).finish(trace.mid[layer, prompt], ffn_out)

    prompts = jnp.arange(rows.layer.shape[0])
    per_row = jax.vmap(enter, in_axes=(None, 0, 0, 0))
    return jax.vmap(per_row)(prompts, rows.layer, rows.neuron, rows.delta)


def sweep_rows(
    model: Transformer,
    prefix: Prefix | None,
    suffix: Suffix,
    trace: Trace,
    rows: Rows,
    targets: jax.Array,
    real: jax.Array,
    *,
    site: str,
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    """Log-probability and logit [P, R, K] of the targets, for each row's intervention.

    Args:
        targets, real: [P, K, M], token ids and which of them count.
        chunk: rows of each prompt computed at once; divides R.
    """
    graphdef, params = stacked_blocks(model)
    layers = trace.mid.shape[0]
    prefix_mask = None if prefix is None else prefix.mask
    # One token a row: taken as the origin of positions, it is never rotated, the prefix is, once.
    # float64 keeps to absolute positions, whose sines, rounded to float32, define the model.
    alone = suffix.tokens.shape[1] == 1 and trace.mid.dtype == jnp.float32
    at_origin = prefix is not None and alone
    where = Where(None if at_origin else suffix.positions, suffix.mask, prefix_mask)
    resid = enter_rows(model, suffix, trace, rows, site)
    tokens = chunk * suffix.tokens.size
    part = chunk // 4 if chunk % 4 == 0 and tokens >= QUARTERED_TOKENS else chunk

    def chunks_of(count: jax.Array) -> jax.Array:
        return (count + chunk - 1) // chunk

    def run_layer(layer: jax.Array, resid: jax.Array) -> jax.Array:
        block = block_at(graphdef, params, layer)
        keys_values = None
        if prefix is not None:
            keys_values = KeysValues(*(kv[layer] for kv in prefix.layers))
            if at_origin:
                keys_values = block.attention.seen_from(keys_values, suffix.positions[:, 0])

        def run_chunk(size: int, i: jax.Array, resid: jax.Array) -> jax.Array:
            before = jax.lax.dynamic_slice_in_dim(resid, i * size, size, axis=1)
            entered = jax.lax.dynamic_slice_in_dim(rows.layer, i * size, size, axis=1) < layer
            after = block(before, where, keys_values)
            after = jnp.where(entered[:, :, None, None], after, before)
            return jax.lax.dynamic_update_slice_in_dim(resid, after, i * size, axis=1)

        inside = (rows.layer < layer).sum(1).max()
        if part == chunk:
            return jax.lax.fori_loop(0, chunks_of(inside), partial(run_chunk, chunk), resid)
        whole = inside // chunk
        resid = jax.lax.fori_loop(0, whole, partial(run_chunk, chunk), resid)
        first, last = whole * (chunk // part), (inside + part - 1) // part
        return jax.lax.fori_loop(first, last, partial(run_chunk, part), resid)

    lowest = rows.layer.min()
    resid = jax.lax.fori_loop(lowest + 1, layers, run_layer, resid)

    used = (rows.layer < layers).sum(1).max()
    scored = take_scored(resid, suffix, targets.shape[2])
    return _read_rows(model, scored, targets, real, chunks_of(used), chunk)


def _read_rows(
    model: Transformer,
    resid: jax.Array,
    targets: jax.Array,
    real: jax.Array,
    chunks: jax.Array,
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    """Log-probability and logit [P, R, K] of targets, of the first `chunks` chunks of rows.

    `target_scores` for many rows: the logits are made in blocks of the vocabulary that stay in
    cache, each block of the output embedding fetched once, and folded into a running log-sum-exp.

    Args:
        resid: [P, R, M, D], last residuals at the scored positions.
        targets, real: [P, K, M].
    """
    p, r, m, _ = resid.shape
    embedding = model.output_embedding()
    vocab = embedding.shape[0]
    size = min(VOCAB_BLOCK, vocab)
    index = targets.swapaxes(1, 2)[:, None]  # [P, 1, M, K]
    take, put = jax.lax.dynamic_slice_in_dim, jax.lax.dynamic_update_slice_in_dim
    features = model.head.features(resid)

    def add_block(number: jax.Array, scores: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        # The last block is moved back to end with the vocabulary; what it repeats is masked.
        start = jnp.minimum(number * size, vocab - size)
        fresh = jnp.arange(size) >= number * size - start
        # Turned once a block: left to itself, XLA turns it again for every chunk.
        weight = jax.lax.optimization_barrier(
            take(embedding, start, size, axis=0).astype(resid.dtype).T
        )
        bias = None if model.head.bias is None else take(model.head.bias[...], start, size)
        inside = (index >= number * size) & (index < start + size)

        def add_chunk(i: jax.Array, scores: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            peak, total, picked = (take(x, i * chunk, chunk, axis=1) for x in scores)
            x = take(features, i * chunk, chunk, axis=1)
            logits = (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], size)
            logits = logits if bias is None else logits + bias.astype(resid.dtype)
            logits = jnp.where(fresh, logits, MASKED_SCORE)
            higher = jnp.maximum(peak, logits.max(-1))
            total = total * jnp.exp(peak - higher) + jnp.exp(logits - higher[..., None]).sum(-1)
            at = jnp.clip(index - start, 0, size - 1)
            found = jnp.take_along_axis(
                logits, jnp.broadcast_to(at, (p, chunk, m, at.shape[-1])), -1
            )
            new = higher, total, jnp.where(inside, found, picked)
            return tuple(put(old, x, i * chunk, 1) for old, x in zip(scores, new, strict=True))

        return jax.lax.fori_loop(0, chunks, add_chunk, scores)

    zeros = jnp.zeros((p, r, m), resid.dtype)
    start = (zeros + MASKED_SCORE, zeros, jnp.zeros((p, r, m, targets.shape[1]), resid.dtype))
    peak, total, picked = jax.lax.fori_loop(0, -(-vocab // size), add_block, start)
    counted = real.swapaxes(1, 2)[:, None]
    logit = jnp.where(counted, picked, 0)
    log_probability = jnp.where(counted, picked - (peak + jnp.log(total))[..., None], 0)
    return log_probability.sum(2), logit.sum(2)
