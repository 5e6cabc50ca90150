"""Buckets, plans and budgets; choices of neurons."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negjax.execution import row_plans
from negjax.execution.batching import (
    DEFAULT_BUDGET_BYTES,
    Sizes,
    bucket,
    bucket_count,
    largest_bucket,
    smaller_buckets,
    split_probes,
)
from negjax.execution.common_heads import HeadGroup
from negjax.execution.plans import FILLED, Planned, fitting, prompt_batches
from negjax.execution.row_kernels import SWEEP
from negjax.execution.row_plans import Cost
from negjax.inputs.neurons import all_neurons, check_neurons, random_neurons
from negjax.inputs.probes import Probes
from negjax.measurements.gradient_plans import gradient_plan
from negjax.replay import tails
from tests.support.block_shapes import BERT, GATED, JOINT_TARGETS, tiny, tiny_probes

SIZES = st.integers(1, 10_000)


def probes_of(lengths: list[int], followers: int = 0) -> Probes:
    """Prompts of those lengths; tokens count up from 1."""
    longest, b = max(lengths), len(lengths)
    mask = np.arange(longest) < np.asarray(lengths)[:, None]
    return Probes(
        prompts=tuple(map(str, lengths)),
        targets=(("t",),) * b,
        tokens=np.where(mask, np.arange(1, longest + 1), 0).astype(np.int32),
        mask=mask,
        read=np.asarray(lengths, np.int32) - 1,
        target_ids=np.ones((b, 1, 1 + followers), np.int32),
        target_mask=np.ones((b, 1, 1 + followers), bool),
    )


# ---- Buckets.


@given(SIZES, st.sampled_from([2, 8]))
def test_buckets_hold_their_size_and_little_more(size, steps):
    found = bucket(size, steps=steps)
    assert found >= size and found % 4 == 0
    assert found <= max(size + 3, size * (1 + 1 / steps))
    # A bucket is its own bucket, and the buckets grow with the sizes.
    assert bucket(found, steps=steps) == found
    assert bucket(size + 1, steps=steps) >= found


def test_few_buckets():
    assert [bucket(n) for n in (1, 5, 9, 64, 65, 130)] == [4, 8, 12, 64, 72, 144]
    assert [bucket(n, steps=2) for n in (1, 5, 9, 65, 97)] == [4, 8, 12, 96, 128]
    assert len({bucket(n) for n in range(1, 10_001)}) < 80
    assert len({bucket(n, steps=2) for n in range(1, 10_001)}) < 25


@given(SIZES)
def test_counts_in_buckets(count):
    up, down = bucket_count(count), largest_bucket(count)
    # At most a half is filled up, or a third left out.
    assert 2 / 3 * count < down <= count <= up < 1.5 * count or count == 1 == up == down
    for found in (up, down):
        assert bucket_count(found) == largest_bucket(found) == found
    # No bucket lies between.
    assert down == up == count or bucket_count(down + 1) == up


def test_counts_of_half_the_size():
    assert list(smaller_buckets(12)) == [12, 6, 3, 1]
    assert list(smaller_buckets(1)) == [1]


def test_small_counts():
    assert [bucket_count(n) for n in range(1, 14)] == [1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 12, 12, 16]
    assert [largest_bucket(n) for n in range(1, 14)] == [1, 2, 3, 4, 4, 6, 6, 8, 8, 8, 8, 12, 12]


# ---- Plans.


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(1, 12))
def test_batches_hold_every_prompt_once(lengths, largest):
    batches = prompt_batches(probes_of(lengths), largest)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= largest
        # Little of a batch is padding.
        held = [bucket(lengths[i]) for i in batch]
        assert min(held) >= FILLED * max(held)


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=20),
    st.integers(1, 3000),
    st.integers(17, 34),
    st.sampled_from([GATED, BERT, dataclasses.replace(GATED, vocab_size=100_000)]),
    st.booleans(),
)
def test_plans_of_rows_keep_to_their_budget(lengths, rows, power, config, swept):
    lm = dataclasses.replace(tiny("gated"), config=dataclasses.replace(config, context_length=4096))
    probes = probes_of(lengths)
    length = bucket(max(lengths), steps=2)
    sizes = Sizes(config=config, length=length, targets=1, suffix=1 if config.causal else length)
    cost = SWEEP.cost if swept else Cost()
    active = sizes.sweep_row_bytes if swept else sizes.active_row_bytes
    if 2**power < max(2 * sizes.prefix_bytes, 4 * active):
        with pytest.raises(ValueError, match="is too small: one"):
            row_plans.plan_rows(lm, probes, rows, cost, 2**power)
        return
    plan = row_plans.plan_rows(lm, probes, rows, cost, 2**power)
    held = np.concatenate([batch.members for batch in plan.batches])
    assert sorted(held) == list(range(len(lengths)))
    chunk, buffer = plan.chunk, plan.buffer
    assert 1 <= chunk <= rows and buffer % chunk == 0
    # No more than half as much again, whole chunks aside.
    assert buffer < 1.5 * (rows + chunk)
    for batch in plan.batches:
        assert batch.rows == len(batch.members) or batch is plan.batches[-1]
        assert 2 * batch.rows * sizes.prefix_bytes <= 2**power
        assert 4 * batch.rows * chunk * active <= 2**power
        assert 4 * batch.rows * buffer * sizes.row_bytes <= 2**power
        assert batch.estimate <= 2**power


def test_a_smaller_budget_makes_smaller_pieces():
    lm, probes = tiny("gated"), probes_of([8] * 20)
    plans = {
        size: row_plans.plan_rows(lm, probes, 300, Cost(), size) for size in (100_000, 10**6, 10**9)
    }
    held = [max(len(b.members) for b in p.batches) * p.buffer for p in plans.values()]
    assert held == sorted(held) and held[0] < held[-1]
    group = HeadGroup(np.arange(20), 0)
    batches = [len(gradient_plan(lm, probes, group, size)) for size in (60_000, 10**6, 10**9)]
    assert batches == sorted(batches, reverse=True) and batches[0] > batches[-1] == 1


def test_common_sizes_run_in_one_batch():
    """Of the embedded model by default: 8 long prompts and 64 short ones, four targets each."""
    config = dataclasses.replace(
        GATED,
        layers=30,
        width=576,
        neurons=1536,
        heads=9,
        kv_heads=3,
        head_width=64,
        vocab_size=49152,
    )
    lm = dataclasses.replace(tiny("gated"), config=config)
    for prompts, length in ((8, 480), (64, 48)):
        probes = probes_of([length] * prompts)
        four = dataclasses.replace(
            probes,
            targets=(("a", "b", "c", "d"),) * prompts,
            target_ids=np.tile(np.arange(4)[:, None], (prompts, 1, 1)),
            target_mask=probes.target_mask.repeat(4, 1),
        )
        group = HeadGroup(np.arange(prompts), 0)
        [batch] = gradient_plan(lm, four, group, DEFAULT_BUDGET_BYTES)
        assert batch.rows == prompts


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tails_keep_to_the_budget(dtype):
    """Rows so many that a prompt's tails pay; of a large model these take a gigabyte or more."""
    config = dataclasses.replace(GATED, width=4096, neurons=14336, vocab_size=151936)
    lm = dataclasses.replace(tiny("gated", dtype), config=config)
    held = tails.held_bytes(config, lm.dtype)
    embedding = 151936 * 4096 * 4 if dtype == "bfloat16" else 0
    assert held == 2 * 7 * 4096**2 * 4 + embedding
    few = tails.fewest_rows(4096)
    for budget, made in ((4 * held, True), (4 * held - 1, False)):
        for cost in (SWEEP.cost, Cost()):
            plan = row_plans.plan_rows(lm, probes_of([32]), 200_000, cost, budget)
            assert len(plan.batches) == 1
            assert (plan.buffer >= few) == (made or not cost.sweep)
            assert plan.buffer % plan.chunk == 0 and plan.buffer > few / 2


def test_what_makes_no_tails_takes_nothing_for_them():
    large = dataclasses.replace(GATED, vocab_size=100_000)
    assert tails.held_bytes(large, jnp.dtype("float32")) > 0
    assert tails.held_bytes(large, jnp.dtype("float64")) == 0
    assert tails.held_bytes(GATED, jnp.dtype("float32")) == 0


def test_fitting():
    assert fitting(100, 30, 10, "one row") == 3
    assert fitting(1000, 30, 10, "one row") == 10
    assert fitting(30, 30, 10, "one row") == 1
    with pytest.raises(ValueError, match=r"budget_bytes=29 is too small: one row takes about 30 b"):
        fitting(29, 30, 10, "one row")


@pytest.mark.parametrize("budget", ["2GB", 2e9, -1, True, None])
def test_a_budget_is_a_whole_number(budget):
    with pytest.raises(ValueError, match=r"budget_bytes is .*, expected a whole number, 1 or more"):
        fitting(budget, 30, 10, "one row")


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(2, 12))
def test_pieces_hold_every_prompt_once(lengths, largest):
    for members in prompt_batches(probes_of(lengths), largest):
        whole = Planned(members=members, rows=max(2, bucket_count(len(members))), estimate=1)
        pieces = whole.pieces(1000)
        assert np.concatenate([piece.members for piece in pieces]).tolist() == members.tolist()
        for piece in pieces:
            assert 1 <= len(piece.members) <= piece.rows <= whole.rows / 2
            assert len(piece.padded) == piece.rows
            assert piece.estimate == 1000 * piece.rows // whole.rows


# ---- Splits.


def test_causal_splits():
    split = split_probes(GATED, probes_of([3, 9, 1], followers=2), np.asarray([0, 2]))
    assert split.prefix_tokens is not None and split.prefix_mask is not None
    assert split.prefix_tokens.tolist() == [[1, 2, 0, 0], [0, 0, 0, 0]]
    assert split.prefix_mask.sum(1).tolist() == [2, 0]
    # The read position, then the target's tokens but the last.
    assert np.asarray(split.suffix.tokens).tolist() == [[3, 1, 1], [1, 1, 1]]
    assert np.asarray(split.suffix.positions).tolist() == [[2, 3, 4], [0, 1, 2]]
    assert np.asarray(split.suffix.read).tolist() == [0, 0]


def test_masked_splits():
    probes = probes_of([3, 9])
    tokens = probes.tokens.copy()
    tokens[[0, 1], [1, 4]] = 20
    probes = dataclasses.replace(probes, tokens=tokens, read=np.asarray([1, 4]), mask_id=20)
    split = split_probes(BERT, probes, np.asarray([0, 1]))
    assert split.prefix_tokens is None and split.prefix_mask is None
    assert np.asarray(split.suffix.tokens).shape == (2, 12)
    assert np.asarray(split.suffix.mask).sum(1).tolist() == [3, 9]
    assert np.asarray(split.suffix.read).tolist() == [1, 4]


def test_joint_targets_are_split_one_at_a_time():
    lm = tiny("gated")
    probes = tiny_probes(lm, JOINT_TARGETS, "all")
    with pytest.raises(ValueError, match="2 several-token targets need a suffix each; choose one"):
        split_probes(lm.config, probes, np.asarray([0]))
    assert split_probes(lm.config, probes, np.asarray([0]), 1).targets.shape == (1, 1, 3)


# ---- Neurons.


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 2**40))
def test_random_neurons(count, prompts, seed):
    found = random_neurons(GATED, count, prompts, seed)
    assert found.shape == (prompts, count, 2) and found.dtype == np.int32
    flat = found[..., 0] * 20 + found[..., 1]
    # Distinct, sorted, layer-major; and the model has them.
    assert (np.diff(flat, axis=1) > 0).all()
    np.testing.assert_array_equal(check_neurons(GATED, found, prompts), found)
    # A prompt's own do not depend on how many prompts there are.
    np.testing.assert_array_equal(random_neurons(GATED, count, prompts + 3, seed)[:prompts], found)


def test_random_neurons_differ_by_prompt_and_seed():
    first, second = random_neurons(GATED, 30, 2, 0)
    assert (first != second).any()
    assert (first != random_neurons(GATED, 30, 1, 1)[0]).any()
    layers = np.bincount(random_neurons(GATED, 10, 300, 0)[..., 0].ravel(), minlength=3)
    assert (np.abs(layers - 1000) < 120).all()


@pytest.mark.parametrize("count", [0, -1, 61])
def test_impossible_counts_of_neurons_are_refused(count):
    with pytest.raises(ValueError, match=rf"{count} neurons a prompt: expected 1 to 60, or all"):
        random_neurons(GATED, count, 1, 0)


def test_all_neurons():
    every = all_neurons(GATED)
    assert every.shape == (60, 2) and every.dtype == np.int32
    assert every[[0, 19, 20, 59]].tolist() == [[0, 0], [0, 19], [1, 0], [2, 19]]
    np.testing.assert_array_equal(random_neurons(GATED, 60, 1, 7)[0], every)
