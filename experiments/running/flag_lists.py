"""Flags that are lists: of numbers, of names."""

from collections.abc import Iterable

import numpy as np
from absl import flags

ListFlag = flags.FlagHolder[list[str]]


def numbers(flag: ListFlag, least: int = 1) -> np.ndarray:
    """A flag's numbers, ascending.

    Raises:
        ValueError: something that is no finite number, 0, a number twice, or fewer than `least`.
    """
    text = f"--{flag.name}={','.join(flag.value)}"
    try:
        values = np.asarray([float(word) for word in flag.value])
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    different = len(set(values.tolist()))
    if not np.isfinite(values).all() or (values == 0).any() or different < least:
        raise ValueError(f"{text}: expected {least} or more different numbers, none 0")
    if different < values.size:
        raise ValueError(f"{text}: a number is named twice")
    return np.sort(values)


def whole_numbers(flag: ListFlag) -> list[int]:
    """A flag's whole numbers from 1 on, ascending.

    Raises:
        ValueError: something else, a number twice, or none.
    """
    values = numbers(flag)
    if (values < 1).any() or (values % 1 != 0).any():
        raise ValueError(f"--{flag.name}={','.join(flag.value)}: expected whole numbers from 1 on")
    return [int(value) for value in values]


def names(flag: ListFlag, known: Iterable[str]) -> list[str]:
    """A flag's names.

    Raises:
        ValueError: none, an unknown one, or one twice.
    """
    known = list(known)
    if not flag.value or set(flag.value) - set(known) or len(set(flag.value)) < len(flag.value):
        raise ValueError(
            f"--{flag.name}={','.join(flag.value)}: expected some of {', '.join(known)}, each once"
        )
    return flag.value
