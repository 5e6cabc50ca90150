"""One mechanism: prefix, suffix, replay.

A neuron at the read position can influence only what comes after it. So the tokens before it are
run once, and only the suffix (the read position and whatever it can change) is replayed, with the
read position's FFN activations as explicit inputs. A masked LM has no prefix: its suffix is the
whole sequence.

`run` is the unperturbed pass over everything; it keeps the prefix's keys and values and the
suffix's states. `replay_suffix` runs the suffix with shifted activations, `pull_back`
differentiates that with respect to the shifts; intervention sweeps (`negjax.replay.rows`) enter it
above their layer.

Prompts that begin with the same tokens share them as a common head: `run_head` runs it once, and
whatever follows attends to its keys and values. A prompt's prefix is then what lies between.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.model.attention import KeysValues
from negjax.model.packing import Packing
from negjax.model.products import Products
from negjax.model.transformer import Block, Transformer, Where


class CommonHead(NamedTuple):
    """Keys and values of the first tokens of all prompts, in all layers."""

    layers: KeysValues
    """[L, G, T, C] each."""
    mask: jax.Array
    """[T], True where a token is real; padding is on the right."""


class Prefix(NamedTuple):
    """Keys and values of a prompt's own tokens before the suffix, in all layers."""

    layers: KeysValues
    """[L, P, G, T, C] each."""
    mask: jax.Array
    """[P, T], True where a token is real."""


class Suffix(NamedTuple):
    """Tokens from the read position on (causal), or all tokens (masked LM)."""

    tokens: jax.Array
    """[P, S], integers."""
    positions: jax.Array
    """[P, S], position ids."""
    mask: jax.Array
    """[P, S], True where a token is real."""
    read: jax.Array
    """[P], index in S of the read position."""


class Trace(NamedTuple):
    """The suffix's states in an unperturbed pass, so that nothing below a neuron runs again."""

    entering: jax.Array
    """[L, P, S, D], residual entering the layer."""
    mid: jax.Array
    """[L, P, S, D], residual between attention and feed-forward."""
    ffn_out: jax.Array
    """[L, P, S, D]."""
    at_read: dict[str, jax.Array]
    """[L, P, F] each: the sites' activations, and `gate` in gated models, at the read position."""
    products: dict[str, jax.Array]
    """[L, P, S, ...] each, what linear maps returned, by name; none unless they were kept."""


class Pass(NamedTuple):
    """An unperturbed pass over P prompts."""

    prefix: Prefix | None
    trace: Trace
    resid: jax.Array
    """[P, 1, S, D], last residuals of the suffix."""


def stacked_blocks(model: Transformer) -> tuple[nnx.GraphDef[Any], nnx.State[Any, Any]]:
    """Structure of one block, and all layers' parameters with a leading axis L."""
    return nnx.split(model.blocks)


def block_at(graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], layer: Any) -> Block:
    """Block number `layer`, which may be traced."""
    result: Block = nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf[layer], params))
    return result


def run_head(model: Transformer, tokens: jax.Array, mask: jax.Array) -> CommonHead:
    """Runs the tokens [T] that all prompts begin with, right-padded, once for all of them.

    Args:
        mask: [T], True where a token is real.
    """
    graphdef, params = stacked_blocks(model)
    where = Where(jnp.arange(len(tokens))[None], mask[None], None)

    def step(resid: jax.Array, layer_params: nnx.State[Any, Any]) -> tuple[jax.Array, KeysValues]:
        block = nnx.merge(graphdef, layer_params)
        mid, own = block.attend(resid, where, None)
        after = block.finish(mid, block.feed_forward(mid)[0])
        # Padding repeats the first token: no query scores it above all real ones.
        keys, values = (jnp.where(mask[:, None, None], x[0, 0], x[0, 0, :1]) for x in own)
        return after, KeysValues(keys.swapaxes(0, 1), values.swapaxes(0, 1))

    assert where.positions is not None
    resid = model.embedding(tokens[None], where.positions)[:, None]
    return CommonHead(jax.lax.scan(step, resid, params)[1], mask)


def suffix_places(suffix: Suffix, prefix_mask: jax.Array | None, head: CommonHead | None) -> Where:
    """Where a suffix's tokens stand, and what lies before them."""
    head_mask = None if head is None else head.mask
    return Where(suffix.positions, suffix.mask, prefix_mask, head_mask)


def run(
    model: Transformer,
    prefix_tokens: jax.Array | None,
    prefix_mask: jax.Array | None,
    suffix: Suffix,
    head: CommonHead | None = None,
    packing: Packing | None = None,
    keep_products: bool = False,
) -> Pass:
    """Runs prefix and suffix together, as one sequence, without any shift.

    Args:
        prefix_tokens, prefix_mask: [P, T], right-padded; None for a masked LM.
        head: what all prompts begin with; `prefix_tokens` are those that follow it.
        packing: of the rows [P, T + S]; without it padding is run, too.
        keep_products: for `pull_back`, in the trace.
    """
    graphdef, params = stacked_blocks(model)
    layers = jax.tree.leaves(params)[0].shape[0]
    alone = suffix_places(suffix, prefix_mask, head)
    tokens, positions, mask, length = suffix.tokens, suffix.positions, suffix.mask, 0
    if prefix_tokens is not None and prefix_mask is not None:
        length = prefix_tokens.shape[1]
        tokens = jnp.concatenate([prefix_tokens, suffix.tokens], axis=1)
        first = 0 if head is None else head.mask.sum(dtype=suffix.positions.dtype)
        before = jnp.broadcast_to(first + jnp.arange(length), prefix_tokens.shape)
        positions = jnp.concatenate([before, suffix.positions], axis=1)
        mask = jnp.concatenate([prefix_mask, suffix.mask], axis=1)
    if packing is not None:
        # [1, N]: as if all were tokens of one row, which only attention tells apart.
        tokens, positions = (packing.pack(x[:, None])[0] for x in (tokens, positions))
    together = Where(positions, mask, None, alone.head_mask, packing)

    def suffix_of(x: jax.Array) -> jax.Array:
        # The suffix ends the rows, be it all of them or not.
        if packing is None:
            return x[:, :, length:]
        return packing._replace(at=packing.at[:, length:]).unpack(x)

    def run_block(
        block: Block, resid: jax.Array, where: Where, prefix: KeysValues | None, layer: Any
    ) -> tuple[jax.Array, KeysValues, Trace]:
        # The trace of all tokens that ran, [P, 1, T, ...].
        common = None if head is None else jax.tree.map(lambda x: x[layer], head.layers)
        products = Products()
        mid, own = block.attend(resid, where, prefix, common, products)
        ffn_out, inner = block.feed_forward(mid, products=products)
        kept = products.found if keep_products else {}
        return block.finish(mid, ffn_out), own, Trace(resid, mid, ffn_out, inner, kept)

    def trace_of(states: Trace) -> Trace:
        states = jax.tree.map(lambda x: x[:, 0], states)
        at_read = {name: take_read(x, suffix) for name, x in states.at_read.items()}
        return states._replace(at_read=at_read)

    def heads_first(own: KeysValues) -> KeysValues:
        # One row a prompt: [P, 1, T, G, C] -> [P, G, T, C].
        return KeysValues(*(x[:, 0, :length].swapaxes(1, 2) for x in own))

    def everything(resid: jax.Array, layer: Any) -> tuple[jax.Array, tuple[KeysValues, Trace]]:
        block = block_at(graphdef, params, layer)
        after, own, states = run_block(block, resid, together, None, layer)
        return after, (heads_first(own), trace_of(jax.tree.map(suffix_of, states)))

    def suffix_only(resid: jax.Array, layer: Any) -> tuple[jax.Array, tuple[KeysValues, Trace]]:
        # Of the prefix, nothing reads the last layer but attention.
        block = block_at(graphdef, params, layer)
        own = block.keys_values(resid, positions)
        own = own if packing is None else KeysValues(*map(packing.unpack, own))
        entering, prefix = suffix_of(resid), heads_first(own)
        after, _, states = run_block(block, entering, alone, prefix, layer)
        return after, (prefix, trace_of(states))

    resid = model.embedding(tokens, positions)[:, None]
    # The last layer stands apart: as a branch of the loop it would take the loop's elementwise work
    # to one thread, as XLA for CPU divides no operation of a conditional among threads.
    whole = layers - 1 if length else layers
    resid, kept = jax.lax.scan(everything, resid, jnp.arange(whole))
    if length:
        resid, last = suffix_only(resid, layers - 1)
        kept = jax.tree.map(lambda x, y: jnp.concatenate([x, y[None]]), kept, last)
    else:
        resid = suffix_of(resid)
    keys_values, trace = kept
    prefix = None if prefix_mask is None else Prefix(keys_values, prefix_mask)
    return Pass(prefix, trace, resid)


def shifted_block(
    block: Block,
    resid: jax.Array,
    shift: jax.Array,
    where: Where,
    prefix: KeysValues | None,
    suffix: Suffix,
    site: str,
    held: jax.Array | None = None,
    common: KeysValues | None = None,
    products: Products | None = None,
) -> jax.Array:
    """One layer of a replay: residuals [P, R, S, D], shifts [P, R, F] at the read position.

    `held`: [R, F], True where the shift replaces the activation. `common`: of a common head.
    `products`: recalled ones need no multiplication.
    """
    mid, _ = block.attend(resid, where, prefix, common, products)
    at_read = jnp.arange(suffix.tokens.shape[1]) == suffix.read[:, None]
    at_read = at_read[:, None, :, None]
    shift_prsf = jnp.where(at_read, shift[:, :, None], 0)
    held_prsf = None if held is None else at_read & held[:, None]
    return block.finish(mid, block.feed_forward(mid, shift_prsf, site, held_prsf, products)[0])


def replay_suffix(
    model: Transformer,
    prefix: Prefix | None,
    suffix: Suffix,
    shift: jax.Array,
    site: str,
    head: CommonHead | None = None,
) -> jax.Array:
    """Runs the suffix through all layers, with shifts added to the read position's activations.

    Args:
        shift: [L, P, R, F], added at `site`: R replays of each prompt. Later layers' activations
            react to earlier shifts, and the shift adds to whatever they have become.
        head: what the prefix was run after.

    Returns:
        the last residuals [P, R, S, D].
    """
    graphdef, params = stacked_blocks(model)
    where = suffix_places(suffix, None if prefix is None else prefix.mask, head)

    def step(
        resid: jax.Array,
        scanned: tuple[nnx.State[Any, Any], KeysValues | None, KeysValues | None, jax.Array],
    ) -> tuple[jax.Array, None]:
        layer_params, keys_values, common, shift_prf = scanned
        block = nnx.merge(graphdef, layer_params)
        after = shifted_block(
            block, resid, shift_prf, where, keys_values, suffix, site, common=common
        )
        return after, None

    resid = model.embedding(suffix.tokens, suffix.positions)[:, None]
    resid = jnp.broadcast_to(resid, (*shift.shape[1:3], *resid.shape[2:]))
    layers = None if prefix is None else prefix.layers
    common = None if head is None else head.layers
    return jax.lax.scan(step, resid, (params, layers, common, shift))[0]


def pull_back(
    model: Transformer,
    passed: Pass,
    suffix: Suffix,
    cotangents: jax.Array,
    site: str,
    head: CommonHead | None = None,
) -> jax.Array:
    """Vector-Jacobian products of `replay_suffix` at shift 0, for K cotangents at once.

    Layer by layer from the top, each layer of the suffix is run again from its recorded input and
    pulled back at once, so that its weights are fetched only here. Products that the pass kept are
    recalled: of those that the derivative needs none is multiplied again.

    Args:
        cotangents: [K, P, 1, S, D], of the last residuals.
        head: what the pass was given.

    Returns:
        [L, K, P, F], of the shifts at `site`.
    """
    graphdef, params = stacked_blocks(model)
    prefix, trace, _ = passed
    where = suffix_places(suffix, None if prefix is None else prefix.mask, head)

    def step(
        cotangents: jax.Array,
        scanned: tuple[
            nnx.State[Any, Any],
            KeysValues | None,
            KeysValues | None,
            jax.Array,
            dict[str, jax.Array],
        ],
    ) -> tuple[jax.Array, jax.Array]:
        layer_params, keys_values, common, entering, kept = scanned
        block = nnx.merge(graphdef, layer_params)
        products = Products({name: x[:, None] for name, x in kept.items()})
        none = jnp.zeros((entering.shape[0], 1, trace.at_read[site].shape[-1]), entering.dtype)
        _, pull = jax.vjp(
            lambda resid, shift: shifted_block(
                block,
                resid,
                shift,
                where,
                keys_values,
                suffix,
                site,
                common=common,
                products=products,
            ),
            entering[:, None],
            none,
        )
        below, shift_kprf = jax.vmap(pull)(cotangents)
        return below, shift_kprf[:, :, 0]

    layers = None if prefix is None else prefix.layers
    common = None if head is None else head.layers
    scanned = (params, layers, common, trace.entering, trace.products)
    return jax.lax.scan(step, cotangents, scanned, reverse=True)[1]


def no_shift(model: Transformer, prompts: int, rows: int = 1) -> jax.Array:
    """Zeros [L, P, R, F]."""
    up = model.blocks.ffn.up.kernel
    layers, _, neurons = up.shape
    dtype = jnp.promote_types(up.dtype, jnp.float32)
    return jnp.zeros((layers, prompts, rows, neurons), dtype)


def take_read(x: jax.Array, suffix: Suffix) -> jax.Array:
    """Entries of x [P, S, ...] at the read position: [P, ...]."""
    index = suffix.read.reshape(-1, *[1] * (x.ndim - 1))
    return jnp.take_along_axis(x, index, axis=1)[:, 0]


def take_scored(resid: jax.Array, suffix: Suffix, targets: int) -> jax.Array:
    """Residuals that predict the `targets` target tokens: [P, R, S, D] -> [P, R, M, D].

    The first target token is predicted at the read position, each further one at the next.
    """
    index = suffix.read[:, None] + jnp.arange(targets)
    return jnp.take_along_axis(resid, index[:, None, :, None], axis=2)
