"""The header of a GGUF file: metadata, and where each tensor lies.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package's own reader
takes seconds for a large vocabulary, as it makes numpy arrays of every token; its tables of types
are used here, and it decodes the tensors.
"""

import dataclasses
import math
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import quant_shape_to_byte_shape

from negjax.records import readable
from negjax.storage.file_parts import Allocate, FilePart
from negjax.storage.given_files import first_bytes, refuse_pointer

VERSIONS = (2, 3)
MAGIC = b"GGUF"
MOST_AXES = 4

_SCALARS = {
    gguf.GGUFValueType.UINT8: "<B",
    gguf.GGUFValueType.INT8: "<b",
    gguf.GGUFValueType.UINT16: "<H",
    gguf.GGUFValueType.INT16: "<h",
    gguf.GGUFValueType.UINT32: "<I",
    gguf.GGUFValueType.INT32: "<i",
    gguf.GGUFValueType.UINT64: "<Q",
    gguf.GGUFValueType.INT64: "<q",
    gguf.GGUFValueType.FLOAT32: "<f",
    gguf.GGUFValueType.FLOAT64: "<d",
    gguf.GGUFValueType.BOOL: "<?",
}


@readable
@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor as it lies in the file."""

    shape: tuple[int, ...]
    """Slowest axis first, as in numpy; the file lists the fastest first."""
    kind: gguf.GGMLQuantizationType
    rows: tuple[int, ...]
    """[..., bytes of a row], the shape of its bytes."""
    where: FilePart

    def numbered(self, part: int) -> "StoredTensor":
        """One of those along its first axis."""
        size = self.where.size // self.rows[0]
        where = dataclasses.replace(self.where, start=self.where.start + part * size, size=size)
        return dataclasses.replace(self, shape=self.shape[1:], rows=self.rows[1:], where=where)

    def read(self, allocate: Allocate) -> np.ndarray:
        """Its bytes, [..., bytes of a row], read from the file.

        Args:
            allocate: where they are put.
        """
        return self.where.read(allocate).reshape(self.rows)


class _Cursor:
    def __init__(self, data: np.ndarray) -> None:
        self.data = data.data
        self.at = 0

    def scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from(code, self.data, self.at)
        self.at += struct.calcsize(code)
        return value

    def scalars(self, code: str, count: int) -> list[Any]:
        layout = f"<{count}{code[1:]}"
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return list(values)

    def string(self) -> str:
        size = self.scalar("<Q")
        if size > len(self.data) - self.at:
            raise ValueError(f"a string of {size} bytes at byte {self.at} ends after the file")
        self.at += size
        return str(self.data[self.at - size : self.at], "utf-8")

    def value(self, kind: gguf.GGUFValueType) -> Any:
        if kind == gguf.GGUFValueType.STRING:
            return self.string()
        if kind != gguf.GGUFValueType.ARRAY:
            return self.scalar(_SCALARS[kind])
        inner = gguf.GGUFValueType(self.scalar("<I"))
        count = self.scalar("<Q")
        if count > len(self.data) - self.at:
            raise ValueError(f"an array of {count} values at byte {self.at} ends after the file")
        if inner == gguf.GGUFValueType.STRING:
            return [self.string() for _ in range(count)]
        if inner not in _SCALARS:
            raise ValueError(
                f"an array of {inner.name} at byte {self.at}, expected scalars or strings"
            )
        return self.scalars(_SCALARS[inner], count)


def is_gguf(start: bytes) -> bool:
    """Whether a file that begins so is a GGUF file, of whatever version and byte order."""
    return start.startswith((MAGIC, MAGIC[::-1]))


def is_big_endian(start: bytes) -> bool:
    """Whether a file that begins so is a GGUF file for machines of the other byte order."""
    swapped = tuple(version.to_bytes(4, "big") for version in VERSIONS)
    return start.startswith(MAGIC[::-1]) or (
        start.startswith(MAGIC) and start[4:8].startswith(swapped)
    )


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, StoredTensor]]:
    """Metadata and tensors of a GGUF file.

    Raises:
        ValueError: the file is truncated, damaged, a Git LFS pointer, big-endian, or no GGUF file
            of a version in `VERSIONS`.
    """
    start = first_bytes(path)
    refuse_pointer(start, path)
    if is_big_endian(start):
        raise ValueError(
            f"{path}: a big-endian GGUF file, which negjax does not read; convert the model for "
            "little-endian machines (convert_hf_to_gguf.py without its --bigendian), or download "
            "such a file"
        )
    try:
        return _read(path, np.memmap(path, mode="r"))
    except (ValueError, struct.error) as error:
        raise ValueError(
            f"{path}: truncated, or not a GGUF file ({error}); fetch or write it again"
        ) from error


def _read(path: Path, data: np.ndarray) -> tuple[dict[str, Any], dict[str, StoredTensor]]:
    cursor = _Cursor(data)
    magic, version = cursor.scalar("<I"), cursor.scalar("<I")
    if magic != gguf.GGUF_MAGIC or version not in VERSIONS:
        raise ValueError(f"it starts with {magic:#x}, version {version}")
    tensor_count, field_count = cursor.scalar("<Q"), cursor.scalar("<Q")
    metadata = {}
    for _ in range(field_count):
        name = cursor.string()
        metadata[name] = cursor.value(gguf.GGUFValueType(cursor.scalar("<I")))
    places = []
    for _ in range(tensor_count):
        name = cursor.string()
        axes = cursor.scalar("<I")
        if not 1 <= axes <= MOST_AXES:
            raise ValueError(f"tensor {name!r} has {axes} axes, expected 1 to {MOST_AXES}")
        sizes = cursor.scalars("<Q", axes)
        places.append((name, sizes, cursor.scalar("<I"), cursor.scalar("<Q")))
    alignment = metadata.get("general.alignment", gguf.GGUF_DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError(f"general.alignment is {alignment!r}, expected a positive integer")
    start = math.ceil(cursor.at / alignment) * alignment
    tensors: dict[str, StoredTensor] = {}
    for name, sizes, kind, offset in places:
        if name in tensors:
            raise ValueError(f"tensor {name!r} is there twice")
        stored = _stored(path, sizes, gguf.GGMLQuantizationType(kind), start + offset)
        end = stored.where.start + stored.where.size
        if end > data.size:
            raise ValueError(f"tensor {name!r} ends at byte {end}, the file at byte {data.size}")
        tensors[name] = stored
    return metadata, tensors


def _stored(
    path: Path, sizes: list[int], kind: gguf.GGMLQuantizationType, start: int
) -> StoredTensor:
    shape = tuple(reversed(sizes))
    rows = quant_shape_to_byte_shape(shape, kind)
    return StoredTensor(shape, kind, rows, FilePart(path, start, math.prod(rows)))
