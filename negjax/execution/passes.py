"""The unperturbed pass over a batch of probes, which gradients and interventions start from."""

import functools
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from negjax.execution import batching
from negjax.execution.batching import DEFAULT_BUDGET_BYTES, Split
from negjax.execution.plans import plan_prompts, sizes_of
from negjax.execution.running import Run, in_order, run_batches, run_program
from negjax.inputs.positions import NONE, Positions, neuron_index, placed, tokens_apart
from negjax.inputs.probes import Probes, check_asked
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.process.bars import with_bar
from negjax.replay.suffixes import Pass, run

# Enough tokens in one pass to fill the matrix units; more only takes memory.
PASS_TOKENS, ACCELERATOR_PASS_TOKENS = 4096, 16384


def pass_tokens() -> int:
    """Tokens of prompts run at once."""
    return batching.tokens_at_once(PASS_TOKENS, ACCELERATOR_PASS_TOKENS)


def run_split(lm: LanguageModel, split: Split) -> Pass:
    """Prefix keys and values, suffix states and last residuals of split probes."""
    result: Pass = run_program(lm, unperturbed_pass, split)
    return result


@functools.partial(jax.jit, static_argnums=0)
def unperturbed_pass(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], split: Split
) -> Pass:
    """The program behind `run_split`."""
    return run(nnx.merge(graphdef, params), split.prefix_tokens, split.prefix_mask, split.suffix)


@with_bar
def activations(
    lm: LanguageModel,
    probes: Probes,
    site: str | None = None,
    *,
    positions: Positions = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Float[np.ndarray, "B *Q L F"]:
    """Unperturbed activations, at the read position or at others.

    Args:
        site: `act`, `up` or `product`; None is the model's default.
        positions: of the neurons, among a prompt's own tokens: None (where it is read), an index
            from either end, one a prompt, a slice, "all", or `tokens_of(probes, text)`.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        an axis Q where `positions` are a slice, "all" or `tokens_of`; 0 where a prompt has fewer.

    Raises:
        ValueError: unknown site; positions that a prompt does not have; a budget that holds not
            even one prompt.
    """
    check_asked(lm, probes)
    chosen = lm.config.site(site)
    probes = placed(probes, positions)
    apart = positions is not None and tokens_apart(probes)
    sizes = sizes_of(lm, probes)
    most = max(1, pass_tokens() // sizes.length)
    plan = plan_prompts(probes, sizes, 2 * sizes.prefix_bytes, most, budget_bytes)

    def kernel(run: Run) -> np.ndarray:
        passed = run(unperturbed_pass, run.split)
        found = passed.trace.at_positions[chosen]
        if apart:
            return np.moveaxis(to_host(found), 0, 2)
        # Of several positions, the last.
        return to_host(found[:, :, -1]).swapaxes(0, 1)

    # Whichever target: what follows the read position does not change it.
    batches = run_batches(lm, probes, plan, kernel, target=0, budget_bytes=budget_bytes)
    result: np.ndarray = in_order(lm, len(probes), batches, ["an activation"])
    if apart:
        result[neuron_index(probes) == NONE] = 0
    return result
