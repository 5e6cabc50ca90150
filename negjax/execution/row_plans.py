"""How interventions are gone through: prompts together, rows in a buffer, rows computed at once."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from negjax.execution import batching
from negjax.execution.batching import bucket_count, largest_bucket, smaller_buckets
from negjax.execution.plans import Planned, fitting, longest_first, sizes_of
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel
from negjax.replay import tails

# Tokens computed at once: matrix products this tall run near the peak rate, and their intermediates
# still fit a last-level cache.
CHUNK_TOKENS = 512
# An accelerator has no such cache, but a price for every operation that it starts.
ACCELERATOR_CHUNK_TOKENS = 4096
# Tokens of work a call should hold, by taking several prompts together: fetching the layers'
# weights is then paid once for all of them.
CALL_TOKENS = 8192
# Length buckets an octave.
STEPS = 2


def chunk_tokens() -> int:
    """Tokens of rows computed at once."""
    return batching.tokens_at_once(CHUNK_TOKENS, ACCELERATOR_CHUNK_TOKENS)


class Cost(NamedTuple):
    """What a kernel's rows take."""

    waiting: int = 1
    """Memory of a row that waits in the buffer, in units of a sweep's."""
    active: int = 1
    """Memory of a row that is being computed, likewise."""
    alone: bool = False
    """Only the read position's token is computed, however long the suffix."""
    sweep: bool = False
    """It reads the vocabulary as `sweep_rows` does: in blocks, and by tails where those pay."""


class RowPlan(NamedTuple):
    """How interventions are gone through."""

    batches: list[Planned]
    """Prompts together, all but the last batch as many."""
    chunk: int
    """Rows of a prompt that are computed at once."""
    buffer: int
    """Rows of a prompt in one call, a multiple of `chunk`."""

    def smaller(self) -> Iterator["RowPlan"]:
        """This one, and what takes less: buffers of fewer chunks, then smaller chunks."""
        for count in smaller_buckets(self.buffer // self.chunk):
            yield self._replace(buffer=self.chunk * count)
        for chunk in smaller_buckets(largest_bucket(self.chunk // 2)) if self.chunk > 1 else ():
            yield self._replace(chunk=chunk, buffer=chunk)


def plan_rows(
    lm: LanguageModel,
    probes: Probes,
    rows: int,
    cost: Cost,
    budget_bytes: int,
    tokens: int | None = None,
) -> RowPlan:
    """Groups of prompts, and the rows of a prompt in a chunk and in a buffer.

    Args:
        tokens: of rows computed at once; None: what suits the kind of device that computes.
    """
    sizes = sizes_of(lm, probes, steps=STEPS)
    row = dataclasses.replace(sizes, suffix=1) if cost.alone else sizes
    together = min(len(probes), max(1, CALL_TOKENS // (rows * row.suffix)))
    # Half for the prefixes, a quarter for the rows being computed, a quarter for those that wait.
    group = fitting(
        budget_bytes, 2 * sizes.prefix_bytes, together, f"one prompt of {sizes.length} tokens"
    )
    active_bytes = row.sweep_row_bytes if cost.sweep else row.active_row_bytes
    row_bytes = 4 * cost.active * active_bytes
    group = largest_bucket(fitting(budget_bytes, row_bytes, group, "one row"))
    tokens = chunk_tokens() if tokens is None else tokens
    fit = fitting(budget_bytes, row_bytes * group, tokens, "one row")
    # At most all rows in a buffer, filled up to a bucket.
    most = 2 * rows
    # The tails take the place of the rows being computed, when no layer is left. Where they do not
    # fit, a buffer stays too small for them to be made.
    if cost.sweep and budget_bytes < 4 * tails.held_bytes(lm.config, lm.dtype):
        most = min(most, tails.fewest_rows(lm.config.width) - 1)
    chunk = min(fit, max(1, tokens // (group * row.suffix)), rows, most)
    chunk = largest_bucket(chunk)
    each = 4 * cost.waiting * row.row_bytes * group
    held = fitting(budget_bytes, each * chunk, most // chunk, "one chunk")
    needed = bucket_count(-(-rows // chunk))
    buffer = chunk * min(needed, largest_bucket(held))
    taken = 4 * sizes.prefix_bytes + row_bytes * chunk + each // group * buffer
    order = longest_first(probes)
    groups = [order[i : i + group] for i in range(0, len(order), group)]
    # A group is filled up, so that few shapes compile.
    filled = [bucket_count(len(some)) for some in groups]
    batches = [
        Planned(members=some, rows=n, estimate=n * taken // 4)
        for some, n in zip(groups, filled, strict=True)
    ]
    return RowPlan(batches, chunk, buffer)
