"""A forward pass over whole sequences, layer by layer: what the library's own is tested against."""

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.model.transformer import Transformer, Where


def reference_logits(
    graphdef: nnx.GraphDef[Transformer], params: nnx.State, tokens: jax.Array, mask: jax.Array
) -> jax.Array:
    """Logits [P, S, V] of tokens [P, S] that count where mask [P, S] is True."""
    model = nnx.merge(graphdef, params)
    positions = jnp.maximum(jnp.cumsum(mask, -1) - 1, 0)
    where = Where(positions, mask, None)
    resid = model.embedding(tokens, positions)
    block_def, blocks = nnx.split(model.blocks)
    for layer in range(jax.tree.leaves(blocks)[0].shape[0]):
        block = nnx.merge(block_def, jax.tree.map(lambda leaf, at=layer: leaf[at], blocks))
        resid = block(resid[:, None], where, None)[:, 0]
    return model.logits(resid)
