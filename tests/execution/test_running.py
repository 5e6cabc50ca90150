"""Batches go through a kernel within their budget: what programs take is asked of the compiler.

What is tested are bounds, whatever XLA's version makes of a program: no program takes more than the
budget, and the largest takes a good part of it.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Sizes, smaller_buckets, split_probes
from negjax.execution.passes import activations
from negjax.execution.plans import Planned, sizes_at
from negjax.execution.running import Program, Run, in_order, needed_bytes, run_batches
from negjax.inputs.neurons import random_neurons
from negjax.inputs.probes import Probes
from negjax.measurements.gradients import neurgrad
from negjax.measurements.sweeps import sweep
from negjax.measurements.token_effects import effects
from negjax.model.language_model import LanguageModel
from negjax.process import memory
from tests.support.block_shapes import error, tiny

# What a program takes is asked of the compiler as users run it.
pytestmark = pytest.mark.optimised

# Models large enough that prompts and rows take more than copies of a layer's weights do.
LARGER: dict[str, Any] = {"layers": 6, "width": 128, "neurons": 512, "heads": 8, "head_width": 16}
LARGER |= {"kv_heads": 4, "vocab_size": 4096, "context_length": 4096}
# Of the budget, what is used at least: an estimate adds up what is not always there at once, up to
# 2.5 times as much as was seen, and a batch that would not fit is cut in two.
SHARE = 0.25


def tokens_of(
    lm: LanguageModel, prompts: int, length: int, targets: int = 1, head: int = 0
) -> Probes:
    """Prompts of `head` tokens in common and `length` more, with targets of one token."""
    generator = np.random.default_rng(length)
    tokens = generator.integers(2, lm.config.vocab_size, (prompts, head + length))
    tokens[:, :head] = tokens[0, :head]
    if not lm.config.causal:
        tokens[:, -1] = 1
    ids = np.broadcast_to(np.arange(2, 2 + targets)[:, None], (prompts, targets, 1))
    return Probes(
        prompts=tuple(map(str, range(prompts))),
        targets=(tuple(map(str, range(targets))),) * prompts,
        tokens=tokens,
        mask=np.ones_like(tokens, bool),
        read=np.full(prompts, head + length - 1),
        target_ids=ids,
        target_mask=np.ones_like(ids, bool),
        mask_id=None if lm.config.causal else 1,
    )


def taken(monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]) -> list[int]:
    """Bytes of every program that a call runs, besides the weights."""
    found: list[int] = []
    run = Run.__call__

    def recorded(self: Run, program: Program, *arguments: Any) -> Any:
        result = run(self, program, *arguments)
        found.append(needed_bytes(self.lm, program, *arguments))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Run, "__call__", recorded)
        call()
    return found


def assert_bounded(found: list[int], budget: int, share: float = SHARE) -> None:
    """The budget is kept to, and used."""
    assert share * budget <= max(found) <= budget


@pytest.mark.parametrize(
    ("shape", "prompts", "length", "targets", "head"),
    [
        ("gated", 16, 96, 1, 0),
        ("gated", 16, 96, 4, 0),
        ("gated", 48, 24, 4, 0),
        ("gated", 12, 32, 4, 384),
        ("experts", 16, 96, 1, 0),
        ("experts", 48, 24, 4, 0),
        ("bert", 16, 96, 1, 0),
        ("bert", 48, 24, 4, 0),
    ],
)
def test_gradients_keep_to_their_budget(shape, prompts, length, targets, head, monkeypatch):
    lm = tiny(shape, **LARGER)
    # Half as many prompts again as there is room for, as far as is estimated.
    probes = tokens_of(lm, prompts * 3 // 2, length, targets, head)
    budget = prompts * sizes_at(lm, length, targets=targets, head=head).pull_back_bytes
    assert_bounded(taken(monkeypatch, lambda: neurgrad(lm, probes, budget_bytes=budget)), budget)


@pytest.mark.parametrize("shape", ["gated", "bert", "experts"])
@pytest.mark.parametrize(("prompts", "length"), [(16, 96), (48, 24)])
def test_passes_keep_to_their_budget(shape, prompts, length, monkeypatch):
    lm = tiny(shape, **LARGER)
    probes = tokens_of(lm, prompts * 3 // 2, length)
    budget = 2 * prompts * sizes_at(lm, length).prefix_bytes
    found = taken(monkeypatch, lambda: activations(lm, probes, budget_bytes=budget))
    # Half of it is not for the pass.
    assert_bounded(found, budget, SHARE / 2)


# Of the last, rows are so many that tails are made, when no row is in a layer.
@pytest.mark.parametrize(
    ("shape", "length", "neurons", "width", "mib"),
    [
        ("gated", 96, 200, 128, 16),
        ("gated", 24, 60, 128, 4),
        ("bert", 48, 30, 128, 64),
        ("gated", 24, 500, 512, 100),
        ("experts", 96, 200, 128, 16),
    ],
)
def test_sweeps_keep_to_their_budget(shape, length, neurons, width, mib, monkeypatch):
    lm = tiny(shape, **LARGER | {"width": width})
    probes, budget = tokens_of(lm, 2, length), mib * 2**20
    chosen, shifts = random_neurons(lm.config, neurons, 2, 0), np.linspace(-1, 1, 10)
    found = taken(monkeypatch, lambda: sweep(lm, probes, chosen, shifts, budget_bytes=budget))
    # A quarter each is for the rows being computed and for those that wait. Programs of JAX 0.8
    # keep fewer copies: a tenth of the budget is the least that was seen.
    assert_bounded(found, budget, SHARE / 3)


@pytest.mark.parametrize("shape", ["gated", "bert", "experts"])
@pytest.mark.parametrize("length", [24, 96])
def test_effects_keep_to_their_budget(shape, length, monkeypatch):
    lm = tiny(shape, **LARGER)
    sizes = sizes_at(lm, length)
    budget = sizes.prefix_bytes + 64 * sizes.effects_bytes
    probes, neurons = tokens_of(lm, 1, length), random_neurons(lm.config, 100, 1, 0)
    found = taken(monkeypatch, lambda: effects(lm, probes, neurons, budget_bytes=budget))
    assert_bounded(found, budget)


def test_estimates_that_are_too_small_do_no_harm(monkeypatch):
    """The compiler knows better: what would take three times the budget is cut until it fits."""
    lm = tiny("gated", **LARGER)
    probes = tokens_of(lm, 12, 48, 4)
    expected = neurgrad(lm, probes)
    budget = 4 * sizes_at(lm, 48, targets=4).pull_back_bytes
    real = Sizes.__dict__["pull_back_bytes"]
    quarter = property(lambda sizes: real.fget(sizes) // 4)
    monkeypatch.setattr(Sizes, "pull_back_bytes", quarter)
    found = []
    used = taken(monkeypatch, lambda: found.append(neurgrad(lm, probes, budget_bytes=budget)))
    assert_bounded(used, budget)
    assert len(used) > 1
    assert error(found[0].computed, expected.computed) < 1e-5
    assert error(found[0].probability, expected.probability) < 1e-5


def test_asking_compiles_nothing_twice():
    """What was asked is what runs."""
    lm = tiny("gated", **LARGER)
    probes = tokens_of(lm, 4, 24, 2)
    near = 6 * sizes_at(lm, 24, targets=2).pull_back_bytes
    counts = []
    for budget in (DEFAULT_BUDGET_BYTES, near):
        jax.clear_caches()
        with compilations() as events:
            neurgrad(lm, probes, budget_bytes=budget)
        counts.append(len(events))
    assert counts[0] == counts[1] > 0


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """What JAX compiles meanwhile, or reads from its cache on disk."""
    events: list[str] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == memory.COMPILED:
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield events
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@dataclasses.dataclass
class Pretended:
    """A program that takes as many bytes as is said, of a batch of rows."""

    each: int
    fixed: int = 0
    silent: bool = False
    """Nothing is known of what it takes, as with some kinds of devices."""
    ran: list[int] = dataclasses.field(default_factory=list)

    def __call__(self, *arguments: Any) -> np.ndarray:
        self.ran.append(len(arguments[2]))
        return np.asarray(arguments[2])

    def lower(self, *arguments: Any) -> Any:
        size = self.fixed + self.each * len(arguments[2])
        analysis = SimpleNamespace(
            temp_size_in_bytes=size, output_size_in_bytes=0, argument_size_in_bytes=0
        )
        compiled = SimpleNamespace(memory_analysis=lambda: None if self.silent else analysis)
        return SimpleNamespace(compile=lambda: compiled)


@pytest.mark.parametrize(
    ("program", "estimate", "ran"),
    [
        # Expected to fit, and fitting.
        (Pretended(each=10), 60, [6, 6]),
        # Nobody asks where much less than the budget is expected.
        (Pretended(each=1000), 49, [6, 6]),
        # Too much once, and twice.
        (Pretended(each=30), 60, [3] * 4),
        (Pretended(each=60), 60, [1] * 10),
        # One prompt alone is run, whatever it takes.
        (Pretended(each=200), 60, [1] * 10),
        # Copies of weights are no reason to have fewer rows; what grows with the rows is one.
        (Pretended(each=1, fixed=1000), 60, [6, 6]),
        (Pretended(each=30, fixed=1000), 60, [3] * 4),
        (Pretended(each=1000, silent=True), 60, [6, 6]),
    ],
)
def test_batches_are_cut_while_they_take_too_much(program, estimate, ran):
    lm = tiny("gated")
    probes = tokens_of(lm, 10, 4)
    plan = [
        Planned(members=np.arange(6), rows=6, estimate=estimate),
        Planned(members=np.arange(6, 10), rows=6, estimate=estimate),
    ]
    batches = run_batches(
        lm, probes, plan, lambda run: run(program, run.batch.padded), target=0, budget_bytes=100
    )
    assert in_order(lm, 10, batches).tolist() == list(range(10))
    assert program.ran == ran


@pytest.mark.parametrize(
    ("each", "fixed", "chosen"),
    [(10, 0, 8), (20, 0, 4), (60, 0, 1), (300, 0, 1), (1, 200, 8), (30, 300, 2)],
)
def test_sizes_are_tried_until_one_fits(each, fixed, chosen):
    lm = tiny("gated")
    split = split_probes(lm.config, tokens_of(lm, 1, 4), np.asarray([0]))
    run = Run(
        lm=lm,
        batch=Planned(members=np.arange(1), rows=1, estimate=60),
        split=split,
        budget_bytes=100,
    )
    program = Pretended(each, fixed)
    found = run.largest_fitting(program, smaller_buckets(8), lambda rows: (np.zeros(rows),))
    assert found == chosen and program.ran == []
