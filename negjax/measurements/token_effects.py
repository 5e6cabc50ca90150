"""Effects: derivatives of every token's probability, or of another output, by a neuron; by jvp."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from negjax.errors import Argument, ArgumentError
from negjax.execution import batching
from negjax.execution.asked_outputs import DIFFERENCE, check_output
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import fitting, one_by_one, sizes_of
from negjax.execution.running import Run, in_order, run_batches
from negjax.inputs.neurons import check_neurons
from negjax.inputs.positions import Positions, placed
from negjax.inputs.probes import Probes, check_asked
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.model.layers import MASKED_SCORE
from negjax.model.meshes import to_host
from negjax.process.bars import with_bar
from negjax.replay.outputs import AnyOutput, whole_values
from negjax.replay.rows import Rows
from negjax.replay.suffixes import Pass, take_scored
from negjax.replay.tangents import rise_tangents

# Neurons of one call.
MOST_NEURONS = 256
# Length buckets an octave.
STEPS = 2


@with_bar
def effects(
    lm: LanguageModel,
    probes: Probes,
    neurons: ArrayLike,
    site: str | None = None,
    *,
    positions: Positions = None,
    output: AnyOutput = "probability",
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Float[np.ndarray, "B N O"]:
    """Derivative of every token's probability with respect to each neuron.

    Args:
        neurons: [N, 2] or [B, N, 2], (layer, index).
        positions: of the neurons, among a prompt's own tokens: None (where it is read), an index
            from either end, one a prompt, a slice, "all", or `tokens_of(probes, text)`. At several,
            the derivative is that by a shift at all of them together.
        output: of each token of the vocabulary `probability`, `log_probability`, `logit` or
            `log_odds`; or one number, as in `neurgrad`: `logit_difference` of two targets of a
            token each, `entropy`, or a function of log-probabilities [V].
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        ∂output/∂a, of every token (O = V) or of one number (O = 1). Of the probability it sums to
        0 over the tokens.

    Raises:
        ValueError: no encoded probes, an unknown site or output, neurons or positions that are not
            there, a budget that holds not even one; an effect that overflows.
    """
    check_asked(lm, probes)
    check_output(lm, probes, output, slope=True)
    c = lm.config
    chosen = c.site(site)
    neurons = check_neurons(c, neurons, len(probes))
    probes = placed(_one_token(probes, output), positions)
    sizes = sizes_of(lm, probes, steps=STEPS)
    # The prompt's pass, and beside it as many neurons as still fit.
    one = sizes.prefix_bytes + sizes.effects_bytes
    fitting(budget_bytes, one, 1, "one neuron")
    more = (budget_bytes - one) // sizes.effects_bytes
    largest = batching.largest_bucket(min(MOST_NEURONS, 1 + more))

    def kernel(run: Run) -> np.ndarray:
        split = run.split
        passed = run(unperturbed_pass, split)
        (own,) = neurons[run.batch.members]
        order = np.argsort(own[:, 0], kind="stable")

        def arguments(most: int, start: int = 0) -> tuple[Any, ...]:
            some = own[order[start : start + most]]
            # What fills up repeats the last one, so that rows stay in order.
            fill = batching.bucket_count(len(some)) - len(some)
            layer, neuron = np.pad(some, ((0, fill), (0, 0)), mode="edge").T.astype(np.int32)
            delta = np.ones((1, len(layer), split.suffix.at.shape[1]), lm.compute_dtype)
            rows = Rows(*map(jnp.asarray, (layer[None], neuron[None], delta)))
            return split, passed, rows, chosen, output

        most = run.largest_fitting(_effects, batching.smaller_buckets(largest), arguments)
        found: list[np.ndarray] = []
        for start in range(0, len(own), most):
            part = to_host(run(_effects, *arguments(most, start)))
            found.append(part[: len(own) - start])
            run.reached(min(1, (start + most) / len(own)))
        in_order_of_neurons: np.ndarray = np.concatenate(found)[np.argsort(order)]
        return in_order_of_neurons[None]

    plan = one_by_one(
        probes, sizes.prefix_bytes + min(largest, len(neurons[0])) * sizes.effects_bytes
    )
    batches = run_batches(
        lm,
        probes,
        plan,
        kernel,
        steps=STEPS,
        rows_each=neurons.shape[1],
        budget_bytes=budget_bytes,
    )
    result: np.ndarray = in_order(lm, len(probes), batches, ["effect of neurons"])
    return result


def _one_token(probes: Probes, output: AnyOutput) -> Probes:
    """The probes without what they read behind the read position: tokens of joint targets.

    Raises:
        ArgumentError: a difference of targets of several tokens is asked for.
    """
    if output != DIFFERENCE:
        probes = probes.select_target(0)
    elif probes.target_ids.shape[2] > 1:
        raise ArgumentError(
            *(Argument("output", output), " of targets of several tokens is read at several "),
            *("positions, and effects are read at one; pass ", Argument("target_mode", "first")),
        )
    return dataclasses.replace(
        probes, target_ids=probes.target_ids[..., :1], target_mask=probes.target_mask[..., :1]
    )


@functools.partial(jax.jit, static_argnums=(0, 5, 6))
def _effects(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    passed: Pass,
    rows: Rows,
    site: Site,
    output: AnyOutput,
) -> jax.Array:
    """[R, O] of one prompt."""
    model, suffix = nnx.merge(graphdef, params), split.suffix
    tangents = rise_tangents(model, passed, suffix, rows, site)

    def values(scored: jax.Array) -> jax.Array:
        return _values(model.logits(scored), split.targets, output)

    unperturbed = take_scored(passed.resid, suffix, 1)[0, 0, 0]
    _, push = jax.linearize(values, unperturbed)
    result: jax.Array = jax.vmap(push)(take_scored(tangents, suffix, 1)[0, :, 0])
    return result


def _values(
    logits: Float[jax.Array, " V"], targets: Int[jax.Array, "1 K 1"], output: AnyOutput
) -> Float[jax.Array, " O"]:
    """An output of every token, or one of the whole distribution."""
    if output == "probability":
        return jax.nn.softmax(logits)
    if output == "logit":
        return logits
    if output == DIFFERENCE:
        first, second = targets[0, :, 0]
        return (logits[first] - logits[second])[None]
    if callable(output) or output == "entropy":
        all_real = jnp.ones(targets.shape, bool)
        return whole_values(logits[None, None, None], targets, all_real, output)[0, 0]
    log_p = jax.nn.log_softmax(logits)
    if output == "log_probability":
        return log_p
    # log(1 - P) of the likeliest token from the other logits: next to P = 1 it has no digits left.
    likeliest = jnp.arange(logits.size) == logits.argmax()
    others = jax.nn.logsumexp(jnp.where(likeliest, MASKED_SCORE, log_p))
    return log_p - jnp.where(likeliest, others, jnp.log1p(-jnp.where(likeliest, 0, jnp.exp(log_p))))
