"""Estimators with a row for every neuron of every prompt: ablation and log-probability increase."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from negjax.errors import Argument, ArgumentError
from negjax.execution.asked_outputs import DIFFERENCE, TARGET_OUTPUTS
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.interventions import (
    Shifted,
    intervene,
    measure_rows,
    with_baselines,
)
from negjax.execution.passes import activations
from negjax.execution.row_kernels import Kernel
from negjax.execution.row_plans import Cost
from negjax.inputs.neurons import all_neurons
from negjax.inputs.probes import Probes
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.process import bars
from negjax.replay.outputs import AnyOutput
from negjax.replay.readout import Scores
from negjax.replay.rows import Rows, read_writes
from negjax.replay.suffixes import Pass

# Prompts whose rows lie in memory together: 16 times 46,080 neurons are some 20 MB.
PROMPTS = 16

Measure = Callable[[Probes, Shifted], np.ndarray]
"""Of rows [B, R], values [B, R, O]."""


def ablations(
    lm: LanguageModel,
    probes: Probes,
    site: str | None = None,
    *,
    neurons: np.ndarray | None = None,
    output: AnyOutput = "probability",
    reference: Probes | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> np.ndarray:
    """Exact change [B, O, L, F] of the outputs with each neuron, alone, at 0 or at a mean.

    A sweep of every neuron, each with a shift of its own: value − a.

    Args:
        neurons: [B, N, 2], (layer, index) of some, whose changes are [B, O, N]. Default: all.
        reference: probes; a neuron is set to its mean activation at their read positions, not to 0.
    """
    chosen = lm.config.site(site)
    activation = activations(lm, probes, chosen, budget_bytes=budget_bytes)
    value = np.zeros(activation.shape[1:])
    if reference is not None:
        value = activations(lm, reference, chosen, budget_bytes=budget_bytes).mean(0, np.float64)
    shift = (value - activation).astype(activation.dtype)
    each = output in TARGET_OUTPUTS
    # Of the distribution that a prompt is read off, whichever target.
    target = None if each or output == DIFFERENCE else 0

    def measure(some: Probes, rows: Shifted) -> np.ndarray:
        found = intervene(
            lm,
            some,
            rows,
            "additive",
            chosen,
            output=output,
            target=target,
            each=each,
            budget_bytes=budget_bytes,
        )
        return found.value if each else found.value[..., None]

    if neurons is None:
        return _all_changes(lm, probes, shift, measure)
    rows = np.arange(len(probes))[:, None]
    own = Shifted(neurons[..., 0], neurons[..., 1], shift[rows, neurons[..., 0], neurons[..., 1]])
    return _changes(lm, probes, own, measure)


def log_probability_increases(
    lm: LanguageModel, probes: Probes, *, budget_bytes: int = DEFAULT_BUDGET_BYTES
) -> np.ndarray:
    """LPI [B, K, L, F]: log p(target | h + v) − log p(target | h), both read at once by the head.

    Source: Yu and Ananiadou, Neuron-Level Knowledge Attribution in Large Language Models, EMNLP
    2024 (arXiv 2312.12141). h is the residual that enters the neuron's feed-forward layer, at the
    read position, and v the neuron's own write: its activation at site `act` or `product` times its
    row of W_down, without the bias. So it is the same at every site. What is read is what leaves
    the block: where norms follow the sublayers (BERT), h + v and h go through that layer's norm.

    Raises:
        ValueError: targets of several tokens, of which one residual predicts only the first.
    """
    if probes.target_ids.shape[2] > 1:
        raise ArgumentError(
            'method "lpi" reads one residual, which predicts one token, but targets have up to '
            f'{probes.target_ids.shape[2]} (target_mode "{probes.target_mode}"); pass ',
            Argument("target_mode", "first"),
        )
    writing = lm.config.sites[-1]
    activation = activations(lm, probes, writing, budget_bytes=budget_bytes)
    kernel = Kernel(_read_writes, Cost(alone=True))

    def measure(some: Probes, rows: Shifted) -> np.ndarray:
        _, found = measure_rows(
            lm, some, rows, "additive", writing, kernel, target=None, budget_bytes=budget_bytes
        )
        result: np.ndarray = found.log_probability
        return result

    return _all_changes(lm, probes, activation, measure)


@functools.partial(jax.jit, static_argnums=(0, 5, 6))
def _read_writes(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    passed: Pass,
    rows: Rows,
    site: Site,
    chunk: int,
) -> Scores[jax.Array]:
    del site  # A neuron's write is one vector, whatever the site.
    model = nnx.merge(graphdef, params)
    return read_writes(
        model, split.suffix, passed.trace, rows, split.targets, split.real, chunk=chunk
    )


def _all_changes(
    lm: LanguageModel,
    probes: Probes,
    shift: np.ndarray,
    measure: Measure,
) -> np.ndarray:
    """Changes [B, O, L, F] by shifts [B, L, F], one neuron at a time."""
    c = lm.config
    result = np.empty(0)
    layer, neuron = all_neurons(c).T
    with bars.counted(len(probes) * (len(layer) + c.layers)):
        for start in range(0, len(probes), PROMPTS):
            flat = shift[start : start + PROMPTS].reshape(-1, c.layers * c.neurons)
            layers, neurons = (np.broadcast_to(number, flat.shape) for number in (layer, neuron))
            rows = Shifted(layers, neurons, flat)
            some = probes.select(range(start, start + len(flat)))
            found = _changes(lm, some, rows, measure)
            if not start:
                shape = (len(probes), found.shape[1], *shift.shape[1:])
                result = np.empty(shape, lm.compute_dtype)
            result[start : start + len(flat)] = found.reshape(len(flat), -1, c.layers, c.neurons)
    return result


def _changes(
    lm: LanguageModel,
    probes: Probes,
    rows: Shifted,
    measure: Measure,
) -> np.ndarray:
    """Changes [B, O, R] by each row alone, from its layer's baseline."""
    size = rows.shift.shape[1]
    values = measure(probes, with_baselines(rows, lm.config.layers)).swapaxes(1, 2)
    before = np.take_along_axis(values[..., size:], rows.layer[:, None], axis=2)
    result: np.ndarray = values[..., :size] - before
    return result
