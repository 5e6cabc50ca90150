"""Exact interventions: the target's probability while neurons' activations are shifted."""

import dataclasses
import functools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax import batching
from negjax.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.gradients import Output
from negjax.language_model import LanguageModel
from negjax.model.config import Site
from negjax.model.replay import Pass
from negjax.model.rows import Rows, sweep_rows
from negjax.neurons import check_neurons
from negjax.passes import run_split
from negjax.probes import Probes

Convention = Literal["signed", "additive"]

# Tokens computed at once: matrix products this tall run near the peak rate, and their intermediates
# still fit a last-level cache.
CHUNK_TOKENS = 512
# Tokens of work a call should hold, by taking several prompts together: fetching the layers'
# weights is then paid once for all of them.
CALL_TOKENS = 8192


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


def intervene(
    lm: LanguageModel,
    probes: Probes,
    rows: Shifted,
    convention: Convention,
    site: str | None,
    *,
    target: int | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Measured:
    """Measures the target's output under each row's intervention.

    Raises:
        ValueError: bad convention, site or target; a budget that holds not even one prompt.
    """
    if convention not in get_args(Convention):
        raise ValueError(f"convention is {convention!r}, expected one of {get_args(Convention)}")
    target, chosen = check_target(probes, target), lm.config.site(site)
    b, r = rows.layer.shape
    result = Measured(*np.empty((3, b, r), lm.compute_dtype))
    for index, chunk, buffer in _plan(lm, probes, r, budget_bytes):
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
        delta = np.where((activation > 0) | (convention == "additive"), some.shift, -some.shift)
        deltas = some._replace(shift=delta)
        found = _run(lm, split, passed, deltas, chosen, chunk=chunk, buffer=buffer)
        for field, values in zip(result, (activation, *found), strict=True):
            field[index] = values[: len(index)]
    return result


def _plan(
    lm: LanguageModel, probes: Probes, rows: int, budget_bytes: int
) -> list[tuple[np.ndarray, int, int]]:
    """Groups of prompts, and for each the rows of a prompt in a chunk and in a buffer."""
    lengths = probes.mask.sum(1)
    length = batching.bucket(int(lengths.max()), steps=2)
    suffix = probes.target_ids.shape[2] if lm.config.causal else length
    sizes = batching.Sizes(lm.config, length, 1, suffix, np.dtype(lm.compute_dtype).itemsize)
    together = min(len(probes), max(1, CALL_TOKENS // (rows * suffix)))
    # Half for the prefixes, a quarter for the rows being computed, a quarter for those that wait.
    group = batching.fitting(
        budget_bytes, 2 * sizes.prefix_bytes, together, f"one prompt of {length} tokens"
    )
    row_bytes = 4 * sizes.active_row_bytes
    group = batching.largest_bucket(batching.fitting(budget_bytes, row_bytes, group, "one row"))
    fit = batching.fitting(budget_bytes, row_bytes * group, CHUNK_TOKENS, "one row")
    chunk = min(fit, max(1, CHUNK_TOKENS // (group * suffix)), rows)
    chunk = batching.largest_bucket(chunk)
    held = batching.fitting(
        budget_bytes, 4 * sizes.row_bytes * group * chunk, 2 * rows, "one chunk"
    )
    needed = batching.bucket_count(-(-rows // chunk))
    buffer = chunk * min(needed, batching.largest_bucket(held))
    order = np.argsort(-lengths, kind="stable")
    return [(order[i : i + group], chunk, buffer) for i in range(0, len(order), group)]


def _run(
    lm: LanguageModel,
    split: Split,
    passed: Pass,
    deltas: Shifted,
    site: Site,
    *,
    chunk: int,
    buffer: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability and logit [P, R] of rows in any order, `buffer` of each prompt a call.

    `deltas` are shifts of the additive convention.
    """
    order = np.argsort(deltas.layer, axis=1, kind="stable")
    p, r = order.shape
    log_probability, logit = np.empty((2, p, r), lm.compute_dtype)
    for start in range(0, r, buffer):
        some = order[:, start : start + buffer]
        fields = [np.take_along_axis(field, some, axis=1) for field in deltas]
        fill = ((0, 0), (0, buffer - some.shape[1]))
        padding = (lm.config.layers, 0, 0)
        padded = [np.pad(f, fill, constant_values=v) for f, v in zip(fields, padding, strict=True)]
        with lm.numerics():
            found = _sweep(
                lm.graphdef, lm.params, split, passed, Rows(*map(jnp.asarray, padded)), site, chunk
            )
        for out, values in zip((log_probability, logit), found, strict=True):
            np.put_along_axis(out, some, np.asarray(values)[:, : some.shape[1]], axis=1)
    return log_probability, logit


@functools.partial(jax.jit, static_argnums=(0, 5, 6))
def _sweep(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    split: Split,
    passed: Pass,
    rows: Rows,
    site: Site,
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    scores = sweep_rows(
        nnx.merge(graphdef, params),
        passed.prefix,
        split.suffix,
        passed.trace,
        rows,
        split.targets,
        split.real,
        site=site,
        chunk=chunk,
    )
    return scores[0][..., 0], scores[1][..., 0]


def check_target(probes: Probes, target: int | None) -> int:
    """The number of the target to measure.

    Raises:
        ValueError: there are several and none was named, or not so many.
    """
    if target is None and probes.target_count == 1:
        return 0
    if target is None or not 0 <= target < probes.target_count:
        raise ValueError(
            f"target is {target}, and each prompt has {probes.target_count}; "
            f"pass target=0 … {probes.target_count - 1}"
        )
    return target


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Outputs under N interventions with X shifts each, of B prompts."""

    site: Site
    convention: Convention
    neurons: np.ndarray
    """[B, N, 2], (layer, index)."""
    shifts: np.ndarray
    """[X], in units of the activation."""
    activation: np.ndarray
    """[B, N], unperturbed."""
    log_probability: np.ndarray
    """[B, N, X]."""
    logit: np.ndarray
    """[B, N, X]."""
    baseline_log_probability: np.ndarray
    """[B, N], without a shift, computed as the shifted rows of the neuron's layer are."""
    baseline_logit: np.ndarray
    """[B, N]."""

    @property
    def probability(self) -> np.ndarray:
        """[B, N, X]."""
        return np.exp(self.log_probability)

    @property
    def baseline(self) -> np.ndarray:
        """[B], probability without a shift."""
        return np.exp(self.baseline_log_probability[:, 0])

    def values(self, output: Output = "probability") -> np.ndarray:
        """[B, N, X], one of the outputs."""
        return select_output(output, self.log_probability, self.logit)

    def change(self, output: Output = "probability") -> np.ndarray:
        """[B, N, X], output with the shift minus output without.

        The baseline entered the network at the same layer and in the same batch as the shifted
        rows, so rounding that they share cancels.
        """
        before = select_output(output, self.baseline_log_probability, self.baseline_logit)
        return self.values(output) - before[..., None]


def select_output(output: Output, log_probability: np.ndarray, logit: np.ndarray) -> np.ndarray:
    """One of the outputs, from those that interventions measure.

    Raises:
        ValueError: an unknown output.
    """
    if output == "probability":
        return np.exp(log_probability)
    if output == "log_probability":
        return log_probability
    if output == "logit":
        return logit
    raise ValueError(f"output is {output!r}, expected one of {get_args(Output)}")


def sweep(
    lm: LanguageModel,
    probes: Probes,
    neurons: np.ndarray,
    shifts: np.ndarray,
    convention: Convention = "signed",
    site: str | None = None,
    *,
    target: int | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Sweep:
    """Shifts each neuron by each amount, one at a time, and measures the target's output exactly.

    Args:
        neurons: [N, 2], or [B, N, 2] for each prompt its own; (layer, index).
        shifts: [X], finite.
        convention: `signed`: a → a + x·s(a), x > 0 strengthens what the neuron does; `additive`:
            a → a + x.
        site: `act`, `up` or `product`; None is the model's default.
        target: which of the K targets; may be left out if there is one.
        budget_bytes: memory for one batch, besides the weights and the result.

    Returns:
        outputs [B, N, X] and baselines, as numpy arrays.

    Raises:
        ValueError: bad neurons, shifts, convention, site or target, by name.
    """
    shifts = np.asarray(shifts, lm.compute_dtype)
    if shifts.ndim != 1 or not shifts.size or not np.isfinite(shifts).all():
        raise ValueError(f"shifts are {shifts!r}, expected a list of finite numbers")
    neurons = check_neurons(lm.config, neurons, len(probes))
    rows = grid_rows(neurons, np.broadcast_to(shifts, (*neurons.shape[:2], shifts.size)))
    found = intervene(
        lm,
        probes,
        with_baselines(rows, lm.config.layers),
        convention,
        site,
        target=target,
        budget_bytes=budget_bytes,
    )
    b, n, _ = neurons.shape
    size = n * shifts.size

    def shifted(values: np.ndarray) -> np.ndarray:
        return values[:, :size].reshape(b, n, -1)

    def baseline(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values[:, size:], neurons[..., 0], axis=1)

    return Sweep(
        lm.config.site(site),
        convention,
        neurons,
        shifts,
        shifted(found.activation)[..., 0],
        shifted(found.log_probability),
        shifted(found.logit),
        baseline(found.log_probability),
        baseline(found.logit),
    )


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
