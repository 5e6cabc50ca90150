"""How last residuals move with rows' neurons: forward derivatives, beside one unperturbed row.

A row's tangent begins as what its neuron writes, leaving its layer (`negjax.replay.rows`). Each
layer above is linearised once, at the residual that the unperturbed pass brought to it, and applied
to the tangents of all rows that are inside.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from negjax.model.transformer import Transformer
from negjax.replay.chunks import through_layer
from negjax.replay.rows import Rows, enter_rows, prefix_seen, row_places
from negjax.replay.suffixes import Pass, Suffix, block_at, layer_count, stacked_blocks


def rise_tangents(
    model: Transformer, passed: Pass, suffix: Suffix, rows: Rows, site: str
) -> Float[jax.Array, "1 R S D"]:
    """Derivatives of one prompt's last residuals along each row's delta, at no shift.

    Args:
        rows: of neurons, ascending by layer. All that are inside go through a layer at once.
    """
    graphdef, params = stacked_blocks(model)
    prefix, trace, _ = passed
    count = rows.layer.shape[1]
    where = row_places(prefix, suffix, trace.mid.dtype, trace.routes)

    def enter(delta: jax.Array) -> jax.Array:
        return enter_rows(model, suffix, trace, rows._replace(delta=delta), site)

    _, tangents = jax.jvp(enter, (jnp.zeros_like(rows.delta),), (rows.delta,))

    def run_layer(layer: jax.Array, tangents: jax.Array) -> jax.Array:
        block = block_at(graphdef, params, layer)
        keys_values = prefix_seen(block, prefix, layer, where)
        unperturbed = trace.entering[layer][:, None]
        _, push = jax.linearize(lambda x: block(x, where.at(layer), keys_values), unperturbed)
        push_rows = jax.vmap(push, in_axes=1, out_axes=1)

        def run(size: int, i: jax.Array, before: jax.Array) -> jax.Array:
            del size, i
            after: jax.Array = push_rows(before[:, :, None])[:, :, 0]
            return after

        return through_layer(layer, rows.layer, count, count * suffix.tokens.size, run, tangents)

    result: jax.Array = jax.lax.fori_loop(
        rows.layer.min() + 1, layer_count(params), run_layer, tangents
    )
    return result
