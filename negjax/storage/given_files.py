"""Files as users have them: pointers instead of content, cut off, directories, other encodings."""

import codecs
import json
from pathlib import Path
from typing import Any

from negjax import checks

POINTER = b"version https://git-lfs"
"""What the file begins with that Git keeps in place of a large one (Git Large File Storage)."""

_UTF_16_OR_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def check_file(path: object, name: str, expected: str) -> Path:
    """A file that is there, with the user's home folder in place of `~`.

    Args:
        name: of the argument.
        expected: what the file should be.

    Raises:
        FileNotFoundError: there is nothing.
        IsADirectoryError: it is a directory.
        ValueError: it is no path.
    """
    found = checks.path(path, name)
    if found.is_dir():
        raise IsADirectoryError(f"{name} {str(path)!r} is a directory, expected {expected}")
    if not found.is_file():
        raise FileNotFoundError(f"{name} {str(path)!r}: no such file; expected {expected}")
    return found


def refuse_pointer(data: bytes, origin: str | Path) -> None:
    """Refuses what Git has left in place of a large file.

    Args:
        data: the file's first bytes.

    Raises:
        ValueError: naming the file.
    """
    if data.startswith(POINTER):
        raise ValueError(
            f"{origin}: a Git LFS pointer, not the file that it stands for: run `git lfs pull` "
            "where it was cloned, or download the file itself"
        )


def first_bytes(path: Path) -> bytes:
    """Enough of a file to tell what it is."""
    with path.open("rb") as file:
        return file.read(64)


def decoded(data: bytes, origin: str | Path) -> str:
    """The text of a UTF-8 file, without the mark that some editors put before it.

    Raises:
        ValueError: it is empty, a Git LFS pointer, or in another encoding; naming the file, and the
            line at fault.
    """
    if not data:
        raise ValueError(f"{origin}: the file is empty; fetch or write it again")
    refuse_pointer(data, origin)
    if data.startswith(_UTF_16_OR_32):
        raise ValueError(f"{origin}: UTF-16 or UTF-32 text; save the file as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{origin}: not UTF-8 at byte {error.start} (line {line}): {error.reason}; "
            "save the file as UTF-8"
        ) from error


def parsed(text: str, origin: str | Path) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{origin}: not JSON, or cut off: {error}; fetch or write it again"
        ) from error
    except RecursionError:
        raise ValueError(f"{origin}: not JSON that can be read: nested too deeply") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        ValueError: it is empty, cut off, a Git LFS pointer, not UTF-8, or no JSON object.
    """
    value = parsed(decoded(path.read_bytes(), path), path)
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds a JSON {type(value).__name__}, expected an object")
    return value
