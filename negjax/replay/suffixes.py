"""One mechanism: prefix, suffix, replay.

A neuron can influence only what comes after it. So the tokens before it are run once, and only the
suffix (the neuron's position, the read position and whatever it can change) is replayed, with the
FFN activations of that position as explicit inputs: it is the read position where nothing else is
said, and may be several. A masked LM has no prefix: its suffix is the whole sequence.

`run` is the unperturbed pass over everything; it keeps the prefix's keys and values and the
suffix's states. `negjax.replay.shifted_suffixes` runs the suffix with shifted activations and
differentiates that with respect to the shifts; intervention sweeps (`negjax.replay.rows`) enter it
above their layer.

Prompts that begin with the same tokens share them as a common head: `run_head` runs it once, and
whatever follows attends to its keys and values. A prompt's prefix is then what lies between.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Bool, Float, Int, Shaped

from negjax.model.attention import KeysValues
from negjax.model.packing import Packing
from negjax.model.placement import Placement
from negjax.model.products import Products
from negjax.model.streamed import held_of, layer_of, leaves
from negjax.model.transformer import Block, Transformer


class CommonHead(NamedTuple):
    """Keys and values of the first tokens of all prompts, in all layers."""

    layers: KeysValues
    """[L, G, head, C] each."""
    mask: Bool[jax.Array, " head"]
    """True where a token is real; padding is on the right."""


class Prefix(NamedTuple):
    """Keys and values of a prompt's own tokens before the suffix, in all layers."""

    layers: KeysValues
    """[L, P, G, T, C] each."""
    mask: Bool[jax.Array, "P T"]
    """True where a token is real."""


class Suffix(NamedTuple):
    """Tokens from the first of the neurons' positions on (causal), or all tokens (masked LM)."""

    tokens: Int[jax.Array, "P S"]
    """Token ids."""
    positions: Int[jax.Array, "P S"]
    """Position ids."""
    mask: Bool[jax.Array, "P S"]
    """True where a token is real."""
    read: Int[jax.Array, " P"]
    """Index in S of the read position."""
    at: Int[jax.Array, "P Q"]
    """Indices in S of the positions whose neurons are meant, ascending; S or more: a prompt has
    fewer than Q."""


class Trace(NamedTuple):
    """The suffix's states in an unperturbed pass, so that nothing below a neuron runs again."""

    entering: Float[jax.Array, "L P S D"]
    """Residual entering the layer."""
    mid: Float[jax.Array, "L P S D"]
    """Residual between attention and feed-forward."""
    ffn_out: Float[jax.Array, "L P S D"]
    at_positions: dict[str, Float[jax.Array, "L P Q F"]]
    """The sites' activations, and `gate` in gated models, at the neurons' positions."""
    products: dict[str, Float[jax.Array, "L P S ..."]]
    """What linear maps returned, by name; none unless they were kept."""
    routes: Int[jax.Array, "L P S k"] | None
    """Experts that the router chose; None in models without experts."""


class Pass(NamedTuple):
    """An unperturbed pass over P prompts."""

    prefix: Prefix | None
    trace: Trace
    resid: Float[jax.Array, "P 1 S D"]
    """Last residuals of the suffix."""

    def rerouted(self) -> "Pass":
        """The same, after which routers choose experts again."""
        return self._replace(trace=self.trace._replace(routes=None))


def stacked_blocks(model: Transformer) -> tuple[nnx.GraphDef[Any], nnx.State[Any, Any]]:
    """Structure of one block, and all layers' parameters with a leading axis L."""
    return nnx.split(model.blocks)


def block_at(graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], layer: Any) -> Block:
    """Block number `layer`, which may be traced."""
    result: Block = nnx.merge(graphdef, layer_of(params, layer))
    return result


def frame_at(graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], layer: Any) -> Block:
    """Block number `layer` without what is streamed, which may be one for each of many rows: its
    norms, to finish it."""
    result: Block = nnx.merge(graphdef, held_of(params, layer))
    return result


def layer_count(params: nnx.State[Any, Any]) -> int:
    """L, of the parameters of all layers."""
    count: int = leaves(params)[0].shape[0]
    return count


def run_head(
    model: Transformer, tokens: Int[jax.Array, " head"], mask: Bool[jax.Array, " head"]
) -> CommonHead:
    """Runs the tokens that all prompts begin with, right-padded, once for all of them.

    Args:
        mask: True where a token is real.
    """
    graphdef, params = stacked_blocks(model)
    layers = layer_count(params)
    where = Placement(positions=jnp.arange(len(tokens))[None], mask=mask[None], prefix_mask=None)

    def step(resid: jax.Array, layer: jax.Array) -> tuple[jax.Array, KeysValues]:
        block = block_at(graphdef, params, layer)
        mid, own = block.attend(resid, where.at(layer), None)
        after = block.finish(mid, block.feed_forward(resid, mid)[0])
        # Padding repeats the first token: no query scores it above all real ones.
        keys, values = (jnp.where(mask[:, None, None], x[0, 0], x[0, 0, :1]) for x in own)
        return after, KeysValues(keys.swapaxes(0, 1), values.swapaxes(0, 1))

    resid = model.embedding(tokens[None], where.positions)[:, None]
    return CommonHead(jax.lax.scan(step, resid, jnp.arange(layers))[1], mask)


def suffix_places(
    suffix: Suffix, prefix_mask: Bool[jax.Array, "P T"] | None, head: CommonHead | None
) -> Placement:
    """Where a suffix's tokens stand, and what lies before them."""
    head_mask = None if head is None else head.mask
    return Placement(
        positions=suffix.positions, mask=suffix.mask, prefix_mask=prefix_mask, head_mask=head_mask
    )


def run(
    model: Transformer,
    prefix_tokens: Int[jax.Array, "P T"] | None,
    prefix_mask: Bool[jax.Array, "P T"] | None,
    suffix: Suffix,
    head: CommonHead | None = None,
    packing: Packing | None = None,
    keep_products: bool = False,
) -> Pass:
    """Runs prefix and suffix together, as one sequence, without any shift.

    Args:
        prefix_tokens, prefix_mask: right-padded; None for a masked LM.
        head: what all prompts begin with; `prefix_tokens` are those that follow it.
        packing: of the rows [P, T + S]; without it padding is run, too.
        keep_products: for `pull_back`, in the trace.
    """
    graphdef, params = stacked_blocks(model)
    layers = layer_count(params)
    alone = suffix_places(suffix, prefix_mask, head)
    tokens, positions, mask, length = suffix.tokens, suffix.positions, suffix.mask, 0
    if prefix_tokens is not None and prefix_mask is not None:
        length = prefix_tokens.shape[1]
        tokens = jnp.concatenate([prefix_tokens, suffix.tokens], axis=1)
        first = 0 if head is None else head.mask.sum(dtype=suffix.positions.dtype)
        before = jnp.broadcast_to(first + jnp.arange(length), prefix_tokens.shape)
        positions = jnp.concatenate([before, suffix.positions], axis=1)
        mask = jnp.concatenate([prefix_mask, suffix.mask], axis=1)
    together = Placement(
        positions=positions, mask=mask, prefix_mask=None, head_mask=alone.head_mask, packing=packing
    )
    if packing is not None:
        # [1, N]: as if all were tokens of one row, which only attention tells apart.
        tokens, positions = (packing.pack(x[:, None])[0] for x in (tokens, positions))

    def suffix_of(x: jax.Array) -> jax.Array:
        # The suffix ends the rows, be it all of them or not.
        if packing is None:
            return x[:, :, length:]
        return packing._replace(at=packing.at[:, length:]).unpack(x)

    def run_block(
        block: Block, resid: jax.Array, where: Placement, prefix: KeysValues | None, layer: Any
    ) -> tuple[jax.Array, KeysValues, Trace]:
        # The trace of all tokens that ran, [P, 1, T, ...].
        common = None if head is None else jax.tree.map(lambda x: x[layer], head.layers)
        products = Products()
        mid, own = block.attend(resid, where.at(layer), prefix, common, products)
        ffn_out, inner = block.feed_forward(resid, mid, products=products)
        kept = products.found if keep_products else {}
        return (
            block.finish(mid, ffn_out),
            own,
            Trace(
                entering=resid,
                mid=mid,
                ffn_out=ffn_out,
                at_positions=inner,
                products=kept,
                routes=inner.get("routes"),
            ),
        )

    def trace_of(states: Trace) -> Trace:
        states = jax.tree.map(lambda x: x[:, 0], states)
        found = {name: take_at(x, suffix) for name, x in states.at_positions.items()}
        flat = {name: x.reshape(-1, *x.shape[2:]) for name, x in found.items()}
        by_neuron = model.blocks.ffn.by_neuron(flat)
        shape = suffix.at.shape
        return states._replace(
            at_positions={name: x.reshape(*shape, -1) for name, x in by_neuron.items()}
        )

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
        own = block.keys_values(resid, together.at(layer))
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


def take_read(x: Shaped[jax.Array, "P S *rest"], suffix: Suffix) -> Shaped[jax.Array, " P *rest"]:
    """Entries of x at the read position."""
    index = suffix.read.reshape(-1, *[1] * (x.ndim - 1))
    return jnp.take_along_axis(x, index, axis=1)[:, 0]


def take_at(x: Shaped[jax.Array, "P S *rest"], suffix: Suffix) -> Shaped[jax.Array, "P Q *rest"]:
    """Entries of x at the neurons' positions; where a prompt has fewer, they mean nothing."""
    index = jnp.minimum(suffix.at, x.shape[1] - 1)
    return jnp.take_along_axis(x, index.reshape(*index.shape, *[1] * (x.ndim - 2)), axis=1)


def spread_out(x: Shaped[jax.Array, "#P R #Q F"], suffix: Suffix) -> Shaped[jax.Array, "P R S F"]:
    """What belongs to the neurons' positions, at these, and zeros at others.

    Of one entry, in place of Q, all positions have the same.
    """
    here = suffix.at[:, :, None] == jnp.arange(suffix.tokens.shape[1])
    if x.shape[2] > 1:
        index = here.argmax(1)[:, None, :, None]
        x = jnp.take_along_axis(x, index, axis=2)
    return jnp.where(here.any(1)[:, None, :, None], x, jnp.zeros((), x.dtype))


def experts_at(trace: Trace, suffix: Suffix) -> Int[jax.Array, "P L Q k"] | None:
    """Experts that the tokens at the neurons' positions pass; None in models without experts."""
    if trace.routes is None:
        return None
    result: jax.Array = jax.vmap(lambda x: take_at(x, suffix), out_axes=1)(trace.routes)
    return result


def take_scored(
    resid: Float[jax.Array, "P R S D"], suffix: Suffix, targets: int
) -> Float[jax.Array, "P R {targets} D"]:
    """Residuals that predict the `targets` target tokens.

    The first target token is predicted at the read position, each further one at the next.
    """
    index = suffix.read[:, None] + jnp.arange(targets)
    return jnp.take_along_axis(resid, index[:, None, :, None], axis=2)
