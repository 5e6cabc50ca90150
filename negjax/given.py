"""Arguments as callers give them, checked: errors name the argument, its value and the remedy."""

from collections.abc import Sized

import jax.numpy as jnp
import numpy as np

# Characters of a wrong value that an error shows.
SHOWN = 60


def real_numbers(value: object, name: str) -> np.ndarray:
    """A number or an array of numbers, as float64 of the same shape.

    Raises:
        ValueError: it is something else: text, None, truth values, complex or ragged numbers.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if not (jnp.issubdtype(array.dtype, jnp.floating) or jnp.issubdtype(array.dtype, jnp.integer)):
        raise ValueError(f"{name} is {shown(value)}, expected a number or an array of numbers")
    return array.astype(np.float64)


def whole_number(value: int, name: str, least: int) -> int:
    """A whole number of at least `least`.

    Raises:
        ValueError: it is something else, or less.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} is {shown(value)}, expected a whole number, {least} or more")
    return int(value)


def whole_numbers(value: object, name: str, dtype: type[np.integer] = np.int32) -> np.ndarray:
    """An array of whole numbers, as `dtype`.

    Raises:
        ValueError: it is something else, or a number does not fit.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} is {shown(value)}, expected an array of whole numbers")
    limits = np.iinfo(dtype)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise ValueError(
            f"{name} holds {array.min()} to {array.max()}, expected {limits.min} to {limits.max}"
        )
    return array.astype(dtype, copy=False)


def truths(value: object, name: str) -> np.ndarray:
    """An array of truth values.

    Raises:
        ValueError: it is something else.
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.dtype != bool:
        raise ValueError(f"{name} is {shown(value)}, expected an array of truth values")
    return array


def shown(value: object) -> str:
    """A wrong value, for an error."""
    text = repr(value)
    if len(text) <= SHOWN and "\n" not in text:
        return text
    size = f" of {len(value)}" if isinstance(value, Sized) else ""
    return f"a {type(value).__name__}{size}"
