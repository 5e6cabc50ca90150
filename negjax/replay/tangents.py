"""How last residuals move with rows' neurons: forward derivatives, beside one unperturbed row.

A row's tangent begins as what its neuron writes, leaving its layer (`negjax.replay.rows`). Each
layer above is linearised once, at the residual that the unperturbed pass brought to it, and applied
to the tangents of all rows that are inside.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from negjax.model.meshes import rows_apart, rows_together
from negjax.model.transformer import Transformer
from negjax.replay.chunks import over_chunks
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

        def run_chunk(size: int, i: jax.Array, tangents: jax.Array) -> jax.Array:
            before = rows_apart(jax.lax.dynamic_slice_in_dim(tangents, i * size, size, axis=1))
            own = jax.lax.dynamic_slice_in_dim(rows.layer, i * size, size, axis=1)
            after = push_rows(before[:, :, None])[:, :, 0]
            after = rows_together(jnp.where((own < layer)[:, :, None, None], after, before))
            return jax.lax.dynamic_update_slice_in_dim(tangents, after, i * size, axis=1)

        inside = (rows.layer < layer).sum(1).max()
        return over_chunks(inside, count, count * suffix.tokens.size, run_chunk, tangents)

    result: jax.Array = jax.lax.fori_loop(
        rows.layer.min() + 1, layer_count(params), run_layer, tangents
    )
    return result
