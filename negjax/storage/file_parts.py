"""Parts of large files, read as they are asked for.

They are read, not mapped: of a mapped file every page that was touched counts as this process's
memory, beside the copy that is made of it.
"""

import dataclasses
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
    """Some bytes of a file."""

    path: Path
    start: int
    size: int

    def read(self, allocate: Allocate = aligned_bytes) -> np.ndarray:
        """The bytes, [size], as uint8.

        Args:
            allocate: where they are put.

        Raises:
            FileNotFoundError: the file has gone since it was opened.
            OSError: it cannot be read.
            ValueError: it has become shorter.
        """
        data = allocate(self.size)
        try:
            file = self.path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{self.path}: the file has gone while its weights were read; put it back, and "
                "start again"
            ) from error
        with file:
            file.seek(self.start)
            done = 0
            while done < self.size:
                count = file.readinto(data[done : done + LARGEST_READ].data)
                if not count:
                    raise ValueError(
                        f"{self.path}: ends at byte {os.fstat(file.fileno()).st_size:,}, its "
                        f"header says that weights go on to byte {self.start + self.size:,}; fetch "
                        "the file again"
                    )
                done += count
        return data
