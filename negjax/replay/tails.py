"""Scores of many rows of one prompt that multiply only the tokens which can matter to a row.

The unperturbed distribution P₀ puts nearly all of its mass on a few thousand tokens. With d_v the
change of logit v, the rest of them, a tail of mass m, adds to a row's sum over the vocabulary

    Σ_tail p0_v e^(d_v)  =  m e^a (1 + var / 2 + ρ)        a = Δ · mean,  var = Δᵀ · covariance · Δ,

where Δ is the change of the features and mean and covariance are those of the tail's embeddings
under P₀. With |d_v - a| ≤ B for every token of the tail,

    |ρ|  ≤  var · (e^B - 1 - B - B²/2) / B²,               B = ‖Δ‖ · max_v ‖W_v - mean‖,

and the whole sum is at least e^(Δ · Σ_v p0_v W_v) (Jensen). A row therefore knows beforehand the
shortest head of the vocabulary whose tail it need not multiply: one with which the error of P stays
below half a unit in the last place. Where no tail is safe, as after shifts that turn the output
over, the whole vocabulary is read.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from negjax.model.config import ModelConfig
from negjax.model.layers import MASKED_SCORE
from negjax.model.meshes import rows_apart, rows_together
from negjax.model.transformer import Transformer
from negjax.replay import readout
from negjax.replay.chunks import over_chunks
from negjax.replay.readout import Scores, folded

# Second moments of the tails cost as much as some D rows: from so many times D on they pay.
ROWS_A_WIDTH = 4
# Below it, (e^B - 1 - B - B²/2) / B² is bounded by e^B · B / 6, which does not cancel.
SMALL_BOUND = 0.5


class Tails(NamedTuple):
    """Tails of the vocabulary, ordered by P₀, each behind a head twice as long as the last."""

    order: Int[jax.Array, " filled"]
    """Token ids, V and what fills them up to whole blocks, token 0; those of the targets first."""
    rank: Int[jax.Array, " V"]
    """Places of the tokens in that order."""
    start: Int[jax.Array, " tails"]
    """Where the tails begin."""
    log_total: Float[jax.Array, ""]
    """log Z₀."""
    features: Float[jax.Array, " D"]
    """Of the unperturbed prompt."""
    expected: Float[jax.Array, " D"]
    """Σ_v p0_v W_v."""
    log_mass: Float[jax.Array, " tails"]
    """Of Σ_tail p0_v."""
    mean: Float[jax.Array, "tails D"]
    covariance: Float[jax.Array, "tails D D"]
    longest: Float[jax.Array, " tails"]
    """Largest ‖W_v - mean‖."""


def fewest_rows(width: int) -> int:
    """Of a prompt, so that its tails pay."""
    return ROWS_A_WIDTH * width


def worthwhile(model: Transformer, rows: int, dtype: jnp.dtype) -> bool:
    """Whether the tails of a prompt pay for so many rows of it."""
    vocab, width = model.output_embedding().shape
    if model.logit_cap is not None:
        return False  # The bound of what a tail adds takes logits that are linear in the features.
    return dtype == jnp.float32 and vocab > readout.VOCAB_BLOCK and rows >= fewest_rows(width)


def held_bytes(config: ModelConfig, dtype: jnp.dtype) -> int:
    """What the tails of a prompt take while they are made; dtype: of the weights."""
    linear = config.logit_cap is None
    if not linear or dtype == jnp.float64 or config.vocab_size <= readout.VOCAB_BLOCK:
        return 0  # There are none.
    entries = 2 * len(_starts(config.vocab_size)) * config.width**2
    if dtype != jnp.float32:
        entries += config.vocab_size * config.width  # of the embedding, in float32
    return int(entries * jnp.dtype(jnp.float32).itemsize)


def _starts(vocab: int) -> list[int]:
    """[T], where the tails begin."""
    size = readout.VOCAB_BLOCK
    blocks = -(-vocab // size)
    return [size << power for power in range(blocks.bit_length()) if size << power < vocab]


def tails_of(
    model: Transformer, resid: Float[jax.Array, " D"], targets: Int[jax.Array, " K"]
) -> Tails:
    """The tails of a prompt's distribution.

    Args:
        resid: last residual without a shift.
        targets: token ids, at most a block of them; these are in no tail.
    """
    embedding = model.output_embedding()
    vocab, width = embedding.shape
    size = readout.VOCAB_BLOCK
    blocks = -(-vocab // size)
    starts = _starts(vocab)
    start = jnp.asarray(starts, jnp.int32)
    features = model.head.features(resid)
    logits = model.unembed(features)
    log_total = jax.nn.logsumexp(logits)
    p0 = jnp.exp(logits - log_total)
    order = jnp.argsort(-p0.at[targets].set(jnp.inf))
    rank = jnp.zeros(vocab, order.dtype).at[order].set(jnp.arange(vocab, dtype=order.dtype))

    # All of P₀ and each tail's part of it, one product for all.
    parts = jnp.where(rank >= jnp.asarray([0, *starts])[:, None], p0, 0)
    tiny = jnp.finfo(p0.dtype).tiny
    mass = jnp.maximum(parts.sum(1), tiny)
    means = parts @ embedding.astype(p0.dtype) / mass[:, None]
    mean = means[1:]

    filled = jnp.pad(order, (0, blocks * size - vocab))
    weight = jnp.pad(p0[order], (0, blocks * size - vocab))

    def add_block(i: jax.Array, sums: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        second, longest = sums
        ids = jax.lax.dynamic_slice_in_dim(filled, i * size, size)
        p = jax.lax.dynamic_slice_in_dim(weight, i * size, size)[:, None]
        # About the longest tail's mean, so that little cancels in the covariances.
        w = embedding[ids].astype(p0.dtype) - mean[0]
        inside = start <= i * size
        found = (p * w).T @ w
        second = second + jnp.where(inside[:, None, None], found, 0)
        off = mean - mean[0]
        square = (w * w).sum(1)[:, None] - 2 * w @ off.T + (off * off).sum(1)
        real = (i * size + jnp.arange(size) < vocab)[:, None] & inside
        return second, jnp.maximum(longest, jnp.where(real, square, 0).max(0))

    nothing = (jnp.zeros((len(starts), width, width), p0.dtype), jnp.zeros(len(starts), p0.dtype))
    second, longest = jax.lax.fori_loop(1, blocks, add_block, nothing)
    off = mean - mean[0]
    covariance = second / mass[1:, None, None] - off[:, :, None] * off[:, None]
    return Tails(
        order=filled,
        rank=rank,
        start=start,
        log_total=log_total,
        features=features,
        expected=means[0],
        log_mass=jnp.log(mass[1:]),
        mean=mean,
        covariance=covariance,
        longest=jnp.sqrt(longest),
    )


def safe_tails(
    tails: Tails, features: Float[jax.Array, "R D"], tolerance: float
) -> tuple[Int[jax.Array, " R"], Float[jax.Array, " R"]]:
    """Of rows' features, how many first tokens must be read, and what the others add.

    Args:
        tolerance: largest error of Σ_v e^logit, in units of itself.

    Returns:
        need [R], V (or more) where no tail is safe; log Σ e^logit over the tokens left out.
    """
    change = features - tails.features
    length = jnp.sqrt((change * change).sum(1))
    at_least = change @ tails.expected
    need = jnp.full(len(features), len(tails.order), jnp.int32)
    left_out = jnp.full(len(features), MASKED_SCORE, features.dtype)
    for t in reversed(range(len(tails.start))):
        shifted = change @ tails.mean[t]
        variance = jnp.maximum(((change @ tails.covariance[t]) * change).sum(1), 0)
        bound = tails.longest[t] * length
        direct = (jnp.exp(bound) - 1 - bound - bound**2 / 2) / bound**2
        worst = jnp.where(bound < SMALL_BOUND, jnp.exp(bound) * bound / 6, direct)
        log_part = tails.log_mass[t] + shifted - at_least
        # An overflow is no number, and no number is safe.
        safe = jnp.exp(log_part) * variance * worst < tolerance
        need = jnp.where(safe, tails.start[t], need)
        log_sum = tails.log_total + tails.log_mass[t] + shifted + jnp.log1p(variance / 2)
        left_out = jnp.where(safe, log_sum, left_out)
    return need, left_out


def read_with_tails(
    model: Transformer,
    resid: Float[jax.Array, "1 R 1 D"],
    targets: Int[jax.Array, "1 K 1"],
    real: Bool[jax.Array, "1 K 1"],
    rows: Int[jax.Array, ""] | int,
    chunk: int,
    unperturbed: Float[jax.Array, "1 D"],
) -> Scores[jax.Array]:
    """Scores of the first `rows` rows of one prompt, of one token each; further ones mean nothing.

    Args:
        resid: last residuals at the read position.
        targets, real: token ids and which of them count.
        chunk: rows read at once; divides R.
        unperturbed: last residual at the read position without a shift.
    """
    embedding = model.output_embedding()
    size = readout.VOCAB_BLOCK
    take, put = jax.lax.dynamic_slice_in_dim, jax.lax.dynamic_update_slice_in_dim
    tails = tails_of(model, unperturbed[0], targets[0, :, 0])
    places = tails.rank[targets[0, :, 0]]  # in the first block
    features = model.head.features(resid[0, :, 0])
    count = len(features)
    half_a_unit = float(jnp.finfo(features.dtype).eps) / 2

    def choose(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        found = safe_tails(tails, take(features, i * chunk, chunk), half_a_unit)
        need, left_out = (put(x, y, i * chunk, 0) for x, y in zip(carry, found, strict=True))
        return need, left_out

    chosen = (jnp.zeros(count, jnp.int32), jnp.zeros(count, features.dtype))
    need, left_out = jax.lax.fori_loop(0, (rows + chunk - 1) // chunk, choose, chosen)
    need = jnp.where(jnp.arange(count) < rows, need, 0)
    # Those that read on are the first of the buffer, block by block.
    place = jnp.argsort(-need)
    features, need = features[place], need[place]

    def add_block(number: jax.Array, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        start = number * size
        block = take(tails.order, start, size)
        fresh = start + jnp.arange(size) < len(tails.rank)
        weight = jax.lax.optimization_barrier(embedding[block].astype(features.dtype).T)
        bias = 0 if model.head.bias is None else model.head.bias[...][block].astype(features.dtype)

        def add_chunk(
            part: int, i: jax.Array, every: tuple[jax.Array, ...]
        ) -> tuple[jax.Array, ...]:
            peak, total, picked = (take(x, i * part, part) for x in every)
            logits = rows_apart(take(features, i * part, part), 0) @ weight + bias
            picked = jnp.where(start == 0, logits[:, places], picked)
            logits = jnp.where(fresh, logits, MASKED_SCORE)
            higher, sums = folded(peak, total, logits)
            reads = take(need, i * part, part) > start
            new = jnp.where(reads, higher, peak), jnp.where(reads, sums, total), picked
            new = jax.tree.map(lambda x: rows_together(x, 0), new)
            return tuple(put(x, y, i * part, 0) for x, y in zip(every, new, strict=True))

        return over_chunks((need > start).sum(), chunk, chunk, add_chunk, sums)

    nothing = (
        jnp.full(count, MASKED_SCORE, features.dtype),
        jnp.zeros(count, features.dtype),
        jnp.zeros((count, len(places)), features.dtype),
    )
    blocks = (need.max() + size - 1) // size
    peak, total, picked = jax.lax.fori_loop(0, blocks, add_block, nothing)
    log_total = jnp.logaddexp(peak + jnp.log(total), left_out[place])
    logit = jnp.where(real[0, :, 0], picked, 0)
    log_probability = jnp.where(real[0, :, 0], picked - log_total[:, None], 0)

    def back(x: jax.Array) -> jax.Array:
        return jnp.zeros_like(x).at[place].set(x)[None]

    return Scores(back(log_probability), back(logit), None)
