"""From encoded probes to the arrays of one computation: sizes in buckets, memory by a budget.

Few distinct shapes mean few compilations; padding never changes a result beyond float32 rounding.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from negjax.inputs.positions import NONE, first_index, neuron_index, read_index
from negjax.inputs.probes import Probes
from negjax.model import attention
from negjax.model.config import ModelConfig
from negjax.model.experts import BLOCK_ROWS
from negjax.model.packing import Packing, packed_rows
from negjax.process import memory
from negjax.replay import readout
from negjax.replay.suffixes import Suffix

DEFAULT_BUDGET_BYTES = memory.DEFAULT_BUDGET_BYTES

# To be worth a program of its own, leaving padding out must save so many tokens, and leave no more
# than this share of all.
PACKED_TOKENS, PACKED_SHARE = 32, 0.9
STEPS = 8
"""Length buckets an octave, where nothing else is said."""
KEPT_TOKENS = 32
"""Of a suffix, up to which a pass keeps its products for the way back: more of them take more
memory than multiplying again takes time."""


# Past the end of every text, and far from where an int32 ends.
NOWHERE = 2**30


class Split(NamedTuple):
    """Probes split before their neurons' positions: the arguments of a prefix pass and a replay."""

    prefix_tokens: Int[jax.Array, "P T"] | None
    """Right-padded; None for a masked LM."""
    prefix_mask: Bool[jax.Array, "P T"] | None
    suffix: Suffix
    targets: Int[jax.Array, "P K M"]
    """Token ids."""
    real: Bool[jax.Array, "P K M"]
    """False where a target has fewer than M tokens."""
    packing: Packing | None = None
    """Of prefixes and suffixes, [P, T + S], where it was asked for and leaves out enough."""


class Packed(NamedTuple):
    """A pass over the real tokens of some rows, one after the other."""

    rows: int
    """The first of all; those that fill up run no token of their own."""
    tokens: int
    """That theirs are filled up to."""


def tokens_at_once(cpu: int, accelerator: int) -> int:
    """The number meant for the kind of device that computes."""
    return cpu if jax.default_backend() == "cpu" else accelerator


def bucket(size: int, *, steps: int = STEPS) -> int:
    """Smallest of 4, 8, … , then `steps` sizes an octave, that holds `size`."""
    if size <= 4 * steps:
        return max(4, -(-size // 4) * 4)
    unit = 2 ** ((size - 1).bit_length() - 1) // steps
    result: int = -(-size // unit) * unit
    return result


def bucket_count(count: int) -> int:
    """Smallest of 1, 2, 3, 4, 6, 8, 12, 16, … that holds `count`."""
    power = 1
    while power < count:
        power *= 2
    return power * 3 // 4 if power >= 4 and power * 3 // 4 >= count else power


def largest_bucket(count: int) -> int:
    """Largest of 1, 2, 3, 4, 6, 8, 12, 16, … that is not above `count`."""
    power = 1 << (count.bit_length() - 1)
    return power * 3 // 2 if power > 1 and power * 3 // 2 <= count else power


def smaller_buckets(count: int) -> Iterator[int]:
    """A bucket of `bucket_count`, and then about half of the last one, down to 1."""
    yield count
    while count > 1:
        count = largest_bucket(count // 2)
        yield count


def split_probes(
    config: ModelConfig,
    probes: Probes,
    index: Int[np.ndarray, " P"],
    target: int | None = None,
    *,
    steps: int = STEPS,
    head: int = 0,
    pack: bool | Packed = False,
) -> Split:
    """Arrays of the probes `index`, and of all their targets or of target number `target`.

    With several-token targets (`target_mode="all"`) the suffix carries the target's own tokens, so
    one `target` must be named if there are several.

    Args:
        steps: length buckets an octave.
        head: the first tokens, which all have in common and which the prefix leaves out.
        pack: leave the padding out of a pass where there is much of it. One more program is
            compiled for every number of tokens that is left; with `Packed` that number is told.
    """
    chosen = slice(None) if target is None else slice(target, target + 1)
    targets, real = probes.target_ids[index, chosen], probes.target_mask[index, chosen]
    rows = [probes.tokens[b, probes.mask[b]] for b in index]
    read, first = read_index(probes, index), first_index(probes, index)
    # Where a prompt has fewer positions, past all tokens.
    at = neuron_index(probes, index)
    at = np.where(at == NONE, NOWHERE, at)
    if not config.causal:
        tokens, mask = _padded(rows, bucket(max(map(len, rows)), steps=steps))
        suffix = _on_device(tokens, _positions(mask), mask, read, at)
        packing = _packing(mask, pack)
        return Split(
            prefix_tokens=None,
            prefix_mask=None,
            suffix=suffix,
            targets=jnp.asarray(targets),
            real=jnp.asarray(real),
            packing=packing,
        )
    prefix_tokens, prefix_mask = _padded(
        [r[head:n] for r, n in zip(rows, first.tolist(), strict=True)],
        bucket(int(first.max()) - head, steps=steps),
    )
    followers = targets.shape[2] - 1
    if followers and targets.shape[1] != 1:
        raise ValueError(
            f"{targets.shape[1]} several-token targets need a suffix each; choose one with target="
        )
    # Teacher forcing: up to the read position, then every target token but the last.
    after = [t[r] for t, r in zip(targets[:, 0, :followers], real[:, 0, 1:], strict=True)]
    own = [
        np.concatenate([row[start : n + 1], more])
        for row, start, n, more in zip(rows, first, read, after, strict=True)
    ]
    tokens, mask = _padded(own, suffix_length(int((read - first).max()) + 1, 1 + followers, steps))
    positions = first[:, None] + np.arange(tokens.shape[1], dtype=np.int32)
    # Where padding stands does not matter, but it is to stand inside the context.
    positions = np.minimum(positions, (first + mask.sum(1) - 1)[:, None]).astype(np.int32)
    suffix = _on_device(tokens, positions, mask, read - first, at - first[:, None])
    packing = _packing(np.concatenate([prefix_mask, mask], 1), pack)
    prefix = jnp.asarray(prefix_tokens), jnp.asarray(prefix_mask)
    return Split(*prefix, suffix, jnp.asarray(targets), jnp.asarray(real), packing)


def _packing(mask: np.ndarray, pack: bool | Packed) -> Packing | None:
    """The packing of rows with the real tokens `mask` [P, T], if it leaves out enough of them."""
    if isinstance(pack, Packed):
        return packed_rows(mask & (np.arange(len(mask)) < pack.rows)[:, None], pack.tokens)
    if not pack:
        return None
    size = bucket(int(mask.sum()), steps=2 * STEPS)
    pays = mask.size - size >= PACKED_TOKENS and size <= PACKED_SHARE * mask.size
    return packed_rows(mask, size) if pays else None


def suffix_length(span: int, target_tokens: int, steps: int) -> int:
    """Tokens of a causal model's suffix, with its padding.

    Args:
        span: most tokens from a prompt's first position to its read position.
        target_tokens: M.
    """
    length = span + target_tokens - 1
    return length if span == 1 else bucket(length, steps=steps)


def _on_device(
    tokens: np.ndarray, positions: np.ndarray, mask: np.ndarray, read: np.ndarray, at: np.ndarray
) -> Suffix:
    # No token of a suffix has that index.
    at = np.minimum(at, tokens.shape[1])
    return Suffix(*map(jnp.asarray, (tokens, positions, mask, read, at)))


def _padded(rows: list[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.zeros((len(rows), length), np.int32)
    mask = np.zeros((len(rows), length), bool)
    for i, row in enumerate(rows):
        tokens[i, : len(row)], mask[i, : len(row)] = row, True
    return tokens, mask


def _positions(mask: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.maximum(np.cumsum(mask, axis=1) - 1, 0).astype(np.int32)
    return result


def scored_together(queries: int) -> int:
    """Of a prompt's queries, those whose scores exist at once.

    Blocks of a short text are made together, so that they are cut short where causal, but all are
    there. A long text's follow each other, each with its scores, their mask and their weights.
    """
    if queries <= attention.QUERY_BLOCK * attention.MOST_BANDS:
        return queries
    return 3 * attention.QUERY_BLOCK


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes that a computation takes, per prompt and per row, for shapes as encoded.

    What XLA reports for the programs is the measure (`tests/execution/test_batching.py`). Not
    counted is what does not grow with prompts and rows: the weights, and a working copy of a layer
    or two of them.
    """

    config: ModelConfig
    length: int
    """Tokens of the longest prompt that are its own, bucketed."""
    targets: int
    """K."""
    suffix: int
    """S."""
    itemsize: int = 4
    head: int = 0
    """Tokens of a common head, whose own keys and values are not counted."""
    positions: int = 1
    """Q."""

    @property
    def prefix_bytes(self) -> int:
        """One prompt's unperturbed pass, and what it keeps."""
        return self.itemsize * (self._kept + self._pass)

    @property
    def pull_back_bytes(self) -> int:
        """One prompt's pass, and its K gradients [L, F], pulled back a layer at a time."""
        c, k = self.config, self.targets
        s, seen = self.suffix, self._seen
        neurons = (3 if c.gated else 2) * c.neurons
        projected = 4 * c.heads * c.head_width
        scores = scored_together(s) * c.heads * seen
        # One layer's intermediates, and K times the cotangents of its larger half.
        layer = s * (neurons + 4 * c.width + projected) + scores
        layer += k * (4 * s * c.width + max(s * neurons, s * projected + 2 * scores))
        # One pass over the vocabulary serves all targets.
        answers = 2 * (s if c.causal else 1) * c.vocab_size
        gradients = 2 * k * c.layers * c.neurons * self.positions
        # What a causal pass keeps of its products.
        products = (2 if c.gated else 1) * c.neurons + c.width
        products += (c.heads + 2 * c.kv_heads) * c.head_width
        keeps = c.causal and s <= KEPT_TOKENS
        kept = self._kept + (c.layers * s * products if keeps else 0)
        return self.itemsize * (kept + max(self._pass, layer, answers) + gradients)

    @property
    def gradient_bytes(self) -> int:
        """One prompt's replay differentiated as a whole: residuals of all layers, K gradients."""
        c = self.config
        seen = self.head + self.length + self.suffix
        saved = self.suffix * (6 * c.neurons + 10 * c.width)
        saved = c.layers * (saved + 2 * scored_together(self.suffix) * c.heads * seen)
        gradients = self.targets * c.layers * c.neurons * 2
        head = 3 * (1 + self.targets) * c.vocab_size
        return self.itemsize * (saved + gradients + head)

    @property
    def row_bytes(self) -> int:
        """One intervention row waiting in the buffer."""
        # A norm after the layer is one more array.
        arrays = 3 if self.config.norm_placement == "pre" else 4
        return self.itemsize * arrays * self.suffix * self.config.width

    @property
    def sweep_row_bytes(self) -> int:
        """One intervention row being computed, its logits in blocks of the vocabulary."""
        block = 3 * min(self.config.vocab_size, readout.VOCAB_BLOCK)
        scored = self.suffix if self.config.causal else 1
        return self.itemsize * max(self._row, scored * block)

    @property
    def active_row_bytes(self) -> int:
        """One intervention row being computed, all its logits at once."""
        return self.itemsize * max(self._row, 3 * self.config.vocab_size)

    @property
    def effects_bytes(self) -> int:
        """Derivatives along one neuron: what it does to a layer, and to tokens."""
        c = self.config
        waiting = 3 * self.suffix * c.width
        return self.itemsize * (max(waiting + self._row, c.vocab_size) + c.vocab_size)

    @property
    def _seen(self) -> int:
        """Tokens that one of the suffix may see; a masked LM's suffix is the whole prompt."""
        return self.head + self.suffix + (self.length if self.config.causal else 0)

    @property
    def _kept(self) -> int:
        """Entries of a pass's keys and values, and of its trace."""
        c = self.config
        keys_values = 2 * self.length * c.kv_heads * c.head_width if c.causal else 0
        # Of experts, with which weight a neuron counts, too.
        vectors = (3 if c.gated else 1) + (1 if c.experts else 0)
        trace = 3 * self.suffix * c.width + vectors * c.neurons * self.positions
        return c.layers * (keys_values + trace)

    @property
    def _pass(self) -> int:
        """Entries that a pass takes beside those: the intermediates of one layer."""
        c, t = self.config, self.length + self.suffix if self.config.causal else self.suffix
        inner = t * (4 * c.width + 4 * c.heads * c.head_width)
        inner += self._networks(t, BLOCK_ROWS)
        return inner + scored_together(t) * c.heads * (t + 2 * self.head)

    @property
    def _row(self) -> int:
        """Entries of one row in a layer."""
        c = self.config
        inner = self.suffix * (4 * c.width + 4 * c.heads * c.head_width)
        inner += 3 * scored_together(self.suffix) * c.heads * self._seen
        # Rows of a prompt pass the same experts, and so fill blocks.
        return inner + self._networks(self.suffix, 1)

    def _networks(self, tokens: int, filled: int) -> int:
        """Entries of what the feed-forward networks of a layer make of so many tokens.

        Args:
            filled: rows up to which an expert's are filled.
        """
        c = self.config
        if not c.experts:
            return tokens * 3 * c.neurons
        pairs = tokens * c.active_experts
        rows = pairs + filled * min(c.experts, pairs)
        return rows * (3 * c.expert_neurons + 2 * c.width)
