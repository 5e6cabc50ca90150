"""Copies of large arrays on the host: in another order of axes, in another dtype, in parallel."""

import itertools
import os

import jax
import ml_dtypes
import numpy as np

PIECE = 1 << 21
"""Bytes that are transposed at once."""


def workers() -> int:
    """Threads that read and copy at once."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)


def _xla_has_the_processor() -> bool:
    """Whether JAX was told of the processor: JAX_PLATFORMS may name an accelerator alone."""
    try:
        return bool(jax.local_devices(backend="cpu"))
    except RuntimeError:
        return False


def copy_into(place: np.ndarray, values: np.ndarray) -> None:
    """Writes values of the same shape, of whatever strides and dtype, as `place[...] = values`."""
    large = values.nbytes >= 2 * PIECE and not values.flags.c_contiguous
    if large and _xla_has_the_processor():
        # XLA transposes by blocks, three times as fast as numpy; of pieces, as new memory for the
        # whole would take as long again.
        axis = int(np.argmax(values.strides))
        count = min(values.shape[axis], values.nbytes // PIECE)
        for start, stop in itertools.pairwise(
            np.linspace(0, values.shape[axis], count + 1, dtype=int)
        ):
            piece = (*[slice(None)] * axis, slice(start, stop))
            with jax.default_device("cpu"):
                copy_into(place[piece], np.asarray(jax.device_put(values[piece])))
        return
    if values.dtype == ml_dtypes.bfloat16 and place.dtype == np.float32:
        # The same numbers: float32 has 16 more bits behind them.
        np.left_shift(values.view(np.uint16), 16, out=place.view(np.uint32), dtype=np.uint32)
        return
    with np.errstate(over="ignore"):
        place[...] = values
