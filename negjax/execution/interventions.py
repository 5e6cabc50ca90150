"""Exact interventions: the target's probability while neurons' activations are shifted."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from negjax.checks import one_of
from negjax.execution import batching
from negjax.execution.batching import (
    DEFAULT_BUDGET_BYTES,
    Split,
    bucket_count,
    largest_bucket,
    smaller_buckets,
)
from negjax.execution.conventions import Convention, check_convention, sign
from negjax.execution.finite import check_finite
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import Planned, fitting, longest_first, sizes_of
from negjax.execution.running import Program, Run, in_order, run_batches, side_by_side
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
# Length buckets an octave.
STEPS = 2


def chunk_tokens() -> int:
    """Tokens of rows computed at once."""
    return batching.tokens_at_once(CHUNK_TOKENS, ACCELERATOR_CHUNK_TOKENS)


class Shifted(NamedTuple):
    """R interventions of each of B prompts, one neuron each, in any order.

    Layer L leaves a row out: nothing is computed for it and its result means nothing.
    """

    layer: Int[np.ndarray, "B R"]
    neuron: Int[np.ndarray, "B R"]
    """Index within the layer."""
    shift: Float[np.ndarray, "B R"]
    """x of the convention."""


class Measured(NamedTuple):
    """What `intervene` found, in the order of its rows."""

    activation: Float[np.ndarray, "B R"]
    """Unperturbed."""
    log_probability: Float[np.ndarray, "B R"]
    logit: Float[np.ndarray, "B R"]
    spread: Spread[np.ndarray] | None
    """Where it was asked for."""


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
    return Measured(
        activation=activation,
        log_probability=found.log_probability[..., 0],
        logit=found.logit[..., 0],
        spread=found.spread,
    )


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

    measure: Program
    """Of (graphdef, params, split, passed, rows, site, chunk): a pytree of [P, R, …]."""
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
) -> tuple[Float[np.ndarray, "B R"], Any]:
    """Runs a kernel over all rows: the neurons' activations, and what the kernel returns.

    Args:
        kernel: its results [P, R, …] become [B, R, …], in the order of the rows.
        target: number of the target to measure; None: all of them, joint ones in turn.

    Raises:
        ValueError: bad probes, convention or site; a budget that holds not even one prompt; an
            output that overflows.
    """
    check_asked(lm, probes)
    check_convention(convention)
    chosen = lm.config.site(site)
    plan = plan_rows(lm, probes, rows.layer.shape[1], kernel.cost, budget_bytes)

    def measure(run: Run) -> tuple[np.ndarray, Any]:
        padded = run.batch.padded
        passed = run(unperturbed_pass, run.split)
        some = Shifted(*(np.asarray(field[padded]) for field in rows))
        activation = np.asarray(passed.trace.at_read[chosen])[
            np.minimum(some.layer, lm.config.layers - 1),
            np.arange(len(padded))[:, None],
            some.neuron,
        ]
        factor = sign(activation) if convention == "signed" else 1
        deltas = some._replace(shift=some.shift * factor)
        return activation, _run_rows(run, passed, deltas, chosen, kernel, plan)

    batches = run_batches(
        lm,
        probes,
        plan.batches,
        measure,
        target=target,
        join=_of_all_targets,
        steps=STEPS,
        budget_bytes=budget_bytes,
    )
    activation, found = in_order(lm, len(probes), batches)
    _check_measured(lm, rows, found)
    return activation, found


def _of_all_targets(parts: Sequence[tuple[np.ndarray, Any]]) -> tuple[np.ndarray, Any]:
    """Activations, which groups of targets have in common, and scores [P, R, K] of all of them."""
    return parts[0][0], side_by_side([scores for _, scores in parts], axis=2)


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
    lm: LanguageModel, probes: Probes, rows: int, cost: Cost, budget_bytes: int
) -> RowPlan:
    """Groups of prompts, and the rows of a prompt in a chunk and in a buffer."""
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
    tokens = chunk_tokens()
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


def _run_rows(
    run: Run, passed: Pass, deltas: Shifted, site: Site, kernel: Kernel, plan: RowPlan
) -> Any:
    """A kernel's results [P, R, …] of rows in any order, `plan.buffer` of each prompt a call.

    `deltas` are shifts of the additive convention.
    """
    order = np.argsort(deltas.layer, axis=1, kind="stable")

    def arguments(plan: RowPlan, start: int = 0) -> tuple[Any, ...]:
        some = order[:, start : start + plan.buffer]
        fields = [np.take_along_axis(field, some, axis=1) for field in deltas]
        fill = ((0, 0), (0, plan.buffer - some.shape[1]))
        padding = (run.lm.config.layers, 0, 0)
        padded = [np.pad(f, fill, constant_values=v) for f, v in zip(fields, padding, strict=True)]
        return run.split, passed, Rows(*map(jnp.asarray, padded)), site, plan.chunk

    plan = run.largest_fitting(kernel.measure, plan.smaller(), arguments)
    parts = []
    for start in range(0, order.shape[1], plan.buffer):
        found = run(kernel.measure, *arguments(plan, start))
        used = order.shape[1] - start
        parts.append(jax.tree.map(lambda x, used=used: np.asarray(x)[:, :used], found))
    at = np.arange(len(order))[:, None], np.argsort(order, axis=1)
    return jax.tree.map(lambda *x: np.concatenate(x, 1)[at], *parts)


def _sweep(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    passed: Pass,
    rows: Rows,
    site: Site,
    chunk: int,
    *,
    spread: bool,
) -> Scores[jax.Array]:
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


def _jitted_sweep(*, spread: bool) -> Program:
    return jax.jit(functools.partial(_sweep, spread=spread), static_argnums=(0, 5, 6))


SWEEP = Kernel(_jitted_sweep(spread=False), Cost(sweep=True))
"""`Scores` of every row."""
SPREAD = Kernel(_jitted_sweep(spread=True), Cost(sweep=True))
"""The same, with the spread."""


def select_output(
    output: Output, log_probability: Float[np.ndarray, "*axes"], logit: Float[np.ndarray, "*axes"]
) -> Float[np.ndarray, "*axes"]:
    """One of the outputs, from those that interventions measure.

    Raises:
        ValueError: an unknown output.
    """
    one_of(output, "output", get_args(Output))
    return output_of(output, log_probability, logit)


def grid_rows(neurons: Int[np.ndarray, "B N 2"], shifts: Float[np.ndarray, "B N X"]) -> Shifted:
    """N · X rows: every neuron with each of its shifts."""
    b = len(neurons)
    layer, neuron = (np.repeat(neurons[..., i], shifts.shape[-1], axis=1) for i in (0, 1))
    return Shifted(layer, neuron, shifts.reshape(b, -1))


def with_baselines(rows: Shifted, layers: int) -> Shifted:
    """The rows, and after them one row a layer, [B, R + L], that enters there without a shift."""
    b = len(rows.layer)
    zeros = np.zeros((b, layers), np.int32)
    own = Shifted(np.tile(np.arange(layers, dtype=np.int32), (b, 1)), zeros, zeros)
    return Shifted(*(np.concatenate(pair, axis=1) for pair in zip(rows, own, strict=True)))
