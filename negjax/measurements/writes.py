"""What neurons write to the residual stream, beside what the stream holds."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import one_by_one
from negjax.execution.running import Run, in_order, run_batches
from negjax.inputs.probes import Probes, check_asked
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.records import readable
from negjax.replay.suffixes import take_read


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class WriteNorms:
    """Sizes (L2) of writes and of the residual stream at B read positions."""

    site: Site
    activation: Float[np.ndarray, "B L F"]
    """Unperturbed."""
    residual: Float[np.ndarray, "B L"]
    """Of what a layer's writes are added to: its residual and FFN output. Pre-norm models
    hand it on as the residual that leaves the layer, post-norm models (BERT) normalise it first."""
    write: Float[np.ndarray, "B L F"]
    """Of ∂(FFN output)/∂a: of a neuron's row of W_down at sites `act` and `product`, of
    act(gate) times it at `up`."""


def write_norms(lm: LanguageModel, probes: Probes, site: str | None = None) -> WriteNorms:
    """Norms of residual and writes, one unperturbed pass a prompt.

    Their ratio is the shift whose write is as long as the residual: the coherence budget of Liu,
    2026 (arXiv 2606.19831).

    Args:
        site: `act`, `up` or `product`; None is the model's default.

    Raises:
        ValueError: unknown site, probes that are not encoded.
    """
    check_asked(lm, probes)
    c = lm.config
    chosen = c.site(site)
    with lm.numerics():
        rows = np.asarray(_row_norms(lm.graphdef, lm.params))

    def kernel(run: Run) -> tuple[np.ndarray, ...]:
        trace = run(unperturbed_pass, run.split).trace
        at_read: Callable[[jax.Array], jax.Array] = jax.vmap(
            lambda x: take_read(x, run.split.suffix)
        )
        with np.errstate(over="ignore"):
            residual = np.linalg.norm(at_read(trace.mid + trace.ffn_out)[:, 0], axis=-1)
        gain = np.abs(trace.at_read["gate"][:, 0]) if chosen == "up" else 1
        return np.asarray(trace.at_read[chosen][:, 0])[None], residual[None], (rows * gain)[None]

    # Whichever target: what follows the read position does not change it.
    batches = run_batches(
        lm, probes, one_by_one(probes, 0), kernel, target=0, budget_bytes=DEFAULT_BUDGET_BYTES
    )
    what = ("an activation", "a norm", "a norm")
    activation, residual, write = in_order(lm, len(probes), batches, what)
    return WriteNorms(site=chosen, activation=activation, residual=residual, write=write)


@functools.partial(jax.jit, static_argnums=0)
def _row_norms(graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any]) -> jax.Array:
    """[L, F], of the rows of W_down."""
    down = nnx.merge(graphdef, params).blocks.ffn.down.kernel[...]
    result: jax.Array = jnp.linalg.norm(
        down.astype(jnp.promote_types(down.dtype, jnp.float32)), axis=-1
    )
    return result
