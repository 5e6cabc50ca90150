"""Derivatives by every neuron: CG and NeurGrad by vjp, effects on all tokens by jvp."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.checks import flag, one_of, whole_number
from negjax.execution import batching
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.common_heads import HeadGroup, padded_head, run_groups
from negjax.execution.conventions import sign
from negjax.execution.finite import check_finite
from negjax.execution.passes import pass_tokens, run_split
from negjax.inputs.neurons import check_neurons
from negjax.inputs.probes import Probes, check_asked
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.model.transformer import linearise
from negjax.records import readable
from negjax.replay.shifted_suffixes import no_shift, pull_back, replay_suffix
from negjax.replay.suffixes import CommonHead, Prefix, Suffix, run, take_scored
from negjax.replay.targets import Output, target_derivatives

# Where few programs are wanted: length buckets an octave, and tokens of a batch. More would fill
# matrix units no better, and the last batch of a length would be padding for the most part.
FEW_STEPS, FEW_TOKENS, ACCELERATOR_FEW_TOKENS = 2, 1536, 8192


@readable
@dataclasses.dataclass(frozen=True)
class NeurGrad:
    """Gradients of K targets' outputs with respect to every neuron, at the read position."""

    site: Site
    output: Output
    probability: np.ndarray
    """[B, K]."""
    activation: np.ndarray
    """[B, L, F], at `site`."""
    computed: np.ndarray
    """[B, K, L, F], CG = ∂output/∂a."""

    @property
    def neurgrad(self) -> np.ndarray:
        """[B, K, L, F], CG · s(a), with s(a) = +1 if a > 0 else -1."""
        return self.computed * sign(self.activation)[:, None]


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
        probabilities [B, K], activations [B, L, F], gradients [B, K, L, F], as numpy arrays.

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
        chosen,
        output,
        np.empty((b, k), dtype),
        np.empty((b, c.layers, c.neurons), dtype),
        np.empty((b, k, c.layers, c.neurons), dtype),
    )
    for index, probability, activation, gradient in gradient_batches(
        lm, probes, chosen, output=output, budget_bytes=budget_bytes
    ):
        result.probability[index] = probability
        result.activation[index] = activation
        result.computed[index] = gradient
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
) -> Iterator[tuple[np.ndarray, jax.Array, jax.Array, jax.Array]]:
    """The streaming form of `neurgrad`: batches on the device, in an order of their own.

    Args:
        linearised: differentiate by RelP's rules (`negjax.model.transformer.linearise`).
        groups: the probes to take, by what they begin with. Default: all (`head_groups`).
        few_shapes: pad more, so that few programs need compiling, and keep the rows that only fill
            a batch up: b is then what the arrays have, at least the number of indices.

    Returns:
        an iterator over indices [b] of the batch's probes, probabilities [b, K], activations
        [b, L, F] and computed gradients [b, K, L, F].

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
    return _gradient_batches(
        lm, probes, chosen, output, linearised, pairs, few_shapes, budget_bytes
    )


def _gradient_batches(
    lm: LanguageModel,
    probes: Probes,
    chosen: Site,
    output: Output,
    linearised: bool,
    groups: Iterator[tuple[HeadGroup, CommonHead | None]],
    few_shapes: bool,
    budget_bytes: int,
) -> Iterator[tuple[np.ndarray, jax.Array, jax.Array, jax.Array]]:
    # A joint target's tokens are part of the suffix: each such target is a replay of its own.
    joint = probes.target_ids.shape[2] > 1
    targets = list(range(probes.target_count)) if joint else [None]
    steps = FEW_STEPS if few_shapes else batching.STEPS
    for group, head in groups:
        for index, rows in gradient_plan(lm, probes, group, budget_bytes, few_shapes=few_shapes):
            padded = np.resize(index, rows)
            with lm.numerics():
                parts = [
                    _gradient(
                        lm.graphdef,
                        lm.params,
                        batching.split_probes(
                            lm.config,
                            probes,
                            padded,
                            target,
                            steps=steps,
                            head=group.head,
                            pack=not few_shapes,
                        ),
                        chosen,
                        output,
                        linearised,
                        head,
                    )
                    for target in targets
                ]
            check_finite(lm, f"gradient of {output}", _soundness(parts)[: len(index)], index)
            n = rows if few_shapes else len(index)
            probability = jnp.concatenate([part[0] for part in parts], 1)[:n]
            gradient = jnp.concatenate([part[2] for part in parts], 1)[:n]
            yield index, probability, parts[0][1][:n], gradient


@jax.jit
def _soundness(parts: list[tuple[jax.Array, ...]]) -> jax.Array:
    """[P], 0, or NaN where a prompt's results are not finite."""
    sound = [jnp.isfinite(x).all(tuple(range(1, x.ndim))) for part in parts for x in part]
    return jnp.where(jnp.stack(sound).all(0), 0.0, jnp.nan)


class Planned(NamedTuple):
    """A batch of probes."""

    members: np.ndarray
    """[n], indices among all probes."""
    rows: int
    """That they are filled up to."""


def gradient_plan(
    lm: LanguageModel,
    probes: Probes,
    group: HeadGroup,
    budget_bytes: int,
    *,
    few_shapes: bool = False,
) -> list[Planned]:
    """Batches of a group's probes that fit the budget.

    Args:
        few_shapes: of a length, all batches have the same number of rows.
    """
    some = probes.select(group.members)
    tokens, steps = pass_tokens(), batching.STEPS
    if few_shapes:
        tokens = batching.tokens_at_once(FEW_TOKENS, ACCELERATOR_FEW_TOKENS)
        steps = FEW_STEPS

    def largest(length: int) -> int:
        own = batching.bucket(length, steps=steps)
        suffix = probes.target_ids.shape[2] if lm.config.causal else own
        itemsize = np.dtype(lm.compute_dtype).itemsize
        head = padded_head(group.head)
        sizes = batching.Sizes(lm.config, own, probes.target_count, suffix, itemsize, head)
        most = max(1, tokens // own)
        what = f"one prompt of {own} tokens"
        most = batching.fitting(budget_bytes, sizes.pull_back_bytes, most, what)
        # A batch is filled up to a bucket: of a size in between, a part would only be padding.
        return batching.largest_bucket(most)

    if few_shapes:
        batches = batching.uniform_batches(some, largest, group.head)
        return [Planned(group.members[index], rows) for index, rows in batches]
    longest = int(some.mask.sum(1).max()) - group.head
    return [
        Planned(group.members[index], batching.bucket_count(len(index)))
        for index in batching.prompt_batches(some, largest(longest), group.head)
    ]


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5))
def _gradient(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    split: Split,
    site: Site,
    output: Output,
    linearised: bool,
    head: CommonHead | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Probability [P, K], activation [P, L, F], gradient [P, K, L, F]."""
    model = nnx.merge(graphdef, params)
    before = split.prefix_tokens, split.prefix_mask
    # A masked LM's suffix is its whole prompt: products of all tokens would be too much to keep.
    keep = split.prefix_tokens is not None
    passed = run(model, *before, split.suffix, head, split.packing, keep_products=keep)
    if linearised:
        model = linearise(graphdef, params)

    def read(resid: jax.Array) -> jax.Array:
        return model.head.features(take_scored(resid, split.suffix, split.targets.shape[2]))

    features, pull = jax.vjp(read, passed.resid)
    log_probability, slopes = target_derivatives(model, features, split.targets, split.real, output)
    # Prompts do not interact: one cotangent a target serves all prompts at once.
    (cotangents,) = jax.vmap(pull)(slopes)
    gradient_lkpf = pull_back(model, passed, split.suffix, cotangents, site, head)
    activation = passed.trace.at_read[site].swapaxes(0, 1)
    return jnp.exp(log_probability[:, 0]), activation, gradient_lkpf.transpose(2, 1, 0, 3)


def effects(
    lm: LanguageModel,
    probes: Probes,
    neurons: np.ndarray,
    site: str | None = None,
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> np.ndarray:
    """Derivative of every token's probability with respect to each neuron, at the read position.

    Args:
        neurons: [N, 2] or [B, N, 2], (layer, index).

    Returns:
        [B, N, V], ∂P(token)/∂a. Sums to 0 over the tokens.

    Raises:
        ValueError: no encoded probes, an unknown site, neurons that the model does not have, a
            budget that holds not even one; an effect that overflows.
    """
    check_asked(lm, probes)
    c = lm.config
    chosen = c.site(site)
    neurons = check_neurons(c, neurons, len(probes))
    b, n, _ = neurons.shape
    result = np.empty((b, n, c.vocab_size), lm.compute_dtype)
    length = batching.bucket(int(probes.mask.sum(1).max()), steps=2)
    itemsize = np.dtype(lm.compute_dtype).itemsize
    sizes = batching.Sizes(c, length, 1, 1 if c.causal else length, itemsize)
    # The prompt's pass, and beside it as many neurons as still fit.
    one = sizes.prefix_bytes + sizes.effects_bytes
    batching.fitting(budget_bytes, one, 1, "one neuron")
    more = (budget_bytes - one) // sizes.effects_bytes
    chunk = batching.largest_bucket(min(256, 1 + more))
    for row in range(b):
        split = batching.split_probes(c, probes, np.asarray([row]), 0, steps=2)
        if c.causal:
            # Only the read position is read: the tokens of a joint target play no part.
            full = split.suffix
            first = Suffix(full.tokens[:, :1], full.positions[:, :1], full.mask[:, :1], full.read)
            split = split._replace(suffix=first)
        prefix = run_split(lm, split).prefix
        for start in range(0, n, chunk):
            some = neurons[row, start : start + chunk]
            padded = np.resize(some, (batching.bucket_count(len(some)), 2))
            with lm.numerics():
                found = _effects(lm.graphdef, lm.params, split.suffix, prefix, padded, chosen)
            result[row, start : start + len(some)] = found[: len(some)]
        check_finite(lm, "effect of neurons", result[row][None], np.asarray([row]))
    return result


@functools.partial(jax.jit, static_argnums=(0, 5))
def _effects(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    suffix: Suffix,
    prefix: Prefix | None,
    neurons: jax.Array,
    site: Site,
) -> jax.Array:
    """[N, V] of one prompt: a jvp of replay along each neuron, the unperturbed pass shared."""
    model = nnx.merge(graphdef, params)
    zero = no_shift(model, 1)

    def probabilities(shift: jax.Array) -> jax.Array:
        resid = replay_suffix(model, prefix, suffix, shift, site)
        return jax.nn.softmax(model.logits(take_scored(resid, suffix, 1)[0, 0, 0]))

    def along(neuron: jax.Array) -> jax.Array:
        tangent = zero.at[neuron[0], 0, 0, neuron[1]].set(1)
        return jax.jvp(probabilities, (zero,), (tangent,))[1]

    return jax.vmap(along)(neurons)
