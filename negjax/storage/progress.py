"""Which groups of a run are finished: one file, and a file of each process while several measure.

Two processes that wrote one file would lose each other's groups. So each of several records what
it saved in a file of its own, and whoever opens the folder next gathers them: a job of other
processes continues what these have left.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negjax.errors import Argument, ArgumentError
from negjax.storage.whole_files import read_json, write_json

PROGRESS = "progress.json"

Progress = Mapping[str, dict[str, Any]]
"""Of finished groups, `seconds` that each took, and `sha256` of what it saved, by array."""


def part(process: int) -> str:
    """The name of a process's file."""
    return f"progress.{process}.json"


def progress_files(path: Path) -> list[Path]:
    """The files of a folder that are there, of the run and of processes."""
    return [*path.glob(PROGRESS), *_parts(path)]


def _parts(path: Path) -> list[Path]:
    return sorted(path.glob("progress.[0-9]*.json"))


def read(file: Path) -> Progress:
    """Reads a file.

    Raises:
        ArgumentError: it is damaged.
    """
    found = {"sha256": {}, **read_json(file)}
    if not all(isinstance(found.get(name), dict) for name in ("seconds", "sha256")):
        raise ArgumentError(
            f"{file} is damaged; pass ", Argument("overwrite", True), " to measure anew"
        )
    return found


def gathered(path: Path) -> Progress:
    """What all files of a folder say together; from then on the one of the run says it.

    Raises:
        ArgumentError: one of them is damaged.
        OSError: it cannot be written; nothing is lost then.
    """
    parts = _parts(path)
    found: dict[str, dict[str, Any]] = {"seconds": {}, "sha256": {}}
    for some in (read(file) for file in (path / PROGRESS, *parts)):
        for name, groups in found.items():
            groups.update(some[name])
    if parts:
        write_json(path / PROGRESS, found)
    # Only now: a kill in between leaves them to be gathered once more.
    for file in parts:
        file.unlink()
    return found
