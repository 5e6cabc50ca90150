"""A run's folder in a bucket: measured in a folder of this machine, and copied as it grows.

A bucket has no locks, no renaming and no appending, and each object is written whole. So a run is
measured into a folder of the disk, as any other, and `Mirror` copies what has changed: arrays
first, then the file that says which groups are finished. What the bucket holds is thus a run that
can be gone on with, whenever the machine is lost.
"""

import contextlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from negjax.errors import Argument, ArgumentError
from negjax.process.notices import say
from negjax.storage.buckets import Bucket
from negjax.storage.locks import LOCK
from negjax.storage.run_settings import SETTINGS
from negjax.storage.store import DISCARDED
from negjax.storage.whole_files import write_bytes

LEASE = ".lease"
"""The object that says who measures into a folder, and when it last gave a sign of life."""
EVERY = 30.0
"""Seconds between two copies, each of which is a sign of life."""
LOST = 120.0
"""Seconds without one, after which another process may go on."""
LARGE = 1 << 26
"""Bytes of files that are written together, which are all in memory."""

Signature = tuple[int, int]
"""Size and time of a file."""


class Mirror:
    """A folder of this machine and its copy in a bucket."""

    def __init__(self, bucket: Bucket, folder: Path, *, owner: bool) -> None:
        """Nothing is copied yet.

        Args:
            owner: whether this process holds the lease, and deletes what the folder lost; of
                several processes one does.
        """
        self.bucket, self.folder, self.address = bucket, folder, bucket.address
        self._owner, self._token = (
            owner,
            f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        )
        self._known: dict[str, Signature | None] = {}
        self._own: set[str] = set()
        self._settings: bytes | None = None
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._failed = False
        self.copied = False
        """Whether the bucket holds all that the folder does: set at the end."""

    def claim(self) -> None:
        """Takes the lease, or says who holds it.

        Raises:
            ArgumentError: another process measures into that folder.
            OSError: the bucket does not answer.
        """
        for _, data in self.bucket.read([LEASE]):
            try:
                held = json.loads(data)
                who, silent = str(held["who"]), time.time() - float(held["at"])
            except (ValueError, KeyError, TypeError):
                continue
            if who != self._token and silent < LOST:
                host, pid, _ = [*who.split(":"), "", ""][:3]
                raise ArgumentError(
                    f"{self.bucket.address} is in use by process {pid} of {host}, which gave a "
                    f"sign of life {max(silent, 0):.0f} s ago; wait for it, or for {LOST:.0f} s "
                    "after its end, or pass another ",
                    Argument("folder"),
                )
        self._sign()
        # Of two that found it free at once, the one that wrote last has it.
        time.sleep(0.2)
        if not any(self._token.encode() in data for _, data in self.bucket.read([LEASE])):
            raise ArgumentError(
                f"{self.bucket.address} was taken by another process at the same time; wait for "
                "it, or pass another ",
                Argument("folder"),
            )

    def pull(self) -> None:
        """Copies to the folder what the bucket holds and this process did not write itself.

        Raises:
            OSError: the bucket does not answer, or the disk is full.
        """
        with self._lock:
            names = [name for name in self.bucket.names() if name not in self._own | {LEASE}]
            for name, data in self.bucket.read(names):
                file = self.folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(file, data)
                self._known[name] = _signature(file)
                if name == SETTINGS:
                    self._settings = data

    def push(self) -> None:
        """Copies to the bucket what has changed in the folder.

        Raises:
            OSError: the bucket does not answer, or may not be written.
        """
        with self._lock:
            self._push()

    def _push(self) -> None:
        # What these say is finished was written before they were read, and so is copied before.
        progresses = self._signatures(filter(_says_what_is_finished, self._names()))
        said = self._contents(name for name in progresses if self._is_new(name, progresses))
        settings = self._contents([SETTINGS]).get(SETTINGS)
        found = self._signatures(self._names()) | progresses
        if self._settings is not None and settings != self._settings and self._owner:
            # Another run takes its place: from here on the folder is known to be discarded.
            self.bucket.write({DISCARDED: self._settings})
            self.bucket.delete([SETTINGS])
            self._settings, self._known[DISCARDED] = None, None
        apart = {*progresses, SETTINGS}
        changed = [name for name in found if name not in apart and self._is_new(name, found)]
        for some in self._together(changed, found):
            self.bucket.write(self._contents(some))
        self.bucket.write(said)
        if settings is not None and settings != self._settings:
            self.bucket.write({SETTINGS: settings})
        self._settings = settings
        self._own |= {*changed, *said, SETTINGS}
        gone = [name for name in self._known if name not in found]
        if self._owner:
            self.bucket.delete(gone)
        self._known = dict(found)
        self._own -= set(gone)

    def _is_new(self, name: str, found: Mapping[str, Signature | None]) -> bool:
        return found[name] != self._known.get(name)

    def _signatures(self, names: Iterable[str]) -> dict[str, Signature | None]:
        return {name: _signature(self.folder / name) for name in names}

    def _contents(self, names: Iterable[str]) -> dict[str, bytes]:
        """Of files; what was removed since it was listed is left out."""
        found = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found[name] = (self.folder / name).read_bytes()
        return found

    def _together(
        self, names: Sequence[str], found: Mapping[str, Signature | None]
    ) -> Iterator[list[str]]:
        """Names of files that are written together."""
        some, size = list[str](), 0
        for name in names:
            some.append(name)
            size += (found[name] or (0, 0))[0]
            if size >= LARGE:
                yield some
                some, size = [], 0
        yield some

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Copies every so often while something is measured, and at the end, however it ends.

        Raises:
            ArgumentError, OSError: as of `claim`.
            OSError: the last copy failed; what it says names the folder that holds all.
        """
        if self._owner:
            self.claim()
        copies = threading.Thread(target=self._keep, daemon=True)
        copies.start()
        try:
            yield
        finally:
            self._ended.set()
            copies.join()
            self._last()

    def _keep(self) -> None:
        while not self._ended.wait(EVERY):
            try:
                self._sign()
                self.push()
                self._failed = False
            except OSError as error:
                if not self._failed:
                    say(f"{error}. What is measured is kept in {self.folder}, and copied later")
                self._failed = True

    def _last(self) -> None:
        try:
            self.push()
            self.copied = True
            if self._owner:
                self.bucket.delete([LEASE])
        except OSError as error:
            raise OSError(
                f"{error}. What was measured is kept in {self.folder}: copy it to "
                f"{self.bucket.address}, or pass it as the folder"
            ) from error

    def _sign(self) -> None:
        if self._owner:
            said: dict[str, Any] = {"who": self._token, "at": time.time()}
            self.bucket.write({LEASE: json.dumps(said).encode()})

    def _names(self) -> list[str]:
        """Of files that belong to the run, relative to its folder."""
        files = (file for file in self.folder.rglob("*") if file.is_file())
        names = (file.relative_to(self.folder).as_posix() for file in files)
        left_out = {LOCK, LEASE}
        return sorted(n for n in names if n not in left_out and not n.endswith(".partial"))


def _says_what_is_finished(name: str) -> bool:
    """Of the run, or of one that lies in its folder."""
    last = PurePosixPath(name).name
    return (
        name != SETTINGS
        and re.fullmatch(r"settings\.json|progress(\.\d+)?\.json", last) is not None
    )


def _signature(file: Path) -> Signature | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
