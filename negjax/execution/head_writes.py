"""Directions that attention heads write: vectors of a head's width through the output matrix."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import ArrayLike

from negjax.checks import described, instance, real_numbers, whole_number
from negjax.errors import Argument, ArgumentError
from negjax.execution.running import run_program
from negjax.inputs.residual_directions import Directions
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.replay.suffixes import block_at, stacked_blocks


def head_directions(lm: LanguageModel, layer: int, head: int, vectors: ArrayLike) -> Directions:
    """What vectors of an attention head's output write, as directions at `attention_out`.

    Args:
        layer, head: whose output it is, from 0.
        vectors: [N, C], finite: values of the head, before the output matrix.

    Returns:
        the vectors times the head's rows of that matrix, [N, D].

    Raises:
        ArgumentError: a layer or head that the model does not have; vectors of another width, or
            such that the head writes nothing of them.
    """
    lm = instance(lm, "lm", LanguageModel, "load(source)")
    layer = whole_number(layer, "layer", 0, lm.config.layers - 1)
    head = whole_number(head, "head", 0, lm.config.heads - 1)
    values = real_numbers(vectors, "vectors")
    width = lm.config.head_width
    if values.ndim != 2 or not len(values) or values.shape[1] != width:
        raise ArgumentError(
            Argument("vectors"),
            f" are {described(vectors)}, expected numbers [N, {width}]: outputs of a head, a row "
            "each",
        )
    rows = to_host(run_program(lm, _output_rows, np.int32(layer), np.int32(head)))
    written = values @ rows.astype(np.float64)
    return Directions(layer=np.asarray(layer), vectors=written, place="attention_out")


@functools.partial(jax.jit, static_argnums=0)
def _output_rows(
    graphdef: nnx.GraphDef[Any], params: nnx.State[Any, Any], layer: jax.Array, head: jax.Array
) -> jax.Array:
    """[C, D], of one head."""
    block_def, blocks = stacked_blocks(nnx.merge(graphdef, params))
    kernel = block_at(block_def, blocks, layer).attention.out.kernel[...]
    found: jax.Array = kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))[head]
    return found
