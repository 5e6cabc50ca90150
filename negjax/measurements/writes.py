"""What neurons write to the residual stream, beside what the stream holds."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float
from numpy.typing import ArrayLike

from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.passes import unperturbed_pass
from negjax.execution.plans import one_by_one
from negjax.execution.running import Run, in_order, run_batches, run_program
from negjax.inputs.neurons import dense_sets
from negjax.inputs.probes import Probes, check_asked
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.model.transformer import Block
from negjax.records import readable
from negjax.replay.suffixes import block_at, layer_count, stacked_blocks, take_read


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class WriteNorms:
    """Sizes (L2) of writes and of the residual stream at B read positions."""

    site: Site
    activation: Float[np.ndarray, "B L F"]
    """Unperturbed."""
    residual: Float[np.ndarray, "B L"]
    """Of what a layer's writes are added to: its residual and what its FFN adds. It is the residual
    that leaves the layer, but in post-norm models (BERT), which normalise it first."""
    write: Float[np.ndarray, "B L F"]
    """Of what a neuron adds to it for each unit of its activation: of its row of W_down at sites
    `act` and `product`, of act(gate) times it at `up`; through the norm of the FFN's output where
    there is one (Gemma 2, OLMo 2), whose denominator holds."""


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
    rows = to_host(run_program(lm, _row_norms))

    def kernel(run: Run) -> tuple[np.ndarray, ...]:
        read = _read(run, chosen)
        write = rows * np.abs(read.gain)
        return read.activation[None], read.residual[None], write[None]

    what = ("an activation", "a norm", "a norm")
    activation, residual, write = _one_by_one(lm, probes, kernel, what)
    return WriteNorms(site=chosen, activation=activation, residual=residual, write=write)


def summed_writes(
    lm: LanguageModel, probes: Probes, shifts: ArrayLike, site: str | None = None
) -> Float[np.ndarray, "B R L"]:
    """Norms (L2) of what shifted neurons write together, in units of `write_norms`.

    Args:
        shifts: [R, L, F], the same for all B prompts, added to the activations of the read
            position.
        site: `act`, `up` or `product`; None is the model's default.

    Raises:
        ValueError: unknown site, probes that are not encoded, shifts of another shape or that are
            not finite.
    """
    check_asked(lm, probes)
    c = lm.config
    chosen = c.site(site)
    dense = dense_sets(c, shifts).dense()

    def kernel(run: Run) -> tuple[np.ndarray, ...]:
        each = jnp.asarray(dense * _read(run, chosen).gain, lm.compute_dtype)
        return (to_host(run(_sum_norms, each.swapaxes(0, 1))).T[None],)

    return _one_by_one(lm, probes, kernel, ("a norm",))[0]


class _Read(NamedTuple):
    """What a layer holds where one prompt is read."""

    activation: Float[np.ndarray, "L F"]
    residual: Float[np.ndarray, " L"]
    """Its norm, as in `WriteNorms`."""
    gain: np.ndarray
    """[L, F] or [L, 1], on a row of W_down for each unit of the activation."""


def _read(run: Run, site: Site) -> _Read:
    trace = run(unperturbed_pass, run.split).trace
    at_read: Callable[[jax.Array], jax.Array] = jax.vmap(lambda x: take_read(x, run.split.suffix))
    mid, ffn_out = (at_read(x)[:, 0] for x in (trace.mid, trace.ffn_out))
    added, scale = run(_added, ffn_out)
    with np.errstate(over="ignore"):
        residual = np.linalg.norm(to_host(mid + added), axis=-1)
    inner = {name: to_host(x[:, 0, 0]) for name, x in trace.at_positions.items()}
    gate = inner["gate"] if site == "up" else 1
    return _Read(inner[site], residual, gate * to_host(scale) * inner.get("share", 1))


def _one_by_one(
    lm: LanguageModel,
    probes: Probes,
    kernel: Callable[[Run], tuple[np.ndarray, ...]],
    what: Sequence[str],
) -> list[np.ndarray]:
    """What a kernel finds of each prompt, in their order."""
    # Whichever target: what follows the read position does not change it.
    batches = run_batches(
        lm, probes, one_by_one(probes, 0), kernel, target=0, budget_bytes=DEFAULT_BUDGET_BYTES
    )
    return list(in_order(lm, len(probes), batches, what))


@functools.partial(jax.jit, static_argnums=0)
def _row_norms(graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any]) -> jax.Array:
    """[L, F], of the rows of W_down, or of what a norm of denominator 1 makes of them."""

    def norms(block: Block) -> jax.Array:
        size: jax.Array = jnp.linalg.norm(written_rows(block), axis=-1)
        return size

    result: jax.Array = _by_layer(graphdef, params, norms)
    return result


@functools.partial(jax.jit, static_argnums=0)
def _sum_norms(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], weights: jax.Array
) -> jax.Array:
    """[L, R], of sums of the rows of W_down, weighted by [L, R, F]."""

    def norms(block: Block, own: jax.Array) -> jax.Array:
        size: jax.Array = jnp.linalg.norm(_gained(block, own @ _down(block)), axis=-1)
        return size

    result: jax.Array = _by_layer(graphdef, params, norms, weights)
    return result


def _down(block: Block) -> jax.Array:
    """[F, D]."""
    down: jax.Array = block.ffn.down.kernel[...]
    return down.astype(jnp.promote_types(down.dtype, jnp.float32))


def written_rows(block: Block) -> Float[jax.Array, "F D"]:
    """[F, D], what the residual gains by each row of W_down, through a norm of denominator 1 where
    the FFN's output has one."""
    return _gained(block, _down(block))


def _gained(block: Block, writes: jax.Array) -> jax.Array:
    """[..., D], what the residual gains by writes."""
    norm = block.ffn_out_norm
    if norm is not None:
        # Its own part of itself: times its denominator.
        writes = norm.part(writes, writes) / norm.inverse(writes)
    return writes * block.residual_scale


@functools.partial(jax.jit, static_argnums=0)
def _added(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], ffn_out: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What FFN outputs [L, D] add to the residual, and one by their norms' denominators [L, 1]."""

    def added(block: Block, out: jax.Array) -> tuple[jax.Array, jax.Array]:
        norm = block.ffn_out_norm
        if norm is None:
            return out * block.residual_scale, jnp.ones_like(out[:1])
        return norm(out) * block.residual_scale, norm.inverse(out)

    result: tuple[jax.Array, jax.Array] = _by_layer(graphdef, params, added, ffn_out)
    return result


def _by_layer(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    function: Callable[..., Any],
    *arrays: jax.Array,
) -> Any:
    """A function of each layer's block and its entry of arrays [L, ...], stacked."""
    block_def, blocks = stacked_blocks(nnx.merge(graphdef, params))

    def of_layer(entry: tuple[jax.Array, ...]) -> Any:
        layer, *own = entry
        return function(block_at(block_def, blocks, layer), *own)

    return jax.lax.map(of_layer, (jnp.arange(layer_count(blocks)), *arrays))
