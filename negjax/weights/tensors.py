"""Tensors of files: their shapes at once, their values when asked for."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import jax
import numpy as np
from einops import rearrange

from negjax.records import readable
from negjax.storage.file_parts import Allocate, aligned_bytes

Array = TypeVar("Array", np.ndarray, jax.Array)


class Step(Protocol):
    """From what is stored towards values, on the host or on a device.

    Equal steps are equal, so that a program is compiled once for all layers.
    """

    def __call__(self, values: Array) -> Array:
        """What it makes of them."""


@dataclasses.dataclass(frozen=True)
class Rearranged:
    """Other order of the entries, by an einops pattern."""

    pattern: str
    sizes: tuple[tuple[str, int], ...] = ()

    def __call__(self, values: Array) -> Array:
        """In the new order."""
        result: Array = rearrange(values, self.pattern, **dict(self.sizes))
        return result


@dataclasses.dataclass(frozen=True)
class Less:
    """A number is taken from every entry."""

    offset: float

    def __call__(self, values: Array) -> Array:
        """Without the offset, in the same dtype."""
        result: Array = values - np.asarray(self.offset, values.dtype)
        return result


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
        return LazyTensor(shape or self.shape, self.stored, self.form, (*self.steps, step))

    def part(self, block: Block) -> "LazyTensor":
        """A part of the values. Where they lie in the file as they are, no more is read."""
        if self.block is not None and not self.steps:
            return self.block(block)
        return self.then(block, block.shape)


Tensors = Mapping[str, LazyTensor]
