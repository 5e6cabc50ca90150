"""NEG and linearity: the zero-intercept least-squares line through an output's changes."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from negjax.checks import one_of, real_number, shift_list, shown
from negjax.errors import Argument, ArgumentError
from negjax.execution.asked_outputs import NAMED
from negjax.measurements.chebyshev import Response
from negjax.measurements.sweeps import Sweep
from negjax.records import readable
from negjax.tabular import Tabular

MOST_STEPS = 1_000_000
"""Of a grid, to either side of 0."""


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearFit(Tabular):
    """Lines through (x, Δoutput), x ≠ 0, of N neurons of B prompts."""

    column_names: ClassVar[Mapping[str, str | None]] = {"slope": "neg"}

    slope: Float[np.ndarray, "B N *K"]
    """NEG: output per unit of activation."""
    pearson: Float[np.ndarray, "B N *K"]
    """Linearity: Pearson r of the points; 0 where the change is constant."""
    largest_change: Float[np.ndarray, "B N *K"]
    """Largest |Δoutput| of the points."""
    shifts: Float[np.ndarray, " X"]
    """The points' x."""

    @property
    def polarity(self) -> Float[np.ndarray, "B N *K"]:
        """Sign of NEG."""
        result: np.ndarray = np.sign(self.slope)
        return result


def linear_fit(
    measured: Sweep | Response,
    shifts: ArrayLike | None = None,
    *,
    within: float | None = None,
    output: str | None = None,
) -> LinearFit:
    """NEG (slope) and Pearson r of a sweep, or of a response on a grid of shifts.

    Args:
        measured: what `sweep` or `response` returned.
        shifts: grid [X] on which a response is read; a sweep has its own.
        within: only shifts with |x| ≤ within.
        output: of a sweep, what is fitted; default: what it was asked for. A response has its own.

    Returns:
        slope and pearson, computed in float64.

    Raises:
        ValueError: shifts for a sweep, none for a response, fewer than two shifts ≠ 0 in range.
    """
    if not isinstance(measured, Sweep | Response):
        raise ValueError(f"measured is {shown(measured)}, expected what sweep or response returns")
    if within is not None:
        within = real_number(within, "within", above=0)
    if output is not None:
        one_of(output, "output", (*NAMED, measured.output))
    if isinstance(measured, Sweep):
        if shifts is not None:
            raise ValueError("a sweep has its own shifts; pass within= to use some of them")
        grid = measured.shifts.astype(np.float64)
        keep = _kept(grid, within)
        changes = measured.change(output)[..., keep]
    else:
        if shifts is None:
            raise ValueError(
                "a response is read on a grid: pass shifts=, e.g. paper_grid(2.0, 0.2)"
            )
        if output not in (None, measured.output):
            raise ValueError(f"the response is of the {measured.output}, not of the {output}")
        grid = shift_list(shifts, "shifts", np.dtype(np.float64))
        keep = _kept(grid, within)
        changes = measured.change(grid[keep])
    slope, pearson = fit_changes(grid[keep], changes)
    return LinearFit(
        slope=slope, pearson=pearson, largest_change=np.abs(changes).max(-1), shifts=grid[keep]
    )


def fit_changes(
    shifts: Float[np.ndarray, " X"], changes: Float[np.ndarray, "*axes X"]
) -> tuple[Float[Any, "*axes"], Float[Any, "*axes"]]:
    """Zero-intercept slope and Pearson r of changes at shifts; of one neuron's numbers.

    The line through the origin that minimises Σ (Δ - s x)² has s = Σ x Δ / Σ x².
    """
    x, y = shifts.astype(np.float64), changes.astype(np.float64)
    slope = y @ x / (x @ x)
    x_centred, y_centred = x - x.mean(), y - y.mean(-1, keepdims=True)
    scale = np.linalg.norm(x_centred) * np.linalg.norm(y_centred, axis=-1)
    constant = np.ptp(y, axis=-1) == 0
    pearson = np.divide(y_centred @ x_centred, scale, out=np.zeros_like(slope), where=~constant)
    return slope, np.clip(pearson, -1.0, 1.0)


def paper_grid(radius: float = 10.0, step: float = 0.2) -> Float[np.ndarray, " X"]:
    """Shifts ±step, …, ±radius, ascending, 0 left out.

    Raises:
        ValueError: a step that is not positive, a radius smaller than it, or more than
            `MOST_STEPS` steps a side.
    """
    radius = real_number(radius, "radius", above=0)
    step = real_number(step, "step", above=0)
    given = (Argument("step"), f" is {step:g} and ", Argument("radius"), f" {radius:g}: ")
    if step > radius:
        raise ArgumentError(*given, "expected 0 < step ≤ radius")
    if radius / step > MOST_STEPS:
        raise ArgumentError(*given, f"expected at most {MOST_STEPS:,} steps a side")
    up = step * np.arange(1, int(np.floor(radius / step * (1 + 1e-9))) + 1)
    return np.concatenate([-up[::-1], up])


def _kept(grid: np.ndarray, within: float | None) -> np.ndarray:
    keep = grid != 0
    if within is not None:
        keep &= np.abs(grid) <= within * (1 + 1e-6)
    if keep.sum() < 2:
        raise ValueError(
            f"fewer than two shifts other than 0 within ±{within}: {shown(grid.tolist())}"
        )
    result: np.ndarray = keep
    return result
