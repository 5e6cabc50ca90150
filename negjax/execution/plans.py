"""Which prompts run together: batches that fit a budget, filled up to few sizes."""

import bisect
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from negjax.checks import whole_number
from negjax.errors import Argument, ArgumentError
from negjax.execution.batching import (
    STEPS,
    Packed,
    Sizes,
    bucket,
    bucket_count,
    largest_bucket,
    suffix_length,
)
from negjax.inputs.positions import first_index, span_and_count
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel

# A batch holds no prompt whose length bucket is a smaller share of its longest prompt's.
FILLED = 0.7


class Planned(NamedTuple):
    """A batch of prompts."""

    members: Int[np.ndarray, " n"]
    """Indices among all probes."""
    rows: int
    """That they are filled up to, at least n."""
    estimate: int
    """Bytes that the batch is expected to take."""
    tokens: int = 0
    """What real tokens of all its prompts are filled up to in a pass; 0: it is left open."""
    settled: tuple[object, ...] = ()
    """Programs of which it is known that they may run it."""

    @property
    def packed(self) -> Packed | None:
        """What a pass runs of the padded rows, where that was planned."""
        return Packed(len(self.members), self.tokens) if self.tokens else None

    @property
    def padded(self) -> Int[np.ndarray, " rows"]:
        """The members, filled up."""
        return filled_up(self.members, self.rows)

    def filled_up_to(self, multiple: int) -> "Planned":
        """The same members, in rows of which there is a multiple of a number."""
        return self._replace(rows=-(-self.rows // multiple) * multiple)

    def settle(self, program: object) -> "Planned":
        """The same, which a program may run."""
        return self._replace(settled=(*self.settled, program))

    def pieces(self, needed: int) -> list["Planned"]:
        """The same prompts in batches of half as many rows, of which there are two or more.

        Args:
            needed: bytes that the whole batch takes.
        """
        half = largest_bucket(self.rows // 2)
        parts = np.split(self.members, range(half, len(self.members), half))
        return [
            Planned(members=part, rows=half, estimate=needed * half // self.rows) for part in parts
        ]


def filled_up(
    values: Shaped[np.ndarray, " n *rest"], rows: int
) -> Shaped[np.ndarray, " {rows} *rest"]:
    """Values, filled up by repetition to so many rows.

    So few shapes compile, and what fills up is as finite as the rest.
    """
    return np.resize(values, (rows, *values.shape[1:]))


def target_groups(probes: Probes, target: int | None = None) -> list[int | None]:
    """Which targets go through a model together: target number `target`, or all (None).

    A joint target's tokens are part of the suffix, so each such target is a pass of its own.
    """
    joint = target is None and probes.target_ids.shape[2] > 1
    return list(range(probes.target_count)) if joint else [target]


def sizes_at(
    lm: LanguageModel,
    length: int,
    *,
    targets: int = 1,
    target_tokens: int = 1,
    whole: bool = False,
    head: int = 0,
    span: int = 1,
    positions: int = 1,
    steps: int = STEPS,
) -> Sizes:
    """Bytes for prompts of `length` tokens of their own.

    Args:
        target_tokens: M, of a target; those of a joint one are part of a causal model's suffix.
        whole: every token of a prompt is in the suffix, as in a masked LM.
        head: tokens of a common head.
        span: tokens from the first of the neurons' positions to the read position.
        positions: Q.
        steps: length buckets an octave, of a suffix.
    """
    suffix = length
    if lm.config.causal and not whole:
        suffix = suffix_length(span, target_tokens, steps)
    itemsize = np.dtype(lm.compute_dtype).itemsize
    return Sizes(
        config=lm.config,
        length=length,
        targets=targets,
        suffix=suffix,
        itemsize=itemsize,
        head=head,
        positions=positions,
    )


def sizes_of(
    lm: LanguageModel,
    probes: Probes,
    *,
    targets: int = 1,
    steps: int = STEPS,
    whole: bool = False,
) -> Sizes:
    """Bytes for the longest of the probes.

    Args:
        targets: K, that are measured together.
        steps: length buckets an octave.
        whole: a prompt and its target, but for the last token, are all in the suffix.
    """
    tokens = probes.target_ids.shape[2]
    longest = int(probes.mask.sum(1).max()) + (tokens - 1 if whole else 0)
    if lm.config.causal and not whole:
        longest = int(first_index(probes).max()) + 1
    length = bucket(longest, steps=steps)
    span, positions = span_and_count(probes)
    return sizes_at(
        lm,
        length,
        targets=targets,
        target_tokens=tokens,
        whole=whole,
        span=span,
        positions=positions,
        steps=steps,
    )


def fitting(budget_bytes: int, each_bytes: int, most: int, what: str) -> int:
    """How many of `each_bytes` fit the budget, at most `most`.

    Raises:
        ValueError: not even one fits, or the budget is no whole number.
    """
    whole_number(budget_bytes, "budget_bytes", 1)
    if budget_bytes < each_bytes:
        raise ArgumentError(
            Argument("budget_bytes"),
            f"={budget_bytes:,} is too small: {what} takes about {each_bytes:,} bytes",
        )
    return min(most, budget_bytes // each_bytes)


def plan_prompts(
    probes: Probes, sizes: Sizes, each_bytes: int, most: int, budget_bytes: int
) -> list[Planned]:
    """Batches of prompts alike in length that fit the budget, longest first.

    Args:
        each_bytes: of a prompt of the length that `sizes` has.
        most: prompts of a batch.

    Raises:
        ValueError: a budget that holds not even one prompt.
    """
    largest = fitting(budget_bytes, each_bytes, most, f"one prompt of {sizes.length} tokens")
    batches = prompt_batches(probes, largest)
    rows = [bucket_count(len(members)) for members in batches]
    return [
        Planned(members=some, rows=n, estimate=n * each_bytes)
        for some, n in zip(batches, rows, strict=True)
    ]


def one_by_one(probes: Probes, estimate: int) -> list[Planned]:
    """Each prompt a batch of its own, in the caller's order."""
    return [
        Planned(members=np.asarray([number]), rows=1, estimate=estimate)
        for number in range(len(probes))
    ]


def longest_first(probes: Probes, head: int = 0) -> Int[np.ndarray, " B"]:
    """Numbers of the prompts by their tokens after a common head of `head`."""
    return np.argsort(-real_tokens(probes, head), kind="stable")


def prompt_batches(probes: Probes, largest: int, head: int = 0) -> list[Int[np.ndarray, " n"]]:
    """Indices of probes in batches of at most `largest`, longest first.

    A batch fetches all weights once, so neighbouring buckets share one as long as the shortest
    prompt fills most of it. Of a common head of `head` tokens no batch has to run any.
    """
    lengths = real_tokens(probes, head)
    batches: list[list[int]] = []
    for row in longest_first(probes, head):
        batch = batches[-1] if batches else []
        shared = batch and bucket(int(lengths[row])) >= FILLED * bucket(int(lengths[batch[0]]))
        if shared and len(batch) < largest:
            batch.append(row)
        else:
            batches.append([row])
    return [np.asarray(batch) for batch in batches]


def uniform_batches(
    probes: Probes,
    rows: Callable[[int], int],
    tokens: Callable[[int, int], int] | None = None,
    head: int = 0,
) -> list[tuple[Int[np.ndarray, " n"], int]]:
    """Indices of probes in batches, longest first, and the rows that each is filled up to.

    Args:
        rows: of a batch at most, by the tokens of its longest prompt that are its own.
        tokens: real ones of a batch at most, by the same and its rows; None: as many as they have.
        head: tokens of a common head.
    """
    order = longest_first(probes, head).tolist()
    ascending = (-real_tokens(probes, head)[order]).tolist()
    batches = []
    while order:
        longest, batch = -ascending[0], list[int]()
        full = rows(longest)
        room = sum(ascending) if tokens is None else -tokens(longest, full)
        while order and len(batch) < full:
            # The longest that there is still room for.
            at = bisect.bisect_left(ascending, room) if batch else 0
            if at == len(order):
                break
            batch.append(order.pop(at))
            room -= ascending.pop(at)
        batches.append((np.asarray(batch), full))
    return batches


def real_tokens(probes: Probes, head: int = 0) -> Int[np.ndarray, " B"]:
    """Tokens of each prompt that are its own, without those of targets that run behind it."""
    return probes.mask.sum(1) - head
