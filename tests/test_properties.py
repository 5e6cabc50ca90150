"""What a result must not depend on: padding, batches, chunks, buckets, order. In float32.

Tolerances are in units of the largest value; float32 rounds at 6e-8 of it.
"""

import dataclasses
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from negjax.execution import batching, row_plans
from negjax.execution.common_heads import HeadGroup
from negjax.execution.row_plans import Cost
from negjax.inputs.encoding import encode
from negjax.inputs.neurons import all_neurons
from negjax.inputs.probes import Probes
from negjax.measurements import gradient_plans
from negjax.measurements.chebyshev import response
from negjax.measurements.gradients import neurgrad
from negjax.measurements.sweeps import sweep
from negjax.measurements.token_effects import effects
from negjax.model.language_model import LanguageModel
from negjax.replay import readout, tails
from tests.support.block_shapes import (
    JOINT_TARGETS,
    SHAPES,
    VOCABULARY,
    error,
    one_neuron_a_layer,
    tiny,
    tiny_probes,
)

TOLERANCE = 2e-6
SHIFTS = np.asarray([-1.0, 2.0])

# Compiling takes its time, and the machine may be shared.
FEW = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])


def padded(probes: Probes, left: list[int], right: int, filler: int) -> Probes:
    """The probes with `left[b]` padding tokens before prompt b and at least `right` after it."""
    lengths = probes.mask.sum(1)
    total = int((lengths + left).max()) + right
    tokens = np.full((len(probes), total), filler, np.int32)
    mask = np.zeros((len(probes), total), bool)
    for b, (start, length) in enumerate(zip(left, lengths, strict=True)):
        tokens[b, start : start + length] = probes.tokens[b, probes.mask[b]]
        mask[b, start : start + length] = True
    read = (probes.read + np.asarray(left)).astype(np.int32)
    return dataclasses.replace(probes, tokens=tokens, mask=mask, read=read)


def results(lm: LanguageModel, probes: Probes, **options: Any) -> dict[str, np.ndarray]:
    """Everything that is measured, each with the prompts first."""
    neurons = one_neuron_a_layer(lm)
    gradient = neurgrad(lm, probes, **options)
    swept = sweep(lm, probes, neurons, SHIFTS, target=1, **options)
    curve = response(lm, probes, neurons, 2.0, 4, max_nodes=4, target=1, **options)
    return {
        "probability": gradient.probability,
        "activation": gradient.activation,
        "computed": gradient.computed,
        "logit": swept.logit,
        "log_probability": swept.log_probability,
        "baseline": swept.baseline,
        "coefficients": curve.coefficients,
        "effects": effects(lm, probes, neurons, **options),
    }


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert error(found[name], values) < TOLERANCE, name


def assert_among(
    found: dict[str, np.ndarray], whole: dict[str, np.ndarray], index: list[int]
) -> None:
    """The results of some prompts are those among all."""
    assert found.keys() == whole.keys()
    for name, values in whole.items():
        assert found[name].shape == values[index].shape, name
        assert np.abs(found[name] - values[index]).max() < TOLERANCE * np.abs(values).max(), name


def least_budget(lm: LanguageModel, probes: Probes) -> int:
    """In bytes, that everything can be measured with."""
    suffix = probes.target_ids.shape[2] if lm.config.causal else 8
    sizes = batching.Sizes(config=lm.config, length=8, targets=probes.target_count, suffix=suffix)
    return max(
        sizes.pull_back_bytes,
        2 * sizes.prefix_bytes,
        4 * sizes.active_row_bytes,
        sizes.prefix_bytes + sizes.effects_bytes,
    )


@pytest.mark.parametrize("shape", SHAPES)
@FEW
@given(
    left=st.lists(st.integers(0, 9), min_size=3, max_size=3),
    right=st.integers(0, 9),
    filler=st.integers(0, len(VOCABULARY) - 1),
)
def test_padding(shape, left, right, filler):
    """Left, right or both, much or little, and whatever stands in it."""
    lm, probes = tiny(shape), tiny_probes(tiny(shape))
    assert_same(results(lm, padded(probes, left, right, filler)), results(lm, probes))


@pytest.mark.parametrize(
    ("shape", "index"),
    [
        ("gated", [1]),
        ("gated", [2, 0]),
        ("gated", [1, 1, 2, 0]),
        ("gpt2", [0]),
        ("bert", [2]),
        ("bert", [1, 2, 0]),
    ],
)
def test_batches_of_prompts(shape, index):
    """Alone, in company, twice, in another order."""
    lm, probes = tiny(shape), tiny_probes(tiny(shape))
    assert_among(results(lm, probes.select(index)), results(lm, probes), index)


@pytest.mark.parametrize("length", [1, 4, 5, 9, 17])
def test_lengths_at_the_edges_of_buckets(length):
    """A prompt alone, and beside a longer one: other buckets, the same numbers."""
    lm = tiny("gated")
    words = [f"w{2 + (7 * i) % 21}" for i in range(32)]
    prompts = [" ".join(words[:length]), " ".join(words)]
    both = encode(lm, prompts, [("w3", "w5")] * 2)
    together, alone = results(lm, both), results(lm, both.select([0]))
    for name, values in together.items():
        assert np.abs(values[:1] - alone[name]).max() < TOLERANCE * np.abs(values).max(), name


@pytest.mark.parametrize("shape", ["gated", "bert"])
def test_budgets_and_chunks(shape, monkeypatch):
    lm, probes = tiny(shape), tiny_probes(tiny(shape))
    expected = results(lm, probes)
    rows = len(one_neuron_a_layer(lm)) * len(SHIFTS) + lm.config.layers
    plan = row_plans.plan_rows(lm, probes, rows, Cost(), batching.DEFAULT_BUDGET_BYTES)
    # So little that each prompt goes by itself.
    small = least_budget(lm, probes)
    tight = row_plans.plan_rows(lm, probes, rows, Cost(), small)
    assert len(plan.batches) == 1 < len(tight.batches) == 3
    assert len(gradient_plans.gradient_plan(lm, probes, HeadGroup(np.arange(3), 0), small)) == 3
    assert_same(results(lm, probes, budget_bytes=small), expected)
    monkeypatch.setattr(row_plans, "CHUNK_TOKENS", 16)
    monkeypatch.setattr(row_plans, "CALL_TOKENS", 1)
    tiny_chunks = row_plans.plan_rows(lm, probes, rows, Cost(), batching.DEFAULT_BUDGET_BYTES)
    assert len(tiny_chunks.batches) == 3 and tiny_chunks.chunk < 3 * plan.chunk
    assert_same(results(lm, probes), expected)


@pytest.mark.parametrize("mode", ["single", "all"])
@FEW
@given(
    index=st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),
    times=st.sampled_from([1, 2, 1000]),
    tokens=st.sampled_from([1, 6, 512]),
)
def test_prompts_budgets_and_chunks_together(mode, index, times, tokens):
    """Some of the prompts, in any order, with little memory or much, in chunks small or large."""
    lm = tiny("gated")
    probes = tiny_probes(lm, JOINT_TARGETS, "all") if mode == "all" else tiny_probes(lm)
    whole = results(lm, probes)
    budget = times * least_budget(lm, probes)
    with mock.patch.object(row_plans, "CHUNK_TOKENS", tokens):
        found = results(lm, probes.select(index), budget_bytes=budget)
    assert_among(found, whole, index)


def test_rows_in_several_buffers():
    """So many rows that a small budget holds them in turns: all of 60 neurons, five shifts."""
    lm, probes = tiny("gated"), tiny_probes(tiny("gated")).select([0])
    neurons, shifts = all_neurons(lm.config), np.linspace(-1, 2, 5)
    expected = sweep(lm, probes, neurons, shifts, target=0)
    sizes = batching.Sizes(config=lm.config, length=8, targets=1, suffix=1)
    budget = 4 * max(sizes.prefix_bytes, 6 * sizes.active_row_bytes)
    plan = row_plans.plan_rows(lm, probes, 303, Cost(), budget)
    assert plan.chunk < 12 and plan.buffer < 303 and len(plan.batches) == 1
    found = sweep(lm, probes, neurons, shifts, target=0, budget_bytes=budget)
    assert error(found.logit, expected.logit) < TOLERANCE
    assert error(found.log_probability, expected.log_probability) < TOLERANCE


@FEW
@given(order=st.permutations(range(12)))
def test_the_order_of_neurons(order):
    lm, probes = tiny("gated"), tiny_probes(tiny("gated"))
    neurons = all_neurons(lm.config)[::5]
    swept = sweep(lm, probes, neurons, SHIFTS, target=0)
    again = sweep(lm, probes, neurons[order], SHIFTS, target=0)
    assert error(again.logit, swept.logit[:, order]) < TOLERANCE
    assert error(again.activation, swept.activation[:, order]) == 0
    curve = response(lm, probes, neurons, 2.0, 6, max_nodes=6, target=0)
    turned = response(lm, probes, neurons[order], 2.0, 6, max_nodes=6, target=0)
    assert error(turned.coefficients, curve.coefficients[:, order]) < TOLERANCE
    found = effects(lm, probes, neurons[order])
    assert error(found, effects(lm, probes, neurons)[:, order]) < TOLERANCE


@FEW
@given(order=st.permutations(range(4)))
def test_the_order_of_shifts(order):
    lm, probes = tiny("gpt2"), tiny_probes(tiny("gpt2"))
    shifts = np.asarray([-3.0, 0.0, 0.5, 2.0])
    neurons = one_neuron_a_layer(lm)
    swept = sweep(lm, probes, neurons, shifts, target=0)
    again = sweep(lm, probes, neurons, shifts[order], target=0)
    assert error(again.logit, swept.logit[..., order]) < TOLERANCE
    assert error(again.baseline, swept.baseline) < TOLERANCE


@pytest.mark.parametrize("mode", ["single", "all"])
def test_targets_do_not_meet(mode):
    """Several targets at once are each target alone: no sum over targets or prompts."""
    lm = tiny("gated")
    probes = tiny_probes(lm, JOINT_TARGETS, "all") if mode == "all" else tiny_probes(lm)
    together = neurgrad(lm, probes)
    for k in range(2):
        alone = dataclasses.replace(
            probes,
            targets=tuple(texts[k : k + 1] for texts in probes.targets),
            target_ids=probes.target_ids[:, k : k + 1],
            target_mask=probes.target_mask[:, k : k + 1],
        )
        found = neurgrad(lm, alone)
        assert error(found.computed[:, 0], together.computed[:, k]) < TOLERANCE
        assert error(found.probability[:, 0], together.probability[:, k]) < TOLERANCE


@pytest.mark.parametrize(("shape", "tailed"), [("gated", True), ("gpt2", False), ("bert", True)])
def test_weights_in_bfloat16(shape, tailed, monkeypatch):
    """They are rounded, and nothing else is: float32 weights of the same values say the same."""
    short = tiny(shape, "bfloat16")
    long = dataclasses.replace(
        short,
        graphdef=tiny(shape).graphdef,
        params=jax.tree.map(lambda leaf: leaf.astype(jnp.float32), short.params),
    )
    assert short.dtype == jnp.bfloat16 and long.dtype == jnp.float32
    probes = tiny_probes(short).select([2])
    unrounded = neurgrad(tiny(shape), probes)
    taken = mock.Mock(wraps=tails.tails_of)
    if tailed:  # From a prompt's first row on, and behind a few tokens.
        monkeypatch.setattr(tails, "ROWS_A_WIDTH", 0)
        monkeypatch.setattr(tails, "tails_of", taken)
        monkeypatch.setattr(readout, "VOCAB_BLOCK", 4)
        jax.clear_caches()
    found, expected = results(short, probes), results(long, probes)
    if tailed:
        jax.clear_caches()
        assert taken.call_count >= 4  # In sweeps and responses of both.
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        assert error(found[name], values) < 3e-6, name
    # Rounding the weights is seen.
    assert error(found["computed"], unrounded.computed) > 1e-4
