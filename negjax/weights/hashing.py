"""Hashes of weights, made by several cores at once."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

HASHED = 1 << 24
"""Bytes that one of the hashes of a large array is made of."""


def hashes(slabs: Iterable[np.ndarray], pool: ThreadPoolExecutor) -> Iterator[bytes]:
    """SHA-256 of every 16 MiB of an array's bytes, in order.

    Args:
        slabs: the array, part after part along its first axis.
    """
    rest = np.empty(0, np.uint8)
    for slab in slabs:
        data = np.ascontiguousarray(slab).reshape(-1).view(np.uint8)
        if rest.size:
            data = np.concatenate([rest, data])
        whole = data.size - data.size % HASHED
        yield from pool.map(_hash, np.split(data[:whole], max(1, whole // HASHED)) if whole else [])
        rest = data[whole:]
    if rest.size:
        yield _hash(rest)


def _hash(piece: np.ndarray) -> bytes:
    return hashlib.sha256(piece.data).digest()
