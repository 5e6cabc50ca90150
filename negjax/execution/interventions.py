"""Exact interventions: the target's probability while neurons' activations are shifted."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from negjax.checks import flag
from negjax.errors import Argument, ArgumentError
from negjax.execution.asked_outputs import DIFFERENCE, asked_target, asked_value, whole_output
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.conventions import Convention, check_convention, sign
from negjax.execution.direction_rows import unperturbed_coefficients
from negjax.execution.finite import check_finite
from negjax.execution.passes import unperturbed_pass
from negjax.execution.row_kernels import SPREAD, SWEEP, Kernel, valued
from negjax.execution.row_plans import STEPS, RowPlan, plan_rows
from negjax.execution.running import (
    Run,
    in_order,
    out_of_memory,
    run_batches,
    say_smaller,
    side_by_side,
)
from negjax.inputs.probes import Probes, check_asked
from negjax.inputs.residual_directions import Directions
from negjax.model.config import ModelConfig, SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import is_shared, to_host
from negjax.replay.outputs import AnyOutput
from negjax.replay.readout import Spread
from negjax.replay.rows import Rows
from negjax.replay.suffixes import Pass, experts_at


class Shifted(NamedTuple):
    """R interventions of each of B prompts, one neuron each, in any order.

    Layer L leaves a row out: nothing is computed for it and its result means nothing.
    """

    layer: Int[np.ndarray, "B R"]
    neuron: Int[np.ndarray, "B R"]
    """Index within the layer; a direction's number."""
    shift: Float[np.ndarray, "B R"]
    """x of the convention."""


class _Deltas(NamedTuple):
    """`Rows` in NumPy, in any order."""

    layer: Int[np.ndarray, "P R"]
    neuron: Int[np.ndarray, "P R"]
    delta: Float[np.ndarray, "P R Q"]


class AtRead(NamedTuple):
    """Neurons of R rows of each of B prompts, unperturbed."""

    activation: Float[np.ndarray, "B R"]
    """At the neuron's position; of several, at the last. Of directions, their coefficient."""
    routed: Bool[np.ndarray, "B R"] | None
    """Whether a token there passes the neuron's expert; None in models without experts."""


class Measured(NamedTuple):
    """What `intervene` found, in the order of its rows."""

    at_read: AtRead
    log_probability: Float[np.ndarray, "B R *K"]
    logit: Float[np.ndarray, "B R *K"]
    value: Float[np.ndarray, "B R *K"]
    """Of the output that was asked for."""
    spread: Spread[np.ndarray] | None
    """Where it was asked for."""


def intervene(
    lm: LanguageModel,
    probes: Probes,
    rows: Shifted,
    convention: Convention,
    site: str | None,
    *,
    directions: Directions | None = None,
    output: AnyOutput = "probability",
    target: int | None = None,
    each: bool = False,
    spread: bool = False,
    reroute: bool = False,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Measured:
    """Measures the target's outputs under each row's intervention, and the spread if asked.

    Args:
        site: of the neurons; of directions their place.
        directions: that rows are of, instead of neurons.
        output: that is measured beside the target's log-probability and logit.
        each: of all targets, along an axis K, of an output that there is one of a target.
        reroute: above a shift, routers choose experts again.

    Raises:
        ValueError: bad convention, site or target; a budget that holds not even one prompt.
    """
    number = None if each else asked_target(probes, output, target)
    own = whole_output(output)
    spread = spread or output == "kl"
    kernel = SPREAD if spread else SWEEP
    kernel = kernel if own is None else valued(own, spread=spread)
    at_read, found = measure_rows(
        lm,
        probes,
        rows,
        convention,
        site,
        kernel,
        directions=directions,
        target=number,
        reroute=reroute,
        budget_bytes=budget_bytes,
    )
    scores, value = (found, None) if own is None else found
    log_probability, logit = scores.log_probability, scores.logit
    if output == DIFFERENCE:
        value = logit[..., :1] - logit[..., 1:]
    if not each:
        log_probability, logit = log_probability[..., 0], logit[..., 0]
        value = None if value is None else value[..., 0]
    kl = None if scores.spread is None else scores.spread.kl
    return Measured(
        at_read=at_read,
        log_probability=log_probability,
        logit=logit,
        value=asked_value(output, log_probability, logit, kl, value),
        spread=scores.spread,
    )


def measure_rows(
    lm: LanguageModel,
    probes: Probes,
    rows: Shifted,
    convention: Convention,
    site: str | None,
    kernel: Kernel,
    *,
    directions: Directions | None = None,
    target: int | None,
    reroute: bool = False,
    budget_bytes: int,
) -> tuple[AtRead, Any]:
    """Runs a kernel over all rows: the neurons as they are, and what the kernel returns.

    Args:
        kernel: its results [P, R, …] become [B, R, …], in the order of the rows.
        directions: that rows are of, instead of neurons.
        target: number of the target to measure; None: all of them, joint ones in turn.
        reroute: above a shift, routers choose experts again.

    Raises:
        ValueError: bad probes, convention or site; a budget that holds not even one prompt; an
            output that overflows.
    """
    check_asked(lm, probes)
    check_convention(convention)
    chosen = lm.config.site(site) if directions is None else directions.place
    vectors = None if directions is None else jnp.asarray(directions.vectors, lm.compute_dtype)
    plan = plan_rows(lm, probes, rows.layer.shape[1], kernel.cost, budget_bytes)

    def measure(run: Run) -> tuple[AtRead, Any]:
        padded = run.batch.padded
        passed = run(unperturbed_pass, run.split)
        some = Shifted(*(np.asarray(field[padded]) for field in rows))
        layer, prompt = np.minimum(some.layer, lm.config.layers - 1), np.arange(len(padded))
        # Where a prompt has fewer positions than others, nothing is shifted.
        there = (to_host(run.split.suffix.at) < run.split.suffix.tokens.shape[1])[:, None]
        if directions is not None:
            assert vectors is not None
            along = unperturbed_coefficients(run, passed, directions, vectors, some.neuron)
            deltas = _Deltas(
                # They enter below their layer; what is left out stays so.
                np.where(some.layer < lm.config.layers, some.layer - 1, some.layer),
                some.neuron,
                np.where(there, some.shift[..., None], 0),
            )
            passed = passed.rerouted() if reroute else passed
            found = _run_rows(run, passed, deltas, chosen, kernel, plan, vectors)
            return AtRead(along, None), found
        inner = to_host(passed.trace.at_positions[chosen])
        each = inner[layer, prompt[:, None], :, some.neuron]  # [P, R, Q]
        chosen_experts = experts_at(passed.trace, run.split.suffix)
        routed = None
        if chosen_experts is not None:
            own = to_host(chosen_experts)[prompt[:, None], layer]
            experts = (some.neuron // lm.config.expert_neurons)[..., None, None]
            routed = ((own == experts).any(-1) & there).any(-1)
        factor = sign(each) if convention == "signed" else np.ones_like(each)
        delta = some.shift[..., None] * np.where(there, factor, 0)
        deltas = _Deltas(some.layer, some.neuron, delta)
        if reroute:
            passed = passed.rerouted()
        found = _run_rows(run, passed, deltas, chosen, kernel, plan)
        return AtRead(each[..., -1], routed), found

    batches = run_batches(
        lm,
        probes,
        plan.batches,
        measure,
        target=target,
        join=_of_all_targets,
        steps=STEPS,
        rows_each=rows.layer.shape[1],
        budget_bytes=budget_bytes,
    )
    at_read, found = in_order(lm, len(probes), batches)
    _check_measured(lm, rows, found, "neuron" if directions is None else "direction")
    return at_read, found


def _of_all_targets(parts: Sequence[tuple[AtRead, Any]]) -> tuple[AtRead, Any]:
    """Neurons as they are, for all groups of targets, and scores [P, R, K] of all of these."""
    return parts[0][0], side_by_side([scores for _, scores in parts], axis=2)


def _check_measured(lm: LanguageModel, rows: Shifted, found: Any, kind: str) -> None:
    """Refuses outputs that are not finite; those of rows that were left out mean nothing."""
    left_out = rows.layer >= lm.config.layers
    for leaf in jax.tree.leaves(found):
        wrong = ~np.isfinite(leaf.reshape(*left_out.shape, -1)).all(-1) & ~left_out
        if wrong.any():
            prompt, row = np.argwhere(wrong)[0]
            layer, neuron, shift = (field[prompt, row] for field in rows)
            what = f"an output under a shift of {shift:g} at {kind} (layer {layer}, index {neuron})"
            check_finite(lm, what, leaf[prompt, row][None], np.asarray([prompt]))


def _run_rows(
    run: Run,
    passed: Pass,
    deltas: _Deltas,
    site: SiteOrPlace,
    kernel: Kernel,
    plan: RowPlan,
    vectors: jax.Array | None = None,
) -> Any:
    """A kernel's results [P, R, …] of rows in any order, `plan.buffer` of each prompt a call."""
    order = np.argsort(deltas.layer, axis=1, kind="stable")

    def arguments(plan: RowPlan, start: int = 0) -> tuple[Any, ...]:
        some = order[:, start : start + plan.buffer]
        fill = ((0, 0), (0, plan.buffer - some.shape[1]))

        def padded(field: np.ndarray, value: int = 0) -> jax.Array:
            return jnp.asarray(
                np.pad(np.take_along_axis(field, some, axis=1), fill, constant_values=value)
            )

        rows = Rows(
            layer=padded(deltas.layer, run.lm.config.layers),
            neuron=padded(deltas.neuron),
            delta=jnp.stack(list(map(padded, np.moveaxis(deltas.delta, -1, 0))), axis=-1),
            vectors=vectors,
        )
        return run.split, passed, rows, site, plan.chunk

    def parts(plan: RowPlan) -> list[Any]:
        found = []
        for start in range(0, order.shape[1], plan.buffer):
            part, used = run(kernel.measure, *arguments(plan, start)), order.shape[1] - start
            found.append(jax.tree.map(lambda x, used=used: to_host(x)[:, :used], part))
            run.reached(min(1, (start + plan.buffer) / order.shape[1]))
        return found

    plan = run.largest_fitting(kernel.measure, plan.smaller(), arguments)
    # Other processes of a mesh would not know that this one begins again.
    found = parts(plan) if is_shared(run.lm.mesh) else _in_smaller_parts(parts, plan)
    at = np.arange(len(order))[:, None], np.argsort(order, axis=1)
    return jax.tree.map(lambda *x: np.concatenate(x, 1)[at], *found)


def _in_smaller_parts(parts: Callable[[RowPlan], list[Any]], plan: RowPlan) -> list[Any]:
    """Parts by this plan, or by the first smaller one for which memory suffices."""
    while True:
        try:
            return parts(plan)
        except (MemoryError, RuntimeError) as error:
            smaller = next(itertools.islice(plan.smaller(), 1, None), None)
            if smaller is None or not out_of_memory(error):
                raise
            say_smaller()
            plan = smaller


def check_reroute(config: ModelConfig, reroute: bool) -> None:
    """Refuses routers that are to choose again where there are none.

    Raises:
        ValueError: the model has no experts, or `reroute` is not true or false.
    """
    if flag(reroute, "reroute") and not config.experts:
        raise ArgumentError(
            Argument("reroute", True),
            f": models of family {config.family!r} have no experts; leave it out",
        )


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
