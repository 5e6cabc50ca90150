"""A run's folder in the hands of several processes."""

from pathlib import Path

import numpy as np
import pytest

from negjax.errors import ArgumentError
from negjax.storage import parts, progress, store

SPECS = {
    "value": store.ArraySpec(
        shape=(4,), dtype="float64", axes=("item",), meaning="a number", chunks=(1,)
    )
}


def opened(path: Path) -> store.RunFolder:
    return store.open_to_measure(path, {"a": 1}, SPECS, attributes={})


def save(folder: store.RunFolder, item: int) -> None:
    folder.save(f"item {item}", (slice(item, item + 1),), {"value": np.asarray([item + 0.5])}, 1.0)


def test_each_process_records_its_own_and_the_first_gathers(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        save(first, 0)
        job = parts.announce(first)
        with parts.open_part(tmp_path, {"a": 1}, 1, job) as second:
            # The others see what was finished before, and not what another saves meanwhile.
            save(first, 1)
            save(second, 2)
            assert {*first.finished} == {"item 0", "item 1"}
            assert {*second.finished} == {"item 0", "item 2"}
        assert {*progress.read(tmp_path / progress.PROGRESS)["seconds"]} == {"item 0"}
        first.gather()
        assert {*first.finished} == {"item 0", "item 1", "item 2"}
        assert all(first.check(f"item {i}", (slice(i, i + 1),)) for i in range(3))
        assert progress.progress_files(tmp_path) == [tmp_path / progress.PROGRESS]
        save(first, 3)
    with opened(tmp_path) as again:
        assert len(again.finished) == 4
        np.testing.assert_array_equal(again.read("value"), [0.5, 1.5, 2.5, 3.5])


def test_what_a_job_left_is_gathered_by_the_next_run(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        job = parts.announce(first)
        save(first, 0)
        with parts.open_part(tmp_path, {"a": 1}, 7, job) as other:
            save(other, 3)
    with opened(tmp_path) as again:
        assert {*again.finished} == {"item 0", "item 3"}
    assert progress.progress_files(tmp_path) == [tmp_path / progress.PROGRESS]


def test_a_discarded_run_leaves_no_parts(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        parts.announce(first)
        save(first, 0)
    with store.open_to_measure(tmp_path, {"a": 2}, SPECS, attributes={}, overwrite=True) as other:
        assert not other.finished
    assert progress.progress_files(tmp_path) == [tmp_path / progress.PROGRESS]


def test_all_processes_skip_what_the_first_one_says_is_finished(tmp_path: Path) -> None:
    """A disk of the network may show an older file."""
    with opened(tmp_path) as first:
        older = (tmp_path / progress.PROGRESS).read_bytes()
        save(first, 0)
        job = parts.announce(first)
        (tmp_path / progress.PROGRESS).write_bytes(older)
        with parts.open_part(tmp_path, {"a": 1}, 1, job) as second:
            assert {*second.finished} == {"item 0"}


def test_who_follows_writes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        job = parts.announce(first)
        files = {*tmp_path.rglob("*")}
        with parts.open_part(tmp_path, {"a": 1}, 1, job, follow=True) as second:
            save(second, 2)
            second.write_json("summary.json", {})
            assert {*second.finished} == {"item 2"} and first.writes and not second.writes
        assert {*tmp_path.rglob("*")} == files
        assert np.isnan(first.read("value")).all()


@pytest.mark.parametrize(("there", "what"), [(False, "is not there"), (True, "belongs to another")])
def test_a_folder_that_machines_do_not_share_is_named(
    tmp_path: Path, there: bool, what: str
) -> None:
    with opened(tmp_path / "other") as other, opened(tmp_path / "run") as first:
        job = parts.announce(other)
        if there:
            parts.announce(first)
        named = rf"{tmp_path / 'run'} on .* {what}.*folder on a disk that"
        with pytest.raises(ArgumentError, match=named):
            parts.open_part(tmp_path / "run", {"a": 1}, 1, job, seconds=0.3)


def test_other_settings_are_refused_in_every_process(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        job = parts.announce(first)
        with pytest.raises(ArgumentError, match=r"other settings \(a was 1, now 2\)"):
            parts.open_part(tmp_path, {"a": 2}, 1, job)
