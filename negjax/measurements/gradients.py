"""Derivatives by every neuron, CG and NeurGrad, by vjp."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float, Int

from negjax.checks import flag, one_of, whole_number
from negjax.execution import batching
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.common_heads import HeadGroup, padded_head, run_groups
from negjax.execution.conventions import sign
from negjax.execution.finite import check_finite
from negjax.execution.passes import pass_tokens
from negjax.execution.plans import (
    Planned,
    fitting,
    prompt_batches,
    sizes_at,
    uniform_batches,
)
from negjax.execution.running import Run, run_batches, side_by_side
from negjax.inputs.probes import Probes, check_asked
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.model.transformer import linearise
from negjax.records import PerPrompt, readable
from negjax.replay.shifted_suffixes import pull_back
from negjax.replay.suffixes import CommonHead, experts_at_read, run, take_scored
from negjax.replay.targets import Output, target_derivatives

# Where few programs are wanted: length buckets an octave, and tokens of a batch. More would fill
# matrix units no better, and the last batch of a length would be padding for the most part.
FEW_STEPS, FEW_TOKENS, ACCELERATOR_FEW_TOKENS = 2, 1536, 8192


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class NeurGrad(PerPrompt):
    """Gradients of K targets' outputs with respect to every neuron, at the read position."""

    site: Site
    output: Output
    probability: Float[np.ndarray, "B K"]
    activation: Float[np.ndarray, "B L F"]
    """At `site`."""
    computed: Float[np.ndarray, "B K L F"]
    """CG = ∂output/∂a."""
    routed: Bool[np.ndarray, "B L F"] | None = None
    """Whether the token passes the neuron's expert; where it does not, activation and gradient are
    0. None in models without experts."""

    @property
    def neurgrad(self) -> Float[np.ndarray, "B K L F"]:
        """CG · s(a), with s(a) = +1 if a > 0 else -1."""
        result: np.ndarray = self.computed * sign(self.activation)[:, None]
        return result


def neurgrad(
    lm: LanguageModel,
    probes: Probes,
    site: str | None = None,
    *,
    output: Output = "probability",
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> NeurGrad:
    """CG and NeurGrad of every neuron for all targets: one forward, K backward passes of S tokens.

    Prompts that begin with the same tokens share the pass over them (`execution.common_heads`).

    Args:
        site: `act`, `up` or `product`; None is the model's default.
        output: what is differentiated.
        budget_bytes: memory for one batch, besides the weights and the result.

    Returns:
        probabilities, activations and gradients, as numpy arrays.

    Raises:
        ValueError: no encoded probes, an unknown site or output, a budget that holds not even one
            prompt, a gradient that overflows.
    """
    check_asked(lm, probes)
    one_of(output, "output", get_args(Output))
    whole_number(budget_bytes, "budget_bytes", 1)
    c = lm.config
    chosen = c.site(site)
    b, k = len(probes), probes.target_count
    dtype = np.dtype(lm.compute_dtype)
    result = NeurGrad(
        site=chosen,
        output=output,
        probability=np.empty((b, k), dtype),
        activation=np.empty((b, c.layers, c.neurons), dtype),
        computed=np.empty((b, k, c.layers, c.neurons), dtype),
        routed=np.zeros((b, c.layers, c.neurons), bool) if c.experts else None,
    )
    for index, found in _gradient_batches(
        lm,
        probes,
        run_groups(lm, probes, None),
        site=chosen,
        output=output,
        budget_bytes=budget_bytes,
    ):
        result.probability[index] = to_host(found.probability)
        result.activation[index] = to_host(found.activation)
        result.computed[index] = to_host(found.gradient)
        if result.routed is not None and found.experts is not None:
            experts = result.routed.reshape(b, c.layers, c.experts, -1)
            at = np.asarray(index)[:, None, None], np.arange(c.layers)[:, None]
            experts[*at, to_host(found.experts)] = True
    return result


def gradient_batches(
    lm: LanguageModel,
    probes: Probes,
    site: str | None = None,
    *,
    output: Output = "probability",
    linearised: bool = False,
    groups: Iterable[tuple[HeadGroup, CommonHead | None]] | None = None,
    few_shapes: bool = False,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Iterator[
    tuple[
        Int[np.ndarray, " n"],
        Float[jax.Array, "b K"],
        Float[jax.Array, "b L F"],
        Float[jax.Array, "b K L F"],
    ]
]:
    """The streaming form of `neurgrad`: batches on the device, in an order of their own.

    Args:
        linearised: differentiate by RelP's rules (`negjax.model.transformer.linearise`).
        groups: the probes to take, by what they begin with. Default: all (`head_groups`).
        few_shapes: pad more, so that few programs need compiling, and keep the rows that only fill
            a batch up: b may then be more than n.

    Returns:
        an iterator over indices of the batch's probes, probabilities, activations and computed
        gradients.

    Raises:
        ValueError: as `neurgrad`.
    """
    check_asked(lm, probes)
    one_of(output, "output", get_args(Output))
    flag(linearised, "linearised")
    flag(few_shapes, "few_shapes")
    whole_number(budget_bytes, "budget_bytes", 1)
    chosen = lm.config.site(site)
    pairs = run_groups(lm, probes, groups)
    batches = _gradient_batches(
        lm,
        probes,
        pairs,
        site=chosen,
        output=output,
        linearised=linearised,
        few_shapes=few_shapes,
        budget_bytes=budget_bytes,
    )
    return ((index, *found[:3]) for index, found in batches)


class Found(NamedTuple):
    """What is found of P prompts."""

    probability: Float[jax.Array, "P K"]
    activation: Float[jax.Array, "P L F"]
    gradient: Float[jax.Array, "P K L F"]
    experts: Int[jax.Array, "P L k"] | None
    """That the read position's token passes; None in models without."""


def _gradient_batches(
    lm: LanguageModel,
    probes: Probes,
    groups: Iterator[tuple[HeadGroup, CommonHead | None]],
    *,
    site: Site,
    output: Output,
    linearised: bool = False,
    few_shapes: bool = False,
    budget_bytes: int,
) -> Iterator[tuple[np.ndarray, Found]]:
    for group, head in groups:

        def kernel(run: Run, head: CommonHead | None = head) -> Found:
            found: Found = run(gradient_program, run.split, site, output, linearised, head)
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
            count = len(batch.members)
            check_finite(lm, f"gradient of {output}", _soundness(found)[:count], batch.members)
            yield batch.members, found if few_shapes else _first(found, count)


def _first(found: Found, count: int) -> Found:
    """Of so many of the prompts."""
    result: Found = jax.tree.map(lambda leaf: leaf[:count], found)
    return result


def _of_all_targets(parts: Sequence[Found]) -> Found:
    """What was found for groups of targets, each with its own K, as one."""
    (probability, gradient) = side_by_side([(part.probability, part.gradient) for part in parts])
    return parts[0]._replace(probability=probability, gradient=gradient)


@jax.jit
def _soundness(found: Found) -> jax.Array:
    """[P], 0, or NaN where a prompt's results are not finite."""
    sound = [jnp.isfinite(x).all(tuple(range(1, x.ndim))) for x in found[:3]]
    return jnp.where(jnp.stack(sound).all(0), 0.0, jnp.nan)


def gradient_plan(
    lm: LanguageModel,
    probes: Probes,
    group: HeadGroup,
    budget_bytes: int,
    *,
    few_shapes: bool = False,
    tokens: int | None = None,
) -> list[Planned]:
    """Batches of a group's probes that fit the budget.

    Args:
        few_shapes: of a length, all batches have the same number of rows.
        tokens: of a batch at most; None: what suits the kind of device that computes.
    """
    some = probes.select(group.members)
    steps = FEW_STEPS if few_shapes else batching.STEPS
    few = batching.tokens_at_once(FEW_TOKENS, ACCELERATOR_FEW_TOKENS)
    most_tokens = tokens or (few if few_shapes else pass_tokens())

    def each(length: int) -> tuple[int, int]:
        """Tokens and bytes of a prompt with so many tokens of its own."""
        k, m = probes.target_ids.shape[1:]
        own, head = batching.bucket(length, steps=steps), padded_head(group.head)
        return own, sizes_at(lm, own, targets=k, target_tokens=m, head=head).pull_back_bytes

    def largest(length: int) -> int:
        own, size = each(length)
        most = fitting(
            budget_bytes, size, max(1, most_tokens // own), f"one prompt of {own} tokens"
        )
        # A batch is filled up to a bucket: of a size in between, a part would only be padding.
        return batching.largest_bucket(most)

    lengths = some.mask.sum(1) - group.head
    if few_shapes:
        batches = uniform_batches(some, largest, group.head)
    else:
        together = prompt_batches(some, largest(int(lengths.max())), group.head)
        batches = [(index, batching.bucket_count(len(index))) for index in together]
    return [
        Planned(
            members=group.members[index],
            rows=rows,
            estimate=rows * each(int(lengths[index].max()))[1],
        )
        for index, rows in batches
    ]


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5))
def gradient_program(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    site: Site,
    output: Output,
    linearised: bool,
    head: CommonHead | None,
) -> Found:
    """The program behind `neurgrad`, of a batch and, where there is one, its common head."""
    model = nnx.merge(graphdef, params)
    before = split.prefix_tokens, split.prefix_mask
    # A masked LM's suffix is its whole prompt: products of all tokens would be too much to keep.
    keep = split.prefix_tokens is not None
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
    gradient_lkpf = pull_back(model, passed, split.suffix, cotangents, site, head)
    activation = passed.trace.at_read[site].swapaxes(0, 1)
    return Found(
        probability=jnp.exp(log_probability[:, 0]),
        activation=activation,
        gradient=gradient_lkpf.transpose(2, 1, 0, 3),
        experts=experts_at_read(passed.trace, split.suffix),
    )
