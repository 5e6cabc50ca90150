"""What is computed on the device of a batch of texts: sums, extremes and counts of every neuron."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.corpus.histograms import bin_counts
from negjax.execution.batching import Split
from negjax.replay.layer_reductions import reduced_layers, whole_rows

CHUNK = 64
"""Tokens whose largest value is looked for at once."""


class Reduced(NamedTuple):
    """Of every neuron, over the counted tokens of a batch whose texts are of g groups."""

    mean: jax.Array
    """[L, g, F]."""
    squares: jax.Array
    """[L, g, F], sum of squared distances from that mean."""
    fired: jax.Array
    """[L, g, F], tokens at which the neuron fires, int32."""
    signs: jax.Array | None
    """[L, 4, F], tokens by the signs of act(gate) and up: ++, +−, −+, −−; int32; gated models."""
    lowest: jax.Array
    highest: jax.Array
    """[L, F] each."""
    bottom: jax.Array
    top: jax.Array
    """[L, F, k] each, the smallest values ascending and the largest descending."""
    bottom_at: jax.Array
    top_at: jax.Array
    """[L, F, k] each, which tokens these are, among all [P · T]; of equal values the first."""
    histogram: jax.Array | None
    """[L, F, BINS], int32."""


@functools.partial(jax.jit, static_argnums=(0, 5, 6, 7))
def reduce_batch(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    counted: jax.Array,
    grouped: jax.Array,
    site: str,
    extremes: int,
    histograms: bool,
) -> Reduced:
    """Runs a batch of P texts and reduces every layer's neurons as it goes.

    Args:
        counted: [P, T + S], True where a token counts.
        grouped: [g, P], True where a text is of the group.
        extremes: k; fewer where there are fewer tokens.
        histograms: whether to count them.
    """
    rows = whole_rows(split.prefix_tokens, split.prefix_mask, split.suffix)
    flat = counted.reshape(-1)
    texts, length = counted.shape
    number = counted.sum(1) @ grouped.T
    k = min(extremes, flat.size)

    def reduce(inner: dict[str, jax.Array]) -> Reduced:
        values = inner[site]
        dtype = values.dtype
        to_group = grouped.astype(dtype)

        def by_group(found: jax.Array) -> jax.Array:
            """[g, F] of [P · T, F]: sums over the counted tokens."""
            there = jnp.where(flat[:, None], found, 0)
            return to_group @ there.reshape(texts, length, -1).sum(1)

        mean = by_group(values) / jnp.maximum(number, 1)[:, None].astype(dtype)
        own = (to_group.T @ mean)[:, None]
        distance = (values.reshape(texts, length, -1) - own).reshape(values.shape)
        gate = inner.get("gate")
        fires = (values if gate is None else gate) > 0
        smallest, bottom_at = largest_of(jnp.where(flat[:, None], -values, -jnp.inf), k)
        largest, top_at = largest_of(jnp.where(flat[:, None], values, -jnp.inf), k)
        return Reduced(
            mean=mean,
            squares=by_group(jnp.square(distance)),
            fired=_fired(fires, flat, grouped, texts),
            signs=None if gate is None else _signs(gate > 0, inner["up"] > 0, flat),
            lowest=-smallest[:, 0],
            highest=largest[:, 0],
            bottom=-smallest,
            top=largest,
            bottom_at=bottom_at,
            top_at=top_at,
            histogram=bin_counts(values, flat) if histograms else None,
        )

    return reduced_layers(nnx.merge(graphdef, params), rows, reduce)


def largest_of(values: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The k largest of N values of each neuron, and their places; of equal ones the first.

    They stand in the k chunks of largest maxima, which are found faster than the values: each chunk
    that holds one of them has a maximum no smaller than it, and fewer than k are larger. Of chunks
    of equal maxima the first are taken, and so are the first of equal values.

    Args:
        values: [N, F].

    Returns:
        values, descending, and places, [F, k] each.
    """
    count, neurons = values.shape
    chunks = -(-count // CHUNK)
    if chunks <= k:
        found, at = jax.lax.top_k(values.T, k)
        return found, at
    filled = jnp.pad(values, ((0, chunks * CHUNK - count), (0, 0)), constant_values=-jnp.inf)
    _, some = jax.lax.top_k(filled.reshape(chunks, CHUNK, neurons).max(1).T, k)
    # In their order again, so that the first of equal values stays the first.
    places = (jnp.sort(some)[..., None] * CHUNK + jnp.arange(CHUNK)).reshape(neurons, -1)
    found, at = jax.lax.top_k(jnp.take_along_axis(filled.T, places, axis=1), k)
    return found, jnp.take_along_axis(places, at, axis=1)


def _fired(fires: jax.Array, flat: jax.Array, grouped: jax.Array, texts: int) -> jax.Array:
    there = (fires & flat[:, None]).reshape(texts, -1, fires.shape[1])
    return grouped.astype(jnp.int32) @ there.sum(1, dtype=jnp.int32)


def _signs(gate: jax.Array, up: jax.Array, flat: jax.Array) -> jax.Array:
    there = flat[:, None]
    both = [gate & up, gate & ~up, ~gate & up, ~gate & ~up]
    return jnp.stack([(one & there).sum(0, dtype=jnp.int32) for one in both])
