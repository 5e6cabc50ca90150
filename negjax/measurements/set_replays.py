"""Sets of shifts through a model: what is replayed together, and what is measured of it."""

import functools
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Shaped

from negjax.checks import finite_in
from negjax.errors import Argument, ArgumentError
from negjax.execution import batching
from negjax.execution.asked_outputs import DIFFERENCE
from negjax.execution.batching import Split, smaller_buckets
from negjax.execution.conventions import Convention
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import Planned, fitting, longest_first, sizes_of
from negjax.execution.row_plans import STEPS, chunk_tokens
from negjax.execution.running import Run, in_order, run_batches
from negjax.inputs.directed import refuse_signs, refuse_site
from negjax.inputs.neurons import NeuronSets, dense_sets
from negjax.inputs.probes import Probes
from negjax.inputs.residual_directions import check_directions
from negjax.model.config import SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.replay.joint_rows import Entries, replay_sets
from negjax.replay.outputs import WholeOutput, read_values
from negjax.replay.readout import Spread, read_rows
from negjax.replay.suffixes import Pass

How = Literal["signed", "additive", "clamp"]


class Both(NamedTuple):
    """With the shifts and without, [B, R] each."""

    after: Shaped[np.ndarray, "B R"]
    before: Shaped[np.ndarray, "B R"]


class Measured(NamedTuple):
    """Outputs of sets; what was not asked for is None."""

    log_probability: Both
    logit: Both
    kl: Both | None
    entropy: Both | None
    top_token: Both | None
    value: Both | None
    """Of an output that is made of a whole distribution."""


def measured_sets(
    lm: LanguageModel,
    probes: Probes,
    sets: NeuronSets,
    how: How,
    site: SiteOrPlace,
    *,
    target: int | None,
    spread: bool,
    reroute: bool,
    output: WholeOutput | Literal["logit_difference"] | None,
    budget_bytes: int,
) -> Measured:
    """Replays sets, as many at once as the budget holds; arguments are those of `joint`."""
    values = sets.levels if how == "clamp" else sets.values
    plan = plan_sets(lm, probes, len(sets), budget_bytes, _set_numbers(lm, sets))
    along = sets.directions
    vectors = None if along is None else jnp.asarray(along.vectors, lm.compute_dtype)
    calls = functools.cache(lambda most: _calls(sets, values, most))

    def replay(run: Run) -> list[np.ndarray]:
        """Of every output, with the shifts and without, [P, 2, R]."""
        passed = run(unperturbed_pass, run.split)
        passed = passed.rerouted() if reroute else passed

        def arguments(call: _Call) -> tuple[Any, ...]:
            entries = call.entries._replace(vectors=vectors), call.lowest, call.rows
            return run.split, passed, *entries, site, how, spread, output

        def largest(most: int) -> _Call:
            return max(calls(most), key=lambda call: call.rows)

        most = run.largest_fitting(_replay, plan.smaller(), lambda most: arguments(largest(most)))
        found: list[np.ndarray] = []
        done = 0
        for call in calls(most):
            leaves = [to_host(leaf) for leaf in jax.tree.leaves(run(_replay, *arguments(call)))]
            shape = (len(leaves[0]), 2, len(sets))
            found = found or [np.empty(shape, leaf.dtype) for leaf in leaves]
            for field, leaf in zip(found, leaves, strict=True):
                # Row 0 of every call is the prompt without a shift.
                field[:, 0, call.sets] = leaf[:, 1 : 1 + len(call.sets)]
                field[:, 1, call.sets] = leaf[:, :1]
            done += len(call.sets)
            run.reached(done / len(sets))
        return found

    batches = run_batches(
        lm,
        probes,
        plan.batches,
        replay,
        target=target,
        steps=STEPS,
        rows_each=len(sets),
        budget_bytes=budget_bytes,
    )
    what = "an output under a set of shifts"
    leaves = in_order(lm, len(probes), batches, [what] * 6)
    both = iter([Both(*field.swapaxes(0, 1)) for field in leaves])
    return Measured(
        log_probability=next(both),
        logit=next(both),
        kl=next(both) if spread else None,
        entropy=next(both) if spread else None,
        top_token=next(both) if spread else None,
        value=None if output is None else next(both),
    )


class _Call(NamedTuple):
    """Sets that are replayed at once, after a row without any."""

    sets: np.ndarray
    """Their numbers."""
    entries: Entries
    lowest: np.int32
    rows: int
    """1 and the sets, and some that only fill up."""


def checked_sets(lm: LanguageModel, sets: NeuronSets | np.ndarray, clamp: bool) -> NeuronSets:
    """The sets, or those that dense shifts [R, L, F] are.

    Raises:
        ValueError: sets of another model, dense shifts or different values to clamp to.
    """
    if not isinstance(sets, NeuronSets | np.ndarray):
        raise ValueError(
            f"sets are a {type(sets).__name__}, expected an array of shifts [R, L, F] or "
            "neuron_sets(lm.config, [(neurons, shift), …])"
        )
    if not isinstance(sets, NeuronSets):
        if clamp:
            raise ValueError(
                "sets: an array [R, L, F] names shifts; to clamp, pass neuron_sets(...)"
            )
        try:
            sets = dense_sets(lm.config, sets)
        except ValueError as error:
            raise ValueError(f"sets: {error}") from None
    if sets.directions is not None:
        check_directions(lm, sets.directions, "sets")
        if clamp:
            raise ArgumentError(
                Argument("clamp", True),
                " sets activations of neurons, and directions have none; leave it out",
            )
        finite_in(sets.values, "sets", lm.compute_dtype)
        return sets
    shape = (lm.config.layers, lm.config.neurons)
    if sets.model_shape != shape:
        raise ValueError(
            f"the sets are of a model with {sets.model_shape[0]} layers of "
            f"{sets.model_shape[1]} neurons, {lm.name} has {shape[0]} of {shape[1]}; make them "
            "with its config"
        )
    finite_in(sets.values, "sets", lm.compute_dtype)
    several = np.argwhere(np.isnan(sets.levels))
    if clamp and len(several):
        row, column = several[0]
        layer, index = sets.neurons[row, column]
        raise ValueError(
            f"set {row} names neuron (layer {layer}, index {index}) with different values, and an "
            "activation is clamped to one; name it once"
        )
    return sets


def set_site(
    lm: LanguageModel, sets: NeuronSets, site: str | None, convention: Convention
) -> SiteOrPlace:
    """Where checked sets are shifted.

    Raises:
        ValueError: an unknown site; a site or the `signed` convention beside directions.
    """
    if sets.directions is None:
        return lm.config.site(site)
    refuse_site(site)
    refuse_signs(convention)
    return sets.directions.place


def _set_numbers(lm: LanguageModel, sets: NeuronSets) -> int:
    """Of a row's shifts, in all layers."""
    if sets.directions is None:
        return lm.config.layers * lm.config.neurons
    # Beside the writes, each member's vector.
    return (lm.config.layers + int(sets.neurons.shape[1])) * lm.config.width


class SetPlan(NamedTuple):
    """How sets are gone through."""

    batches: list[Planned]
    most: int
    """Rows of a prompt in one call, at least 2."""

    def smaller(self) -> Iterator[int]:
        """Rows of a prompt, and fewer of them."""
        return (rows for rows in smaller_buckets(self.most) if rows > 1)


def plan_sets(
    lm: LanguageModel, probes: Probes, sets: int, budget_bytes: int, numbers: int | None = None
) -> SetPlan:
    """Prompts together, and rows of each in one call: a set each, and one without a shift.

    Args:
        numbers: of a row's shifts; None: one a neuron.
    """
    numbers = lm.config.layers * lm.config.neurons if numbers is None else numbers
    sizes = sizes_of(lm, probes, steps=STEPS)
    wanted = batching.bucket_count(sets + 1)
    tokens = chunk_tokens()
    together = min(len(probes), max(1, tokens // (wanted * sizes.suffix)))
    # Half for the prefixes, a quarter for the rows, a quarter for their shifts.
    group = fitting(
        budget_bytes, 2 * sizes.prefix_bytes, together, f"one prompt of {sizes.length} tokens"
    )
    two_rows = 2 * 4 * sizes.active_row_bytes
    group = batching.largest_bucket(fitting(budget_bytes, two_rows, group, "two rows"))
    pairs = fitting(budget_bytes, two_rows * group, tokens, "two rows")
    shifts = 2 * 4 * 3 * sizes.itemsize * numbers
    pairs = fitting(budget_bytes, shifts, pairs, "the shifts of two rows")
    most = min(2 * pairs, max(2, tokens // (group * sizes.suffix)), wanted)
    most = batching.largest_bucket(most)
    order = longest_first(probes)
    groups = [order[i : i + group] for i in range(0, len(order), group)]
    filled = [batching.bucket_count(len(some)) for some in groups]
    taken = sizes.prefix_bytes + most * sizes.active_row_bytes
    batches = [
        Planned(members=some, rows=n, estimate=n * taken + most * shifts // 8)
        for some, n in zip(groups, filled, strict=True)
    ]
    return SetPlan(batches, most)


def _calls(sets: NeuronSets, values: np.ndarray, most: int) -> list[_Call]:
    """The sets, with values [R, n], by their lowest layer: those of high layers skip the others."""
    layers = sets.model_shape[0]
    order = np.argsort(sets.neurons[..., 0].min(1, initial=layers), kind="stable")
    calls = []
    for start in range(0, len(order), most - 1):
        some = order[start : start + most - 1]
        neurons = sets.neurons[some]
        row, column = np.nonzero(sets.used[some])
        layer, index = neurons[row, column].T
        entries = (layer, row + 1, index, values[some][row, column])
        fill = batching.bucket(len(row), steps=2) - len(row)
        padded = [
            np.pad(field, (0, fill), constant_values=value)
            for field, value in zip(entries, (layers, 0, 0, 0), strict=True)
        ]
        layer_of, row_of, index_of = (jnp.asarray(field, jnp.int32) for field in padded[:3])
        lowest = min(int(layer.min(initial=layers)), layers - 1)
        rows = batching.bucket_count(len(some) + 1)
        held = Entries(layer=layer_of, row=row_of, neuron=index_of, value=jnp.asarray(padded[3]))
        calls.append(_Call(sets=some, entries=held, lowest=np.int32(lowest), rows=rows))
    return calls


@functools.partial(jax.jit, static_argnums=(0, 6, 7, 8, 9, 10))
def _replay(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    passed: Pass,
    entries: Entries,
    lowest: jax.Array,
    rows: int,
    site: SiteOrPlace,
    how: How,
    spread: bool,
    output: WholeOutput | Literal["logit_difference"] | None,
) -> tuple[jax.Array, jax.Array, Spread[jax.Array] | None, jax.Array | None]:
    model = nnx.merge(graphdef, params)
    resid = replay_sets(
        model,
        passed.prefix,
        split.suffix,
        passed.trace,
        entries,
        lowest,
        split.targets.shape[2],
        rows=rows,
        site=site,
        signed=how == "signed",
        clamp=how == "clamp",
    )
    asked = split.targets, split.real, 1, rows
    # Row 0 is the prompt without a shift; targets are predicted from the read position on.
    scores = read_rows(model, resid, *asked, resid[:, 0, 0] if spread else None)
    value = None
    if output == DIFFERENCE:
        value = scores.logit[..., 0] - scores.logit[..., 1]
    elif output is not None:
        value = read_values(model, resid, *asked, output)[..., 0]
    return scores.log_probability[..., 0], scores.logit[..., 0], scores.spread, value
