"""Files that appear under their name whole or not at all, and errors that say what is kept."""

import contextlib
import dataclasses
import errno
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from negjax.errors import Argument, ArgumentError, Message


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file that appears under its name only when it is complete and on disk."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file of these bytes, as `write_whole` does."""
    write_whole(path, lambda out: out.write(data))


def remove_partial(path: Path, arrays: str) -> None:
    """Removes what killed processes left of files that they were writing in a run's folder.

    Args:
        arrays: name of the Zarr group in it, whose chunks leave partial files of their own.
    """
    for left in [*path.rglob(".*.[0-9]*.partial"), *(path / arrays).rglob("*.partial")]:
        left.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON object; NaN and infinities are refused."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    # Halves of surrogate pairs have no bytes in UTF-8, but a spelling in JSON.
    text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
    write_bytes(path, f"{text}\n".encode())


def finite_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with null for every number that is not finite, and a list of where those were.

    What a study found is saved though a figure of it is no number. Records become objects.
    """
    missing: list[str] = []

    def finite(item: Any, place: str) -> Any:
        if isinstance(item, float) and not math.isfinite(item):
            missing.append(f"{place}: {item}")
            return None
        if dataclasses.is_dataclass(item):
            item = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        if isinstance(item, Mapping):
            return {key: finite(part, f"{place}.{key}") for key, part in item.items()}
        if isinstance(item, list | tuple):
            return [finite(part, f"{place}[{i}]") for i, part in enumerate(item)]
        return item

    found = {key: finite(item, str(key)) for key, item in value.items()}
    return {**found, "not_finite": missing} if missing else found


def read_json(file: Path) -> dict[str, Any]:
    """Reads a JSON object of a run's folder.

    Raises:
        ValueError: it is missing or damaged.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ArgumentError(
            f"{file} is missing or damaged; pass ", Argument("overwrite", True), " to measure anew"
        )
    return found


def seen_within(seconds: float, there: Callable[[], bool]) -> bool:
    """Whether something is there within a time: a disk of the network shows another machine's
    files when its cache ends."""
    deadline = time.monotonic() + seconds
    while not (found := there()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def remedy(error: OSError) -> Message:
    """Returns what to do about a file or folder that cannot be opened or written."""
    for numbers, what in _REMEDIES:
        if error.errno in numbers:
            return what
    return Message("mend that, and run the same command again")


_AGAIN = "and run the same command again"
_ANOTHER = Message("pass another ", Argument("folder"))
_REMEDIES: tuple[tuple[tuple[int, ...], Message], ...] = (
    ((errno.ENOSPC, errno.EDQUOT), Message(f"free some space {_AGAIN}")),
    (
        (errno.EACCES, errno.EPERM),
        Message(f"change the permissions {_AGAIN}, or ", _ANOTHER),
    ),
    ((errno.EROFS,), Message("the disk can only be read: ", _ANOTHER)),
    ((errno.ENAMETOOLONG,), Message(_ANOTHER, ", of a shorter name")),
    (
        (errno.EMFILE, errno.ENFILE),
        Message(f"let more files be open at once (ulimit -n 4096) {_AGAIN}"),
    ),
    (
        (errno.ENOTDIR, errno.EEXIST),
        Message("a file lies where a folder is needed: move it, or ", _ANOTHER),
    ),
    (
        (errno.ENOLCK, errno.ENOTSUP),
        Message("the disk keeps no locks: ", _ANOTHER, ", on a local disk"),
    ),
)
"""By the error's number."""


@contextlib.contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Says of a file that cannot be written what failed, what is kept and what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            Message(
                f"{what}: {error.strerror or error}. What was finished before is kept: ",
                remedy(error),
            ),
            str(path),
        ) from error
