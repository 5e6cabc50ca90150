"""Runs that are copied to a bucket: what is there can always be gone on with."""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from negjax.storage import mirrors, parts, progress, store
from negjax.storage.buckets import Bucket
from negjax.storage.mirrors import LEASE, Mirror
from negjax.storage.store import ArraySpec, RunFolder
from tests.support import bucket_servers
from tests.support.bucket_servers import held

SPECS = {
    "curve": ArraySpec(
        shape=(6, 3), dtype="float64", axes=("prompt", "shift"), meaning="ΔP", chunks=(2, 3)
    )
}
OLD, NEW = {"model": "old"}, {"model": "new"}


pytestmark = pytest.mark.usefixtures("servers")


def files(folder: Path) -> dict[str, bytes]:
    found = (file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}


def opened(
    folder: Path, settings: Mapping[str, Any] = OLD, *, overwrite: bool = False
) -> RunFolder:
    return store.open_to_measure(folder, settings, SPECS, attributes={}, overwrite=overwrite)


def save(run: RunFolder, group: int, value: float) -> None:
    at = (slice(2 * group, 2 * group + 2),)
    run.save(f"group {group}", at, {"curve": np.full((2, 3), value)}, 1.0)


def whole(run: RunFolder) -> list[str]:
    """Groups that are finished; each can be read back as it was saved."""
    finished = sorted(run.finished)
    for name in finished:
        group = int(name.split()[1])
        assert run.check(name, (slice(2 * group, 2 * group + 2),)), name
    return finished


def on_another_machine(bucket: Bucket, folder: Path) -> Path:
    """A folder of what the bucket holds."""
    folder.mkdir()
    Mirror(bucket, folder, owner=False).pull()
    return folder


def test_a_bucket_holds_what_the_folder_does(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    mirror = Mirror(bucket, tmp_path / "here", owner=True)
    with opened(mirror.folder) as run:
        save(run, 0, 0.5)
        mirror.push()
        save(run, 2, 2.5)
        run.write_bytes("figures/a.svg", b"<svg/>")
        run.write_bytes("report.html", b"first")
        mirror.push()
        run.write_bytes("report.html", b"second")
        (mirror.folder / "figures" / "a.svg").unlink()
        (mirror.folder / ".report.html.9.partial").write_bytes(b"half")
        mirror.push()
        (mirror.folder / ".report.html.9.partial").unlink()
    assert held(bucket) == files(mirror.folder)
    with opened(on_another_machine(bucket, tmp_path / "there")) as run:
        assert whole(run) == ["group 0", "group 2"]
        np.testing.assert_array_equal(run.read("curve")[:, 0], [0.5, 0.5, np.nan, np.nan, 2.5, 2.5])


def test_nothing_is_copied_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, written = Bucket(bucket_servers.fresh("s3")), list[str]()
    real = Bucket.write

    def write(self: Bucket, values: Mapping[str, bytes]) -> None:
        written.extend(values)
        real(self, values)

    monkeypatch.setattr(Bucket, "write", write)
    mirror = Mirror(bucket, tmp_path, owner=True)
    with opened(tmp_path) as run:
        save(run, 0, 0.5)
        mirror.push()
        assert sorted(written) == sorted(files(tmp_path))
        written.clear()
        mirror.push()
        assert written == []
        save(run, 1, 1.5)
        mirror.push()
        assert sorted(written) == ["measurements.zarr/curve/c/1/0", "progress.json"]
        assert written[-1] == "progress.json"


class Broken(Bucket):
    """A bucket that takes so many objects and then fails."""

    def __init__(self, address: str, left: int) -> None:
        super().__init__(address)
        self.left = left

    def write(self, values: Mapping[str, bytes]) -> None:
        for name, data in values.items():
            self._spend()
            super().write({name: data})

    def delete(self, names: Any) -> None:
        for name in list(names):
            self._spend()
            super().delete([name])

    def _spend(self) -> None:
        if not self.left:
            raise OSError("the network is gone")
        self.left -= 1


@pytest.mark.parametrize("changed", ["more", "other settings"])
def test_a_copy_that_ends_anywhere_can_be_gone_on_with(changed: str, tmp_path: Path) -> None:
    """Whatever is written before a copy fails: no group counts that is not there as it was."""
    here = tmp_path / "here"
    here.mkdir()
    ended = False
    for left in range(100):
        shutil.rmtree(here)
        here.mkdir()
        bucket = Broken(bucket_servers.fresh("s3"), 1000)
        mirror = Mirror(bucket, here, owner=True)
        with opened(here) as run:
            save(run, 0, 0.5)
            run.write_bytes("summary.json", b"{}")
            mirror.push()
            if changed == "more":
                save(run, 1, 1.5)
        if changed != "more":
            with opened(here, NEW, overwrite=True) as run:
                save(run, 0, 9.5)
        bucket.left = left
        try:
            mirror.push()
            ended = True
        except OSError:
            pass
        there = on_another_machine(bucket, tmp_path / f"{left}")
        try:
            with opened(there) as run:
                # Of a run that is being discarded nothing is left.
                first = ["group 0"] if changed == "more" or run.finished else []
                assert whole(run) in (first, [*first, "group 1"])
                assert run.read("curve")[0, 0] == 0.5 or "group 0" not in run.finished
        except ValueError:
            assert changed != "more"
        with opened(there, NEW if changed != "more" else OLD, overwrite=True) as run:
            assert whole(run) == []
        if ended:
            return
    raise AssertionError("no copy ended")


def test_two_machines_measure_one_run(bucket: Bucket, tmp_path: Path) -> None:
    """The second begins with what the first has pushed, as in `experiments.running.many_hosts`."""
    first, second = (Mirror(bucket, tmp_path / str(n), owner=not n) for n in range(2))
    for mirror in (first, second):
        mirror.folder.mkdir()
    with opened(first.folder) as one:
        one.elsewhere = first
        job = parts.announce(one)
        first.push()
        second.pull()
        with parts.open_part(second.folder, OLD, 1, job) as two:
            save(one, 0, 0.5)
            save(two, 1, 1.5)
            save(two, 2, 2.5)
            second.push()
            first.push()
        one.gather()
        assert whole(one) == ["group 0", "group 1", "group 2"]
        first.push()
    second.push()
    assert held(bucket) == files(first.folder)
    assert progress.part(1) not in held(bucket) and store.JOB not in held(bucket)


def test_a_folder_in_use_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    here, there = (Mirror(bucket, tmp_path / name, owner=True) for name in ("here", "there"))
    for mirror in (here, there):
        mirror.folder.mkdir()
    with (
        here.kept(),
        pytest.raises(ValueError, match=r"is in use by process \d+ of .*, which gave"),
    ):
        there.claim()
    assert here.copied and LEASE not in bucket.names()
    there.claim()
    # A machine that was lost left its lease.
    said = json.dumps({"who": "away:1:abcd", "at": time.time() - mirrors.LOST - 1})
    bucket.write({LEASE: said.encode()})
    here.claim()
    bucket.write({LEASE: b"damaged"})
    here.claim()


def test_of_two_that_come_at_once_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket(bucket_servers.fresh("s3"))
    mirror, other = (Mirror(bucket, tmp_path, owner=True) for _ in range(2))
    monkeypatch.setattr(time, "sleep", lambda seconds: other._sign())
    with pytest.raises(ValueError, match="was taken by another process at the same time"):
        mirror.claim()


def test_what_is_measured_is_copied_meanwhile(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirrors, "EVERY", 0.02)
    mirror = Mirror(bucket, tmp_path, owner=True)
    with mirror.kept(), opened(tmp_path) as run:
        save(run, 0, 0.5)
        deadline = time.monotonic() + 60
        while "settings.json" not in bucket.names():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert LEASE in bucket.names()
    assert held(bucket) == files(tmp_path)


def test_a_network_that_is_gone_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(mirrors, "EVERY", 0.02)
    bucket = Broken(bucket_servers.fresh("s3"), 1000)
    mirror = Mirror(bucket, tmp_path, owner=True)
    kept = rf"What was measured is kept in {tmp_path}: copy it to {bucket.address}, or pass it"

    def measure() -> None:
        with mirror.kept(), opened(tmp_path) as run:
            bucket.left = 0
            save(run, 0, 0.5)
            time.sleep(0.3)

    with pytest.raises(OSError, match=kept):
        measure()
    assert not mirror.copied
    [told] = [str(one.message) for one in recwarn if "kept in" in str(one.message)]
    assert told.startswith("the network is gone. What is measured is kept in")
    with opened(tmp_path) as run:
        assert whole(run) == ["group 0"]
