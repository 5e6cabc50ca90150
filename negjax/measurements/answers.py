"""What a model answers, without any shift: P of each target, by a plain forward."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float

from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.passes import pass_tokens, unperturbed_pass
from negjax.execution.plans import plan_prompts, sizes_of
from negjax.execution.running import Run, in_order, run_batches
from negjax.inputs.probes import Probes, check_asked
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.process.bars import with_bar
from negjax.records import readable
from negjax.replay.suffixes import take_read, take_scored
from negjax.replay.targets import target_scores


@readable
class Answers(NamedTuple):
    """Of B prompts with K targets each."""

    probability: Float[np.ndarray, "B K"]
    """Of a target of several tokens, the joint one."""
    first: Bool[np.ndarray, "B K"]
    """True where no token of the vocabulary beats the target's first."""


@with_bar
def plain_answers(
    lm: LanguageModel,
    probes: Probes,
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Answers:
    """Probability of each target, and whether it comes first.

    Args:
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: probes that are not encoded; a budget that holds not even one prompt.
    """
    check_asked(lm, probes)
    k = probes.target_count
    sizes = sizes_of(lm, probes, targets=k)
    each = sizes.prefix_bytes + sizes.active_row_bytes
    most = min(len(probes), max(1, pass_tokens() // sizes.length))
    plan = plan_prompts(probes, sizes, each, most, budget_bytes)

    def kernel(run: Run) -> tuple[np.ndarray, np.ndarray]:
        last = run(unperturbed_pass, run.split).resid
        probability, first = run(_answers, run.split, last)
        return to_host(probability).astype(np.float64), to_host(first)

    batches = run_batches(lm, probes, plan, kernel, budget_bytes=budget_bytes)
    return Answers(*in_order(lm, len(probes), batches, ["P of a target", None]))


@with_bar
def logits(
    lm: LanguageModel,
    probes: Probes,
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Float[np.ndarray, "B V"]:
    """Logits of every token at the read position: what the model says there, without any shift.

    Args:
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: probes that are not encoded; a budget that holds not even one prompt; logits
            that are not finite.
    """
    check_asked(lm, probes)
    sizes = sizes_of(lm, probes, targets=1)
    each = sizes.prefix_bytes + sizes.active_row_bytes
    most = min(len(probes), max(1, pass_tokens() // sizes.length))
    plan = plan_prompts(probes, sizes, each, most, budget_bytes)

    def kernel(run: Run) -> np.ndarray:
        last = run(unperturbed_pass, run.split).resid
        return np.asarray(run(_logits, run.split, last))

    batches = run_batches(lm, probes, plan, kernel, target=0, budget_bytes=budget_bytes)
    result: np.ndarray = in_order(lm, len(probes), batches, ["a logit"])
    return result


@functools.partial(jax.jit, static_argnums=0)
def _logits(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], split: Split, resid: jax.Array
) -> jax.Array:
    """[P, V], of last residuals [P, 1, S, D]."""
    model = nnx.merge(graphdef, params)
    result: jax.Array = model.logits(take_read(resid[:, 0], split.suffix))
    return result


@functools.partial(jax.jit, static_argnums=0)
def _answers(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], split: Split, resid: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Probabilities and whether targets come first, [P, K], of last residuals [P, 1, S, D]."""
    model = nnx.merge(graphdef, params)
    scored = take_scored(resid, split.suffix, split.targets.shape[2])
    log_probability, _ = target_scores(model, scored, split.targets, split.real)
    logits = model.logits(take_read(resid[:, 0], split.suffix))
    own = jnp.take_along_axis(logits, split.targets[:, :, 0], axis=-1)
    return jnp.exp(log_probability[:, 0]), own >= logits.max(-1, keepdims=True)
