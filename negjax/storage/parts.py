"""A run's folder in the hands of several processes, on one machine or many.

Process 0 opens the folder as a process alone would, says which job measures into it and what is
finished, and holds its lock; the others open it as a part of that job. Each saves groups whose
chunks are its own, and records them in a file of its own (`progress`). Where all compute the same
together, the others follow: process 0 alone writes.
"""

import json
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.storage import progress, zarr_groups
from negjax.storage.locks import LOCK
from negjax.storage.run_settings import check_same, recorded
from negjax.storage.store import ARRAYS, JOB, Places, RunFolder
from negjax.storage.whole_files import explained, seen_within, write_bytes


class Followed(RunFolder):
    """A run's folder that process 0 writes: what this process has found too is as good as saved."""

    writes = False

    def save(
        self, group: str, at: Places, values: Mapping[str, np.ndarray], seconds: float
    ) -> None:
        """Counts a group as finished."""
        del at, values
        self._groups = self._groups | {group: seconds}

    def _written(self, name: str, write: Callable[[Path], None]) -> Path:
        del write
        return self.path / name


def announce(folder: RunFolder) -> str:
    """Says in a folder which job measures into it, and divides it: for process 0.

    Returns:
        what the others are to be told: the job's name, which no other has, and what is finished.

    Raises:
        OSError: it cannot be written.
    """
    name = secrets.token_hex(8)
    with explained(folder.path, "the run could not be divided among processes"):
        write_bytes(folder.path / JOB, name.encode())
    folder.divide(0)
    return json.dumps({"name": name, "finished": folder.finished})


def open_part(
    path: str | Path,
    settings: Mapping[str, Any],
    process: int,
    job: str,
    *,
    follow: bool = False,
    seconds: float = 30.0,
) -> RunFolder:
    """Opens a run's folder that process 0 has announced: for the other processes.

    Args:
        path: as process 0 was given it; a folder that all machines share.
        settings: what determines the measurements, as of `store.open_to_measure`.
        process: number of this one, from 1 on.
        job: what process 0 has announced. A disk of the network may show an older state of the
            file that says what is finished, and all have to skip the same. Digests are process
            0's: what it calls finished is not checked here.
        follow: nothing is written: process 0 saves what all find.
        seconds: to wait until this machine sees what process 0 has written.

    Raises:
        ArgumentError: this machine sees another folder, or the run has other settings.
        OSError: the folder cannot be read or written.
    """
    path = checks.path(path, "path")
    told = json.loads(job)
    if not seen_within(seconds, lambda: _announced(path) == told["name"]):
        there = "is not there" if _announced(path) is None else "belongs to another job"
        raise ArgumentError(
            f"{path} on {socket.gethostname()} {there}: all processes need the folder that "
            "process 0 writes; pass a ",
            Argument("folder"),
            " on a disk that all machines share",
        )
    with explained(path, "the run could not be started"):
        check_same(path, recorded(settings))
        arrays = zarr_groups.opened_group(path / ARRAYS, "r" if follow else "r+")
        found: progress.Progress = {"seconds": told["finished"], "sha256": {}}
        folder = (Followed if follow else RunFolder)(path, (path / LOCK).open("ab"), arrays, found)
    folder.divide(process)
    return folder


def _announced(path: Path) -> str | None:
    try:
        return (path / JOB).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
