"""A common head, run once, changes nothing but rounding.

Differences are in units of the largest expected value.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from negjax.estimators import estimate
from negjax.execution import batching, common_heads
from negjax.execution.common_heads import (
    HeadGroup,
    common_head,
    head_groups,
    head_tokens,
    run_common_head,
)
from negjax.inputs.probes import Probes
from negjax.measurements.gradient_plans import gradient_plan
from negjax.measurements.gradients import neurgrad
from negjax.model.language_model import LanguageModel
from negjax.model.transformer import Transformer
from negjax.replay.shifted_suffixes import pull_back, replay_suffix
from negjax.replay.suffixes import run
from tests.support.block_shapes import error, precision, tiny
from tests.support.few_shot import HEAD, few_shot, probes_of

# As in test_gradients: what a forward of these models rounds.
ROUNDING = {"float32": 3e-6, "float64": 1e-13}


def assert_same(lm: LanguageModel, probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of every kind with a shared head are those without."""
    dtype = str(lm.dtype)
    monkeypatch.setattr(common_heads, "GROUP_TOKENS", 10**9)
    assert [group.head for group in head_groups(lm, probes)] == [0]
    apart = neurgrad(lm, probes)
    monkeypatch.setattr(common_heads, "GROUP_TOKENS", 0)
    assert [group.head for group in head_groups(lm, probes)] == [common_head(probes)] != [0]
    together = neurgrad(lm, probes)
    for name in ("probability", "activation", "computed"):
        found, expected = getattr(together, name), getattr(apart, name)
        assert found.dtype == expected.dtype == np.dtype(dtype)
        assert error(found, expected) < ROUNDING[dtype], name


# Each case compiles two programs; a head of 8 tokens needs no padding.
@pytest.mark.parametrize(
    ("shape", "dtype", "head"),
    [
        ("gated", "float32", 1),
        ("gated", "float64", 11),
        ("gpt2", "float32", 7),
        ("gpt2", "float64", 8),
    ],
)
def test_gradients_with_a_shared_head(shape, dtype, head, monkeypatch):
    with precision(dtype):
        assert_same(tiny(shape, dtype), few_shot(head), monkeypatch)


def test_normed_heads_and_queries_in_blocks(monkeypatch):
    monkeypatch.setattr("negjax.model.attention.QUERY_BLOCK", 4)
    # A model that no other test compiles without those blocks.
    assert_same(tiny("gated", qk_norm="head", kv_heads=1), few_shot(10), monkeypatch)


def test_joint_targets_with_a_shared_head(monkeypatch):
    assert_same(tiny("gated"), few_shot(followers=2), monkeypatch)


def test_padding_on_the_left(monkeypatch):
    assert_same(tiny("gated"), few_shot(pad_left=3), monkeypatch)


def test_nothing_but_the_read_position_is_a_prompts_own(monkeypatch):
    rows = [(*HEAD, last) for last in (2, 3, 4)]
    assert common_head(probes_of(rows)) == len(HEAD)
    assert_same(tiny("gated"), probes_of(rows), monkeypatch)


def test_relevance_with_a_shared_head(monkeypatch):
    lm, probes = tiny("gated"), few_shot()
    apart = estimate(lm, probes, "relp")
    monkeypatch.setattr(common_heads, "GROUP_TOKENS", 0)
    assert error(estimate(lm, probes, "relp"), apart) < ROUNDING["float32"]


def test_pulling_back_is_the_replays_transpose():
    """With a head as well: jvp of the replay, vjp of its layers."""
    with precision("float64"):
        lm, probes = tiny("gated", "float64"), few_shot()
        model: Transformer = nnx.merge(lm.graphdef, lm.params)
        head = run_common_head(lm, np.asarray(HEAD))
        split = batching.split_probes(lm.config, probes, np.arange(4), head=len(HEAD))
        passed = run(model, split.prefix_tokens, split.prefix_mask, split.suffix, head)
        generator = np.random.default_rng(0)
        along = jnp.asarray(generator.normal(size=(3, 4, 1, 20)))
        cotangents = jnp.asarray(generator.normal(size=(2, *passed.resid.shape)))
        pulled = pull_back(model, passed, split.suffix, cotangents, "up", head)
        resid, tangent = jax.jvp(
            lambda shift: replay_suffix(
                model, passed.prefix, split.suffix, None, shift, "up", head
            ),
            (jnp.zeros_like(along),),
            (along,),
        )
        assert error(np.asarray(resid), np.asarray(passed.resid)) < ROUNDING["float64"]
        forward = np.asarray(jnp.einsum("kprsd,prsd->k", cotangents, tangent))
        backward = np.asarray(jnp.einsum("lkpf,lprf->k", pulled[..., 0, :], along))
        assert error(backward, forward) < 5e-14


def test_a_padded_head_is_the_head():
    lm = tiny("gated")
    exact, padded = (run_common_head(lm, np.asarray(HEAD[:n])) for n in (8, 7))
    assert exact is not None and padded is not None
    assert padded.mask.tolist() == [True] * 7 + [False]
    for found, expected in zip(padded.layers, exact.layers, strict=True):
        assert error(np.asarray(found)[:, :, :7], np.asarray(expected)[:, :, :7]) < 1e-6
        # What fills up repeats the first token, so that it never scores above all real ones.
        np.testing.assert_array_equal(found[:, :, 7], found[:, :, 0])
    assert run_common_head(lm, np.zeros(0, np.int32)) is None


# ---- Who shares what.


def test_heads_are_found_by_token_ids():
    assert common_head(few_shot()) == len(HEAD)
    # The read position is never part of it, not even where all prompts are the same.
    assert common_head(probes_of([HEAD, HEAD])) == len(HEAD) - 1
    assert common_head(probes_of([HEAD[:4], HEAD])) == 3
    assert common_head(probes_of([HEAD, HEAD[1:]])) == 0
    assert common_head(probes_of([HEAD])) == len(HEAD) - 1


def test_groups_by_head(monkeypatch):
    lm = tiny("gated")
    monkeypatch.setattr(common_heads, "GROUP_TOKENS", 6)
    other = (20, *HEAD[1:])
    rows = [(*HEAD, 2), (*other, 3), (8, 9), (*HEAD, 5, 6), (*other, 7, 4), (*other, 9), (3, 4, 9)]
    found = head_groups(lm, probes_of(rows))
    assert [(group.members.tolist(), group.head) for group in found] == [
        ([0, 3], 11),
        ([1, 4, 5], 11),
        ([2, 6], 0),
    ]
    assert head_tokens(probes_of(rows), found[1]).tolist() == list(other)
    # A longer head of some of them is not worth a group of its own.
    rows = [(*HEAD, 2, 3, own) for own in (4, 5)] + [(*HEAD, own, 8) for own in (6, 7)]
    assert head_groups(lm, probes_of(rows))[0].head == len(HEAD)


def test_short_heads_are_not_worth_a_pass():
    """24 prompts that begin alike, of which few tokens are saved."""
    probes = probes_of([(3, 4, 5, 6, number % 20 + 2, 9) for number in range(24)])
    assert [group.head for group in head_groups(tiny("gated"), probes)] == [0]


ROWS = st.lists(st.lists(st.integers(2, 3), min_size=1, max_size=6), min_size=1, max_size=8)


@given(ROWS, st.integers(0, 6))
def test_groups_hold_every_probe_once_and_share_their_head(rows, worth):
    probes = probes_of([tuple(row) for row in rows])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(common_heads, "GROUP_TOKENS", worth)
        groups = head_groups(tiny("gated"), probes)
        for name in ("gated", "bert"):
            every = np.concatenate([g.members for g in head_groups(tiny(name), probes)])
            assert sorted(every.tolist()) == list(range(len(rows)))
    for group in groups:
        if group.head:
            assert group.head == common_head(probes.select(group.members))
            assert (len(group.members) - 1) * group.head > worth
    saved = sum((len(g.members) - 1) * g.head - worth for g in groups if g.head)
    # At least as good as one head for all, or for any two.
    sets = [range(len(rows)), *itertools.combinations(range(len(rows)), 2)]
    for some in sets:
        one = (len(some) - 1) * common_head(probes.select(some)) - worth
        assert saved >= one
    assert [group.head for group in head_groups(tiny("bert"), probes)] == [0]


def test_batches_of_a_group_are_planned_by_what_is_their_own():
    lm = tiny("gated")
    probes = probes_of([(*HEAD, *range(2, 2 + own)) for own in (2, 6, 3, 5, 2, 6)])
    batches = gradient_plan(lm, probes, HeadGroup(np.arange(6), len(HEAD)), 10**9)
    # With the head the smaller bucket is 16 of 20 tokens, without it 4 of 8.
    assert [sorted(batch.members.tolist()) for batch in batches] == [[1, 3, 5], [0, 2, 4]]
    batches = gradient_plan(lm, probes, HeadGroup(np.arange(6), 0), 10**9)
    assert len(batches) == 1
