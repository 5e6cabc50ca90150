"""Arrays by hand: numpy's scalar types build them too, but type checkers do not know it."""

import numpy as np
from numpy.typing import ArrayLike


def float32(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, np.float32)


def int8(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, np.int8)


def int32(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, np.int32)
