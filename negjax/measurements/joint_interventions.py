"""Many neurons at once: exact outputs under sets of shifts, in one layer or in several.

A set's neurons are shifted in one replay. What that means for neurons in several layers: a shift
below changes the activations above it, and a shift above adds to whatever its activation has become
by then; the sign s(a) of the `signed` convention stays that of the unperturbed activation. Clamped,
activations are set to values instead, whatever the layers below did to them.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from negjax.checks import finite_in, flag
from negjax.execution import batching
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split, smaller_buckets
from negjax.execution.conventions import Convention, check_convention
from negjax.execution.interventions import check_reroute
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import Planned, fitting, longest_first, sizes_of
from negjax.execution.row_plans import STEPS, chunk_tokens
from negjax.execution.running import Run, in_order, run_batches
from negjax.inputs.neurons import NeuronSets, dense_sets
from negjax.inputs.probes import Probes, check_asked, check_target
from negjax.measurements.shifted_outputs import ShiftedOutputs
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.records import readable
from negjax.replay.joint_rows import Entries, replay_sets
from negjax.replay.readout import Spread
from negjax.replay.suffixes import Pass

How = Literal["signed", "additive", "clamp"]


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Joint(ShiftedOutputs):
    """Outputs under R sets of shifts, of B prompts.

    The spread, where it was asked for, is that of the next token over the whole vocabulary, at the
    read position; of several-token targets too.
    """

    site: Site
    convention: Convention
    clamp: bool
    """True: activations were set to the sets' values, and the convention means nothing."""
    sets: NeuronSets
    log_probability: Float[np.ndarray, "B R"]
    logit: Float[np.ndarray, "B R"]
    baseline_log_probability: Float[np.ndarray, "B R"]
    """Without a shift, computed beside the set's row."""
    baseline_logit: Float[np.ndarray, "B R"]
    kl: Float[np.ndarray, "B R"] | None = None
    """KL(P₀‖P) in nats of the unperturbed distribution P₀ from the shifted P: what the
    unperturbed model's own tokens lose in log-probability, on average."""
    entropy: Float[np.ndarray, "B R"] | None = None
    """Of P, in nats."""
    top_token: Int[np.ndarray, "B R"] | None = None
    """Token id of highest probability."""
    baseline_entropy: Float[np.ndarray, " B"] | None = None
    """Without a shift."""
    baseline_top_token: Int[np.ndarray, " B"] | None = None
    reroute: bool = False
    """Whether routers chose again under the shifts."""


def joint(
    lm: LanguageModel,
    probes: Probes,
    sets: NeuronSets | np.ndarray,
    convention: Convention = "signed",
    site: str | None = None,
    *,
    clamp: bool = False,
    target: int | None = None,
    spread: bool = False,
    reroute: bool = False,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Joint:
    """Shifts all neurons of a set together, set by set, and measures the target's output exactly.

    Args:
        sets: R sets, made by `neuron_sets`; or shifts [R, L, F]. The same for all prompts.
        convention: `signed`: a → a + x·s(a), with s of the unperturbed activation; `additive`:
            a → a + x. In both, a is what the activation has become because of shifts below.
        site: `act`, `up` or `product`; None is the model's default.
        clamp: the values are what the activations are set to at the read position, whatever the
            layers below did; the convention plays no part. A neuron that a set names more than
            once counts once, and must have the same value each time.
        target: which of the K targets; may be left out if there is one.
        spread: also measure KL, entropy and top token of the next token's distribution.
        reroute: in layers above a set's lowest neuron, routers choose experts again under the
            shifts. Otherwise tokens keep the experts that they pass without, and neurons of others
            change nothing.
        budget_bytes: memory for one batch, besides the weights, the sets and the result.

    Returns:
        outputs and baselines, as numpy arrays.

    Raises:
        ValueError: sets of another model, dense shifts or different values of one neuron to clamp
            to, bad shifts, convention, site or target, by name; a budget that holds not even one
            prompt or two rows.
    """
    check_asked(lm, probes)
    check_convention(convention)
    flag(clamp, "clamp")
    flag(spread, "spread")
    check_reroute(lm.config, reroute)
    target, chosen = check_target(probes, target), lm.config.site(site)
    sets = _checked(lm, sets, clamp)
    how: How = "clamp" if clamp else convention
    plan = _plan(lm, probes, len(sets), budget_bytes)
    values = sets.levels if clamp else sets.values
    calls = functools.cache(lambda most: _calls(sets, values, most))

    def replay(run: Run) -> list[np.ndarray]:
        """Of every output, with the shifts and without, [P, 2, R]."""
        passed = run(unperturbed_pass, run.split)
        passed = passed.rerouted() if reroute else passed

        def arguments(call: _Call) -> tuple[Any, ...]:
            entries = call.entries, call.lowest, call.rows
            return run.split, passed, *entries, chosen, how, spread

        def largest(most: int) -> _Call:
            return max(calls(most), key=lambda call: call.rows)

        most = run.largest_fitting(_replay, plan.smaller(), lambda most: arguments(largest(most)))
        found: list[np.ndarray] = []
        for call in calls(most):
            leaves = [to_host(leaf) for leaf in jax.tree.leaves(run(_replay, *arguments(call)))]
            shape = (len(leaves[0]), 2, len(sets))
            found = found or [np.empty(shape, leaf.dtype) for leaf in leaves]
            for field, leaf in zip(found, leaves, strict=True):
                # Row 0 of every call is the prompt without a shift.
                field[:, 0, call.sets] = leaf[:, 1 : 1 + len(call.sets)]
                field[:, 1, call.sets] = leaf[:, :1]
        return found

    batches = run_batches(
        lm, probes, plan.batches, replay, target=target, steps=STEPS, budget_bytes=budget_bytes
    )
    what = "an output under a set of shifts"
    found = in_order(lm, len(probes), batches, [what] * 5)
    found = [field.swapaxes(0, 1) for field in found]
    (log_probability, before), (logit, logit_before), *more = found
    measured = Joint(
        site=chosen,
        convention=convention,
        clamp=clamp,
        reroute=reroute,
        sets=sets,
        log_probability=log_probability,
        logit=logit,
        baseline_log_probability=before,
        baseline_logit=logit_before,
    )
    if not spread:
        return measured
    (kl, _), (entropy, entropy_before), (top_token, top_before) = more
    return dataclasses.replace(
        measured,
        kl=kl,
        entropy=entropy,
        top_token=top_token,
        baseline_entropy=entropy_before[:, 0],
        baseline_top_token=top_before[:, 0],
    )


class _Call(NamedTuple):
    """Sets that are replayed at once, after a row without any."""

    sets: np.ndarray
    """Their numbers."""
    entries: Entries
    lowest: np.int32
    rows: int
    """1 and the sets, and some that only fill up."""


def _checked(lm: LanguageModel, sets: NeuronSets | np.ndarray, clamp: bool) -> NeuronSets:
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


class _Plan(NamedTuple):
    batches: list[Planned]
    most: int
    """Rows of a prompt in one call, at least 2."""

    def smaller(self) -> Iterator[int]:
        """Rows of a prompt, and fewer of them."""
        return (rows for rows in smaller_buckets(self.most) if rows > 1)


def _plan(lm: LanguageModel, probes: Probes, sets: int, budget_bytes: int) -> _Plan:
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
    shifts = 2 * 4 * 3 * sizes.itemsize * lm.config.layers * lm.config.neurons
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
    return _Plan(batches, most)


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


@functools.partial(jax.jit, static_argnums=(0, 6, 7, 8, 9))
def _replay(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    passed: Pass,
    entries: Entries,
    lowest: jax.Array,
    rows: int,
    site: Site,
    how: How,
    spread: bool,
) -> tuple[jax.Array, jax.Array, Spread[jax.Array] | None]:
    scores = replay_sets(
        nnx.merge(graphdef, params),
        passed.prefix,
        split.suffix,
        passed.trace,
        entries,
        lowest,
        split.targets,
        split.real,
        rows=rows,
        site=site,
        signed=how == "signed",
        clamp=how == "clamp",
        spread=spread,
    )
    return scores.log_probability[..., 0], scores.logit[..., 0], scores.spread
