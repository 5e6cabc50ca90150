"""What neurons write to the residual stream, beside what the stream holds."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.execution import batching
from negjax.execution.finite import check_finite
from negjax.execution.passes import run_split
from negjax.inputs.probes import Probes, check_asked
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.records import readable
from negjax.replay.suffixes import take_read


@readable
@dataclasses.dataclass(frozen=True)
class WriteNorms:
    """Sizes (L2) of writes and of the residual stream at B read positions."""

    site: Site
    activation: np.ndarray
    """[B, L, F], unperturbed."""
    residual: np.ndarray
    """[B, L], of what a layer's writes are added to: its residual and FFN output. Pre-norm models
    hand it on as the residual that leaves the layer, post-norm models (BERT) normalise it first."""
    write: np.ndarray
    """[B, L, F], of ∂(FFN output)/∂a: of a neuron's row of W_down at sites `act` and `product`, of
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
    shape = (len(probes), c.layers, c.neurons)
    activation, write = (np.empty(shape, lm.compute_dtype) for _ in range(2))
    residual = np.empty(shape[:2], lm.compute_dtype)
    with lm.numerics():
        rows = np.asarray(_row_norms(lm.graphdef, lm.params))
    for number in range(len(probes)):
        # Whichever target: what follows the read position does not change it.
        split = batching.split_probes(c, probes, np.asarray([number]), 0)
        trace = run_split(lm, split).trace
        at_read = jax.vmap(lambda x, split=split: take_read(x, split.suffix))
        with np.errstate(over="ignore"):
            residual[number] = np.linalg.norm(at_read(trace.mid + trace.ffn_out)[:, 0], axis=-1)
        activation[number] = trace.at_read[chosen][:, 0]
        gain = np.abs(trace.at_read["gate"][:, 0]) if chosen == "up" else 1
        write[number] = rows * gain
    for what, values in (("an activation", activation), ("a norm", residual), ("a norm", write)):
        check_finite(lm, what, values)
    return WriteNorms(chosen, activation, residual, write)


@functools.partial(jax.jit, static_argnums=0)
def _row_norms(graphdef: nnx.GraphDef, params: nnx.State) -> jax.Array:
    """[L, F], of the rows of W_down."""
    down = nnx.merge(graphdef, params).blocks.ffn.down.kernel[...]
    return jnp.linalg.norm(down.astype(jnp.promote_types(down.dtype, jnp.float32)), axis=-1)
