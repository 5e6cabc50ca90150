"""Rows of tokens without the padding between them.

Products over tokens cost the same for padding as for text. Only attention needs to know which row a
token belongs to, so all else may run on the real tokens of all rows, one after the other.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Packing(NamedTuple):
    """Which of N packed tokens is which token of P padded rows."""

    place: jax.Array
    """[N], the index in P·T of each packed token; past the last real one they repeat token 0."""
    at: jax.Array
    """[P, T], where among N each real token is; padding has some other token's."""

    def pack(self, x: jax.Array) -> jax.Array:
        """[P, 1, T, ...] -> [1, 1, N, ...]."""
        return x.reshape(-1, *x.shape[3:])[self.place][None, None]

    def unpack(self, x: jax.Array) -> jax.Array:
        """[1, 1, N, ...] -> [P, 1, T, ...]."""
        return x[0, 0][self.at][:, None]


def packed_rows(mask: np.ndarray, size: int) -> Packing:
    """The packing of rows whose real tokens are `mask` [P, T] into `size` tokens, not fewer."""
    flat = mask.reshape(-1)
    real = np.flatnonzero(flat)
    place = np.zeros(size, np.int32)
    place[: len(real)] = real
    at = np.maximum(np.cumsum(flat, dtype=np.int32) - 1, 0).reshape(mask.shape)
    return Packing(jnp.asarray(place), jnp.asarray(at))
