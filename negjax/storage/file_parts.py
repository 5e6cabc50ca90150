"""Parts of large files, read as they are asked for.

They are read, not mapped: of a mapped file every page that was touched counts as this process's
memory, beside the copy that is made of it.
"""

import dataclasses
import io
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from negjax.records import readable

ALIGNMENT = 64
"""Bytes. A device that computes in the host's memory takes arrays that begin so as they are."""
LARGEST_READ = 1 << 30
"""Bytes of one call: Linux reads no more than 2 GiB at once."""


def aligned_bytes(size: int) -> np.ndarray:
    """Memory for so many bytes, not filled, which a device may take as it is."""
    room = np.empty(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size]


Allocate = Callable[[int], np.ndarray]
"""Memory for so many bytes."""


class Scratch:
    """Memory that is used again by every next array: the system takes long to give new memory."""

    def __init__(self) -> None:
        self._room = np.empty(0, np.uint8)

    def __call__(self, size: int) -> np.ndarray:
        """Memory for so many bytes, not filled; what it gave before is overwritten."""
        if self._room.size < size:
            self._room = aligned_bytes(size)
        return self._room[:size]


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array, not filled, which a device may take as it is."""
    return aligned_bytes(math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)


@readable
@dataclasses.dataclass(frozen=True)
class FilePart:
    """Some bytes of a file: pieces of one size, in a row or apart."""

    path: Path
    start: int
    """Where the bytes begin, of which the pieces are some."""
    size: int
    """Of a piece."""
    apart: tuple[int, ...] = (0,)
    """Where the pieces begin, from there on."""

    def of_array(
        self, shape: tuple[int, ...], itemsize: int, index: tuple[slice, ...]
    ) -> "FilePart":
        """Of an array that lies here, a block.

        Args:
            shape: of the array, in C order.
            itemsize: bytes of an entry.
            index: a slice for each axis, with a start and a stop.
        """
        lengths = [part.stop - part.start for part in index]
        # What lies in a row: the last axis that is cut, and those behind it.
        last = max((axis for axis, size in enumerate(shape) if lengths[axis] < size), default=0)
        strides = [itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        starts = np.zeros(1, np.int64)
        for axis in range(last):
            along = np.arange(index[axis].start, index[axis].stop) * strides[axis]
            starts = (starts[:, None] + along).reshape(-1)
        first = index[last].start * strides[last] if shape else 0
        size = itemsize * math.prod(lengths[last:])
        return FilePart(self.path, self.start, size, tuple((starts + first).tolist()))

    def read(self, allocate: Allocate = aligned_bytes) -> np.ndarray:
        """The bytes, [pieces · size], as uint8.

        Args:
            allocate: where they are put.

        Raises:
            FileNotFoundError: the file has gone since it was opened.
            OSError: it cannot be read.
            ValueError: it has become shorter.
        """
        data = allocate(self.size * len(self.apart))
        try:
            file = self.path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self.path}: the file has gone while its weights were read; put it back, and "
                "start again"
            ) from error
        with file:
            for number, start in enumerate(self.apart):
                piece = data[number * self.size : (number + 1) * self.size]
                file.seek(self.start + start)
                self._fill(file, piece, self.start + start + self.size)
        return data

    def _fill(self, file: io.FileIO, piece: np.ndarray, end: int) -> None:
        done = 0
        while done < len(piece):
            count = file.readinto(piece[done : done + LARGEST_READ].data)
            if not count:
                raise ValueError(
                    f"{self.path}: ends at byte {os.fstat(file.fileno()).st_size:,}, its header "
                    f"says that weights go on to byte {end:,}; fetch the file again"
                )
            done += count
