"""Exact interventions: the target's probability while neurons' activations are shifted."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.checks import one_of
from negjax.execution import batching
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.conventions import Convention, check_convention, sign
from negjax.execution.finite import check_finite
from negjax.execution.passes import run_split
from negjax.inputs.probes import Probes, check_asked, check_target
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.replay import tails
from negjax.replay.readout import Scores, Spread
from negjax.replay.rows import Rows, sweep_rows
from negjax.replay.suffixes import Pass, take_read
from negjax.replay.targets import Output, output_of

# Tokens computed at once: matrix products this tall run near the peak rate, and their intermediates
# still fit a last-level cache.
CHUNK_TOKENS = 512
# An accelerator has no such cache, but a price for every operation that it starts.
ACCELERATOR_CHUNK_TOKENS = 4096
# Tokens of work a call should hold, by taking several prompts together: fetching the layers'
# weights is then paid once for all of them.
CALL_TOKENS = 8192


def chunk_tokens() -> int:
    """Tokens of rows computed at once."""
    return batching.tokens_at_once(CHUNK_TOKENS, ACCELERATOR_CHUNK_TOKENS)


class Shifted(NamedTuple):
    """R interventions of each of B prompts, one neuron each, in any order.

    Layer L leaves a row out: nothing is computed for it and its result means nothing.
    """

    layer: np.ndarray
    """[B, R]."""
    neuron: np.ndarray
    """[B, R], index within the layer."""
    shift: np.ndarray
    """[B, R], x of the convention."""


class Measured(NamedTuple):
    """What `intervene` found, in the order of its rows."""

    activation: np.ndarray
    """[B, R], unperturbed."""
    log_probability: np.ndarray
    """[B, R]."""
    logit: np.ndarray
    """[B, R]."""
    spread: Spread[np.ndarray] | None
    """[B, R] each, where it was asked for."""


def intervene(
    lm: LanguageModel,
    probes: Probes,
    rows: Shifted,
    convention: Convention,
    site: str | None,
    *,
    target: int | None = None,
    spread: bool = False,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Measured:
    """Measures the target's output under each row's intervention, and the spread if asked.

    Raises:
        ValueError: bad convention, site or target; a budget that holds not even one prompt.
    """
    activation, found = measure_rows(
        lm,
        probes,
        rows,
        convention,
        site,
        SPREAD if spread else SWEEP,
        target=check_target(probes, target),
        budget_bytes=budget_bytes,
    )
    return Measured(activation, found.log_probability[..., 0], found.logit[..., 0], found.spread)


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


class Kernel(NamedTuple):
    """A measurement of rows."""

    measure: Callable[..., Any]
    """Jitted, of (graphdef, params, split, passed, rows, site, chunk): a pytree of [P, R, …]."""
    cost: Cost = Cost()


def measure_rows(
    lm: LanguageModel,
    probes: Probes,
    rows: Shifted,
    convention: Convention,
    site: str | None,
    kernel: Kernel,
    *,
    target: int | None,
    budget_bytes: int,
) -> tuple[np.ndarray, Any]:
    """Runs a kernel over all rows: the neurons' activations [B, R], and what the kernel returns.

    Args:
        kernel: its results [P, R, …] become [B, R, …], in the order of the rows.
        target: number of the target to measure; None: all, which must have one token each.

    Raises:
        ValueError: bad probes, convention or site; a budget that holds not even one prompt; an
            output that overflows.
    """
    check_asked(lm, probes)
    check_convention(convention)
    chosen = lm.config.site(site)
    plan = plan_rows(lm, probes, rows.layer.shape[1], kernel.cost, budget_bytes)
    parts = []
    for index, chunk, buffer in plan:
        # A group is filled up by repetition, so that few shapes compile.
        padded = np.resize(index, batching.bucket_count(len(index)))
        split = batching.split_probes(lm.config, probes, padded, target, steps=2)
        passed = run_split(lm, split)
        some = Shifted(*(np.asarray(field[padded]) for field in rows))
        activation = np.asarray(passed.trace.at_read[chosen])[
            np.minimum(some.layer, lm.config.layers - 1),
            np.arange(len(padded))[:, None],
            some.neuron,
        ]
        factor = sign(activation) if convention == "signed" else 1
        deltas = some._replace(shift=some.shift * factor)
        found = _run(lm, split, passed, deltas, chosen, kernel, chunk=chunk, buffer=buffer)
        count = len(index)
        parts.append(jax.tree.map(lambda x, count=count: x[:count], (activation, found)))
    back = np.argsort(np.concatenate([index for index, _, _ in plan]))
    activation, found = jax.tree.map(lambda *some: np.concatenate(some)[back], *parts)
    _check_measured(lm, rows, found)
    return activation, found


def _check_measured(lm: LanguageModel, rows: Shifted, found: Any) -> None:
    """Refuses outputs that are not finite; those of rows that were left out mean nothing."""
    left_out = rows.layer >= lm.config.layers
    for leaf in jax.tree.leaves(found):
        wrong = ~np.isfinite(leaf.reshape(*left_out.shape, -1)).all(-1) & ~left_out
        if wrong.any():
            prompt, row = np.argwhere(wrong)[0]
            layer, neuron, shift = (field[prompt, row] for field in rows)
            what = f"an output under a shift of {shift:g} at neuron (layer {layer}, index {neuron})"
            check_finite(lm, what, leaf[prompt, row][None], np.asarray([prompt]))


def plan_rows(
    lm: LanguageModel, probes: Probes, rows: int, cost: Cost, budget_bytes: int
) -> list[tuple[np.ndarray, int, int]]:
    """Groups of prompts, and for each the rows of a prompt in a chunk and in a buffer."""
    sizes = row_sizes(lm, probes)
    row = dataclasses.replace(sizes, suffix=1) if cost.alone else sizes
    together = min(len(probes), max(1, CALL_TOKENS // (rows * row.suffix)))
    # Half for the prefixes, a quarter for the rows being computed, a quarter for those that wait.
    group = batching.fitting(
        budget_bytes, 2 * sizes.prefix_bytes, together, f"one prompt of {sizes.length} tokens"
    )
    active_bytes = row.sweep_row_bytes if cost.sweep else row.active_row_bytes
    row_bytes = 4 * cost.active * active_bytes
    group = batching.largest_bucket(batching.fitting(budget_bytes, row_bytes, group, "one row"))
    tokens = chunk_tokens()
    fit = batching.fitting(budget_bytes, row_bytes * group, tokens, "one row")
    # At most all rows in a buffer, filled up to a bucket.
    most = 2 * rows
    # The tails take the place of the rows being computed, when no layer is left. Where they do not
    # fit, a buffer stays too small for them to be made.
    if cost.sweep and budget_bytes < 4 * tails.held_bytes(lm.config, lm.dtype):
        most = min(most, tails.fewest_rows(lm.config.width) - 1)
    chunk = min(fit, max(1, tokens // (group * row.suffix)), rows, most)
    chunk = batching.largest_bucket(chunk)
    each = 4 * cost.waiting * row.row_bytes * group
    held = batching.fitting(budget_bytes, each * chunk, most // chunk, "one chunk")
    needed = batching.bucket_count(-(-rows // chunk))
    buffer = chunk * min(needed, batching.largest_bucket(held))
    order = longest_first(probes)
    return [(order[i : i + group], chunk, buffer) for i in range(0, len(order), group)]


def row_sizes(lm: LanguageModel, probes: Probes) -> batching.Sizes:
    """Bytes of the longest prompt and of rows after it, of one target."""
    length = batching.bucket(int(probes.mask.sum(1).max()), steps=2)
    suffix = probes.target_ids.shape[2] if lm.config.causal else length
    return batching.Sizes(lm.config, length, 1, suffix, np.dtype(lm.compute_dtype).itemsize)


def longest_first(probes: Probes) -> np.ndarray:
    """Numbers of the prompts, [B]."""
    return np.argsort(-probes.mask.sum(1), kind="stable")


def _run(
    lm: LanguageModel,
    split: Split,
    passed: Pass,
    deltas: Shifted,
    site: Site,
    kernel: Kernel,
    *,
    chunk: int,
    buffer: int,
) -> Any:
    """A kernel's results [P, R, …] of rows in any order, `buffer` of each prompt a call.

    `deltas` are shifts of the additive convention.
    """
    order = np.argsort(deltas.layer, axis=1, kind="stable")
    parts = []
    for start in range(0, order.shape[1], buffer):
        some = order[:, start : start + buffer]
        used = some.shape[1]
        fields = [np.take_along_axis(field, some, axis=1) for field in deltas]
        fill = ((0, 0), (0, buffer - used))
        padding = (lm.config.layers, 0, 0)
        padded = [np.pad(f, fill, constant_values=v) for f, v in zip(fields, padding, strict=True)]
        rows = Rows(*map(jnp.asarray, padded))
        with lm.numerics():
            found = kernel.measure(lm.graphdef, lm.params, split, passed, rows, site, chunk)
        parts.append(jax.tree.map(lambda x, used=used: np.asarray(x)[:, :used], found))
    at = np.arange(len(order))[:, None], np.argsort(order, axis=1)
    return jax.tree.map(lambda *x: np.concatenate(x, 1)[at], *parts)


@functools.partial(jax.jit, static_argnums=(0, 5, 6), static_argnames="spread")
def _sweep(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    split: Split,
    passed: Pass,
    rows: Rows,
    site: Site,
    chunk: int,
    *,
    spread: bool,
) -> Scores:
    return sweep_rows(
        nnx.merge(graphdef, params),
        passed.prefix,
        split.suffix,
        passed.trace,
        rows,
        split.targets,
        split.real,
        site=site,
        chunk=chunk,
        unperturbed=take_read(passed.resid[:, 0], split.suffix),
        spread=spread,
    )


SWEEP = Kernel(functools.partial(_sweep, spread=False), Cost(sweep=True))
"""`Scores` of every row."""
SPREAD = Kernel(functools.partial(_sweep, spread=True), Cost(sweep=True))
"""The same, with the spread."""


def select_output(output: Output, log_probability: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """One of the outputs, from those that interventions measure.

    Raises:
        ValueError: an unknown output.
    """
    one_of(output, "output", get_args(Output))
    return output_of(output, log_probability, logit)


def grid_rows(neurons: np.ndarray, shifts: np.ndarray) -> Shifted:
    """Rows [B, N · X] of neurons [B, N, 2] with shifts [B, N, X] each."""
    b = len(neurons)
    layer, neuron = (np.repeat(neurons[..., i], shifts.shape[-1], axis=1) for i in (0, 1))
    return Shifted(layer, neuron, shifts.reshape(b, -1))


def with_baselines(rows: Shifted, layers: int) -> Shifted:
    """The rows, and after them one row a layer, [B, R + L], that enters there without a shift."""
    b = len(rows.layer)
    zeros = np.zeros((b, layers), np.int32)
    own = Shifted(np.tile(np.arange(layers, dtype=np.int32), (b, 1)), zeros, zeros)
    return Shifted(*(np.concatenate(pair, axis=1) for pair in zip(rows, own, strict=True)))
