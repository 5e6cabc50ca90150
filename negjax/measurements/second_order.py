"""Curvature along a neuron, and how far the line through its gradient can be trusted."""

import dataclasses
import functools
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from negjax.checks import one_of, real_number, real_numbers
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.interventions import Kernel, grid_rows, measure_rows
from negjax.execution.row_plans import Cost
from negjax.inputs.neurons import check_neurons
from negjax.inputs.probes import Probes, check_asked, check_target
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.records import PerPrompt, readable
from negjax.replay.readout import Scores
from negjax.replay.rows import Rows, sweep_rows
from negjax.replay.suffixes import Pass
from negjax.replay.targets import Output


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Curvature(PerPrompt):
    """First and second derivative of an output along each of N neurons of B prompts.

    With respect to the activation. Under the `signed` convention the first is to be multiplied by
    s(a); the second is the same.
    """

    site: Site
    output: Output
    neurons: Int[np.ndarray, "B N 2"]
    """(layer, index)."""
    activation: Float[np.ndarray, "B N"]
    """Unperturbed."""
    first: Float[np.ndarray, "B N"]
    """Output per unit of activation."""
    second: Float[np.ndarray, "B N"]
    """Output per unit of activation squared."""
    routed: Bool[np.ndarray, "B N"] | None = None
    """Whether the token passes the neuron's expert; where it does not, all is 0. None in models
    without experts."""


def curvature(
    lm: LanguageModel,
    probes: Probes,
    neurons: ArrayLike,
    site: str | None = None,
    *,
    output: Output = "probability",
    target: int | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Curvature:
    """First and second derivative of the target's output along each neuron, at no shift.

    A jvp of the jvp of a sweep's rows, which enter the network at their neuron's layer: about four
    times the price of one shift.

    Args:
        neurons: [N, 2], or [B, N, 2] for each prompt its own; (layer, index).
        site: `act`, `up` or `product`; None is the model's default.
        target: which of the K targets; may be left out if there is one.

    Raises:
        ValueError: bad neurons, site, output or target, by name.
    """
    check_asked(lm, probes)
    target = check_target(probes, target)
    neurons = check_neurons(lm.config, neurons, len(probes))
    one_of(output, "output", get_args(Output))
    at_read, found = measure_rows(
        lm,
        probes,
        grid_rows(neurons, np.zeros((*neurons.shape[:2], 1))),
        "additive",
        site,
        # Value, two tangents and the tangent of a tangent.
        Kernel(_second_order, Cost(waiting=4, active=4)),
        target=target,
        budget_bytes=budget_bytes,
    )
    first, second = _derivatives(output, *found)
    return Curvature(
        site=lm.config.site(site),
        output=output,
        neurons=neurons,
        activation=at_read.activation,
        routed=at_read.routed,
        first=first,
        second=second,
    )


@functools.partial(jax.jit, static_argnums=(0, 5, 6))
def _second_order(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    passed: Pass,
    rows: Rows,
    site: Site,
    chunk: int,
) -> tuple[Scores[jax.Array], Scores[jax.Array], Scores[jax.Array]]:
    """Scores [P, R, 1], their first and their second derivatives by each row's shift."""
    model = nnx.merge(graphdef, params)

    def scores(step: jax.Array) -> Scores[jax.Array]:
        # Rows do not interact: one step moves all of them at once.
        return sweep_rows(
            model,
            passed.prefix,
            split.suffix,
            passed.trace,
            rows._replace(delta=rows.delta + step),
            split.targets,
            split.real,
            site=site,
            chunk=chunk,
        )

    zero, one = jnp.zeros((), rows.delta.dtype), jnp.ones((), rows.delta.dtype)
    along = functools.partial(jax.jvp, scores, tangents=(one,))
    (values, first), (_, second) = jax.jvp(lambda step: along((step,)), (zero,), (one,))
    return values, first, second


def _derivatives(
    output: Output,
    values: Scores[np.ndarray],
    first: Scores[np.ndarray],
    second: Scores[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative [B, N]: of P = exp(q), P' = P q' and P'' = P (q'' + q'²)."""
    if output == "logit":
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
