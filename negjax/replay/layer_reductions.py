"""All tokens' neurons, layer by layer, each reduced before the next layer runs.

Activations of every token are B · T · L · F numbers, which no statistic needs at once. So here
the layers are walked as in any pass, and only what a reduction makes of a layer's is kept.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from negjax.model.placement import Placement
from negjax.model.transformer import Transformer
from negjax.replay.suffixes import Suffix, block_at, layer_count, stacked_blocks

Reduced = TypeVar("Reduced")


def whole_rows(
    prefix_tokens: Int[jax.Array, "P T"] | None,
    prefix_mask: Bool[jax.Array, "P T"] | None,
    suffix: Suffix,
) -> Suffix:
    """Prefix and suffix as one row [P, T + S] each, without a common head before them.

    Args:
        prefix_tokens, prefix_mask: right-padded; None for a masked LM.
    """
    if prefix_tokens is None or prefix_mask is None:
        return suffix
    before = jnp.broadcast_to(
        jnp.arange(prefix_tokens.shape[1], dtype=suffix.positions.dtype), prefix_tokens.shape
    )
    return Suffix(
        tokens=jnp.concatenate([prefix_tokens, suffix.tokens], axis=1),
        positions=jnp.concatenate([before, suffix.positions], axis=1),
        mask=jnp.concatenate([prefix_mask, suffix.mask], axis=1),
        read=suffix.read + prefix_tokens.shape[1],
        at=suffix.at + prefix_tokens.shape[1],
    )


def reduced_layers(
    model: Transformer,
    rows: Suffix,
    reduce: Callable[[dict[str, Float[jax.Array, "tokens F"]]], Reduced],
) -> Reduced:
    """Runs whole rows without any shift; of each layer, what a reduction makes of its neurons.

    Args:
        rows: all tokens of P texts.
        reduce: of a layer's sites, and `gate` in gated models, by name: [P · T, F] each, row
            after row. Neurons of experts that a token is not routed to are 0.

    Returns:
        arrays as `reduce` returns them, with a leading axis L.
    """
    graphdef, params = stacked_blocks(model)
    where = Placement(positions=rows.positions, mask=rows.mask, prefix_mask=None)

    def step(resid: jax.Array, layer: Any) -> tuple[jax.Array, Reduced]:
        block = block_at(graphdef, params, layer)
        mid, _ = block.attend(resid, where.at(layer), None)
        ffn_out, inner = block.feed_forward(resid, mid)
        # One row an intervention, of which there are none: [P, 1, T, ...] -> [P · T, ...].
        tokens = {name: x.reshape(-1, *x.shape[3:]) for name, x in inner.items()}
        return block.finish(mid, ffn_out), reduce(model.blocks.ffn.by_neuron(tokens))

    resid = model.embedding(rows.tokens, rows.positions)[:, None]
    result: Reduced = jax.lax.scan(step, resid, jnp.arange(layer_count(params)))[1]
    return result
