"""Joint interventions in batches and calls: whatever is computed together, the same numbers."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from negjax.execution import batching
from negjax.execution.plans import sizes_of
from negjax.execution.row_plans import STEPS
from negjax.inputs.encoding import encode
from negjax.inputs.neurons import neuron_sets, random_neurons
from negjax.inputs.probes import Probes
from negjax.measurements import set_replays
from negjax.measurements.joint_interventions import joint
from tests.support.block_shapes import (
    GATED,
    error,
    tiny,
    tiny_probes,
)
from tests.support.some_sets import some_sets


@pytest.mark.parametrize(("shape", "clamp"), [("gated", False), ("bert", True)])
def test_chunks_and_batches(shape, clamp, monkeypatch):
    """Whatever is computed together, and in whatever order: the same numbers, and no baseline."""
    lm = tiny(shape)
    probes = tiny_probes(lm)
    generator = np.random.default_rng(0)
    sets = neuron_sets(
        lm.config,
        [
            (random_neurons(lm.config, int(n), 1, seed)[0], generator.normal(size=n))
            for seed, n in enumerate(generator.integers(1, 40, 11))
        ],
    )

    def found(probes: Probes = probes, **options: Any) -> list[np.ndarray]:
        made = joint(lm, probes, sets, clamp=clamp, target=1, spread=True, **options)
        assert made.kl is not None and made.entropy is not None
        return [made.logit, made.change(), made.kl, made.entropy, made.baseline]

    expected = found()
    plan = set_replays.plan_sets(lm, probes, 11, batching.DEFAULT_BUDGET_BYTES)
    assert plan.most == 12 and [len(batch.members) for batch in plan.batches] == [3]
    for values, turned in zip(expected, found(probes.select([2, 0])), strict=True):
        assert np.abs(turned - values[[2, 0]]).max() < 5e-6 * np.abs(values).max()
    sizes = sizes_of(lm, probes, steps=STEPS)
    small = max(2 * sizes.prefix_bytes, 8 * sizes.active_row_bytes, 24 * 4 * 60)
    plan = set_replays.plan_sets(lm, probes, 11, small)
    assert plan.most < 12 and len(plan.batches) == 3
    for values, tight in zip(expected, found(budget_bytes=small), strict=True):
        assert error(tight, values) < 5e-6
    monkeypatch.setattr("negjax.execution.row_plans.CHUNK_TOKENS", 3 * sizes.suffix)
    assert set_replays.plan_sets(lm, probes, 11, batching.DEFAULT_BUDGET_BYTES).most == 3
    for values, chunked in zip(expected, found(), strict=True):
        assert error(chunked, values) < 5e-6


def test_the_order_of_sets():
    lm = tiny("gated")
    probes, sets = tiny_probes(lm), some_sets(lm)
    order = np.asarray([2, 0, 3, 1])
    turned = dataclasses.replace(
        sets,
        neurons=sets.neurons[order],
        values=sets.values[order],
        levels=sets.levels[order],
    )
    found = joint(lm, probes, turned, target=0)
    assert error(found.logit, joint(lm, probes, sets, target=0).logit[:, order]) < 1e-6


@pytest.mark.parametrize("length", [3, 300])
@pytest.mark.parametrize("sets", [1, 7, 1000])
def test_plans_keep_to_their_budget(sets, length):
    lm = tiny("gated")
    lm = dataclasses.replace(lm, config=dataclasses.replace(GATED, context_length=512))
    probes = encode(lm, [" ".join(["w3"] * length)] * 20, ["w4"] * 20)
    sizes = sizes_of(lm, probes, steps=STEPS)
    met = 0
    for power in range(15, 32):
        budget = 2**power
        needed = max(2 * sizes.prefix_bytes, 8 * sizes.active_row_bytes, 24 * 4 * 60)
        if budget < needed:
            with pytest.raises(ValueError, match=r"is too small: (one prompt|two rows|the shifts)"):
                set_replays.plan_sets(lm, probes, sets, budget)
            continue
        met += 1
        batches, most = set_replays.plan_sets(lm, probes, sets, budget)
        held = np.concatenate([batch.members for batch in batches])
        assert sorted(held) == list(range(20))
        assert 2 <= most <= batching.bucket_count(sets + 1)
        assert max(batch.estimate for batch in batches) <= budget
        filled = batches[0].rows
        assert 2 * filled * sizes.prefix_bytes <= budget
        assert 4 * filled * most * sizes.active_row_bytes <= budget
        assert filled * most * sizes.suffix <= max(512, 2 * filled)
    assert met > 5


def test_the_calls_hold_every_set_once():
    lm = tiny("gated")
    sets = some_sets(lm)
    calls = set_replays._calls(sets, sets.values, 3)
    assert sorted(np.concatenate([call.sets for call in calls])) == [0, 1, 2, 3]
    # Set 0 is neuron 17 of layer 1, set 1 lies in layer 1, the others begin in layer 0.
    assert [int(call.lowest) for call in calls] == [0, 1]
    dense = np.zeros((4, 4, 20))
    for call in calls:
        layer, row, index, value = (np.asarray(field) for field in call.entries[:4])
        used = layer < 3
        assert (row[used] >= 1).all() and len(layer) >= used.sum()
        dense[call.sets[row[used] - 1], layer[used], index[used]] += value[used]
    np.testing.assert_allclose(dense[:, :3], sets.dense(), rtol=1e-6)
