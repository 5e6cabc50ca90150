"""Tokens for and against which every neuron writes, on the straight way to the output.

After the logit lens (nostalgebraist, *interpreting GPT: the logit lens*, 2020) and Geva et al.,
*Transformer Feed-Forward Layers Build Predictions by Promoting Concepts in the Vocabulary Space*,
2022, arXiv 2203.14680, with the output's own derivative in place of its weights alone.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from negjax.checks import whole_number
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import one_by_one
from negjax.execution.running import Run, in_order, run_batches, run_program
from negjax.inputs.probes import Probes, check_asked
from negjax.measurements.writes import written_rows
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.replay.suffixes import block_at, stacked_blocks, take_read

ROWS = 256
"""Writes whose logits are held at once."""


def direct_logits(lm: LanguageModel, probes: Probes) -> Float[np.ndarray, "D V"]:
    """Derivative of the logits by the last residual, where prompts are read; their mean.

    Raises:
        ValueError: probes that are not encoded, a residual that overflows.
    """
    check_asked(lm, probes)

    def kernel(run: Run) -> np.ndarray:
        passed = run(unperturbed_pass, run.split)
        return to_host(take_read(passed.resid[:, 0], run.split.suffix))

    # Whichever target: what follows the read position does not change it.
    batches = run_batches(
        lm, probes, one_by_one(probes, 0), kernel, target=0, budget_bytes=DEFAULT_BUDGET_BYTES
    )
    last = in_order(lm, len(probes), batches, ["a residual"])
    return to_host(run_program(lm, _mean_derivative, jnp.asarray(last)))


def written_tokens(
    lm: LanguageModel, direct: Float[np.ndarray, "D V"], layers: Sequence[int], count: int
) -> Int[np.ndarray, "L 2 F k"]:
    """Ids of the k tokens whose logits rows of W_down raise most, and of those they lower most.

    A row is what a unit of the activation writes at sites `act` and `product`; at `up` it writes
    act(gate) times the row, with its sign. What later layers make of it is left aside.

    Args:
        direct: what `direct_logits` returned.
        layers: whose neurons; the result has theirs in this order.
        count: k, from 1 to V.

    Raises:
        ValueError: no such count.
    """
    count = whole_number(count, "count", 1, lm.config.vocab_size)
    device = jnp.asarray(direct)
    found = [
        to_host(run_program(lm, _extremes, device, jnp.asarray(layer), count)) for layer in layers
    ]
    return np.stack(found).astype(np.int32)


@functools.partial(jax.jit, static_argnums=0)
def _mean_derivative(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], last: jax.Array
) -> jax.Array:
    """[D, V], of residuals [B, D]."""
    model = nnx.merge(graphdef, params)
    unit = jnp.eye(last.shape[-1], dtype=last.dtype)

    def added(total: jax.Array, resid: jax.Array) -> tuple[jax.Array, None]:
        along: Callable[[jax.Array], jax.Array] = jax.linearize(model.logits, resid)[1]
        return total + jax.vmap(along)(unit), None

    empty = jnp.zeros((len(unit), model.output_embedding().shape[0]), last.dtype)
    total, _ = jax.lax.scan(added, empty, last)
    return total / len(last)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _extremes(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    direct: jax.Array,
    layer: jax.Array,
    count: int,
) -> jax.Array:
    """[2, F, count], of one layer."""
    block_def, blocks = stacked_blocks(nnx.merge(graphdef, params))
    rows = written_rows(block_at(block_def, blocks, layer)).astype(direct.dtype)

    def of_rows(row: jax.Array) -> jax.Array:
        logits = row @ direct
        return jnp.stack([jax.lax.top_k(way, count)[1] for way in (logits, -logits)])

    found: jax.Array = jax.lax.map(of_rows, rows, batch_size=ROWS)
    return found.swapaxes(0, 1)
