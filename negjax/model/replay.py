"""One mechanism: prefix, suffix, replay.

A neuron at the read position can influence only what comes after it. So the tokens before it are
run once (`run_prefix`), and only the suffix (the read position and whatever it can change) is
replayed, with the read position's FFN activations as explicit inputs. A masked LM has no prefix:
its suffix is the whole sequence. Derivatives and interventions are transforms of `replay`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.model.attention import KeysValues
from negjax.model.transformer import Block, Transformer, Where


class Prefix(NamedTuple):
    """Keys and values of the tokens before the suffix, of all layers; None-free pytree."""

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
    """What an unperturbed replay leaves behind, so that interventions need not run it again."""

    mid: jax.Array
    """[L, P, S, D], residual between attention and feed-forward."""
    ffn_out: jax.Array
    """[L, P, S, D]."""
    at_read: dict[str, jax.Array]
    """[L, P, F] each: the sites' activations, and `gate` in gated models, at the read position."""


def stacked_blocks(model: Transformer) -> tuple[nnx.GraphDef, nnx.State]:
    """Structure of one block, and all layers' parameters with a leading axis L."""
    return nnx.split(model.blocks)


def block_at(graphdef: nnx.GraphDef, params: nnx.State, layer: Any) -> Block:
    """Block number `layer`, which may be traced."""
    return nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf[layer], params))


def run_prefix(
    model: Transformer, tokens: jax.Array, positions: jax.Array, mask: jax.Array
) -> Prefix:
    """Keys and values of prefix tokens in every layer.

    Args:
        tokens, positions, mask: [P, T].
    """
    graphdef, params = stacked_blocks(model)
    layers = jax.tree.leaves(params)[0].shape[0]
    where = Where(positions, mask, None)

    def keys_values(block: Block, resid: jax.Array) -> KeysValues:
        # One row a prompt: [P, 1, T, G, C] -> [P, G, T, C].
        keys, values = block.keys_values(resid, positions)
        return KeysValues(keys[:, 0].swapaxes(1, 2), values[:, 0].swapaxes(1, 2))

    def step(resid: jax.Array, layer: jax.Array) -> tuple[jax.Array, KeysValues]:
        block = block_at(graphdef, params, layer)
        # The last layer's prefix is read by attention alone: its block needs no more than keys.
        after = jax.lax.cond(
            layer < layers - 1, lambda x: block(x, where, None), lambda x: x, resid
        )
        return after, keys_values(block, resid)

    resid = model.embedding(tokens, positions)[:, None]
    return Prefix(jax.lax.scan(step, resid, jnp.arange(layers))[1], mask)


def replay(
    model: Transformer, prefix: Prefix | None, suffix: Suffix, shift: jax.Array, site: str
) -> tuple[jax.Array, Trace]:
    """Runs the suffix through all layers, with shifts added to the read position's activations.

    Args:
        shift: [L, P, R, F], added at `site`: R replays of each prompt. Later layers' activations
            react to earlier shifts, and the shift adds to whatever they have become.

    Returns:
        the last residuals [P, R, S, D] and the trace of row 0.
    """
    graphdef, params = stacked_blocks(model)
    prefix_mask = None if prefix is None else prefix.mask
    where = Where(suffix.positions, suffix.mask, prefix_mask)
    _, p, r, _ = shift.shape
    s = suffix.tokens.shape[1]
    at_read = jnp.arange(s) == suffix.read[:, None]

    def step(
        resid: jax.Array, scanned: tuple[nnx.State, KeysValues | None, jax.Array]
    ) -> tuple[jax.Array, Trace]:
        layer_params, keys_values, shift_prf = scanned
        block = nnx.merge(graphdef, layer_params)
        mid = block.attend(resid, where, keys_values)
        shift_prsf = jnp.where(at_read[:, None, :, None], shift_prf[:, :, None], 0)
        ffn_out, inner = block.feed_forward(mid, shift_prsf, site)
        trace = Trace(
            mid[:, 0],
            ffn_out[:, 0],
            {name: take_read(x[:, 0], suffix) for name, x in inner.items()},
        )
        return block.finish(mid, ffn_out), trace

    resid = model.embedding(suffix.tokens, suffix.positions)[:, None]
    resid = jnp.broadcast_to(resid, (p, r, *resid.shape[2:]))
    layers = None if prefix is None else prefix.layers
    return jax.lax.scan(step, resid, (params, layers, shift))


def no_shift(model: Transformer, prompts: int, rows: int = 1) -> jax.Array:
    """Zeros [L, P, R, F]."""
    up = model.blocks.ffn.up.kernel
    layers, width, neurons = up.shape
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


def target_scores(
    model: Transformer, resid: jax.Array, targets: jax.Array, real: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Log-probability and logit of targets, each [P, R, K].

    Args:
        resid: [P, R, M, D], residuals at the scored positions.
        targets: [P, K, M], token ids; real: [P, K, M], False for padding.

    Of several tokens, the log-probability is the joint one; the logits are summed likewise.
    """
    logits = model.logits(resid)
    total = jax.nn.logsumexp(logits, axis=-1)
    # [P, R, M, V] at [P, K, M] -> [P, R, K, M]
    index = targets.swapaxes(1, 2)[:, None]
    picked = jnp.take_along_axis(logits, index, axis=-1).swapaxes(2, 3)
    logit = jnp.where(real[:, None], picked, 0)
    log_probability = jnp.where(real[:, None], picked - total[:, :, None], 0)
    return log_probability.sum(-1), logit.sum(-1)
