"""Folders of buckets, `gs://` and `s3://`: names, whole objects, and copies of given files.

tensorstore talks to them, which orbax-checkpoint needs too. Credentials are where its drivers look
for them: those of `gcloud auth application-default login` or of the machine, and of the environment
(AWS_ACCESS_KEY_ID and so on), `~/.aws` or the machine. AWS_ENDPOINT_URL names another server that
speaks S3.
"""

import contextlib
import fnmatch
import hashlib
import importlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from negjax.records import cut
from negjax.storage.caches import user_cache
from negjax.storage.whole_files import write_bytes, write_whole

DRIVERS = {"gs": "gcs", "s3": "s3"}
"""tensorstore's names."""
PIECE = 1 << 26
"""Bytes that are fetched at once, of a large object."""
AT_ONCE = 16
"""Objects that are under way together, and in memory."""
SECONDS = 120.0
"""Until a bucket that does not answer is given up."""
GENERATION = ".generation"
"""Ends the names of files that say which version of an object was fetched."""


def is_address(value: object) -> bool:
    """Whether it is the address of something in a bucket: `gs://bucket/…` or `s3://bucket/…`."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
    return isinstance(text, str) and re.match(r"(gs|s3)://", text) is not None


class Elsewhere(Protocol):
    """Where a folder is copied to, and other processes' folders too."""

    address: str

    def push(self) -> None:
        """Copies there what has changed."""

    def pull(self) -> None:
        """Copies here what others have written."""


class Bucket:
    """What lies below an address."""

    def __init__(self, address: str) -> None:
        """Nothing is asked of the bucket yet.

        Raises:
            ValueError: it is no address.
        """
        found = re.fullmatch(r"(gs|s3)://([^/]+)(?:/(.*))?", address)
        if found is None or ".." in (found[3] or "").split("/"):
            raise ValueError(
                f"{cut(address)!r} is no address in a bucket, expected gs://BUCKET/FOLDER or "
                "s3://BUCKET/FOLDER"
            )
        self.address = address.rstrip("/")
        scheme, self.name, path = found[1], found[2], (found[3] or "").strip("/")
        self._spec: dict[str, Any] = {"driver": DRIVERS[scheme], "bucket": self.name}
        if path:
            self._spec["path"] = f"{path}/"
        if scheme == "s3":
            self._spec |= _settings_of_s3(os.environ)

    def __repr__(self) -> str:
        return f"Bucket({cut(self.address)!r})"

    def names(self) -> list[str]:
        """Of all objects below the address, relative to it.

        Raises:
            OSError: the bucket is not there, does not answer, or may not be read.
        """
        with self._asked("cannot be listed"):
            found = [key.decode() for key in self._store().list().result(timeout=SECONDS)]
        for name in found:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise OSError(f"{self.address}/{cut(name)}: no name that a file may have")
        # Some tools mark folders by objects without content.
        return sorted(name for name in found if name and not name.endswith("/"))

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Objects and what they hold, several at once; those that are gone are left out.

        Raises:
            OSError: as of `names`.
        """
        for some in _batches(list(names)):
            with self._asked("cannot be read"):
                store = self._store()
                futures = [(name, store.read(name)) for name in some]
                found = [(name, future.result(timeout=SECONDS)) for name, future in futures]
            yield from ((name, one.value) for name, one in found if one.state == "value")

    def write(self, values: Mapping[str, bytes]) -> None:
        """Writes objects, several at once; each is there whole or not at all.

        Raises:
            OSError: as of `names`.
        """
        for some in _batches(list(values)):
            with self._asked("cannot be written"):
                store = self._store()
                futures = [store.write(name, values[name]) for name in some]
                for future in futures:
                    future.result(timeout=SECONDS)

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects; those that are not there count as deleted.

        Raises:
            OSError: as of `names`.
        """
        for some in _batches(list(names)):
            with self._asked("cannot be written"):
                store = self._store()
                futures = [store.write(name, None) for name in some]
                for future in futures:
                    future.result(timeout=SECONDS)

    def fetch(self, name: str, file: Path) -> None:
        """Copies an object into a file, a piece at a time; one that is there already, not again.

        Raises:
            OSError: as of `names`; or there is no such object; or it changes meanwhile; or the
                disk is full.
        """
        mark = file.with_name(f".{file.name}{GENERATION}")
        known = mark.read_bytes() if file.is_file() and mark.is_file() else None
        with self._asked(f"{name} cannot be read"):
            store = self._store()
            # Of a version that is there no more than a byte is sent.
            if known is not None and _is_at(store, name, known):
                return
            first, generation = _piece(store, name, 0)
        if first is None:
            raise FileNotFoundError(f"{self.address}/{name}: there is no such object")
        mark.unlink(missing_ok=True)

        def write(out: Any) -> None:
            piece: bytes | None = first
            while piece:
                out.write(piece)
                if len(piece) < PIECE:
                    return
                with self._asked(f"{name} cannot be read"):
                    piece, now = _piece(store, name, out.tell())
                if piece is None or now != generation:
                    raise OSError(f"{self.address}/{name} changed while it was fetched; try again")

        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, write)
        write_bytes(mark, generation)

    def _store(self) -> Any:
        # Here: it takes as long to import as all of negjax's storage.
        tensorstore = importlib.import_module("tensorstore")
        return tensorstore.KvStore.open(self._spec).result(timeout=SECONDS)

    @contextlib.contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        """Names the address in errors."""
        try:
            yield
        except TimeoutError:
            raise OSError(
                f"{self.address} {what}: no answer within {SECONDS:.0f} seconds; check the network"
            ) from None
        except ValueError as error:
            # tensorstore's errors are all of this class.
            why = re.split(r" \[(?:http|x-|source)", str(error))[0].strip() or "no reason is given"
            raise OSError(
                f"{self.address} {what}: {cut(why)}; check its name, and that this machine has "
                "credentials that may read and write it"
            ) from error


def _settings_of_s3(environment: Mapping[str, str]) -> dict[str, Any]:
    """What tensorstore has to be told of a server that speaks S3."""
    found: dict[str, Any] = {}
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if endpoint:
        # Such servers want a region to be named, and take any.
        found |= {"endpoint": endpoint.rstrip("/"), "aws_region": region or "us-east-1"}
    if environment.get("AWS_ACCESS_KEY_ID"):
        found["aws_credentials"] = {"type": "environment"}
    return found


def _piece(store: Any, name: str, start: int) -> tuple[bytes | None, bytes]:
    """At most PIECE bytes of an object from `start` on, and its version; None: it is not there."""
    try:
        found = store.read(name, byte_range=slice(start, start + PIECE)).result(timeout=SECONDS)
    except ValueError:
        # Fewer are left. Of none, a range would be refused: one that was read is read again.
        before = min(start, 1)
        rest = slice(start - before, None) if start else None
        found = store.read(name, byte_range=rest).result(timeout=SECONDS)
        return (None if found.state != "value" else found.value[before:]), found.stamp.generation
    return (None if found.state != "value" else found.value), found.stamp.generation


def _parts(name: str) -> list[str]:
    """All files of a GGUF file that may come in several."""
    found = re.fullmatch(r".*(-00001-)of-(\d{5})\.gguf", name)
    if found is None:
        return [name]
    before, after = name[: found.start(1)], name[found.end(1) :]
    return [f"{before}-{number:05}-{after}" for number in range(1, int(found[2]) + 1)]


def _is_at(store: Any, name: str, generation: bytes) -> bool:
    """Whether an object is there in a version, as its first byte says; of an empty one unknown."""
    try:
        found = store.read(name, byte_range=slice(0, 1)).result(timeout=SECONDS)
    except ValueError:
        return False
    return bool(found.state == "value" and found.stamp.generation == generation)


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[at : at + AT_ONCE] for at in range(0, len(names), AT_ONCE))


def fetched(address: str, wanted: Sequence[str]) -> Path:
    """A local copy of the files of a folder in a bucket, or of one file, in the user's cache.

    Args:
        address: of a folder, or of a `.gguf` file, of several the first.
        wanted: names of the folder's files, with wildcards; others are not fetched.

    Raises:
        OSError: the bucket does not answer or may not be read, there is nothing, or the disk is
            full.
        ValueError: it is no address.
    """
    parent, _, last = address.rstrip("/").rpartition("/")
    one = last.endswith(".gguf") and not parent.endswith("/")
    bucket = Bucket(parent if one else address)
    folder = (
        user_cache() / "negjax" / "buckets" / hashlib.sha256(bucket.address.encode()).hexdigest()
    )
    if one:
        names = _parts(last)
    else:
        names = [n for n in bucket.names() if any(fnmatch.fnmatchcase(n, w) for w in wanted)]
        names = [name for name in names if "/" not in name]
    if not names:
        raise FileNotFoundError(
            f"{bucket.address}: no file there is one of {', '.join(wanted[:3])} and so on"
        )
    for name in names:
        bucket.fetch(name, folder / name)
    if one:
        return folder / last
    for left in {file.name for file in folder.iterdir() if file.name[0] != "."} - set(names):
        (folder / left).unlink()
    return folder
