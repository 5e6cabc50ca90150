"""Curvature along a neuron, and how far the line through its gradient can be trusted."""

import dataclasses
import functools
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from negjax.checks import real_number, real_numbers
from negjax.execution.asked_outputs import (
    DIFFERENCE,
    asked_target,
    check_output,
    output_name,
    whole_output,
)
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.interventions import grid_rows, measure_rows
from negjax.execution.row_kernels import Kernel, with_last
from negjax.execution.row_plans import Cost
from negjax.inputs.directed import asked_neurons
from negjax.inputs.probes import Probes, check_asked
from negjax.inputs.residual_directions import Directions
from negjax.model.config import SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.process.bars import with_bar
from negjax.records import readable
from negjax.replay.outputs import AnyOutput, WholeOutput, read_values
from negjax.replay.rows import Rows, rise, sweep_rows
from negjax.replay.suffixes import Pass
from negjax.tabular import Tabular

Array = TypeVar("Array")


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Curvature(Tabular):
    """First and second derivative of an output along each of N neurons of B prompts.

    With respect to the activation. Under the `signed` convention the first is to be multiplied by
    s(a); the second is the same.
    """

    site: SiteOrPlace
    output: str
    """Its name."""
    neurons: Int[np.ndarray, "B N 2"]
    """(layer, index)."""
    activation: Float[np.ndarray, "B N"]
    """Unperturbed; of a direction v, x·v / |v|² of the residual x at its place: the one entering
    the layer, between attention and feed-forward (`attention_out`), or leaving."""
    first: Float[np.ndarray, "B N"]
    """Output per unit of activation."""
    second: Float[np.ndarray, "B N"]
    """Output per unit of activation squared."""
    routed: Bool[np.ndarray, "B N"] | None = None
    """Whether the token passes the neuron's expert; where it does not, all is 0. None in models
    without experts."""
    directions: Directions | None = None
    """Given, they were shifted, and `neurons` are (layer, number) of them, `site` their place."""


@with_bar
def curvature(
    lm: LanguageModel,
    probes: Probes,
    neurons: ArrayLike | Directions,
    site: str | None = None,
    *,
    output: AnyOutput = "probability",
    target: int | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Curvature:
    """First and second derivative of the target's output along each neuron, at no shift.

    A jvp of the jvp of a sweep's rows, which enter the network at their neuron's layer: about four
    times the price of one shift.

    Args:
        neurons: [N, 2], or [B, N, 2] for each prompt its own; (layer, index). Or `directions`,
            which have no site.
        site: `act`, `up` or `product`; None is the model's default.
        target: which of the K targets; may be left out if there is one.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: bad neurons, site, output or target, by name.
    """
    check_asked(lm, probes)
    check_output(lm, probes, output, slope=True)
    number, own = asked_target(probes, output, target), whole_output(output)
    neurons, chosen, directions = asked_neurons(lm, neurons, len(probes), site)
    at_read, found = measure_rows(
        lm,
        probes,
        grid_rows(neurons, np.zeros((*neurons.shape[:2], 1))),
        "additive",
        chosen,
        # Value, two tangents and the tangent of a tangent.
        Kernel(with_last(_second_order, own), Cost(waiting=4, active=4)),
        directions=directions,
        target=number,
        budget_bytes=budget_bytes,
    )
    first, second = _derivatives(output, *found)
    return Curvature(
        site=chosen,
        output=output_name(output),
        neurons=neurons,
        activation=at_read.activation,
        routed=at_read.routed,
        directions=directions,
        first=first,
        second=second,
    )


class _Outputs(NamedTuple, Generic[Array]):
    """Of rows: log-probability and logit of targets, or in both places another output."""

    log_probability: Float[Array, "P R O"]
    logit: Float[Array, "P R O"]


@functools.partial(jax.jit, static_argnums=(0, 5, 6, 7))
def _second_order(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    passed: Pass,
    rows: Rows,
    site: SiteOrPlace,
    chunk: int,
    output: WholeOutput | None,
) -> tuple[_Outputs[jax.Array], _Outputs[jax.Array], _Outputs[jax.Array]]:
    """Outputs of rows, their first and their second derivatives by each row's shift."""
    model = nnx.merge(graphdef, params)

    def scores(step: jax.Array) -> _Outputs[jax.Array]:
        # Rows do not interact: one step moves all of them at once.
        moved = rows._replace(delta=rows.delta + step)
        ways = model, passed.prefix, split.suffix, passed.trace, moved
        asked = split.targets, split.real
        if output is None:
            found = sweep_rows(*ways, *asked, site=site, chunk=chunk)
            return _Outputs(found.log_probability, found.logit)
        resid = rise(*ways, split.targets.shape[2], site=site, chunk=chunk)
        chunks = rows.layer.shape[1] // chunk
        value = read_values(model, resid, *asked, chunks, chunk, output)
        return _Outputs(value, value)

    zero, one = jnp.zeros((), rows.delta.dtype), jnp.ones((), rows.delta.dtype)
    along = functools.partial(jax.jvp, scores, tangents=(one,))
    (values, first), (_, second) = jax.jvp(lambda step: along((step,)), (zero,), (one,))
    return values, first, second


def _derivatives(
    output: AnyOutput,
    values: _Outputs[np.ndarray],
    first: _Outputs[np.ndarray],
    second: _Outputs[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative [B, N]: of P = exp(q), P' = P q' and P'' = P (q'' + q'²)."""
    if output == DIFFERENCE:
        ways = (x.logit[..., 0] - x.logit[..., 1] for x in (first, second))
        return np.asarray(next(ways)), np.asarray(next(ways))
    if output not in ("probability", "log_probability"):
        return np.asarray(first.logit[..., 0]), np.asarray(second.logit[..., 0])
    q, slope, bend = (
        np.asarray(scores.log_probability[..., 0]) for scores in (values, first, second)
    )
    if output == "log_probability":
        return slope, bend
    return np.exp(q) * slope, np.exp(q) * (bend + slope**2)


def linear_range(
    first: ArrayLike, second: ArrayLike, tolerance: float
) -> Float[np.ndarray, "*axes"]:
    """Predicted largest |x| up to which the output's change is linear in the shift x.

    Linear: the quadratic term of the change is at most `tolerance` times the linear one,

        |½ f'' x²| ≤ τ |f' x|   ⇔   |x| ≤ 2 τ |f'| / |f''|.

    Args:
        first, second: [...], derivatives at no shift, as `curvature` returns them.
        tolerance: τ, a share of the change.

    Returns:
        in units of the activation, of the derivatives' shape; infinite where f'' is 0.

    Raises:
        ValueError: a tolerance that is not positive and finite, derivatives that are no numbers or
            of different shapes.
    """
    tolerance = real_number(tolerance, "tolerance", above=0)
    shapes = []
    for x, name in ((first, "first"), (second, "second")):
        values = real_numbers(x, name)
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name} holds {values[~np.isfinite(values)].flat[0]}, expected finite derivatives"
            )
        shapes.append(values.shape)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"first is {list(shapes[0])} and second {list(shapes[1])}, expected the same shape"
        )
    slope, bend = np.abs(np.asarray(first)), np.abs(np.asarray(second))
    dtype = np.result_type(slope, bend)
    everywhere = np.full(shapes[0], np.inf, dtype)
    result: np.ndarray = np.divide(2 * tolerance * slope, bend, out=everywhere, where=bend > 0)
    return result
