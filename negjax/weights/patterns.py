"""Blocks of arrays through einops patterns: of what a part of the one side is made on the other.

Axes of a side are letters or groups of them, `(h c)`, of which the last goes fastest. A cut says of
an axis which of its entries are wanted, start and stop.
"""

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

Cut = Mapping[str, tuple[int, int]]


def groups(side: str) -> list[list[str]]:
    """Of each axis of an array, the axes of the pattern that it is made of."""
    return [group.strip("()").split() for group in re.findall(r"\([^)]*\)|\w+", side)]


def cut_of(
    axes: Sequence[Sequence[str]], ranges: Sequence[tuple[int, int]], sizes: Mapping[str, int]
) -> dict[str, tuple[int, int]] | None:
    """Axes of the pattern of which a block holds a part.

    Args:
        axes: of the array, as `groups` has them.
        ranges: of the block, start and stop on each of them.
        sizes: of the pattern's axes.

    Returns:
        None where a range begins or ends within an entry of a group's first axis.
    """
    found = {}
    for group, (start, stop) in zip(axes, ranges, strict=True):
        each = math.prod(sizes[axis] for axis in group[1:])
        if start % each or stop % each:
            return None
        if (start, stop) != (0, each * sizes[group[0]]):
            found[group[0]] = (start // each, stop // each)
    return found


def block_of(
    axes: Sequence[Sequence[str]], cut: Cut, sizes: Mapping[str, int], first: int = 0
) -> tuple[tuple[int, int], ...] | None:
    """The block of an array that holds what is cut out: start and stop on each axis.

    Args:
        first: where on the first axis of the array the pattern's begins.

    Returns:
        None where that is no block: an axis that is cut goes faster than one that is not.
    """
    found = []
    for group in axes:
        start, stop = 0, 1
        for axis in group:
            low, high = cut.get(axis, (0, sizes[axis]))
            if stop - start > 1 and (low, high) != (0, sizes[axis]):
                return None
            start, stop = start * sizes[axis] + low, (stop - 1) * sizes[axis] + high
        found.append((start, stop))
    (start, stop), *rest = found
    return ((first + start, first + stop), *rest)


def source_of(
    left: Sequence[Sequence[str]],
    right: Sequence[Sequence[str]],
    ranges: Sequence[tuple[int, int]],
    sizes: Mapping[str, int],
    also: Cut = MappingProxyType({}),
    first: int = 0,
) -> tuple[tuple[tuple[int, int], ...], dict[str, int]] | None:
    """Of what block of a pattern's left side a block of its right one is made.

    Args:
        left, right: as `groups` has them.
        ranges: of the block of the right side.
        sizes: of the pattern's axes.
        also: further axes that are cut.
        first: as of `block_of`.

    Returns:
        start and stop on each axis, and the sizes of the pattern's axes in that block; None where
        there is no such block.
    """
    cut = cut_of(right, ranges, sizes)
    block = None if cut is None else block_of(left, {**cut, **also}, sizes, first)
    if cut is None or block is None:
        return None
    lengths = {axis: stop - start for axis, (start, stop) in {**cut, **also}.items()}
    return block, {**sizes, **lengths}


def with_all_axes(pattern: str, rank: int) -> str:
    """A pattern, its `...` written as axes of an array of so many."""
    if "..." not in pattern:
        return pattern
    more = rank - len(groups(pattern.partition("->")[0].replace("...", "")))
    return pattern.replace("...", " ".join(f"axis{number}" for number in range(more)))


def sizes_from(
    axes: Sequence[Sequence[str]], shape: Sequence[int], known: Mapping[str, int]
) -> dict[str, int]:
    """Sizes of a pattern's axes, from an array's shape and those that are known.

    Args:
        axes: of the array, as `groups` has them; of each group one axis at most is not known.
    """
    sizes = dict(known)
    for group, size in zip(axes, shape, strict=True):
        for axis in group:
            if axis not in sizes:
                sizes[axis] = size // math.prod(sizes[other] for other in group if other != axis)
    return sizes
