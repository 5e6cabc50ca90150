"""The unperturbed pass over a batch of probes, which gradients and interventions start from."""

import functools

import jax
import numpy as np
from flax import nnx

from negjax.execution import batching
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.finite import check_finite
from negjax.inputs.probes import Probes, check_asked
from negjax.model.language_model import LanguageModel
from negjax.replay.suffixes import Pass, run

# Enough tokens in one pass to fill the matrix units; more only takes memory.
PASS_TOKENS, ACCELERATOR_PASS_TOKENS = 4096, 16384


def pass_tokens() -> int:
    """Tokens of prompts run at once."""
    return batching.tokens_at_once(PASS_TOKENS, ACCELERATOR_PASS_TOKENS)


def run_split(lm: LanguageModel, split: Split) -> Pass:
    """Prefix keys and values, suffix states and last residuals of split probes."""
    with lm.numerics():
        return _run_split(lm.graphdef, lm.params, split)


@functools.partial(jax.jit, static_argnums=0)
def _run_split(graphdef: nnx.GraphDef, params: nnx.State, split: Split) -> Pass:
    return run(nnx.merge(graphdef, params), split.prefix_tokens, split.prefix_mask, split.suffix)


def activations(
    lm: LanguageModel,
    probes: Probes,
    site: str | None = None,
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> np.ndarray:
    """Unperturbed activations [B, L, F] at the read position.

    Args:
        site: `act`, `up` or `product`; None is the model's default.

    Raises:
        ValueError: unknown site; a budget that holds not even one prompt.
    """
    check_asked(lm, probes)
    c = lm.config
    chosen = c.site(site)
    length = batching.bucket(int(probes.mask.sum(1).max()))
    suffix = probes.target_ids.shape[2] if c.causal else length
    sizes = batching.Sizes(c, length, 1, suffix, np.dtype(lm.compute_dtype).itemsize)
    largest = batching.fitting(
        budget_bytes,
        2 * sizes.prefix_bytes,
        max(1, pass_tokens() // length),
        f"one prompt of {length} tokens",
    )
    result = np.empty((len(probes), c.layers, c.neurons), lm.compute_dtype)
    for index in batching.prompt_batches(probes, largest):
        padded = np.resize(index, batching.bucket_count(len(index)))
        # Whichever target: what follows the read position does not change it.
        passed = run_split(lm, batching.split_probes(c, probes, padded, 0))
        result[index] = np.asarray(passed.trace.at_read[chosen]).swapaxes(0, 1)[: len(index)]
    check_finite(lm, "an activation", result)
    return result
