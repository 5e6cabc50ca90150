"""NumPy's archives of arrays (.npz), read lazily; what would have to be unpickled is refused."""

import contextlib
import functools
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from negjax.storage.file_parts import Allocate
from negjax.storage.given_files import first_bytes
from negjax.weights.tensors import Form, LazyTensor

ENDING = ".npy"


def is_archive(path: Path) -> bool:
    """Whether a file begins as zip archives do, whatever its name."""
    return first_bytes(path).startswith(b"PK")


def read_arrays(path: Path) -> dict[str, LazyTensor]:
    """Arrays of an archive, by their names.

    Raises:
        ValueError: it is damaged, or holds something else than arrays; when it is read, an array
            holds Python objects.
    """
    with _explained(path), zipfile.ZipFile(path) as archive:
        return {
            name.removesuffix(ENDING): _tensor(path, archive, name) for name in archive.namelist()
        }


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Says of what is damaged or encrypted which file it is."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path}: truncated, or not an .npz file ({error}); fetch or write it again"
        ) from error


def _tensor(path: Path, archive: zipfile.ZipFile, name: str) -> LazyTensor:
    with archive.open(name) as member:
        major, _ = npy.read_magic(member)
        read_header = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
        shape, _, dtype = read_header(member)
    stored = functools.partial(_values, path, name.removesuffix(ENDING), dtype.hasobject)
    return LazyTensor(shape, stored, Form(shape, dtype.name))


def _values(path: Path, name: str, pickled: bool, allocate: Allocate) -> np.ndarray:
    if pickled:
        raise ValueError(
            f"{path}: {name} holds Python objects, which can run code when they are read; negjax "
            "reads none: save it as an array of numbers"
        )
    with _explained(path), np.load(path) as archive:
        result: np.ndarray = archive[name]
    return result
