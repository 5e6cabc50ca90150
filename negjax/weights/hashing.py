"""Hashes of weights, made by several cores at once."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

HASHED = 1 << 24
"""Bytes that one of the hashes of a large array is made of."""


def hashes(array: np.ndarray, pool: ThreadPoolExecutor) -> Iterator[bytes]:
    """SHA-256 of every 16 MiB of an array's bytes, in order."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    pieces = (data[at : at + HASHED] for at in range(0, data.size, HASHED))
    return pool.map(lambda piece: hashlib.sha256(piece.data).digest(), pieces)
