"""Runs whose --output lies in a bucket."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from experiments.running import terminal
from negjax.storage import mirrors
from negjax.storage.buckets import Bucket
from negjax.storage.mirrors import Mirror
from negjax.storage.store import RunFolder


@contextlib.contextmanager
def mirrored(address: str, *, owner: bool) -> Iterator[Mirror]:
    """A folder of this machine that holds what the bucket holds, and is copied there as it grows.

    Args:
        owner: whether this process begins the run; of several processes one does.

    Raises:
        ArgumentError: another process measures into that folder of the bucket.
        OSError: the bucket does not answer; the folder is kept then, and named.
    """
    bucket = Bucket(address)
    folder = Path(tempfile.mkdtemp(prefix="negjax-"))
    mirror = Mirror(bucket, folder, owner=owner)
    try:
        with mirror.kept():
            mirror.pull()
            terminal.note(
                f"{address}: measured in {folder}, and copied every {mirrors.EVERY:.0f} seconds"
            )
            yield mirror
    finally:
        # Of a run that was refused nothing is there.
        if mirror.copied or not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


def shown(folder: RunFolder, name: str = "") -> str:
    """Where users find a run, or a file of it."""
    root = str(folder.path) if folder.elsewhere is None else folder.elsewhere.address
    return f"{root}/{name}" if name else root
