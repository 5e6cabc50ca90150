"""From steps to bytes and seconds."""

import dataclasses

import numpy as np
import pytest

from experiments.plan import chips, models, works
from experiments.plan.counting import Count, Product
from experiments.plan.estimates import TAIL_SHARE, Estimator, Published
from negjax.execution.batching import split_probes
from negjax.execution.running import needed_bytes
from negjax.measurements.gradient_runs import gradient_program
from negjax.model.meshes import MeshShape
from tests.support.block_shapes import GATED, tiny

H100 = Published(chips.CHIPS["h100"], "float32")
LM = models.without_weights("tiny", GATED, "float32", "highest")
BUDGET = 2**30


ALONE = MeshShape()


def estimator(mesh: MeshShape = ALONE, *, streamed: bool = False) -> Estimator:
    return Estimator(LM, mesh, H100, streamed=streamed, layer_bytes=10**9)


def test_a_product_takes_as_long_as_its_arithmetic_or_its_bytes() -> None:
    heavy = Product(batch=1, m=67, k=10**6, n=500_000, moved=10)
    wide = Product(batch=1, m=1, k=1, n=1, moved=3_350_000)
    count = Count(products={heavy: 3.0, wide: 2.0})
    assert H100.seconds(count) == pytest.approx(3 * 1.0 + 2 * 1e-6)
    assert (count.operations, count.moved) == (3 * 67e12 + 4, 30 + 6_700_000)


def test_memory_is_what_the_library_asks_the_compiler_for() -> None:
    lm = tiny("gated")
    probes = models.probes_of(lm.config, 3, 9)
    split = split_probes(lm.config, probes, np.arange(3), pack=True)
    expected = needed_bytes(lm, gradient_program, split, "up", "probability", False, None)
    work = works.Work(name="a", steps=works.neurgrad(LM, 3, 9, BUDGET))
    assert estimator().estimate(work).program_bytes == expected


def test_memory_of_narrow_weights_is_that_of_the_program_for_float32() -> None:
    """XLA for CPU would count a float32 copy of all weights."""
    narrow = models.without_weights("tiny", GATED, "bfloat16", "highest")
    work = works.Work(name="a", steps=works.neurgrad(narrow, 3, 9, BUDGET))
    found = Estimator(narrow, MeshShape(), H100, streamed=False, layer_bytes=1).estimate(work)
    assert found.program_bytes == estimator().estimate(work).program_bytes


def test_collectives_by_hand() -> None:
    """Two sums over the devices a token and layer, and one a vector over the vocabulary."""
    (step,) = works.neurgrad(LM, 4, 9, BUDGET, targets=3)
    work = works.Work(name="a", steps=[step.repeated(5)])
    # Four prompts of 8 + 1 tokens forwards, three targets backwards.
    token_layers = (4 * 9 + 4 * 3) * 3
    vectors = 4 * 9 + 4 * 3
    summed = (2 * token_layers + vectors) * GATED.width * 4
    found = estimator(MeshShape(1, 8)).estimate(work)
    assert found.collective_bytes == 5 * 2 * 7 / 8 * summed
    assert found.collective_seconds == found.collective_bytes / 450e9
    assert estimator(MeshShape(8, 1)).estimate(work).collective_bytes == 0


def test_streaming_runs_beside_the_arithmetic() -> None:
    layers = np.asarray([1] * 10)
    steps = works.sweep(LM, 1, 9, layers, BUDGET)
    work = works.Work(name="a", steps=[step.repeated(3) for step in steps])
    resident, streamed = (estimator(streamed=s).estimate(work) for s in (False, True))
    # A pass for the prompt, and rows that enter above layer 0, of which the baselines are one.
    assert streamed.streamed_bytes == pytest.approx(3 * (1 + 2 / 3) * 1e9)
    assert streamed.streaming_seconds == streamed.streamed_bytes / 64e9
    assert streamed.seconds == streamed.streaming_seconds > resident.seconds
    assert resident.streamed_bytes == resident.streaming_seconds == 0
    assert resident.seconds == resident.arithmetic_seconds == streamed.arithmetic_seconds


def test_rows_with_tails_read_a_part_of_the_vocabulary() -> None:
    config = dataclasses.replace(GATED, vocab_size=5000)
    lm = models.without_weights("tiny", config, "float32", "highest")
    rows = 8 * config.width
    steps = works.sweep(lm, 1, 9, np.zeros(rows, int), BUDGET)
    found = Estimator(lm, MeshShape(), H100, streamed=False, layer_bytes=1)
    count = found.count(works.Work(name="a", steps=steps[1:]))
    read = Product(batch=1, m=128, k=16, n=2048, moved=4 * (128 * 16 + 16 * 2048 + 128 * 2048))
    assert steps[1].arguments[-1] == 128
    assert count.products[read] == pytest.approx((rows + 3) / 128 * 3 * TAIL_SHARE)
