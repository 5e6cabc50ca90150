"""Many neurons at once: rows of the suffix replayed with a sparse set of shifts each.

The rows enter at the lowest layer that any of them changes, as the unperturbed residual there, and
run through all layers above it with their shifts; nothing below runs again.
"""

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
    stacked_blocks,
    take_scored,
)


class Entries(NamedTuple):
    """Entries of the rows' shifts [L, R, F], in any order; layer L marks padding."""

    layer: Int[jax.Array, " entries"]
    row: Int[jax.Array, " entries"]
    neuron: Int[jax.Array, " entries"]
    """Index within the layer."""
    value: Float[jax.Array, " entries"]
    """A shift, or what the activation is set to."""


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
        scored_tokens: M, the read position and those after it, where targets are predicted.
        signed: shifts count along the sign s(a) of the unperturbed activation.
        clamp: values replace activations instead.
    """
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

    entering = trace.entering[lowest][:, None]
    resid = jnp.broadcast_to(entering, (prompts, rows, *entering.shape[2:]))
    resid = jax.lax.fori_loop(lowest, layers, run_layer, resid)
    return take_scored(resid, suffix, scored_tokens)
