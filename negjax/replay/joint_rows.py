"""Many neurons at once: rows of the suffix replayed with a sparse set of shifts each.

The rows enter at the lowest layer that any of them changes, as the unperturbed residual there, and
run through all layers above it with their shifts; nothing below runs again.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from negjax.model.transformer import Transformer
from negjax.replay.rows import prefix_seen, row_places
from negjax.replay.shifted_suffixes import shifted_block
from negjax.replay.suffixes import (
    Prefix,
    Suffix,
    Trace,
    block_at,
    spread_out,
    stacked_blocks,
    take_scored,
)
from negjax.replay.written_blocks import written_block

RunLayer = Callable[[jax.Array, jax.Array], jax.Array]
"""Residuals [P, R, S, D] leaving a layer, of its number and those that enter it."""


class Entries(NamedTuple):
    """Entries of the rows' shifts [L, R, F], in any order; layer L marks padding."""

    layer: Int[jax.Array, " entries"]
    row: Int[jax.Array, " entries"]
    neuron: Int[jax.Array, " entries"]
    """Index within the layer."""
    value: Float[jax.Array, " entries"]
    """A shift, or what the activation is set to."""
    vectors: Float[jax.Array, "N D"] | None = None
    """Given, entries are of directions, whose number is in `neuron`'s place."""


def replay_sets(
    model: Transformer,
    prefix: Prefix | None,
    suffix: Suffix,
    trace: Trace,
    entries: Entries,
    lowest: Int[jax.Array, ""],
    scored_tokens: int,
    *,
    rows: int,
    site: str,
    signed: bool,
    clamp: bool,
) -> Float[jax.Array, "P {rows} {scored_tokens} D"]:
    """Last residuals of R rows of each prompt, each with its entries, the same for all prompts.

    Args:
        lowest: no entry lies below this layer.
        site: of the neurons; a place, if entries are of directions.
        scored_tokens: M, the read position and those after it, where targets are predicted.
        signed: shifts count along the sign s(a) of the unperturbed activation.
        clamp: values replace activations instead.
    """
    run_layer = (
        _shifting(model, prefix, suffix, trace, entries, rows, site, signed=signed, clamp=clamp)
        if entries.vectors is None
        else _writing(model, prefix, suffix, trace, entries, entries.vectors, rows, site)
    )
    entering = trace.entering[lowest][:, None]
    resid = jnp.broadcast_to(entering, (len(entering), rows, *entering.shape[2:]))
    resid = jax.lax.fori_loop(lowest, len(trace.entering), run_layer, resid)
    return take_scored(resid, suffix, scored_tokens)


def _shifting(
    model: Transformer,
    prefix: Prefix | None,
    suffix: Suffix,
    trace: Trace,
    entries: Entries,
    rows: int,
    site: str,
    *,
    signed: bool,
    clamp: bool,
) -> RunLayer:
    """Neurons are shifted in each layer."""
    graphdef, params = stacked_blocks(model)
    layers, prompts, _, neurons = trace.at_positions[site].shape
    dtype = trace.mid.dtype
    at = (entries.layer, entries.row, entries.neuron)
    shape = (layers, rows, neurons)
    shift = jnp.zeros(shape, dtype).at[at].add(entries.value.astype(dtype), mode="drop")
    held = jnp.zeros(shape, bool).at[at].set(True, mode="drop") if clamp else None
    where = row_places(prefix, suffix, dtype, trace.routes)

    def run_layer(layer: jax.Array, resid: jax.Array) -> jax.Array:
        block = block_at(graphdef, params, layer)
        shift_prqf = jnp.broadcast_to(shift[layer][:, None], (prompts, rows, 1, neurons))
        if signed and not clamp:
            positive = trace.at_positions[site][layer] > 0
            shift_prqf = jnp.where(positive[:, None], shift_prqf, -shift_prqf)
        return shifted_block(
            block,
            resid,
            shift_prqf,
            where.at(layer),
            prefix_seen(block, prefix, layer, where),
            suffix,
            site,
            held=None if held is None else held[layer],
        )

    return run_layer


def _writing(
    model: Transformer,
    prefix: Prefix | None,
    suffix: Suffix,
    trace: Trace,
    entries: Entries,
    vectors: Float[jax.Array, "N D"],
    rows: int,
    place: str,
) -> RunLayer:
    """Sums of directions are written in each layer."""
    graphdef, params = stacked_blocks(model)
    layers, prompts = trace.entering.shape[:2]
    dtype = trace.mid.dtype
    each = entries.value.astype(dtype)[:, None] * vectors[entries.neuron]
    nothing = jnp.zeros((layers, rows, vectors.shape[1]), dtype)
    writes = nothing.at[entries.layer, entries.row].add(each, mode="drop")
    where = row_places(prefix, suffix, dtype, trace.routes)

    def run_layer(layer: jax.Array, resid: jax.Array) -> jax.Array:
        block = block_at(graphdef, params, layer)
        write = jnp.broadcast_to(writes[layer][:, None], (prompts, rows, 1, vectors.shape[1]))
        return written_block(
            block,
            resid,
            spread_out(write, suffix),
            where.at(layer),
            prefix_seen(block, prefix, layer, where),
            place,
        )

    return run_layer
