"""Weights that are no numbers are refused."""

from collections.abc import Sequence

import numpy as np

CHECKED = 1 << 17
"""Numbers that are looked at together: few enough for the processor's cache."""


def not_finite(values: np.ndarray, name: str) -> list[str]:
    """The tensor's name and how many of its numbers are not finite; nothing if all are."""
    flat = values.reshape(-1)
    pieces = (flat[at : at + CHECKED] for at in range(0, flat.size, CHECKED))
    count = sum(int((~np.isfinite(piece)).sum()) for piece in pieces if not _sound(piece))
    return [f"{name}: {count:,} of {values.size:,} numbers"] if count else []


def _sound(values: np.ndarray) -> bool:
    """Whether all numbers are finite; False, too, where only their sum is not."""
    if values.dtype.itemsize == 2 and values.dtype != np.float16:
        # bfloat16's have all bits of the exponent set: whole numbers are compared faster.
        bits = np.uint16(0x7F80)
        return not ((values.view(np.uint16) & bits) == bits).any()
    # A sum is finite only where every term is, and takes one pass without a copy.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))


def refuse(wrong: Sequence[str], dtype: str, origin: str) -> None:
    """Refuses weights of which some are not finite.

    Args:
        wrong: what `not_finite` found.

    Raises:
        ValueError: naming them.
    """
    if wrong:
        raise ValueError(
            f"{origin}: weights are not finite in {dtype}:\n"
            + listed("tensors", wrong)
            + "\nfetch the file again; float16 files that overflowed when they were saved have to "
            "be made anew from float32 or bfloat16 weights"
        )


def listed(kind: str, names: Sequence[str], at_most: int = 20) -> str:
    """Names below each other, for an error."""
    more = [f"and {len(names) - at_most} more"] if len(names) > at_most else []
    return "\n  ".join([f"{kind} ({len(names)}):", *names[:at_most], *more])
