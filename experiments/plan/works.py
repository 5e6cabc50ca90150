"""The works that are planned, as the steps that negjax runs of them: programs, shapes, how often.

Batches, chunks and buffers are those that the library's own planners choose. Prompts are alike, and
neurons lie evenly over the layers, so that a few steps stand for all.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.plan.models import probes_of
from negjax import mceval8k
from negjax.execution import batching, row_plans
from negjax.execution.common_heads import HeadGroup, padded_head
from negjax.execution.passes import ACCELERATOR_PASS_TOKENS, unperturbed_pass
from negjax.execution.row_kernels import SWEEP
from negjax.execution.running import Program
from negjax.measurements.gradient_plans import ACCELERATOR_FEW_TOKENS, FEW_STEPS, gradient_plan
from negjax.measurements.gradient_runs import gradient_program
from negjax.measurements.rounding import NOISE_NEURONS, NOISE_STEPS
from negjax.model.attention import KeysValues
from negjax.model.language_model import LanguageModel
from negjax.replay.readout import VOCAB_BLOCK
from negjax.replay.rows import Rows
from negjax.replay.suffixes import CommonHead

TOGETHER = 2
"""Layers of a call of `negjax.neg`, as in `experiments.neg_map`."""
GROUPS = 5
"""Such calls that are counted; those between them are interpolated."""
PUBLISHED = 8000
"""Prompts of a task of MCEval8K as published: 6,000 + 1,000 + 1,000."""
FEWER = {"stereoset": 4229}
"""Where a task has fewer."""


class Tokens(NamedTuple):
    """Tokens computed at once, where they are not those of the device at hand."""

    few: int | None = None
    gradient: int | None = None
    rows: int | None = None


AT_HAND = Tokens()
ACCELERATOR = Tokens(
    few=ACCELERATOR_FEW_TOKENS,
    gradient=ACCELERATOR_PASS_TOKENS,
    rows=row_plans.ACCELERATOR_CHUNK_TOKENS,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A program for arguments of some shapes."""

    program: Program
    arguments: tuple[Any, ...]
    """After graphdef and params; arrays where values decide what runs, else shapes."""
    static: tuple[int, ...] = ()
    """Which of them are static."""
    times: float
    token_layers: float
    """Tokens times layers that they pass, forwards or backwards: those of a call."""
    vectors: float
    """Of width D that a call sums over the vocabulary or over neurons, outside of layers."""
    passes: float
    """Of a call over the weights of all layers."""
    rows: int = 0
    """That read the vocabulary: of a sweep."""

    @property
    def arrays(self) -> tuple[Any, ...]:
        """Arguments that are not static."""
        return tuple(x for n, x in enumerate(self.arguments) if n not in self.static)

    def repeated(self, times: float) -> "Step":
        """The same, so many times as often."""
        return dataclasses.replace(self, times=self.times * times)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """Something to plan."""

    name: str
    steps: Sequence[Step]


def shapes(tree: Any) -> Any:
    """Shapes of arrays, in their place."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def neurgrad(
    lm: LanguageModel,
    prompts: int,
    tokens: int,
    budget_bytes: int,
    at_once: Tokens = AT_HAND,
    *,
    targets: int = 1,
    shared: int = 0,
    few_shapes: bool = False,
    lowest: int | None = None,
) -> list[Step]:
    """Steps of `negjax.neurgrad`, or of features with `few_shapes`.

    Args:
        tokens: of a prompt; shared: the first of them that all prompts have in common.
        targets: K.
        lowest: layer of which gradients are asked for, in derivatives of some neurons.
    """
    bottom = None if lowest is None else np.asarray(lowest, np.int32)
    pulled = lm.config.layers - (lowest or 0)
    config = lm.config
    probes = probes_of(config, prompts, tokens, targets, shared)
    group = HeadGroup(np.arange(prompts), shared)
    most = at_once.few if few_shapes else at_once.gradient
    plan = gradient_plan(lm, probes, group, budget_bytes, few_shapes=few_shapes, tokens=most)
    head = _common_head(lm, padded_head(shared)) if shared else None
    steps = []
    for (rows, packed), times in Counter((batch.rows, batch.packed) for batch in plan).items():
        split = batching.split_probes(
            config,
            probes,
            np.resize(np.arange(prompts), rows),
            steps=FEW_STEPS if few_shapes else batching.STEPS,
            head=shared,
            pack=packed or not few_shapes,
        )
        suffix = split.suffix.tokens.size
        own = suffix + (0 if split.prefix_tokens is None else split.prefix_tokens.size)
        own = own if split.packing is None else split.packing.place.size
        backward = suffix * targets
        steps.append(
            Step(
                program=gradient_program,
                arguments=(
                    *(shapes(split), config.site(None), "probability"),
                    *(False, head, None, bottom),
                ),
                static=(1, 2, 3, 5),
                times=times,
                token_layers=own * config.layers + backward * pulled,
                vectors=own + rows * targets,
                passes=1 + pulled / config.layers,
            )
        )
    return steps


def _common_head(lm: LanguageModel, tokens: int) -> CommonHead:
    c = lm.config
    kept: Any = jax.ShapeDtypeStruct((c.layers, c.kv_heads, tokens, c.head_width), lm.compute_dtype)
    mask: Any = jax.ShapeDtypeStruct((tokens,), np.bool_)
    return CommonHead(KeysValues(kept, kept), mask)


def sweep(
    lm: LanguageModel,
    prompts: int,
    tokens: int,
    layers: np.ndarray,
    budget_bytes: int,
    at_once: Tokens = AT_HAND,
) -> list[Step]:
    """Steps of rows under interventions, the same of every prompt.

    Args:
        layers: [R], of the rows' neurons; after them comes a baseline of every layer, as in
            `negjax.sweep`.
    """
    config = lm.config
    probes = probes_of(config, prompts, tokens)
    every = np.sort(np.concatenate([layers, np.arange(config.layers)])).astype(np.int32)
    plan = row_plans.plan_rows(
        lm, probes, len(every), SWEEP.cost, budget_bytes, tokens=at_once.rows
    )
    steps = []
    for count, times in Counter(batch.rows for batch in plan.batches).items():
        index = np.resize(np.arange(prompts), count)
        split = shapes(batching.split_probes(config, probes, index, steps=row_plans.STEPS))
        with lm.numerics():
            passed = shapes(unperturbed_pass.trace(lm.graphdef, lm.params, split).out_info)
        own = split.suffix.tokens.size
        own += 0 if split.prefix_tokens is None else split.prefix_tokens.size
        steps.append(
            Step(
                program=unperturbed_pass,
                arguments=(split,),
                times=times,
                token_layers=own * config.layers,
                vectors=own,
                passes=1,
            )
        )
        for start in range(0, len(every), plan.buffer):
            some = every[start : start + plan.buffer]
            fill = np.full(plan.buffer - len(some), config.layers, np.int32)
            layer = np.tile(np.concatenate([some, fill]), (count, 1))
            above = config.layers - 1 - some
            steps.append(
                Step(
                    program=SWEEP.measure,
                    arguments=(split, passed, _rows(layer), config.site(None), plan.chunk),
                    static=(3, 4),
                    times=times,
                    token_layers=float(above.sum()) * split.suffix.tokens.size,
                    vectors=len(some) * count,
                    passes=float(above[0]) / config.layers,
                    rows=len(some) * count,
                )
            )
    return steps


def _rows(layer: Any) -> Rows:
    """Rows of which the layers [P, R] are known, and nothing else."""
    neuron: Any = jax.ShapeDtypeStruct(layer.shape, np.int32)
    delta: Any = jax.ShapeDtypeStruct((*layer.shape, 1), np.float32)
    return Rows(layer=layer, neuron=neuron, delta=delta)


def spread_evenly(config_layers: int, neurons: int, shifts: int) -> np.ndarray:
    """Layers of the rows of neurons that lie evenly over all layers, each with its shifts."""
    return np.repeat(np.arange(neurons) * config_layers // neurons, shifts)


def noise_layers(config_layers: int) -> np.ndarray:
    """Layers of the rows that measure the rounding noise of a prompt."""
    return np.repeat(
        np.linspace(0, config_layers - 1, NOISE_NEURONS).round().astype(int), len(NOISE_STEPS)
    )


def neg_of_layers(
    lm: LanguageModel,
    tokens: int,
    layers: Sequence[int],
    neurons: int,
    budget_bytes: int,
    at_once: Tokens = AT_HAND,
) -> list[Step]:
    """Steps of `negjax.neg` of one prompt, of so many neurons of each of some layers, one pair of
    shifts each."""
    rows = np.concatenate([np.repeat(list(layers), 2 * neurons), noise_layers(lm.config.layers)])
    return [
        *sweep(lm, 1, tokens, rows, budget_bytes, at_once),
        *neurgrad(lm, 1, tokens, budget_bytes, at_once, lowest=min(layers)),
    ]


def neg_of_all(
    lm: LanguageModel, tokens: int, neurons: int, budget_bytes: int, at_once: Tokens = AT_HAND
) -> list[Step]:
    """Steps of the map of one prompt: `negjax.neg` for every two layers."""
    groups = [
        range(first, min(first + TOGETHER, lm.config.layers))
        for first in range(0, lm.config.layers, TOGETHER)
    ]
    chosen = np.unique(np.linspace(0, len(groups) - 1, GROUPS).round().astype(int))
    # What a group takes falls evenly with its layer, so that those between are interpolated.
    weights = np.asarray(
        [np.interp(np.arange(len(groups)), chosen, unit).sum() for unit in np.eye(len(chosen))]
    )
    return [
        step.repeated(float(weight))
        for number, weight in zip(chosen, weights, strict=True)
        for step in neg_of_layers(lm, tokens, groups[number], neurons, budget_bytes, at_once)
    ]


def features_of_mceval8k(
    lm: LanguageModel,
    tokens: int,
    shared: int,
    devices: int,
    budget_bytes: int,
    at_once: Tokens = AT_HAND,
) -> list[Step]:
    """Steps of the gradients of all labels for all prompts of the benchmark's tasks.

    Args:
        devices: among which the prompts are divided.
    """
    shared = shared if lm.config.causal else 0
    counts: Counter[tuple[int, int]] = Counter()
    for name, spec in mceval8k.TASKS.items():
        counts[len(spec.labels), FEWER.get(name, PUBLISHED)] += 1
    steps = []
    for (labels, prompts), tasks in counts.items():
        each = neurgrad(
            lm,
            -(-prompts // devices),
            tokens,
            budget_bytes,
            at_once,
            targets=labels,
            shared=shared,
            few_shapes=True,
        )
        steps += [step.repeated(tasks) for step in each]
    return steps


def vocabulary_blocks(vocabulary: int) -> int:
    """In which rows read the vocabulary."""
    return -(-vocabulary // VOCAB_BLOCK)
