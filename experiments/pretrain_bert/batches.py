"""Masked batches: a pure function of text, seed and step, so that a run resumes to the same losses.

Masking of BERT (Devlin et al., arXiv 1810.04805): 15% of a text's tokens are to be predicted; of
these 80% are replaced by [MASK], 10% by a random token, 10% stay. Besides, in a share of the facts
drawn anew each epoch, all tokens of the answer become [MASK] and nothing else does: the question as
it will be asked.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from experiments.pretrain_bert.corpus import GAP, Statement
from experiments.pretrain_bert.vocabulary import SPECIAL
from negjax.process.quiet import transformers

MASKED_SHARE = 0.15
# Lengths that texts are padded to: few, since each is compiled for itself.
LENGTHS = (10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
# Predictions that even the shortest text has room for: answers of so many tokens are asked whole.
LEAST_PREDICTIONS = 3


@dataclasses.dataclass(frozen=True)
class Texts:
    """N tokenised texts, with [CLS] and [SEP], and where their answers stand."""

    tokens: np.ndarray
    """[N, T], ids, padded right."""
    length: np.ndarray
    """[N], real tokens."""
    answer_start: np.ndarray
    """[N], index in T."""
    answer_length: np.ndarray
    """[N], tokens; 0 where there is no answer."""
    vocab_size: int
    mask_id: int

    def __len__(self) -> int:
        return len(self.length)


class Batch(NamedTuple):
    """P texts of which M tokens each are to be predicted."""

    tokens: np.ndarray
    """[P, S], ids after masking."""
    mask: np.ndarray
    """[P, S], True where a token is real."""
    at: np.ndarray
    """[P, M], index in S of the tokens to predict."""
    target: np.ndarray
    """[P, M], their ids."""
    weight: np.ndarray
    """[P, M], 1.0, or 0.0 where there are fewer than M."""


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """What decides the batches, besides the texts."""

    seed: int
    tokens: int
    """Of a batch, padding included: P = tokens / S."""
    answer_share: float
    """Of the facts, those asked their answer in an epoch."""

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"batches of {self.tokens} tokens: expected at least 1")
        if not 0 <= self.answer_share <= 1:
            raise ValueError(f"answer share {self.answer_share}: expected 0 to 1")


def encode_statements(
    statements: Sequence[Statement], tokenizer: transformers.BertTokenizer, context_length: int
) -> Texts:
    """Tokenises statements; plain text longer than the context is cut into pieces.

    Raises:
        ValueError: a fact does not fit into the context, or its answer merges with its neighbours.
    """
    filled = tokenizer([s.filled for s in statements])["input_ids"]
    masked = tokenizer([s.masked for s in statements])["input_ids"]
    rows: list[list[int]] = []
    spans: list[tuple[int, int]] = []
    for statement, tokens, asked in zip(statements, filled, masked, strict=True):
        if statement.answer is None:
            pieces = _pieces(tokens, context_length)
            rows += pieces
            spans += [(0, 0)] * len(pieces)
            continue
        if max(len(tokens), len(asked)) > context_length:
            raise ValueError(
                f"{statement.filled!r} is {len(tokens)} tokens, the context holds "
                f"{context_length}; shorten it, or raise the context"
            )
        rows.append(tokens)
        spans.append(_span(statement, tokens, asked, tokenizer.mask_token_id))
    length = np.asarray(list(map(len, rows)), np.int32)
    padded = np.zeros((len(rows), int(length.max())), np.int32)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    start, answer_length = np.asarray(spans, np.int32).T
    return Texts(padded, length, start, answer_length, len(tokenizer), tokenizer.mask_token_id)


def batches_from(texts: Texts, plan: BatchPlan, step: int) -> Iterator[Batch]:
    """Batches of step number `step` and all that follow, without end.

    An epoch shows every text once, in an order of its own. Batch number `step` depends on the
    texts, the plan and the step alone, wherever the iteration began.
    """
    epoch, offset = divmod(step, steps_per_epoch(texts, plan))
    while True:
        for index in _epoch(texts, plan, epoch)[offset:]:
            yield _masked(texts, plan, index, step)
            step += 1
        epoch, offset = epoch + 1, 0


def steps_per_epoch(texts: Texts, plan: BatchPlan) -> int:
    """Batches that show every text once."""
    return len(_grouped(texts, plan, np.arange(len(texts))))


def predictions(length: int) -> int:
    """M for texts padded to `length` tokens."""
    return max(LEAST_PREDICTIONS, math.ceil(MASKED_SHARE * length))


def _epoch(texts: Texts, plan: BatchPlan, epoch: int) -> list[tuple[int, np.ndarray]]:
    """(S, numbers of texts) of each batch of an epoch."""
    generator = np.random.default_rng([plan.seed, 1, epoch])
    grouped = _grouped(texts, plan, generator.permutation(len(texts)))
    return [grouped[number] for number in generator.permutation(len(grouped))]


def _grouped(texts: Texts, plan: BatchPlan, order: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Texts in the given order, in batches of one padded length each.

    What does not fill a batch of its length is padded to the next one. How many batches there are
    depends on the lengths alone, not on the order.
    """
    length = texts.length[order]
    longest = int(texts.length.max())
    lengths = [size for size in LENGTHS if size < longest]
    lengths.append(next(size for size in (*LENGTHS, longest) if size >= longest))
    grouped, waiting, shortest = [], order[:0], 0
    for size in lengths:
        waiting = np.concatenate([waiting, order[(length > shortest) & (length <= size)]])
        rows = max(1, plan.tokens // size)
        full = len(waiting) if size == lengths[-1] else len(waiting) // rows * rows
        grouped += [(size, waiting[start : start + rows]) for start in range(0, full, rows)]
        waiting, shortest = waiting[full:], size
    return grouped


def _masked(texts: Texts, plan: BatchPlan, group: tuple[int, np.ndarray], step: int) -> Batch:
    size, index = group
    generator = np.random.default_rng([plan.seed, 2, step])
    # An epoch's last batch may lack texts; empty rows keep its shape and weigh nothing.
    empty = max(1, plan.tokens // size) - len(index)

    def rows(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[index], np.zeros((empty, *values.shape[1:]), values.dtype)])

    original = rows(texts.tokens)[:, :size]
    original = np.pad(original, ((0, 0), (0, size - original.shape[1])))
    length, start, answer_length = map(
        rows, (texts.length, texts.answer_start, texts.answer_length)
    )
    m = predictions(size)
    place, row = np.arange(size), np.arange(len(length))[:, None]
    # [CLS] and [SEP], the first and the last, are not predicted.
    free = (place >= 1) & (place < length[:, None] - 1)
    chosen = np.argsort(np.where(free, generator.random(free.shape), 2.0), axis=1)[:, :m]
    count = np.clip(np.rint(MASKED_SHARE * free.sum(1)), np.minimum(1, free.sum(1)), m)
    asked = generator.random(len(length)) < plan.answer_share
    asked &= (answer_length > 0) & (answer_length <= m)
    span = np.minimum(start[:, None] + np.arange(m), size - 1)
    at = np.where(asked[:, None], span, chosen)
    real = np.arange(m) < np.where(asked, answer_length, count)[:, None]
    target = original[row, at]
    kind = np.where(asked[:, None], 0.0, generator.random(at.shape))
    drawn = generator.integers(len(SPECIAL), texts.vocab_size, at.shape)
    shown = np.where(kind < 0.8, texts.mask_id, np.where(kind < 0.9, drawn, target))
    tokens = original.copy()
    tokens[np.broadcast_to(row, at.shape)[real], at[real]] = shown[real]
    return Batch(
        tokens,
        place < length[:, None],
        at.astype(np.int32),
        target,
        real.astype(np.float32),
    )


def _pieces(tokens: list[int], context_length: int) -> list[list[int]]:
    first, *inner, last = tokens
    width = context_length - 2
    cuts = range(0, max(1, len(inner)), width)
    return [[first, *inner[cut : cut + width], last] for cut in cuts]


def _span(
    statement: Statement, tokens: list[int], asked: list[int], mask_id: int
) -> tuple[int, int]:
    """Where the answer's tokens begin, and how many they are."""
    start = asked.index(mask_id)
    after = len(asked) - start - 1
    if tokens[:start] != asked[:start] or tokens[len(tokens) - after :] != asked[start + 1 :]:
        raise ValueError(
            f"{statement.text!r}: the answer {statement.answer!r} merges with the words beside "
            f"{GAP}; set {GAP} apart by blanks"
        )
    return start, len(tokens) - after - start
