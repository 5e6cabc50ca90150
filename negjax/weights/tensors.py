"""Tensors of files: their shapes at once, their values when asked for."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeVar

import jax
import numpy as np
from einops import rearrange

from negjax.records import readable
from negjax.storage.file_parts import Allocate, FilePart, aligned_bytes
from negjax.weights import patterns

Array = TypeVar("Array", np.ndarray, jax.Array)


class Step(Protocol):
    """From what is stored towards values, on the host or on a device.

    Equal steps are equal, so that a program is compiled once for all layers.
    """

    def __call__(self, values: Array) -> Array:
        """What it makes of them."""

    def before(self, block: "Block", shape: tuple[int, ...]) -> "Before | None":
        """What a block of its result is made of; None: it does not say.

        Args:
            shape: of the whole result.
        """


class Before(NamedTuple):
    """What a block of a step's result is made of."""

    block: "Block"
    """Of the argument."""
    shape: tuple[int, ...]
    """Of the whole argument."""
    steps: tuple[Step, ...]
    """From the block of the argument to that of the result."""


@dataclasses.dataclass(frozen=True)
class Rearranged:
    """Other order of the entries, by an einops pattern."""

    pattern: str
    sizes: tuple[tuple[str, int], ...] = ()

    def __call__(self, values: Array) -> Array:
        """In the new order."""
        result: Array = rearrange(values, self.pattern, **dict(self.sizes))
        return result

    def before(self, block: "Block", shape: tuple[int, ...]) -> Before | None:
        """A block, where the axes that are cut are no faster ones of the argument's axes."""
        pattern = patterns.with_all_axes(self.pattern, len(shape))
        left, right = map(patterns.groups, pattern.split("->"))
        sizes = patterns.sizes_from(right, shape, dict(self.sizes))
        found = patterns.source_of(left, right, block.ranges, sizes)
        if found is None:
            return None
        ranges, lengths = found
        whole = tuple(math.prod(sizes[axis] for axis in group) for group in left)
        return Before(Block(ranges), whole, (Rearranged(pattern, tuple(lengths.items())),))


@dataclasses.dataclass(frozen=True)
class Less:
    """A number is taken from every entry."""

    offset: float

    def __call__(self, values: Array) -> Array:
        """Without the offset, in the same dtype."""
        result: Array = values - np.asarray(self.offset, values.dtype)
        return result

    def before(self, block: "Block", shape: tuple[int, ...]) -> Before:
        """The same block."""
        return Before(block, shape, (self,))


@dataclasses.dataclass(frozen=True)
class Block:
    """A part of the entries."""

    ranges: tuple[tuple[int, int], ...]
    """Start and stop on each axis."""

    @property
    def index(self) -> tuple[slice, ...]:
        """Which entries."""
        return tuple(slice(*ends) for ends in self.ranges)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the part."""
        return tuple(stop - start for start, stop in self.ranges)

    def __call__(self, values: Array) -> Array:
        """The part."""
        result: Array = values[self.index]
        return result

    def before(self, block: "Block", shape: tuple[int, ...]) -> None:
        """Nothing: what it was cut out of has a shape that it does not know."""


@readable
@dataclasses.dataclass(frozen=True)
class Form:
    """Shape and type of what a file holds."""

    shape: tuple[int, ...]
    kind: str
    """Name of the dtype."""

    @property
    def dtype(self) -> np.dtype:
        """Of the numbers, or of blocks' bytes."""
        return np.dtype(jax.numpy.dtype(self.kind))

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@readable
@dataclasses.dataclass(frozen=True)
class LazyTensor:
    """A tensor of a file: its shape at once, its values when asked for."""

    shape: tuple[int, ...]
    """Of the values."""
    stored: Callable[[Allocate], np.ndarray]
    """What lies in the file, read by every call anew, to memory that the argument gives."""
    form: Form
    """Of what is stored."""
    steps: tuple[Step, ...] = ()
    """From there to the values."""
    block: Callable[[Block], "LazyTensor"] | None = None
    """A part of what is stored, of which no more is read; None: it has to be read whole."""

    def read(self, allocate: Allocate = aligned_bytes) -> np.ndarray:
        """The values; they may be a view of what is stored.

        Args:
            allocate: where that is put.
        """
        return self.values(self.stored(allocate))

    def values(self, stored: Array) -> Array:
        """The values, from what lies in the file."""
        for step in self.steps:
            stored = step(stored)
        return stored

    def then(self, step: Step, shape: tuple[int, ...] | None = None) -> "LazyTensor":
        """With one more step, after which the shape may be another."""
        return dataclasses.replace(self, shape=shape or self.shape, steps=(*self.steps, step))

    def part(self, block: Block) -> "LazyTensor":
        """A part of the values. Where the steps say what it is made of, no more is read."""
        wanted, shape, steps = block, self.shape, tuple[Step, ...]()
        for step in reversed(self.steps):
            found = step.before(wanted, shape)
            if found is None:
                return self.then(block, block.shape)
            wanted, shape, steps = found.block, found.shape, (*found.steps, *steps)
        if self.block is None:
            return self.then(block, block.shape)
        return dataclasses.replace(self.block(wanted), shape=block.shape, steps=steps)


def stored_array(where: FilePart, dtype: np.dtype, shape: tuple[int, ...]) -> LazyTensor:
    """What lies in a file as an array, in C order; of its parts no more is read."""

    def of(where: FilePart, shape: tuple[int, ...]) -> LazyTensor:
        stored = functools.partial(_values, where, dtype, shape)
        return LazyTensor(shape, stored, Form(shape, dtype.name))

    def block(wanted: Block) -> LazyTensor:
        return of(where.of_array(shape, dtype.itemsize, wanted.index), wanted.shape)

    return dataclasses.replace(of(where, shape), block=block)


def _values(
    where: FilePart, dtype: np.dtype, shape: tuple[int, ...], allocate: Allocate
) -> np.ndarray:
    result: np.ndarray = where.read(allocate).view(dtype).reshape(shape)
    return result


Tensors = Mapping[str, LazyTensor]
