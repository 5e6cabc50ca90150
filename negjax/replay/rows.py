"""Intervention sweeps as a batch of residuals that enter the network above their neuron's layer.

Shifting neuron i of layer l by δ adds δ · ∂(FFN out)/∂a_i to that layer's FFN output, at its
position: δ · W_down[i] at sites `act` and `product`, δ · act(gate_i) · W_down[i] at `up`. What lies
below is the unperturbed replay's, so a row starts as the residual leaving layer l and runs through
layers l+1 … L-1 alone. A row of a direction (`negjax.replay.written_blocks`) starts a layer lower,
as the residual that enters its own, and is written to there.

Rows are sorted by layer, so those already inside the network at layer l are the first n of the
buffer. Each layer's weights are fetched once and applied to those rows chunk by chunk, and by
quarters of a chunk to what fills none; the numbers of chunks are traced loop bounds. One
compilation therefore serves any mixture of layers, and hardly a row is computed only as padding.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from negjax.model.attention import KeysValues
from negjax.model.meshes import rows_apart
from negjax.model.placement import Placement
from negjax.model.streamed import rows_of
from negjax.model.transformer import Block, Transformer
from negjax.replay.chunks import through_layer
from negjax.replay.readout import Scores, read_rows
from negjax.replay.suffixes import (
    Prefix,
    Suffix,
    Trace,
    block_at,
    frame_at,
    layer_count,
    stacked_blocks,
    take_read,
    take_scored,
)
from negjax.replay.tails import read_with_tails, worthwhile
from negjax.replay.written_blocks import direction_writes, written_block


class Rows(NamedTuple):
    """R interventions of each of P prompts, sorted by layer; layer L marks padding."""

    layer: Int[jax.Array, "P R"]
    neuron: Int[jax.Array, "P R"]
    """Index within the layer."""
    delta: Float[jax.Array, "P R Q"]
    """Added to the activation at each of the neurons' positions."""
    vectors: Float[jax.Array, "N D"] | None = None
    """Given, rows are of directions: `neuron` is the direction's number, `delta` how much of it is
    written, in the layer after `layer`, which may be -1."""


def enter_rows(
    model: Transformer, suffix: Suffix, trace: Trace, rows: Rows, site: str, alone: bool = False
) -> Float[jax.Array, "P R S D"]:
    """Residuals leaving each row's layer, its neuron shifted by its delta.

    Args:
        alone: the feed-forward layer writes nothing but what the shift adds.
    """
    graphdef, params = stacked_blocks(model)
    down = model.blocks.ffn.down.kernel.get_value()
    # Padding rows point past the last layer: they are what leaves that, without a write.
    layers = layer_count(params)
    own = jnp.minimum(rows.layer, layers - 1)
    written_at = jnp.where(rows.layer < layers, own, own.min())
    here = jnp.arange(suffix.tokens.shape[1])[:, None] == suffix.at[:, None]
    dtype = trace.mid.dtype

    def enter(
        prompt: jax.Array,
        layer: jax.Array,
        neuron: jax.Array,
        delta: jax.Array,
        written: jax.Array,
    ) -> jax.Array:
        if site == "up":
            delta = delta * trace.at_positions["gate"][layer, prompt, :, neuron]
        if "share" in trace.at_positions:
            delta = delta * trace.at_positions["share"][layer, prompt, :, neuron]
        added = jnp.where(here[prompt], delta.astype(dtype), 0).sum(-1)
        write = added[:, None] * written.astype(dtype)
        block = frame_at(graphdef, params, layer)
        mid, ffn_out = trace.mid[layer, prompt], trace.ffn_out[layer, prompt]
        if alone:
            return block.write_alone(mid, ffn_out, write)
        return block.finish(mid, ffn_out + write)

    prompts = jnp.arange(rows.layer.shape[0])
    per_row = jax.vmap(enter, in_axes=(None, 0, 0, 0, 0))
    written = rows_of(down, written_at, rows.neuron)
    return jax.vmap(per_row)(prompts, own, rows.neuron, rows.delta, written)


def enter_below(trace: Trace, rows: Rows) -> Float[jax.Array, "P R S D"]:
    """Residuals that leave each row's layer as they are, -1 being below all layers."""
    layers, prompts = trace.entering.shape[:2]
    above = jnp.minimum(rows.layer + 1, layers - 1)
    return trace.entering[above, jnp.arange(prompts)[:, None]]


def row_places(
    prefix: Prefix | None,
    suffix: Suffix,
    dtype: jnp.dtype,
    routes: Int[jax.Array, "L P S k"] | None,
) -> Placement:
    """Where rows stand, and which experts their tokens pass; None: those that the router chooses.

    One token a row: taken as the origin of positions, it is never rotated, the prefix is, once.
    float64 keeps to absolute positions, whose sines, rounded to float32, define the model.
    """
    alone = suffix.tokens.shape[1] == 1 and dtype == jnp.float32
    at_origin = prefix is not None and alone
    prefix_mask = None if prefix is None else prefix.mask
    return Placement(
        positions=suffix.positions,
        mask=suffix.mask,
        prefix_mask=prefix_mask,
        at_origin=at_origin,
        routes=routes,
    )


def prefix_seen(
    block: Block, prefix: Prefix | None, layer: Int[jax.Array, ""], where: Placement
) -> KeysValues | None:
    """The prefix's keys and values in a layer, as rows at `where` see them."""
    if prefix is None:
        return None
    keys_values = KeysValues(*(kv[layer] for kv in prefix.layers))
    if where.at_origin:
        return block.attention.seen_from(keys_values, where.at(layer))
    return keys_values


def read_alone(
    block: Block,
    resid: Float[jax.Array, "P R S D"],
    at_read: Float[jax.Array, "P R 1 D"],
    suffix: Suffix,
    where: Placement,
) -> Float[jax.Array, "P R 1 D"]:
    """What leaves a block at the read position, whose token sees all others of its row.

    Of the others keys and values are made and nothing else.

    Args:
        resid: entering the block.
        at_read: the same at the read position.
    """
    prompts, rows, length, _ = resid.shape

    def each(x: jax.Array) -> jax.Array:
        """Of a prompt [P, ...], for each of its rows."""
        return jnp.repeat(x, rows, axis=0)

    # Each row is a prompt of its own, whose other tokens are what lies before the one that is read.
    own = block.keys_values(resid, where)
    others = KeysValues(*(x.reshape(-1, *x.shape[2:]).swapaxes(1, 2) for x in own))
    other = suffix.mask & (jnp.arange(length) != suffix.read[:, None])
    place = Placement(
        positions=each(take_read(suffix.positions, suffix)[:, None]),
        mask=jnp.ones((prompts * rows, 1), bool),
        prefix_mask=each(other),
        layer=where.layer,
    )
    after = block(at_read.reshape(prompts * rows, 1, 1, -1), place, others)
    return after.reshape(at_read.shape)


def rise(
    model: Transformer,
    prefix: Prefix | None,
    suffix: Suffix,
    trace: Trace,
    rows: Rows,
    scored_tokens: int,
    *,
    site: str,
    chunk: int,
) -> Float[jax.Array, "P R {scored_tokens} D"]:
    """Last residuals of each row under its intervention, where targets are predicted.

    Args:
        scored_tokens: M, the read position and those after it.
        site: of the neurons; a place, if rows are of directions.
        chunk: rows of each prompt computed at once; divides R.
    """
    graphdef, params = stacked_blocks(model)
    layers = trace.mid.shape[0]
    where = row_places(prefix, suffix, trace.mid.dtype, trace.routes)
    vectors = rows.vectors
    below = vectors is not None
    tokens = chunk * suffix.tokens.size
    resid = enter_below(trace, rows) if below else enter_rows(model, suffix, trace, rows, site)

    def run_layer(layer: jax.Array, resid: jax.Array) -> jax.Array:
        block = block_at(graphdef, params, layer)
        keys_values = prefix_seen(block, prefix, layer, where)

        def run(size: int, i: jax.Array, before: jax.Array) -> jax.Array:
            if vectors is None:
                return block(before, where.at(layer), keys_values)
            own, number, delta = (
                jax.lax.dynamic_slice_in_dim(x, i * size, size, axis=1)
                for x in (rows.layer, rows.neuron, rows.delta)
            )
            write = direction_writes(vectors, number, delta, own + 1 == layer, suffix)
            return written_block(block, before, write, where.at(layer), keys_values, site)

        return through_layer(layer, rows.layer, chunk, tokens, run, resid)

    # A masked LM is read at one token alone, which of its last layer is all that need be run.
    several = suffix.tokens.shape[1] > scored_tokens == 1
    # A direction may be written to other tokens of it.
    alone_last = prefix is None and several and trace.routes is None and vectors is None
    whole = layers - 1 if alone_last else layers
    resid = jax.lax.fori_loop(rows.layer.min() + 1, whole, run_layer, resid)
    scored = take_scored(resid, suffix, scored_tokens)
    if alone_last:
        block = block_at(graphdef, params, whole)

        def read(size: int, i: jax.Array, kept: jax.Array) -> jax.Array:
            before = rows_apart(jax.lax.dynamic_slice_in_dim(resid, i * size, size, axis=1))
            return read_alone(block, before, kept, suffix, where.at(whole))

        scored = through_layer(whole, rows.layer, chunk, tokens, read, scored)
    return scored


def sweep_rows(
    model: Transformer,
    prefix: Prefix | None,
    suffix: Suffix,
    trace: Trace,
    rows: Rows,
    targets: Int[jax.Array, "P K M"],
    real: Bool[jax.Array, "P K M"],
    *,
    site: str,
    chunk: int,
    unperturbed: Float[jax.Array, "P D"] | None = None,
    spread: bool = False,
) -> Scores[jax.Array]:
    """What each row predicts under its intervention.

    Args:
        targets, real: token ids and which of them count.
        chunk: rows of each prompt computed at once; divides R.
        unperturbed: last residual at the read position. With it, rows that are many need
            not read the whole vocabulary (`negjax.replay.tails`).
        spread: also measure the spread, for which `unperturbed` must be given.
    """
    layers = layer_count(stacked_blocks(model)[1])
    scored = rise(model, prefix, suffix, trace, rows, targets.shape[2], site=site, chunk=chunk)
    prompts, count, scored_tokens, _ = scored.shape
    alone = prompts == scored_tokens == 1 and worthwhile(model, count, scored.dtype)
    if alone and unperturbed is not None and not spread:
        used = (rows.layer < layers).sum()
        return read_with_tails(model, scored, targets, real, used, chunk, unperturbed)
    chunks = used_chunks(rows, layers, chunk)
    before = unperturbed if spread else None
    return read_rows(model, scored, targets, real, chunks, chunk, before)


def used_chunks(rows: Rows, layers: int, chunk: int) -> Int[jax.Array, ""]:
    """How many chunks hold all rows but padding."""
    return ((rows.layer < layers).sum(1).max() + chunk - 1) // chunk


def read_writes(
    model: Transformer,
    suffix: Suffix,
    trace: Trace,
    rows: Rows,
    targets: Int[jax.Array, "P K 1"],
    real: Bool[jax.Array, "P K 1"],
    *,
    chunk: int,
) -> Scores[jax.Array]:
    """What the head says at once of a neuron's write, δ · W_down[i], on the residual it joins.

    No layer above runs, and nothing else that its feed-forward layer writes takes part.

    Args:
        targets, real: token ids and which of them count.
        chunk: rows of each prompt computed at once; divides R.
    """
    tokens, positions, mask = (take_read(x, suffix)[:, None] for x in suffix[:3])
    first = suffix.read * 0
    alone = Suffix(tokens=tokens, positions=positions, mask=mask, read=first, at=first[:, None])
    entering, mid, ffn_out = (
        jax.vmap(lambda x: take_read(x, suffix))(states)[:, :, None]
        for states in (trace.entering, trace.mid, trace.ffn_out)
    )
    own = trace._replace(entering=entering, mid=mid, ffn_out=ffn_out, products={})
    resid = enter_rows(model, alone, own, rows, "product", alone=True)
    return read_rows(model, resid, targets, real, used_chunks(rows, len(mid), chunk), chunk)
