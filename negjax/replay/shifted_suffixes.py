"""Suffixes replayed through all layers with shifted activations, and the derivative of that.

`replay_suffix` runs a suffix with shifts at the read position, `pull_back` differentiates it with
respect to them at shift 0.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from negjax.model.attention import KeysValues
from negjax.model.config import PLACES
from negjax.model.placement import Placement
from negjax.model.products import Products
from negjax.model.transformer import Block, Transformer
from negjax.replay.suffixes import (
    CommonHead,
    Pass,
    Prefix,
    Suffix,
    block_at,
    layer_count,
    spread_out,
    stacked_blocks,
    suffix_places,
)
from negjax.replay.written_blocks import written_block


def shifted_block(
    block: Block,
    resid: Float[jax.Array, "P R S D"],
    shift: Float[jax.Array, "P R #Q F"],
    where: Placement,
    prefix: KeysValues | None,
    suffix: Suffix,
    site: str,
    held: Bool[jax.Array, "R F"] | None = None,
    common: KeysValues | None = None,
    products: Products | None = None,
) -> Float[jax.Array, "P R S D"]:
    """One layer of a replay, with shifts at the neurons' positions: one for each, or one for all.

    `held`: True where the shift replaces the activation. `common`: of a common head.
    `products`: recalled ones need no multiplication.
    """
    mid, _ = block.attend(resid, where, prefix, common, products)
    shift_prsf = spread_out(shift, suffix)
    held_prsf = None if held is None else spread_out(held[None, :, None], suffix)
    ffn_out, _ = block.feed_forward(resid, mid, shift_prsf, site, held_prsf, products, where.routed)
    return block.finish(mid, ffn_out)


def replay_suffix(
    model: Transformer,
    prefix: Prefix | None,
    suffix: Suffix,
    routes: Int[jax.Array, "L P S k"] | None,
    shift: Float[jax.Array, "L P R entries"],
    site: str,
    head: CommonHead | None = None,
) -> Float[jax.Array, "P R S D"]:
    """Runs the suffix through all layers, with shifts added to activations at its positions.

    Args:
        routes: experts that tokens pass, the unperturbed pass's; None without experts.
        shift: added at `site`, at each of the neurons' positions: R replays of each prompt. Later
            layers' activations react to earlier shifts, and the shift adds to whatever they have
            become. At a place, what is written there, D in F's stead.
        head: what the prefix was run after.

    Returns:
        the last residuals.
    """
    graphdef, params = stacked_blocks(model)
    where = suffix_places(suffix, None if prefix is None else prefix.mask, head)
    where = where._replace(routes=routes)

    def step(
        resid: jax.Array,
        scanned: tuple[jax.Array, KeysValues | None, KeysValues | None, jax.Array],
    ) -> tuple[jax.Array, None]:
        layer, keys_values, common, shift_prf = scanned
        block = block_at(graphdef, params, layer)
        shift_prqf, ways = shift_prf[:, :, None], (where.at(layer), keys_values)
        if site in PLACES:
            write = spread_out(shift_prqf, suffix)
            return written_block(block, resid, write, *ways, site, common), None
        after = shifted_block(block, resid, shift_prqf, *ways, suffix, site, common=common)
        return after, None

    resid = model.embedding(suffix.tokens, suffix.positions)[:, None]
    resid = jnp.broadcast_to(resid, (*shift.shape[1:3], *resid.shape[2:]))
    layers = None if prefix is None else prefix.layers
    common = None if head is None else head.layers
    numbers = jnp.arange(shift.shape[0])
    return jax.lax.scan(step, resid, (numbers, layers, common, shift))[0]


def pull_back(
    model: Transformer,
    passed: Pass,
    suffix: Suffix,
    cotangents: Float[jax.Array, "K P 1 S D"],
    site: str,
    head: CommonHead | None = None,
    fold: Callable[[jax.Array, jax.Array], Any] | None = None,
    lowest: Int[jax.Array, ""] | None = None,
) -> Any:
    """Vector-Jacobian products of `replay_suffix` at shift 0, for K cotangents at once.

    Layer by layer from the top, each layer of the suffix is run again from its recorded input and
    pulled back at once, so that its weights are fetched only here. Products that the pass kept are
    recalled: of those that the derivative needs none is multiplied again.

    Args:
        cotangents: of the last residuals.
        site: of neurons; or a place, for the derivative by what is written there, D in F's stead.
        head: what the pass was given.
        fold: what is kept of a layer's (its number, [K, P, Q, F]), so that no more is held.
        lowest: of the layers, below which no more is computed; None: all are.

    Returns:
        those of the shifts at `site`, at each of the neurons' positions, [L, K, P, Q, F]; or what
        `fold` made of them, layer by layer; 0 below the lowest.
    """
    graphdef, params = stacked_blocks(model)
    prefix, trace, _ = passed
    where = suffix_places(suffix, None if prefix is None else prefix.mask, head)
    where = where._replace(routes=trace.routes)
    layers = layer_count(params)
    by_layer = (
        None if prefix is None else prefix.layers,
        None if head is None else head.layers,
        trace.entering,
        trace.products,
    )

    def pulled(layer: jax.Array, cotangents: jax.Array) -> tuple[jax.Array, Any]:
        own: tuple[KeysValues | None, KeysValues | None, jax.Array, dict[str, jax.Array]]
        own = jax.tree.map(lambda x: x[layer], by_layer)
        keys_values, common, entering, kept = own
        block = block_at(graphdef, params, layer)
        products = Products({name: x[:, None] for name, x in kept.items()})
        width = entering.shape[-1] if site in PLACES else trace.at_positions[site].shape[-1]
        none = jnp.zeros((len(suffix.at), 1, suffix.at.shape[1], width), entering.dtype)
        ways = where.at(layer), keys_values

        def run_layer(resid: jax.Array, shift: jax.Array) -> jax.Array:
            if site in PLACES:
                write = spread_out(shift, suffix)
                return written_block(block, resid, write, *ways, site, common, products)
            return shifted_block(
                block, resid, shift, *ways, suffix, site, common=common, products=products
            )

        _, pull = jax.vjp(run_layer, entering[:, None], none)
        below, shift_kprqf = jax.vmap(pull)(cotangents)
        found = shift_kprqf[:, :, 0]
        return below, found if fold is None else fold(layer, found)

    def descend(step: jax.Array, carry: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
        cotangents, found = carry
        layer = layers - 1 - step
        cotangents, own = pulled(layer, cotangents)
        return cotangents, jax.tree.map(lambda every, x: every.at[layer].set(x), found, own)

    _, one = jax.eval_shape(pulled, jnp.zeros((), jnp.int32), cotangents)
    found = jax.tree.map(lambda x: jnp.zeros((layers, *x.shape), x.dtype), one)
    steps = layers if lowest is None else layers - lowest
    return jax.lax.fori_loop(0, steps, descend, (cotangents, found))[1]
