"""Two programs: prompts are read into buffers of keys and values, and texts are written on.

A token's keys and values lie at its position in the text, whatever the length of its prompt, so
that windows and masks are those of any other pass: what lies below a prompt's length is its prefix.
A prompt's last token is read by the program that writes: it is the first that a token follows.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Bool, Float, Int

from negjax.execution.batching import Split
from negjax.generation.choosing import Draws, next_tokens
from negjax.generation.moves import Moves, moved_block
from negjax.model.attention import KeysValues
from negjax.model.config import Site
from negjax.model.placement import Placement
from negjax.model.transformer import Transformer
from negjax.replay.suffixes import block_at, layer_count, stacked_blocks


class Settings(NamedTuple):
    """What programs are compiled for."""

    site: Site
    rows: int
    """Of a prompt, side by side: the moved model's, which is the last, and before it, if there are
    two, that of the model as it is."""
    held: bool
    """Whether moved tokens pass the experts of the unmoved ones; a prompt has two rows then."""
    at_prompt: bool
    """Whether a model is moved at a prompt's tokens before its last; at that it always is."""
    at_written: bool
    """The same at tokens that were written."""
    greedy: bool
    whole: bool
    """Whether nothing is left out of what is drawn from."""


class Reading(NamedTuple):
    """What is known of P prompts' texts."""

    cache: KeysValues
    """[L, rows, G, capacity, C] each."""
    length: Int[jax.Array, " P"]
    """Tokens that lie there."""


class Written(NamedTuple):
    """What was written after P prompts."""

    tokens: Int[jax.Array, "P N"]
    mask: Bool[jax.Array, "P N"]
    """True where there is a token."""
    log_probability: Float[jax.Array, "P N 2"]
    """Of each token by a prompt's first row, and by its last, which wrote it."""
    entropy: Float[jax.Array, "P N"]
    """Of the distribution of the last row that each token was taken from."""
    ended: Bool[jax.Array, " P"]
    """Whether the last one is a token that ends a text."""


def _run_layers(
    model: Transformer,
    resid: Float[jax.Array, "rows 1 S D"],
    where: Placement,
    cache: KeysValues | None,
    moves: Moves | None,
    there: Bool[jax.Array, "P S"],
    settings: Settings,
) -> tuple[Float[jax.Array, "rows 1 S D"], KeysValues]:
    """Last residuals, and keys and values [L, rows, G, S, C] of the tokens that ran."""
    graphdef, params = stacked_blocks(model)

    def step(resid: jax.Array, layer: jax.Array) -> tuple[jax.Array, KeysValues]:
        block = block_at(graphdef, params, layer)
        prefix = None if cache is None else KeysValues(*(x[layer] for x in cache))
        after, own = moved_block(
            block, resid, where.at(layer), prefix, moves, layer, there, settings.site, settings.held
        )
        return after, KeysValues(*(x[:, 0].swapaxes(1, 2) for x in own))

    return jax.lax.scan(step, resid, jnp.arange(layer_count(params)))


@functools.partial(jax.jit, static_argnums=(0, 4, 5))
def read_prompts(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    moves: Moves | None,
    capacity: int,
    settings: Settings,
) -> Reading:
    """Reads prompts up to their last tokens, which are left to `write_on`.

    Args:
        capacity: tokens of a text that there is room for.
    """
    model = nnx.merge(graphdef, params)
    tokens, mask = split.prefix_tokens, split.prefix_mask
    assert tokens is not None and mask is not None
    # Where nothing is moved yet, a prompt's rows are the same.
    apart = settings.rows if settings.at_prompt else 1
    tokens = jnp.repeat(tokens, apart, axis=0)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    where = Placement(positions=positions, mask=jnp.repeat(mask, apart, axis=0), prefix_mask=None)
    resid = model.embedding(tokens, positions)[:, None]
    some = moves if settings.at_prompt else None
    _, own = _run_layers(model, resid, where, None, some, mask, settings)
    room = ((0, 0), (0, 0), (0, 0), (0, capacity - tokens.shape[1]), (0, 0))
    cache = KeysValues(*(jnp.repeat(jnp.pad(x, room), settings.rows // apart, axis=1) for x in own))
    return Reading(cache, split.suffix.positions[:, 0])


class _State(NamedTuple):
    """Of the loop that writes."""

    reading: Reading
    written: Written
    token: Int[jax.Array, " P"]
    """That follows what was read: a prompt's last, then the one written before."""
    step: Int[jax.Array, ""]
    """Tokens written."""


@functools.partial(jax.jit, static_argnums=(0, 8, 9), donate_argnums=2)
def write_on(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    reading: Reading,
    last: Int[jax.Array, " P"],
    moves: Moves | None,
    draws: Draws,
    ends: Int[jax.Array, " ends"],
    limit: Int[jax.Array, ""],
    most: int,
    settings: Settings,
) -> tuple[Written, Reading]:
    """Writes after each prompt until its text ends.

    Args:
        last: tokens of prompts, which were not read yet.
        ends: tokens after which nothing is written.
        limit: most tokens of a text.
        most: what there is room for, no less.

    Returns:
        what was written; and what was read, in the buffers that were given.
    """
    model = nnx.merge(graphdef, params)
    prompts, rows = len(last), settings.rows

    def read(state: _State) -> tuple[Float[jax.Array, "P rows V"], KeysValues]:
        """Logits of what follows the token, and buffers in which its keys and values lie."""
        cache, token = state.reading.cache, jnp.repeat(state.token, rows)
        lengths = jnp.repeat(state.reading.length, rows)
        positions = lengths[:, None]
        where = Placement(
            positions=positions,
            mask=jnp.ones_like(positions, bool),
            prefix_mask=jnp.arange(cache.keys.shape[3]) < positions,
        )
        there = jnp.full((prompts, 1), settings.at_written) | (state.step == 0)
        resid = model.embedding(token[:, None], positions)[:, None]
        resid, own = _run_layers(model, resid, where, cache, moves, there, settings)
        row = jnp.arange(rows * prompts)
        put = (
            buffer.at[:, row, :, lengths].set(jnp.moveaxis(new[:, :, :, 0], 1, 0))
            for buffer, new in zip(cache, own, strict=True)
        )
        return model.logits(resid[:, 0, 0]).reshape(prompts, rows, -1), KeysValues(*put)

    def follow(state: _State) -> _State:
        logits, cache = read(state)
        written, step = state.written, state.step
        token = next_tokens(
            logits[:, -1], draws, step, greedy=settings.greedy, whole=settings.whole
        )
        # Of one token a prompt: the vocabulary's log-probabilities need not be written anywhere.
        each = jnp.take_along_axis(logits, token[:, None, None], axis=-1)[..., 0]
        total = jax.nn.logsumexp(logits, axis=-1)
        each, log_p = each - total, logits[:, -1] - total[:, -1:]
        entropy = -(jnp.exp(log_p) * log_p).sum(-1)
        going = ~written.ended
        # A text that has ended stays where it is: what is written over it is read by nobody.
        reading = Reading(cache, state.reading.length + going)
        written = Written(
            tokens=written.tokens.at[:, step].set(jnp.where(going, token, 0)),
            mask=written.mask.at[:, step].set(going),
            log_probability=written.log_probability.at[:, step].set(
                jnp.where(going[:, None], each[:, jnp.asarray([0, rows - 1])], 0)
            ),
            entropy=written.entropy.at[:, step].set(jnp.where(going, entropy, 0)),
            ended=written.ended | (token[:, None] == ends).any(-1),
        )
        return _State(reading, written, token, step + 1)

    blank = Written(
        tokens=jnp.zeros((prompts, most), jnp.int32),
        mask=jnp.zeros((prompts, most), bool),
        log_probability=jnp.zeros((prompts, most, 2), reading.cache.keys.dtype),
        entropy=jnp.zeros((prompts, most), reading.cache.keys.dtype),
        ended=jnp.zeros(prompts, bool),
    )
    start = _State(reading, blank, last.astype(jnp.int32), jnp.zeros((), jnp.int32))

    def unfinished(state: _State) -> jax.Array:
        return (state.step < limit) & ~state.written.ended.all()

    final = jax.lax.while_loop(unfinished, follow, start)
    return final.written, final.reading
