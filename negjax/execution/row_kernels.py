"""Measurements of rows under interventions, as programs."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
from flax import nnx

from negjax.execution.batching import Split
from negjax.execution.row_plans import Cost
from negjax.execution.running import Program
from negjax.model.config import SiteOrPlace
from negjax.replay.outputs import WholeOutput, read_values
from negjax.replay.readout import Scores, read_rows
from negjax.replay.rows import Rows, rise, sweep_rows, used_chunks
from negjax.replay.suffixes import Pass, layer_count, stacked_blocks, take_read


class Kernel(NamedTuple):
    """A measurement of rows."""

    measure: Program
    """Of (graphdef, params, split, passed, rows, site, chunk): a pytree of [P, R, …]."""
    cost: Cost = Cost()


def _sweep(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    passed: Pass,
    rows: Rows,
    site: SiteOrPlace,
    chunk: int,
    *,
    spread: bool,
) -> Scores[jax.Array]:
    return sweep_rows(
        nnx.merge(graphdef, params),
        passed.prefix,
        split.suffix,
        passed.trace,
        rows,
        split.targets,
        split.real,
        site=site,
        chunk=chunk,
        unperturbed=take_read(passed.resid[:, 0], split.suffix),
        spread=spread,
    )


@functools.partial(jax.jit, static_argnums=(0, 5, 6, 7, 8))
def _sweep_valued(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    passed: Pass,
    rows: Rows,
    site: SiteOrPlace,
    chunk: int,
    spread: bool,
    output: WholeOutput,
) -> tuple[Scores[jax.Array], jax.Array]:
    """Scores of every row, and an output [P, R, O] that is made of its whole distribution."""
    model = nnx.merge(graphdef, params)
    length = split.targets.shape[2]
    resid = rise(
        model, passed.prefix, split.suffix, passed.trace, rows, length, site=site, chunk=chunk
    )
    chunks = used_chunks(rows, layer_count(stacked_blocks(model)[1]), chunk)
    asked = split.targets, split.real, chunks, chunk
    before = take_read(passed.resid[:, 0], split.suffix) if spread else None
    values = read_values(model, resid, *asked, output)
    return read_rows(model, resid, *asked, before), values


@dataclasses.dataclass(frozen=True)
class _Given:
    """A program with its last, static arguments given."""

    program: Program
    last: tuple[Any, ...]

    def __call__(self, *arguments: Any) -> Any:
        return self.program(*arguments, *self.last)

    def lower(self, *arguments: Any) -> jax.stages.Lowered:
        """As of the program."""
        return self.program.lower(*arguments, *self.last)


def _jitted_sweep(*, spread: bool) -> Program:
    return jax.jit(functools.partial(_sweep, spread=spread), static_argnums=(0, 5, 6))


SWEEP = Kernel(_jitted_sweep(spread=False), Cost(sweep=True))
"""`Scores` of every row."""
SPREAD = Kernel(_jitted_sweep(spread=True), Cost(sweep=True))
"""The same, with the spread."""


def valued(output: WholeOutput, *, spread: bool) -> Kernel:
    """`Scores` of every row, with the spread if asked, and an output of its whole distribution."""
    return Kernel(with_last(_sweep_valued, spread, output))


def with_last(program: Program, *last: Any) -> Program:
    """A program with its last arguments, which are static, given."""
    return _Given(program, last)
