"""Prompts that begin with the same tokens: which ones, how many tokens, and the pass over those.

Few-shot prompts of one task share instruction and demonstrations. `negjax.replay` runs such a
common head once for all of them; here is found which prompts have one that is worth it. Token ids
decide, never text: what a tokeniser merges at the end of the demonstrations is no part of the head.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Int

from negjax.checks import shown
from negjax.execution.batching import bucket
from negjax.execution.running import run_program
from negjax.inputs.positions import first_index
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel
from negjax.replay.suffixes import CommonHead, run_head

# What a head of its own costs a group: its pass fetches all weights, and so does a batch that no
# other prompts fill up. In tokens whose arithmetic takes as long.
GROUP_TOKENS = 128

# Sizes of heads an octave. Padding costs attention alone, and each size has programs of its own.
HEAD_STEPS = 2


class HeadGroup(NamedTuple):
    """Probes that begin with the same tokens."""

    members: Int[np.ndarray, " n"]
    """Indices of the probes, ascending."""
    head: int
    """How many tokens; 0: nothing is shared."""


def common_head(probes: Probes) -> int:
    """How many first tokens all probes have in common, before each one's neurons."""
    rows = _before_neurons(probes)
    return min(_shared(rows[0], row) for row in rows)


def head_groups(lm: LanguageModel, probes: Probes) -> list[HeadGroup]:
    """Groups of probes by common heads that save tokens.

    A head is run once instead of n times, and counts if that saves more than `GROUP_TOKENS`: of
    heads within heads those that save more. What belongs to no such group is one without a head;
    so are all probes of a masked LM, where every token sees every other.
    """
    b = len(probes)
    if not lm.config.causal:
        return [HeadGroup(np.arange(b), 0)]
    rows = _before_neurons(probes)
    order = np.asarray(sorted(range(b), key=lambda row: rows[row].tolist()))
    shared = [_shared(rows[one], rows[two]) for one, two in itertools.pairwise(order)]
    found = [HeadGroup(np.sort(order[a:z]), head) for a, z, head in _best_runs(shared)]
    grouped = [group.members for group in found]
    alone = np.setdiff1d(np.arange(b), np.concatenate([*grouped, np.empty(0, int)]))
    if len(alone):
        found.append(HeadGroup(alone, 0))
    return sorted(found, key=lambda group: int(group.members[0]))


def padded_head(tokens: int) -> int:
    """Tokens of a head with its padding."""
    return bucket(tokens, steps=HEAD_STEPS) if tokens else 0


def run_common_head(lm: LanguageModel, tokens: Int[np.ndarray, " T"]) -> CommonHead | None:
    """Keys and values of a head's tokens; None if there are none."""
    if not len(tokens):
        return None
    padded = np.zeros(padded_head(len(tokens)), np.int32)
    padded[: len(tokens)] = tokens
    result: CommonHead | None = run_program(
        lm, _run_head, padded, np.arange(len(padded)) < len(tokens)
    )
    return result


@functools.partial(jax.jit, static_argnums=0)
def _run_head(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], tokens: jax.Array, mask: jax.Array
) -> CommonHead:
    return run_head(nnx.merge(graphdef, params), tokens, jnp.asarray(mask))


def head_tokens(probes: Probes, group: HeadGroup) -> Int[np.ndarray, " T"]:
    """Token ids of a group's head."""
    (own,) = _before_neurons(probes.select(group.members[:1]))
    return own[: group.head]


def run_groups(
    lm: LanguageModel,
    probes: Probes,
    groups: Iterable[tuple[HeadGroup, CommonHead | None]] | None,
) -> Iterator[tuple[HeadGroup, CommonHead | None]]:
    """The groups given, or those of all probes, each one's head run when its turn comes.

    Raises:
        ValueError: what is given are no groups; of a member, when its turn comes.
    """
    if groups is not None:
        pairs = "(HeadGroup, CommonHead or None) pairs, as negjax.execution.common_heads makes them"
        if not isinstance(groups, Iterable) or isinstance(groups, str | bytes | np.ndarray):
            raise ValueError(f"groups is {shown(groups)}, expected {pairs}")
        return _checked_pairs(groups, pairs)
    found = head_groups(lm, probes)
    return ((group, run_common_head(lm, head_tokens(probes, group))) for group in found)


def _checked_pairs(
    groups: Iterable[tuple[HeadGroup, CommonHead | None]], expected: str
) -> Iterator[tuple[HeadGroup, CommonHead | None]]:
    for pair in groups:
        whole = isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], HeadGroup)
        if not whole or not isinstance(pair[1], CommonHead | None):
            raise ValueError(f"groups hold {shown(pair)}, expected {expected}")
        yield pair


def _before_neurons(probes: Probes) -> list[np.ndarray]:
    """Of each prompt, the tokens before the first that its suffix has."""
    first = first_index(probes).tolist()
    return [probes.tokens[row, probes.mask[row]][:n] for row, n in enumerate(first)]


def _shared(one: np.ndarray, two: np.ndarray) -> int:
    """How many first entries are the same."""
    length = min(len(one), len(two))
    differing = np.flatnonzero(one[:length] != two[:length])
    return int(differing[0]) if len(differing) else length


class _Run(NamedTuple):
    """Neighbours in sorted order, and the best that can be made of them."""

    start: int
    stop: int
    saved: int
    """Tokens."""
    groups: tuple[tuple[int, int, int], ...]
    """(start, stop, head)."""


def _best_runs(shared: list[int]) -> tuple[tuple[int, int, int], ...]:
    """Runs (start, stop, head) of sorted rows whose heads save the most.

    Args:
        shared: of rows 0 … n, how many first tokens row i has in common with row i + 1; a run has
            in common the least of those inside it.
    """
    # From the longest heads to the shortest, neighbouring runs grow together. What they have in
    # common then is either worth more than what was found inside them, or it is not.
    runs = [_Run(start=row, stop=row + 1, saved=0, groups=()) for row in range(len(shared) + 1)]
    at_start = {run.start: run for run in runs}
    at_stop = {run.stop: run for run in runs}
    for row in sorted(range(len(shared)), key=lambda row: -shared[row]):
        left, right = at_stop.pop(row + 1), at_start.pop(row + 1)
        start, stop, head = left.start, right.stop, shared[row]
        both = _Run(
            start=start,
            stop=stop,
            saved=left.saved + right.saved,
            groups=left.groups + right.groups,
        )
        saved = (stop - start - 1) * head - GROUP_TOKENS
        if saved > both.saved:
            both = _Run(start=start, stop=stop, saved=saved, groups=((start, stop, head),))
        at_start[start] = at_stop[stop] = both
    return at_start[0].groups
