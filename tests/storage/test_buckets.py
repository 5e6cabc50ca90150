"""Objects of buckets, and copies of given files, by servers that speak S3 and Google's protocol."""

from pathlib import Path

import pytest

from negjax.storage import buckets
from negjax.storage.buckets import Bucket, fetched, is_address
from tests.support import bucket_servers
from tests.support.bucket_servers import held

pytestmark = pytest.mark.usefixtures("servers")


def test_objects_come_back(bucket: Bucket) -> None:
    assert bucket.names() == []
    # The emulator of Google's server takes no empty object.
    values = {f"a/{n}/ü x": bytes([n]) * n for n in range(1, 101)} | {"b": b"last"}
    bucket.write(values)
    assert bucket.names() == sorted(values)
    assert held(bucket) == values
    bucket.write({"b": b"other"})
    bucket.delete(["a/7/ü x", "never there"])
    del values["a/7/ü x"]
    assert held(bucket) == values | {"b": b"other"}
    assert dict(bucket.read(["b", "never there"])) == {"b": b"other"}


def test_a_folder_is_apart_from_its_neighbours() -> None:
    address = bucket_servers.fresh("s3")
    inner, outer, other = Bucket(f"{address}/run"), Bucket(address), Bucket(f"{address}/run2")
    inner.write({"x": b"1"})
    other.write({"x": b"2"})
    assert inner.names() == ["x"] and outer.names() == ["run/x", "run2/x"]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 8, 9, 11, 12])
def test_large_objects_come_in_pieces(
    bucket: Bucket, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PIECE", 4)
    if not size and bucket.address.startswith("gs"):
        return
    data = bytes(range(size))
    bucket.write({"x": data})
    bucket.fetch("x", tmp_path / "folder" / "x")
    assert (tmp_path / "folder" / "x").read_bytes() == data


def test_what_was_fetched_is_fetched_again_when_it_changed(tmp_path: Path) -> None:
    bucket, file = Bucket(bucket_servers.fresh("s3")), tmp_path / "x"
    bucket.write({"x": b"first"})
    bucket.fetch("x", file)
    file.write_bytes(b"touched by somebody")
    bucket.fetch("x", file)
    assert file.read_bytes() == b"touched by somebody"
    bucket.write({"x": b"second"})
    bucket.fetch("x", file)
    assert file.read_bytes() == b"second"


def test_what_is_there_is_not_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(bucket_servers.fresh("s3"))
    bucket.write({"x": b"content"})
    bucket.fetch("x", tmp_path / "x")
    monkeypatch.setattr(buckets, "_piece", None)
    bucket.fetch("x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"content"


def test_an_object_that_changes_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PIECE", 4)
    bucket, real = Bucket(bucket_servers.fresh("s3")), buckets._piece
    bucket.write({"x": b"first version"})

    def changed(store: object, name: str, start: int) -> tuple[bytes | None, bytes]:
        if start:
            bucket.write({"x": b"second version"})
        return real(store, name, start)

    monkeypatch.setattr(buckets, "_piece", changed)
    with pytest.raises(OSError, match=r"/x changed while it was fetched; try again"):
        bucket.fetch("x", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", bucket_servers.SCHEMES)
def test_a_bucket_that_is_not_there_is_named(scheme: str, tmp_path: Path) -> None:
    bucket = Bucket(f"{scheme}://no-such-bucket/run")
    for call in (bucket.names, lambda: bucket.write({"x": b"1"})):
        with pytest.raises(OSError, match=rf"^{scheme}://no-such-bucket/run cannot be .*; check i"):
            call()
    there = Bucket(bucket_servers.fresh(scheme))
    with pytest.raises(FileNotFoundError, match=r"/x: there is no such object"):
        there.fetch("x", tmp_path / "x")


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(buckets, "SECONDS", 0.5)
    with pytest.raises(OSError, match=r"^s3://bucket/run cannot be listed: no answer within 0 sec"):
        Bucket("s3://bucket/run").names()


def test_names_that_leave_the_folder_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(bucket_servers.fresh("s3"))
    bucket.write({"fine": b"", "marker/": b""})
    assert bucket.names() == ["fine"]

    class Listing:
        def result(self, timeout: float) -> list[bytes]:
            return [b"a/../../b"]

    class Store:
        def list(self) -> Listing:
            return Listing()

    monkeypatch.setattr(Bucket, "_store", lambda self: Store())
    with pytest.raises(OSError, match=r"a/\.\./\.\./b: no name that a file may have"):
        bucket.names()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("gs://bucket/run", True),
        ("s3://bucket", True),
        ("/gs://bucket", False),
        ("http://somewhere/x", False),
        (Path("gs://bucket/run"), False),
        (b"gs://bucket", False),
        (None, False),
        (3, False),
    ],
)
def test_addresses(given: object, expected: bool) -> None:
    assert is_address(given) is expected


@pytest.mark.parametrize("given", ["gs://", "s3:///run", "http://x/y", "gs://bucket/a/../b", ""])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is no address in a bucket, expected gs://BUCKET/FOLDER"):
        Bucket(given)


def test_copies_of_a_folder_follow_it(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bucket.write({"config.json": b"{}", "a.bin": b"x", "deep/b.json": b"1", "old.json": b"2"})
    folder = fetched(bucket.address, ["*.json"])
    assert folder.is_relative_to(tmp_path)

    def there() -> set[str]:
        return {file.name for file in folder.iterdir() if file.name[0] != "."}

    assert there() == {"config.json", "old.json"}
    bucket.delete(["old.json"])
    assert fetched(bucket.address + "/", ["*.json"]) == folder and there() == {"config.json"}
    bucket.write({"deep/b.gguf": b"1", "deep/c-00001-of-00002.gguf": b"2", "deep/d": b"3"})
    bucket.write({"deep/c-00002-of-00002.gguf": b"4"})
    one = fetched(f"{bucket.address}/deep/b.gguf", ["*.json"])
    assert one.read_bytes() == b"1"
    first = fetched(f"{bucket.address}/deep/c-00001-of-00002.gguf", ["*.json"])
    assert first.read_bytes() == b"2"
    assert (first.parent / "c-00002-of-00002.gguf").read_bytes() == b"4"
    with pytest.raises(FileNotFoundError, match=r"deep/e\.gguf: there is no such object"):
        fetched(f"{bucket.address}/deep/e.gguf", ["*.json"])
    with pytest.raises(
        FileNotFoundError, match=r"no file there is one of \*\.safetensors and so o"
    ):
        fetched(bucket.address, ["*.safetensors"])
