"""Two programs: prompts are read into buffers of keys and values, and texts are written on.

A token's keys and values lie at its position in the text, whatever the length of its prompt, so
that windows and masks are those of any other pass: what lies below a prompt's length is its prefix.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Bool, Float, Int

from negjax.execution.batching import Split
from negjax.generation.choosing import Draws, next_tokens
from negjax.generation.moves import ROWS, Moves, moved_block
from negjax.model.attention import KeysValues
from negjax.model.config import Site
from negjax.model.placement import Placement
from negjax.model.transformer import Transformer
from negjax.replay.suffixes import block_at, layer_count, stacked_blocks


class Settings(NamedTuple):
    """What programs are compiled for."""

    site: Site
    reroute: bool
    at_prompt: bool
    """Whether neurons are moved at a prompt's tokens before its last."""
    at_last: bool
    """The same at its last token, which the first token is written after."""
    at_written: bool
    """The same at tokens that were written."""
    greedy: bool
    whole: bool
    """Whether nothing is left out of what is drawn from."""


class Reading(NamedTuple):
    """What is known of P prompts' texts; each has one row, or two (`moves.ROWS`), side by side."""

    cache: KeysValues
    """[L, rows, G, capacity, C] each."""
    length: Int[jax.Array, " P"]
    """Tokens that lie there."""
    logits: Float[jax.Array, "rows V"]
    """Of the token that follows."""


class Written(NamedTuple):
    """What was written after P prompts."""

    tokens: Int[jax.Array, "P N"]
    mask: Bool[jax.Array, "P N"]
    """True where there is a token."""
    log_probability: Float[jax.Array, "P N 2"]
    """Of each token by the unmoved model, and by the one that wrote it."""
    ended: Bool[jax.Array, " P"]
    """Whether the last one is a token that ends a text."""


def rows_of_prompt(moves: Moves | None) -> int:
    """How many rows a prompt has."""
    return 1 if moves is None else ROWS


def _run_layers(
    model: Transformer,
    resid: Float[jax.Array, "rows 1 S D"],
    where: Placement,
    cache: KeysValues | None,
    moves: Moves | None,
    moved: bool,
    there: Bool[jax.Array, "rows S"],
    settings: Settings,
) -> tuple[Float[jax.Array, "rows 1 S D"], KeysValues]:
    """Last residuals, and keys and values [L, rows, G, S, C] of the tokens that ran."""
    graphdef, params = stacked_blocks(model)

    def step(resid: jax.Array, layer: jax.Array) -> tuple[jax.Array, KeysValues]:
        block = block_at(graphdef, params, layer)
        prefix = None if cache is None else KeysValues(*(x[layer] for x in cache))
        mid, own = block.attend(resid, where.at(layer), prefix)
        some = moves if moved else None
        after = moved_block(block, resid, mid, some, layer, there, settings.site, settings.reroute)
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
    """Reads prompts up to their last tokens.

    Args:
        capacity: tokens of a text that there is room for.
    """
    model = nnx.merge(graphdef, params)
    prefix, mask = split.prefix_tokens, split.prefix_mask
    assert prefix is not None and mask is not None
    prompts, last = prefix.shape[0], split.suffix.positions[:, 0]
    number = jnp.arange(prefix.shape[1] + 1)
    tokens = jnp.pad(prefix, ((0, 0), (0, 1)))
    tokens = jnp.where(number == last[:, None], split.suffix.tokens[:, :1], tokens)
    rows = rows_of_prompt(moves)
    tokens, ends = jnp.repeat(tokens, rows, axis=0), jnp.repeat(last, rows)[:, None]
    positions = jnp.broadcast_to(number, tokens.shape)
    where = Placement(positions=positions, mask=number <= ends, prefix_mask=None)
    is_moved = (jnp.arange(rows * prompts) % rows == rows - 1)[:, None]
    there = (number < ends) & settings.at_prompt | (number == ends) & settings.at_last
    moved = settings.at_prompt or settings.at_last
    resid, own = _run_layers(
        model,
        model.embedding(tokens, positions)[:, None],
        where,
        None,
        moves,
        moved,
        there & is_moved,
        settings,
    )
    read = jnp.take_along_axis(resid[:, 0], ends[..., None], axis=1)[:, 0]
    room = ((0, 0), (0, 0), (0, 0), (0, capacity - len(number)), (0, 0))
    cache = KeysValues(*(jnp.pad(x, room) for x in own))
    return Reading(cache, last + 1, model.logits(read))


class _State(NamedTuple):
    """Of the loop that writes."""

    reading: Reading
    written: Written
    token: Int[jax.Array, " P"]
    """The last one written."""
    step: Int[jax.Array, ""]
    """Tokens written."""


@functools.partial(jax.jit, static_argnums=(0, 7, 8), donate_argnums=2)
def write_on(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    reading: Reading,
    moves: Moves | None,
    draws: Draws,
    ends: Int[jax.Array, " ends"],
    limit: Int[jax.Array, ""],
    most: int,
    settings: Settings,
) -> tuple[Written, Reading]:
    """Writes after each prompt until its text ends.

    Args:
        ends: tokens after which nothing is written.
        limit: most tokens of a text.
        most: what there is room for, no less.

    Returns:
        what was written; and what was read, in the buffers that were given.
    """
    model = nnx.merge(graphdef, params)
    prompts, rows = len(reading.length), rows_of_prompt(moves)

    def choose(state: _State) -> _State:
        reading, written, _, step = state
        logits = reading.logits.reshape(prompts, rows, -1)
        token = next_tokens(
            logits[:, -1], draws, step, greedy=settings.greedy, whole=settings.whole
        )
        # Of one token a prompt: the vocabulary's log-probabilities need not be written anywhere.
        each = jnp.take_along_axis(logits, token[:, None, None], axis=-1)[..., 0]
        each = each - jax.nn.logsumexp(logits, axis=-1)
        going = ~written.ended
        written = Written(
            tokens=written.tokens.at[:, step].set(jnp.where(going, token, 0)),
            mask=written.mask.at[:, step].set(going),
            log_probability=written.log_probability.at[:, step].set(
                jnp.where(going[:, None], each[:, jnp.asarray([0, rows - 1])], 0)
            ),
            ended=written.ended | (token[:, None] == ends).any(-1),
        )
        return _State(reading, written, token, step + 1)

    def follow(state: _State) -> _State:
        reading, written, token, _ = state
        each = jnp.repeat(token, rows)[:, None]
        lengths = jnp.repeat(reading.length, rows)
        positions = lengths[:, None]
        before = jnp.arange(reading.cache.keys.shape[3]) < positions
        where = Placement(
            positions=positions, mask=jnp.ones_like(positions, bool), prefix_mask=before
        )
        there = (jnp.arange(rows * prompts) % rows == rows - 1)[:, None]
        resid, own = _run_layers(
            model,
            model.embedding(each, positions)[:, None],
            where,
            reading.cache,
            moves,
            settings.at_written,
            there,
            settings,
        )
        row = jnp.arange(rows * prompts)
        cache = KeysValues(
            *(
                buffer.at[:, row, :, lengths].set(jnp.moveaxis(new[:, :, :, 0], 1, 0))
                for buffer, new in zip(reading.cache, own, strict=True)
            )
        )
        # A text that has ended stays where it is: what is written over it is read by nobody.
        length = reading.length + ~written.ended
        reading = Reading(cache, length, model.logits(resid[:, 0, 0]))
        return choose(state._replace(reading=reading))

    dtype = reading.logits.dtype
    blank = Written(
        tokens=jnp.zeros((prompts, most), jnp.int32),
        mask=jnp.zeros((prompts, most), bool),
        log_probability=jnp.zeros((prompts, most, 2), dtype),
        ended=jnp.zeros(prompts, bool),
    )
    start = _State(reading, blank, jnp.zeros(prompts, jnp.int32), jnp.zeros((), jnp.int32))

    def unfinished(state: _State) -> jax.Array:
        return (state.step < limit) & ~state.written.ended.all()

    last = jax.lax.while_loop(unfinished, follow, choose(start))
    return last.written, last.reading
