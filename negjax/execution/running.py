"""One function runs a kernel over probes in batches: split, memory, targets, precision, order.

A kernel is what a measurement computes of one batch: programs (jitted functions of arrays) of a
`Run`, which has the batch's arrays. How many prompts fit a budget is first a guess by formula
(`negjax.execution.batching.Sizes`). Where the guess is near the budget, the compiler is asked what
the program takes before it runs, and a batch that takes more is cut in two.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from negjax.execution.batching import STEPS, Split, split_probes
from negjax.execution.finite import check_finite
from negjax.execution.plans import Planned, target_groups
from negjax.inputs.probes import Probes
from negjax.model import meshes
from negjax.model.language_model import LanguageModel
from negjax.process import bars
from negjax.process.notices import say

NEAR = 0.5
"""Share of the budget from which on the compiler is asked. Estimates are 0.75 to 2.5 times what XLA
reports with JAX 0.10 and 0.12, so that less than half the budget cannot become more than all of it.
What is asked is what runs: asking costs no compilation unless the answer is too much."""

SHRINKS = 0.75
"""Where half the size takes more than this share of the whole, most of it are copies of weights,
which no size changes: then what grows alone is to keep to the budget."""

Size = TypeVar("Size")
Result = TypeVar("Result")


class Program(Protocol):
    """A jitted function of (graphdef, params, …)."""

    def __call__(self, *arguments: Any) -> Any:
        """Runs it."""

    def lower(self, *arguments: Any) -> jax.stages.Lowered:
        """What it is for arguments of these shapes, to be compiled."""


class TooLarge(Exception):  # noqa: N818 — no error: it says that a batch is to be cut.
    """A program would take more than the budget."""

    def __init__(self, program: Program, needed: int) -> None:
        super().__init__(f"{needed:,} bytes")
        self.program, self.needed = program, needed


def out_of_memory(error: BaseException) -> bool:
    """Whether memory of the host or of a device did not suffice."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def say_smaller() -> None:
    """Says that what did not fit is tried again in smaller parts."""
    say(
        "a batch took more memory than there is: it is run again in halves, which takes longer; a "
        "smaller budget_bytes avoids that"
    )


def run_program(lm: LanguageModel, program: Program, *arguments: Any) -> Any:
    """What a program says of a model and the arguments, at the model's precision."""
    with lm.numerics():
        return program(lm.graphdef, lm.params, *meshes.given(arguments, lm.mesh))


def needed_bytes(lm: LanguageModel, program: Program, *arguments: Any) -> int:
    """What the compiler says that a program takes besides the weights: temporaries, arguments and
    results; 0 where it says nothing.

    JAX keeps what it compiled by the shapes of the arguments: a call with the same shapes runs it.
    """
    with lm.numerics():
        arguments = meshes.given(arguments, lm.mesh)
        compiled = program.lower(lm.graphdef, lm.params, *arguments).compile()
    found = compiled.memory_analysis()
    if found is None:
        return 0
    weights = meshes.held_bytes(lm.params)
    # A program that does not read all weights is not given those it leaves alone.
    given = max(0, found.argument_size_in_bytes - weights)
    return int(found.temp_size_in_bytes + found.output_size_in_bytes + given)


def _unwatched(share: float) -> None:
    """Of a run that stands on no bar."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A batch of probes on its way through a model."""

    lm: LanguageModel
    batch: Planned
    split: Split
    """The arrays of its prompts, filled up, and of one group of their targets."""
    budget_bytes: int
    asked: Program | None = None
    """What it takes is asked, and it is not run."""
    reached: Callable[[float], None] = _unwatched
    """Takes the share of the run that is done, from 0 to 1, where a kernel has several calls."""

    def __call__(self, program: Program, *arguments: Any) -> Any:
        """Runs a program on the model and the arguments, at the model's precision.

        Raises:
            TooLarge: the batch is to be cut.
        """
        if program is self.asked:
            raise TooLarge(program, needed_bytes(self.lm, program, *arguments))
        if self.batch.rows > 1 and self._near and program not in self.batch.settled:
            needed = needed_bytes(self.lm, program, *arguments)
            if needed > self.budget_bytes:
                raise TooLarge(program, needed)
        return run_program(self.lm, program, *arguments)

    def largest_fitting(
        self, program: Program, sizes: Iterable[Size], arguments: Callable[[Size], Sequence[Any]]
    ) -> Size:
        """The first of some sizes with which a program keeps to the budget; or the last.

        Args:
            sizes: from the largest on, which is the planner's, each about half of the one before.
            arguments: of the program, for each size.
        """
        larger, took = None, 0
        for size in sizes:
            needed = needed_bytes(self.lm, program, *arguments(size)) if self._near else 0
            if needed <= self.budget_bytes:
                break
            if larger is not None and _mostly_weights(
                took, needed, 2 * (took - needed), self.budget_bytes
            ):
                return larger
            larger, took = size, needed
        return size

    @property
    def _near(self) -> bool:
        """Whether the batch may take more than the budget, as far as is known."""
        return self.batch.estimate >= NEAR * self.budget_bytes


def _mostly_weights(whole: int, half: int, grows: int, budget_bytes: int) -> bool:
    """Whether a size may stay: what grows with it fits, and most of what it takes does not grow.

    Args:
        whole, half: bytes that it takes, and that about half of it takes.
        grows: bytes of the whole that grow.
    """
    return half > SHRINKS * whole and grows <= budget_bytes


def side_by_side(parts: Sequence[Any], axis: int = 1) -> Any:
    """Results of several groups of targets as one, along K, which is axis `axis`."""
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *leaves: _joined(leaves, axis), *parts)


def _joined(leaves: Sequence[np.ndarray | jax.Array], axis: int) -> np.ndarray | jax.Array:
    if isinstance(leaves[0], np.ndarray):
        return np.concatenate(leaves, axis)
    return jnp.concatenate(leaves, axis)


def run_batches(
    lm: LanguageModel,
    probes: Probes,
    plan: Iterable[Planned],
    kernel: Callable[[Run], Result],
    *,
    budget_bytes: int,
    target: int | None = None,
    join: Callable[[Sequence[Result]], Result] = side_by_side,
    steps: int = STEPS,
    head: int = 0,
    pack: bool = False,
    rows_each: int = 1,
) -> Iterator[tuple[Planned, Result]]:
    """Runs a kernel over batches of probes: each with its result, filled-up rows included.

    Args:
        plan: batches, by the estimates of the planner.
        kernel: called once for each batch and group of targets.
        target: number of the one that is measured; None: all, joint ones one after the other.
        join: makes one result of those of the groups.
        steps, head, pack: as for `split_probes`.
        rows_each: rows that run for each prompt, which a bar counts.
    """
    todo = list(plan)[::-1]
    groups = target_groups(probes, target)
    together = meshes.prompts_apart(lm.mesh)
    # Rows one after the other belong to no prompt, along which devices could divide them.
    pack = pack and together == 1
    bar = bars.current()
    bar.expect(rows_each * sum(len(batch.members) for batch in todo))

    def results(batch: Planned, asked: Program | None = None) -> list[Result]:
        """The kernel's, for each group of targets."""
        parts: list[Result] = []
        before, rows = bar.done, rows_each * len(batch.members) / len(groups)
        for number, group in enumerate(groups):
            split = split_probes(
                lm.config,
                probes,
                batch.padded,
                group,
                steps=steps,
                head=head,
                pack=batch.packed or pack,
            )
            run = Run(
                lm=lm,
                batch=batch,
                split=meshes.by_prompt(split, lm.mesh),
                budget_bytes=budget_bytes,
                asked=asked,
                reached=functools.partial(bar.reach_share, before + number * rows, rows),
            )
            parts.append(kernel(run))
            run.reached(1)
        return parts

    def fits_but_for_weights(batch: Planned, answer: TooLarge) -> bool:
        """Whether what grows with the rows keeps to the budget, and the most is what does not."""
        half = batch.pieces(answer.needed)[0].filled_up_to(together)
        if half.rows == batch.rows:
            return False
        try:
            results(half, answer.program)
        except TooLarge as smaller:
            if smaller.program is not answer.program:
                return False
            each = (answer.needed - smaller.needed) / (batch.rows - half.rows)
            grows = int(batch.rows * each)
            return _mostly_weights(answer.needed, smaller.needed, grows, budget_bytes)
        return False

    while todo:
        batch = todo.pop()
        if batch.rows > 1:
            # One prompt alone is what some kernels are made for: all devices have it.
            batch = batch.filled_up_to(together)
        before = bar.done
        try:
            parts = results(batch)
        except TooLarge as answer:
            bar.reach(before)
            whole = fits_but_for_weights(batch, answer)
            bar.reach(before)
            todo += [batch.settle(answer.program)] if whole else batch.pieces(answer.needed)[::-1]
            continue
        except (MemoryError, RuntimeError) as error:
            # Other processes of a mesh would not know that this one begins again.
            final = batch.rows <= together or meshes.is_shared(lm.mesh)
            if final or not out_of_memory(error):
                raise
            say_smaller()
            bar.reach(before)
            todo += batch.pieces(batch.estimate)[::-1]
            continue
        yield batch, join(parts)


def in_order(
    lm: LanguageModel,
    count: int,
    batches: Iterable[tuple[Planned, Any]],
    what: Sequence[str | None] = (),
) -> Any:
    """Results of batches as arrays [count, …] in the order of the probes, checked.

    Args:
        what: of the first arrays of a result, what errors call them; None: it is not checked.

    Raises:
        ValueError: a result is not finite.
    """
    found: list[np.ndarray] = []
    structure = None
    for batch, result in batches:
        leaves, structure = jax.tree.flatten(result)
        arrays = [meshes.to_host(leaf)[: len(batch.members)] for leaf in leaves]
        found = found or [np.empty((count, *array.shape[1:]), array.dtype) for array in arrays]
        for out, array in zip(found, arrays, strict=True):
            out[batch.members] = array
    for name, array in zip(what, found, strict=False):
        if name is not None:
            check_finite(lm, name, array)
    assert structure is not None
    return jax.tree.unflatten(structure, found)
