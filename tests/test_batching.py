"""Buckets, plans and budgets; choices of neurons."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negjax import interventions
from negjax.batching import (
    FILLED,
    Sizes,
    bucket,
    bucket_count,
    fitting,
    largest_bucket,
    prompt_batches,
    split_probes,
)
from negjax.common_heads import HeadGroup
from negjax.gradients import gradient_plan
from negjax.interventions import Cost
from negjax.neurons import all_neurons, check_neurons, random_neurons
from negjax.probes import Probes
from tests.block_shapes import BERT, GATED, JOINT_TARGETS, tiny, tiny_probes

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
    st.sampled_from([GATED, BERT]),
)
def test_sweep_plans_keep_to_their_budget(lengths, rows, power, config):
    lm = dataclasses.replace(tiny("gated"), config=dataclasses.replace(config, context_length=4096))
    probes = probes_of(lengths)
    length = bucket(max(lengths), steps=2)
    sizes = Sizes(config, length, 1, 1 if config.causal else length)
    if 2**power < max(2 * sizes.prefix_bytes, 4 * sizes.active_row_bytes):
        with pytest.raises(ValueError, match="is too small: one"):
            interventions.plan_rows(lm, probes, rows, Cost(), 2**power)
        return
    plan = interventions.plan_rows(lm, probes, rows, Cost(), 2**power)
    assert sorted(np.concatenate([index for index, _, _ in plan])) == list(range(len(lengths)))
    for index, chunk, buffer in plan:
        assert 1 <= chunk <= rows and buffer % chunk == 0
        # No more than half as much again, whole chunks aside.
        assert buffer < 1.5 * (rows + chunk)
        filled = bucket_count(len(index))
        assert filled == len(index) or index is plan[-1][0]
        assert 2 * filled * sizes.prefix_bytes <= 2**power
        assert 4 * filled * chunk * sizes.active_row_bytes <= 2**power
        assert 4 * filled * buffer * sizes.row_bytes <= 2**power


def test_a_smaller_budget_makes_smaller_pieces():
    lm, probes = tiny("gated"), probes_of([8] * 20)
    plans = {
        size: interventions.plan_rows(lm, probes, 300, Cost(), size)
        for size in (100_000, 10**6, 10**9)
    }
    held = [max(len(i) * b for i, _, b in plan) for plan in plans.values()]
    assert held == sorted(held) and held[0] < held[-1]
    group = HeadGroup(np.arange(20), 0)
    batches = [len(gradient_plan(lm, probes, group, size)) for size in (60_000, 10**6, 10**9)]
    assert batches == sorted(batches, reverse=True) and batches[0] > batches[-1] == 1


def test_fitting():
    assert fitting(100, 30, 10, "one row") == 3
    assert fitting(1000, 30, 10, "one row") == 10
    assert fitting(30, 30, 10, "one row") == 1
    with pytest.raises(ValueError, match=r"budget_bytes=29 is too small: one row takes about 30 b"):
        fitting(29, 30, 10, "one row")


@pytest.mark.parametrize("budget", ["2GB", 2e9, -1, True, None])
def test_a_budget_is_a_whole_number(budget):
    with pytest.raises(ValueError, match=r"budget_bytes is .*, expected a whole number, 0 or more"):
        fitting(budget, 30, 10, "one row")


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
    probes = dataclasses.replace(probes_of([3, 9]), read=np.asarray([1, 4]))
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
