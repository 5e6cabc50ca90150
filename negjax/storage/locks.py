"""One process a folder: locks that end with the process, however it ends."""

import fcntl
from pathlib import Path
from typing import BinaryIO

from negjax.errors import Argument, ArgumentError

LOCK = ".lock"


def lock_folder(path: Path, *, shared: bool = False) -> BinaryIO:
    """The folder's lock, held until the file is closed or the process ends, however it ends.

    Args:
        shared: with others that only read.

    Raises:
        ValueError: another process holds it.
    """
    lock = (path / LOCK).open("ab")
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ArgumentError(
            f"{path} is in use by another process; wait for it, or pass another ",
            Argument("folder"),
        ) from None
    except OSError:
        lock.close()
        raise
    return lock
