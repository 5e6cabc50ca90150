"""A run's folder in the hands of several processes, on one machine or many.

Process 0 opens the folder as a process alone would, says which job measures into it, and holds its
lock; the others open it as a part of that job. Each saves groups whose chunks are its own, and
records them in a file of its own (`progress`).
"""

import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.storage import progress, zarr_groups
from negjax.storage.locks import LOCK
from negjax.storage.run_settings import check_same, recorded
from negjax.storage.store import ARRAYS, JOB, RunFolder
from negjax.storage.whole_files import explained, write_bytes


def announce(folder: RunFolder, job: str) -> None:
    """Says in a folder which job measures into it, and divides it: for process 0.

    Args:
        job: a name that no other job has.

    Raises:
        OSError: it cannot be written.
    """
    with explained(folder.path, "the run could not be divided among processes"):
        write_bytes(folder.path / JOB, job.encode())
    folder.divide(0)


def open_part(
    path: str | Path, settings: Mapping[str, Any], process: int, job: str, *, seconds: float = 30.0
) -> RunFolder:
    """Opens a run's folder that process 0 has announced: for the other processes.

    Args:
        path: as process 0 was given it; a folder that all machines share.
        settings: what determines the measurements, as of `store.open_to_measure`.
        process: number of this one, from 1 on.
        job: what process 0 has announced.
        seconds: to wait until this machine sees what process 0 has written.

    Raises:
        ArgumentError: this machine sees another folder, or the run has other settings.
        OSError: the folder cannot be read or written.
    """
    path = checks.path(path, "path")
    deadline = time.monotonic() + seconds
    # A disk of the network shows a new file when its cache ends.
    while (seen := _announced(path)) != job:
        if time.monotonic() > deadline:
            there = "is not there" if seen is None else "belongs to another job"
            raise ArgumentError(
                f"{path} on {socket.gethostname()} {there}: all processes need the folder that "
                "process 0 writes; pass a ",
                Argument("folder"),
                " on a disk that all machines share",
            )
        time.sleep(0.2)
    with explained(path, "the run could not be started"):
        check_same(path, recorded(settings))
        arrays = zarr_groups.opened_group(path / ARRAYS, "r+")
        found = progress.read(path / progress.PROGRESS)
        folder = RunFolder(path, (path / LOCK).open("ab"), arrays, found)
    folder.divide(process)
    return folder


def _announced(path: Path) -> str | None:
    try:
        return (path / JOB).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
