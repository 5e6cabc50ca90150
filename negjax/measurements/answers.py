"""What a model answers, without any shift: P of each target, by a plain forward."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.execution import batching
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.finite import check_finite
from negjax.execution.passes import pass_tokens, run_split
from negjax.inputs.probes import Probes, check_asked
from negjax.model.language_model import LanguageModel
from negjax.records import readable
from negjax.replay.suffixes import take_read, take_scored
from negjax.replay.targets import target_scores


@readable
class Answers(NamedTuple):
    """Of B prompts with K targets each."""

    probability: np.ndarray
    """[B, K]; of a target of several tokens, the joint one."""
    first: np.ndarray
    """[B, K], True where no token of the vocabulary beats the target's first."""


def plain_answers(
    lm: LanguageModel, probes: Probes, *, budget_bytes: int = DEFAULT_BUDGET_BYTES
) -> Answers:
    """Probability of each target, and whether it comes first.

    Raises:
        ValueError: probes that are not encoded; a budget that holds not even one prompt.
    """
    check_asked(lm, probes)
    c, k = lm.config, probes.target_count
    result = Answers(np.empty((len(probes), k)), np.empty((len(probes), k), bool))
    length = batching.bucket(int(probes.mask.sum(1).max()))
    suffix = probes.target_ids.shape[2] if c.causal else length
    sizes = batching.Sizes(c, length, k, suffix, np.dtype(lm.compute_dtype).itemsize)
    each = sizes.prefix_bytes + sizes.active_row_bytes
    most = min(len(probes), max(1, pass_tokens() // length))
    largest = batching.fitting(budget_bytes, each, most, f"one prompt of {length} tokens")
    # A joint target's tokens are part of the suffix: each such target is a pass of its own.
    groups = list(range(k)) if probes.target_ids.shape[2] > 1 else [None]
    for index in batching.prompt_batches(probes, largest):
        padded = np.resize(index, batching.bucket_count(len(index)))
        found = []
        for target in groups:
            split = batching.split_probes(c, probes, padded, target)
            last = run_split(lm, split).resid
            with lm.numerics():
                found.append(_answers(lm.graphdef, lm.params, split, last))
        for out, parts in zip(result, zip(*found, strict=True), strict=True):
            out[index] = np.concatenate(parts, axis=1)[: len(index)]
    check_finite(lm, "P of a target", result.probability)
    return result


@functools.partial(jax.jit, static_argnums=0)
def _answers(
    graphdef: nnx.GraphDef, params: nnx.State, split: Split, resid: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Probabilities and whether targets come first, [P, K], of last residuals [P, 1, S, D]."""
    model = nnx.merge(graphdef, params)
    scored = take_scored(resid, split.suffix, split.targets.shape[2])
    log_probability, _ = target_scores(model, scored, split.targets, split.real)
    logits = model.logits(take_read(resid[:, 0], split.suffix))
    own = jnp.take_along_axis(logits, split.targets[:, :, 0], axis=-1)
    return jnp.exp(log_probability[:, 0]), own >= logits.max(-1, keepdims=True)
