"""What is planned is what negjax runs: the same programs, of the same shapes, as often."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import negjax
from experiments.plan import models, works
from negjax import mceval8k
from negjax.execution import running
from negjax.measurements.gradients import gradient_batches
from tests.support.block_shapes import tiny

BUDGET = 2**26
TOKENS = 9

Ran = Counter[tuple[int, str]]
"""How often programs ran, by their shapes and what is static."""


def told(program: Any, arguments: tuple[Any, ...]) -> tuple[int, str]:
    leaves, structure = jax.tree.flatten(arguments)
    shapes = [f"{x.dtype}{x.shape}" if hasattr(x, "shape") else str(x) for x in leaves]
    return id(program), f"{structure} {shapes}"


def ran(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> Ran:
    """What a call of the library runs."""
    found: Ran = Counter()
    usual = running.Run.__call__

    def call(run: running.Run, program: Any, *arguments: Any) -> Any:
        found[told(program, arguments)] += 1
        return usual(run, program, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(running.Run, "__call__", call)
        work()
    return found


def planned(steps: list[works.Step]) -> Ran:
    found: Ran = Counter()
    for step in steps:
        # Padding rows are layers of the array, too: its shape alone tells it apart.
        found[told(step.program, step.arguments)] += int(step.times)
    return found


@pytest.mark.parametrize("shape", ["gated", "gpt2", "bert", "experts"])
@pytest.mark.parametrize("targets", [1, 2])
def test_neurgrad(monkeypatch: pytest.MonkeyPatch, shape: str, targets: int) -> None:
    lm = tiny(shape)
    probes = models.probes_of(lm.config, 7, TOKENS, targets)
    expected = ran(monkeypatch, lambda: negjax.neurgrad(lm, probes, budget_bytes=BUDGET))
    assert planned(works.neurgrad(lm, 7, TOKENS, BUDGET, targets=targets)) == expected


def test_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts that begin alike: of many the library finds the head that the plan is told of."""
    lm = tiny("gated", context_length=256)
    probes = models.probes_of(lm.config, 20, 60, 3, shared=50)

    def features() -> None:
        for _ in gradient_batches(lm, probes, few_shapes=True, budget_bytes=BUDGET):
            pass

    steps = works.neurgrad(lm, 20, 60, BUDGET, targets=3, shared=50, few_shapes=True)
    assert planned(steps) == ran(monkeypatch, features)


@pytest.mark.parametrize("shape", ["gated", "gpt2", "bert", "experts"])
@pytest.mark.parametrize("prompts", [1, 3])
def test_sweeps(monkeypatch: pytest.MonkeyPatch, shape: str, prompts: int) -> None:
    lm = tiny(shape)
    layers = works.spread_evenly(lm.config.layers, 30, 1)
    neurons = np.stack([layers, np.arange(30) % 20], axis=-1)
    probes = models.probes_of(lm.config, prompts, TOKENS)
    shifts = negjax.paper_grid(2.0, 0.5)
    expected = ran(
        monkeypatch, lambda: negjax.sweep(lm, probes, neurons, shifts, budget_bytes=BUDGET)
    )
    steps = works.sweep(lm, prompts, TOKENS, np.repeat(layers, len(shifts)), BUDGET)
    assert planned(steps) == expected


@pytest.mark.parametrize("first", [0, 1])
def test_neg_of_layers(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("gated")
    neurons = np.add(np.stack(np.divmod(np.arange(40), 20), axis=-1), [first, 0])
    probes = models.probes_of(lm.config, 1, TOKENS)
    expected = ran(monkeypatch, lambda: negjax.neg(lm, probes, neurons, budget_bytes=BUDGET))
    steps = works.neg_of_layers(lm, TOKENS, [first, first + 1], 20, BUDGET)
    assert planned(steps) == expected
    # A gradient goes up through all layers, and back to the lowest that is asked for.
    assert steps[-1].passes == 1 + (lm.config.layers - first) / lm.config.layers


@pytest.mark.parametrize("layers", [1, 3, 13, 30])
def test_a_map_has_a_call_for_every_two_layers(layers: int) -> None:
    lm = tiny("gated", layers=layers)
    steps = works.neg_of_all(lm, TOKENS, 20, BUDGET)
    backward = [step.times for step in steps if step.rows == 0 and step.passes > 1]
    assert sum(backward) == pytest.approx(-(-layers // 2))


def test_mceval8k_has_all_prompts_of_all_tasks() -> None:
    lm = tiny("gated", context_length=512)
    steps = works.features_of_mceval8k(lm, 100, 60, 1, 2**30)
    prompts = sum(step.times * step.arguments[0].targets.shape[0] for step in steps)
    published = 21 * 8000 + 4229
    # The last batch of a task is filled up, and all have rows to spare for shorter prompts.
    assert published <= prompts <= 1.1 * published
    labels = {step.arguments[0].targets.shape[1] for step in steps}
    assert labels == {len(spec.labels) for spec in mceval8k.TASKS.values()}
    divided = works.features_of_mceval8k(lm, 100, 60, 4, 2**30)
    quarter = sum(step.times * step.arguments[0].targets.shape[0] for step in divided)
    assert quarter == pytest.approx(prompts / 4, rel=0.02)


def test_accelerators_take_more_at_once() -> None:
    lm = tiny("gated", context_length=512)
    few, many = (
        works.neurgrad(lm, 2000, 100, 2**33, at_once)[0].arguments[0].targets.shape[0]
        for at_once in (works.Tokens(gradient=4096), works.ACCELERATOR)
    )
    assert many == 4 * few
    small, large = (
        works.sweep(lm, 1, 9, np.zeros(9000, int), 2**33, at_once)[1].arguments[-1]
        for at_once in (works.Tokens(rows=512), works.ACCELERATOR)
    )
    assert (small, large) == (512, 4096)
