"""Streams of gradients: few programs, and passes that are filled by real tokens."""

import dataclasses

import numpy as np
import pytest
from jax.sharding import Mesh

import negjax
from negjax.execution import plans
from negjax.execution.batching import STEPS, bucket
from negjax.execution.common_heads import HeadGroup
from negjax.inputs.probes import Probes
from negjax.measurements.gradient_plans import FEW_STEPS, gradient_plan
from negjax.model import meshes
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import error, tiny


def prompts_of(
    lm: LanguageModel, lengths: np.ndarray, targets: int = 1, target_tokens: int = 1
) -> Probes:
    """Prompts of those lengths; of a target's tokens the last ones may be missing."""
    generator, count = np.random.default_rng(0), len(lengths)
    tokens = generator.integers(2, lm.config.vocab_size, (count, int(lengths.max())))
    mask = np.arange(tokens.shape[1]) < lengths[:, None]
    if not lm.config.causal:
        tokens[np.arange(count), lengths - 1] = 1
    ids = generator.integers(2, lm.config.vocab_size, (count, targets, target_tokens))
    there = np.arange(target_tokens) < generator.integers(1, target_tokens + 1, (*ids.shape[:2], 1))
    there[0] = True
    return Probes(
        prompts=tuple(map(str, range(count))),
        targets=(tuple(map(str, range(targets))),) * count,
        tokens=np.where(mask, tokens, 0),
        mask=mask,
        read=lengths - 1,
        target_ids=np.where(there, ids, 0),
        target_mask=there,
        mask_id=None if lm.config.causal else 1,
    )


def planned(
    lm: LanguageModel, probes: Probes, budget: int, few: bool = True
) -> list[plans.Planned]:
    group = HeadGroup(np.arange(len(probes)), 0)
    plan = gradient_plan(lm, probes, group, budget, few_shapes=few)
    held = np.concatenate([batch.members for batch in plan])
    assert sorted(held) == list(range(len(probes)))
    assert all(len(batch.members) <= batch.rows for batch in plan)
    return plan


def test_few_programs():
    """Many prompts of many lengths, and no more programs than lengths on a coarse scale."""
    lm = tiny("gated", context_length=512)
    probes = prompts_of(lm, np.random.default_rng(0).integers(20, 120, 300))
    shapes = {}
    for few in (False, True):
        plan = planned(lm, probes, 2**21, few)
        lengths = [int(probes.mask[batch.members].sum(1).max()) for batch in plan]
        steps = FEW_STEPS if few else STEPS
        shapes[few] = {
            (bucket(n, steps=steps), batch.rows, batch.tokens)
            for n, batch in zip(lengths, plan, strict=True)
        }
    coarse = {length for length, *_ in shapes[True]}
    assert len(shapes[True]) == len(coarse) <= 6
    assert len(shapes[True]) < len(shapes[False])


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("longest", [60, 400])
def test_little_of_a_pass_is_padding(tokens, longest):
    """What is left is what rounding up leaves, and the last batch."""
    lm = tiny("gated", context_length=512)
    lengths = np.random.default_rng(1).integers(20, longest, 3000)
    probes = prompts_of(lm, lengths, target_tokens=tokens)
    plan = planned(lm, probes, 10**9)
    for batch in plan:
        own = probes.mask[batch.members].sum() + len(batch.members) * (tokens - 1)
        assert own <= batch.tokens
    real = int(lengths.sum()) + 3000 * (tokens - 1)
    assert real <= sum(batch.tokens for batch in plan) < 1.08 * real
    # Rows that fill up cost what is computed of a read position.
    assert sum(batch.rows for batch in plan) < 1.3 * 3000


def test_a_small_budget_is_kept_to():
    lm = tiny("gated", context_length=512)
    probes = prompts_of(lm, np.random.default_rng(1).integers(20, 120, 100))
    for budget in (10**7, 10**6):
        assert all(batch.estimate <= budget for batch in planned(lm, probes, budget))


def test_tokens_of_a_prompt_stay_on_its_device(monkeypatch):
    """Where devices divide the prompts, rows are padded."""
    lm = dataclasses.replace(tiny("gated"), mesh=Mesh(np.zeros((1, 1)), ("data", "model")))
    probes = prompts_of(lm, np.full(9, 20))
    assert all(batch.tokens for batch in planned(lm, probes, 10**9))
    monkeypatch.setattr(meshes, "prompts_apart", lambda mesh: 2)
    assert not any(batch.tokens for batch in planned(lm, probes, 10**9))


@pytest.mark.parametrize(
    ("shape", "targets", "tokens"),
    [("gated", 2, 1), ("gated", 2, 3), ("gpt2", 1, 2), ("bert", 2, 1), ("experts", 1, 1)],
)
def test_numbers_are_those_of_padded_passes(monkeypatch, shape, targets, tokens):
    """Prompts of many lengths in three batches, the last of which is mostly filled up."""
    monkeypatch.setattr("negjax.measurements.gradient_plans.FEW_TOKENS", 48)
    lm = tiny(shape)
    lengths = np.asarray([4, 11, 7, 5, 9, 12, 6, 10, 3, 8])
    probes = prompts_of(lm, lengths, targets, tokens)
    group = HeadGroup(np.arange(len(probes)), 0)
    assert len(gradient_plan(lm, probes, group, 10**9, few_shapes=True)) > 1
    expected = negjax.neurgrad(lm, probes)
    met = []
    for index, *found in negjax.gradient_batches(lm, probes, few_shapes=True):
        for name, values in zip(("probability", "activation", "computed"), found, strict=True):
            known = getattr(expected, name)
            for row, number in enumerate(index):
                assert error(np.asarray(values[row]), known[number]) < 1e-5, (name, number)
        met += index.tolist()
    assert sorted(met) == list(range(len(probes)))
