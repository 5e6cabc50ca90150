"""Batches of gradients on the device: the program, and what is made of its results."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float, Int

from negjax.execution import batching
from negjax.execution.asked_outputs import (
    DIFFERENCE,
    TARGET_OUTPUTS,
    base_output,
    output_name,
    whole_output,
)
from negjax.execution.batching import KEPT_TOKENS, Split
from negjax.execution.common_heads import HeadGroup, run_groups
from negjax.execution.conventions import Convention, sign
from negjax.execution.finite import check_finite
from negjax.execution.running import Run, run_batches, side_by_side
from negjax.inputs.positions import span_and_count
from negjax.inputs.probes import Probes
from negjax.inputs.residual_directions import Directions
from negjax.measurements.gradient_plans import FEW_STEPS, gradient_plan
from negjax.model.config import PLACES, SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.model.transformer import linearise
from negjax.process import bars
from negjax.replay.outputs import AnyOutput, WholeOutput
from negjax.replay.shifted_suffixes import pull_back
from negjax.replay.suffixes import CommonHead, Pass, experts_at, run, take_scored
from negjax.replay.targets import Output, target_derivatives
from negjax.replay.written_blocks import states_at

Over = Literal["sum", "mean", "largest"]
"""What is kept of gradients at several positions: their sum, the derivative by a shift at all of
them; their mean; the one of largest size."""


class Found(NamedTuple):
    """What is found of P prompts, at A positions: all Q, or 1 where they were made one."""

    probability: Float[jax.Array, "P K"]
    activation: Float[jax.Array, "P A L entries"]
    gradient: Float[jax.Array, "P O A L entries"]
    experts: Int[jax.Array, "P Q L k"] | None
    """That the positions' tokens pass; None in models without."""
    signed: Float[jax.Array, "P O A L entries"] | None = None
    """Over positions, NeurGrad, of which each position has its own sign."""


def device_batches(
    lm: LanguageModel,
    probes: Probes,
    groups: Iterator[tuple[HeadGroup, CommonHead | None]],
    *,
    site: SiteOrPlace,
    output: AnyOutput,
    linearised: bool = False,
    few_shapes: bool = False,
    over: Over | None = None,
    lowest: int | None = None,
    budget_bytes: int,
) -> Iterator[tuple[Int[np.ndarray, " n"], Found]]:
    """Batches of gradients, in an order of their own: numbers of the prompts, and what was found.

    Arguments are those of `gradient_batches`, and:

    Args:
        lowest: layer of which gradients are asked for; of those below they are left at 0.
    """
    bottom = None if lowest is None else jnp.asarray(lowest, jnp.int32)
    # A difference of two logits is made of both's gradients.
    own = base_output(output) or whole_output(output) or "logit"
    for group, head in groups:

        def kernel(run: Run, head: CommonHead | None = head) -> Found:
            arguments = run.split, site, own, linearised, head, over, bottom
            found: Found = run(gradient_program, *arguments)
            return found

        for batch, found in run_batches(
            lm,
            probes,
            gradient_plan(lm, probes, group, budget_bytes, few_shapes=few_shapes),
            kernel,
            join=_of_all_targets,
            steps=FEW_STEPS if few_shapes else batching.STEPS,
            head=group.head,
            pack=not few_shapes,
            budget_bytes=budget_bytes,
        ):
            if output == DIFFERENCE:
                found = _difference(found)
            elif output not in TARGET_OUTPUTS and found.gradient.shape[1] > 1:
                # Where a prompt is read, its targets' tokens play no part: all found the same.
                found = found._replace(
                    gradient=found.gradient[:, :1],
                    signed=None if found.signed is None else found.signed[:, :1],
                )
            count = len(batch.members)
            check_finite(
                lm, f"gradient of {output_name(output)}", _soundness(found)[:count], batch.members
            )
            yield batch.members, found if few_shapes else _first(found, count)


def _difference(found: Found) -> Found:
    """The first target's less the second's."""
    signed = None if found.signed is None else found.signed[:, :1] - found.signed[:, 1:]
    return found._replace(gradient=found.gradient[:, :1] - found.gradient[:, 1:], signed=signed)


def _first(found: Found, count: int) -> Found:
    """Of so many of the prompts."""
    result: Found = jax.tree.map(lambda leaf: leaf[:count], found)
    return result


def _of_all_targets(parts: Sequence[Found]) -> Found:
    """What was found for groups of targets, each with its own K, as one."""
    probability, gradient, signed = side_by_side(
        [(part.probability, part.gradient, part.signed) for part in parts]
    )
    return parts[0]._replace(probability=probability, gradient=gradient, signed=signed)


@jax.jit
def _soundness(found: Found) -> jax.Array:
    """[P], 0, or NaN where a prompt's results are not finite."""
    sound = [jnp.isfinite(x).all(tuple(range(1, x.ndim))) for x in found[:3]]
    return jnp.where(jnp.stack(sound).all(0), 0.0, jnp.nan)


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5, 7))
def gradient_program(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    site: SiteOrPlace,
    output: Output | WholeOutput,
    linearised: bool,
    head: CommonHead | None,
    over: Over | None = None,
    lowest: Int[jax.Array, ""] | None = None,
) -> Found:
    """The program behind `neurgrad`, of a batch and, where there is one, its common head."""
    model = nnx.merge(graphdef, params)
    before = split.prefix_tokens, split.prefix_mask
    # Products of all tokens of a whole prompt would be too much to keep.
    keep = split.prefix_tokens is not None and split.suffix.tokens.shape[1] <= KEPT_TOKENS
    passed = run(model, *before, split.suffix, head, split.packing, keep_products=keep)
    if linearised:
        model = linearise(graphdef, params)

    def read(resid: jax.Array) -> jax.Array:
        result: jax.Array = model.head.features(
            take_scored(resid, split.suffix, split.targets.shape[2])
        )
        return result

    features, pull = jax.vjp(read, passed.resid)
    log_probability, slopes = target_derivatives(model, features, split.targets, split.real, output)
    # Prompts do not interact: one cotangent a target serves all prompts at once.
    (cotangents,) = jax.vmap(pull)(slopes)
    fold = None if over is None else functools.partial(_folded, passed, split, site, over)
    found = pull_back(model, passed, split.suffix, cotangents, site, head, fold, lowest)
    gradient, signed = (found, None) if over is None else found
    activation = _states(passed, split, site).transpose(1, 2, 0, 3)
    if over is not None:
        activation = _over(activation, _there(split)[..., None], "mean", axis=1)
    experts = experts_at(passed.trace, split.suffix)
    return Found(
        probability=jnp.exp(log_probability[:, 0]),
        activation=activation,
        gradient=gradient.transpose(2, 1, 3, 0, 4),
        experts=None if experts is None else experts.swapaxes(1, 2),
        signed=None if signed is None else signed.transpose(2, 1, 3, 0, 4),
    )


def _states(passed: Pass, split: Split, site: SiteOrPlace) -> Float[jax.Array, "L P Q entries"]:
    """Activations of a site, F of them; of a place, the residuals that its writes join, D."""
    if site in PLACES:
        return states_at(passed.trace, passed.resid, split.suffix, site)
    return passed.trace.at_positions[site]


def _there(split: Split) -> Bool[jax.Array, "P Q 1"]:
    """Whether a prompt has so many positions."""
    return (split.suffix.at < split.suffix.tokens.shape[1])[..., None]


def _folded(
    passed: Pass, split: Split, site: SiteOrPlace, over: Over, layer: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Of a layer's gradients [K, P, Q, F], and of them by sign, over positions: [K, P, 1, F]."""
    activation = _states(passed, split, site)[layer]
    signed = jnp.where(activation > 0, gradient, -gradient)
    both = (_over(x, _there(split), over, axis=2) for x in (gradient, signed))
    return next(both), next(both)


def _over(values: jax.Array, there: jax.Array, over: Over, axis: int) -> jax.Array:
    values = jnp.where(there, values, 0)
    if over == "largest":
        at = jnp.abs(values).argmax(axis, keepdims=True)
        return jnp.take_along_axis(values, at, axis)
    total = values.sum(axis, keepdims=True)
    if over == "sum":
        return total
    count = jnp.broadcast_to(there, values.shape).sum(axis, keepdims=True)
    return total / count


def derivatives_along(
    lm: LanguageModel,
    probes: Probes,
    neurons: Int[np.ndarray, "B N 2"],
    convention: Convention,
    site: SiteOrPlace,
    *,
    directions: Directions | None = None,
    output: AnyOutput,
    budget_bytes: int,
) -> Float[np.ndarray, "B N"]:
    """Derivatives of one target's output by a shift of each neuron, at all its positions together.

    Args:
        neurons: (layer, index).
        directions: that are shifted instead of neurons.
    """
    over: Over | None = "sum" if span_and_count(probes)[1] > 1 else None
    found = np.empty(neurons.shape[:2])
    layers = neurons[..., 0] if directions is None else directions.layer
    batches = device_batches(
        lm,
        probes,
        run_groups(lm, probes, None),
        site=site,
        output=output,
        over=over,
        lowest=int(layers.min(initial=lm.config.layers - 1)),
        budget_bytes=budget_bytes,
    )
    with bars.counted(len(probes)):
        # What is known of all neurons stays on the device; only those asked for leave it.
        for index, batch in batches:
            if directions is not None:
                by_layer = to_host(batch.gradient[:, 0, 0])
                found[index] = along_layers(by_layer, directions.layer, directions.vectors)
                continue
            layer, neuron = np.moveaxis(neurons[index], -1, 0)
            at = np.arange(len(index))[:, None]
            gradient = batch.gradient
            if convention == "signed" and batch.signed is not None:
                gradient = batch.signed
            slope = to_host(gradient[at, 0, 0, layer, neuron])
            if convention == "signed" and batch.signed is None:
                slope = slope * sign(to_host(batch.activation[at, 0, layer, neuron]))
            found[index] = slope
    return found


def along_layers(
    states: Float[np.ndarray, "*axes L D"],
    layer: Int[np.ndarray, " N"],
    vectors: Float[np.ndarray, "N D"],
) -> Float[np.ndarray, "*axes N"]:
    """Products of each direction with what stands in its layer."""
    result = np.empty((*states.shape[:-2], len(layer)))
    for number in np.unique(layer):
        chosen = layer == number
        result[..., chosen] = states[..., number, :] @ vectors[chosen].T
    return result
