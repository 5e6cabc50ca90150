"""Rows of directions: what the unperturbed residual holds of them."""

import functools
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from negjax.execution.batching import Split
from negjax.execution.running import Run
from negjax.inputs.residual_directions import Directions
from negjax.model.meshes import to_host
from negjax.replay.suffixes import Pass
from negjax.replay.written_blocks import coefficients


def unperturbed_coefficients(
    run: Run,
    passed: Pass,
    directions: Directions,
    vectors: Float[jax.Array, "N D"],
    number: Int[np.ndarray, "P R"],
) -> Float[np.ndarray, "P R"]:
    """Coefficients of each row's direction, at the last of the positions that are meant.

    Args:
        vectors: the directions', on the device.
        number: of each row's direction.
    """
    found = run(_coefficients, run.split, passed, directions.layer, vectors, directions.place)
    result: np.ndarray = np.take_along_axis(to_host(found), number, axis=1)
    return result


@functools.partial(jax.jit, static_argnums=(0, 6))
def _coefficients(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    split: Split,
    passed: Pass,
    layer: jax.Array,
    vectors: jax.Array,
    place: str,
) -> jax.Array:
    return coefficients(passed, split.suffix, layer, vectors, place)
