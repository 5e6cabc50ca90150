"""The folder of a run: nothing half-written, nothing finished lost, nothing mixed up."""

import json
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pytest
import zarr
from pyarrow import parquet
from zarr.core.metadata import ArrayV3Metadata

from negjax.storage import progress, run_settings, store, whole_files
from negjax.storage.store import ArraySpec, RunFolder

SPECS = {
    "curve": ArraySpec(
        shape=(4, 3), dtype="float64", axes=("prompt", "shift"), meaning="ΔP", chunks=(2, 3)
    ),
    "nodes": ArraySpec(shape=(4,), dtype="int32", axes=("prompt",), meaning="replays", chunks=(2,)),
}
SETTINGS = {"model": "abc", "range": 10.0}


def opened(
    path: Path, settings: Mapping[str, Any] = SETTINGS, *, overwrite: bool = False
) -> RunFolder:
    return store.open_to_measure(
        path, settings, SPECS, attributes={"site": "up"}, overwrite=overwrite
    )


def save(folder: RunFolder, start: int) -> None:
    at = (slice(start, start + 2),)
    values = {"curve": np.full((2, 3), start), "nodes": np.full(2, 12)}
    folder.save(f"from {start}", at, values, 1.5)


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as folder:
        assert not folder.finished
        save(folder, 2)
    with opened(tmp_path / "run", dict(reversed(SETTINGS.items()))) as folder:
        assert folder.finished == {"from 2": 1.5}
        np.testing.assert_array_equal(folder.read("curve")[:, 0], [np.nan, np.nan, 2, 2])
        np.testing.assert_array_equal(folder.read("nodes", (slice(1, 3),)), [0, 12])
        save(folder, 0)
    with opened(tmp_path / "run") as folder:
        assert folder.finished.keys() == {"from 0", "from 2"}
        np.testing.assert_array_equal(folder.read("curve")[:, 0], [0, 0, 2, 2])


def test_other_programs_can_read_the_arrays(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    group = zarr.open_group(tmp_path / store.ARRAYS, mode="r")
    array = group["curve"]
    assert isinstance(array, zarr.Array)
    assert group.attrs["site"] == "up"
    assert isinstance(array.metadata, ArrayV3Metadata)
    assert array.metadata.dimension_names == ("prompt", "shift")
    assert array.attrs["meaning"] == "ΔP"


def test_settings_are_known_by_their_content() -> None:
    key = run_settings.settings_key
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert key({"a": 1}) != key({"a": 2})


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        save(folder, 0)
    expected = r"other settings \(range was 10.0, now 2.0; step was null, now 1\); pass anoth"
    with pytest.raises(ValueError, match=expected):
        opened(tmp_path, {"model": "abc", "range": 2.0, "step": 1})
    with opened(tmp_path) as folder:
        assert folder.finished


def test_overwrite_discards_the_run_and_what_was_made_of_it(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        save(folder, 0)
        folder.write_bytes(store.REPORT, b"old")
        folder.write_bytes(f"{store.FIGURES}/one.png", b"old")
    (tmp_path / "notes.txt").write_text("mine")
    with opened(tmp_path, {"model": "other"}, overwrite=True) as folder:
        assert not folder.finished
        assert np.isnan(folder.read("curve")).all()
    assert not (tmp_path / store.REPORT).exists()
    assert not (tmp_path / store.FIGURES).exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"holds files that no run wrote \(thesis.tex\)"):
        opened(tmp_path, overwrite=overwrite)
    with pytest.raises(ValueError, match=r"is a file, expected a folder"):
        opened(tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", [store.MODEL, store.FIGURES, store.REPORT])
def test_what_has_the_name_of_an_output_is_left_alone_without_a_run(
    tmp_path: Path, name: str, overwrite: bool
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "weights").write_text("mine")
    with pytest.raises(ValueError, match=rf"holds files that no run wrote \({name}\)"):
        opened(tmp_path, overwrite=overwrite)
    assert (tmp_path / name / "weights").read_text() == "mine"


def test_a_kill_while_a_run_is_discarded_leaves_a_folder_to_begin_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as folder:
        save(folder, 0)
        folder.write_bytes(store.REPORT, b"old")
    removed: list[Path] = []

    def remove(path: Path) -> None:
        if path.name == store.REPORT:
            raise KeyboardInterrupt
        removed.append(path)

    with monkeypatch.context() as patched:
        patched.setattr(store, "remove", remove)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path, overwrite=True)
    assert removed
    with opened(tmp_path, {"model": "other"}) as folder:
        assert not folder.finished
    assert not (tmp_path / store.REPORT).exists()
    assert not (tmp_path / store.DISCARDED).exists()


def test_a_run_that_never_began_is_begun(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    # As after a kill between the arrays and the settings, which are written last.
    (tmp_path / run_settings.SETTINGS).unlink()
    with opened(tmp_path, {"model": "other"}) as folder:
        save(folder, 0)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(ValueError, match="in use by another process; wait"):
        opened(tmp_path, overwrite=True)
    with opened(tmp_path):
        pass


@pytest.mark.parametrize("name", [run_settings.SETTINGS, progress.PROGRESS])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_damaged_records_are_named(tmp_path: Path, name: str, content: str) -> None:
    with opened(tmp_path) as folder:
        save(folder, 0)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"damaged|layout None"):
        opened(tmp_path)
    with opened(tmp_path, overwrite=True) as folder:
        assert not folder.finished


def test_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "table"
    whole_files.write_whole(file, lambda out: out.write(b"first"))

    def fail(out: BinaryIO) -> None:
        out.write(b"sec")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        whole_files.write_whole(file, fail)
    assert file.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [file]


def test_tables_and_json_come_back(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        table = pa.table({"layer": [1, 2], "text": ["a", "b"]})
        assert parquet.read_table(folder.write_table("t.parquet", table)) == table
        file = folder.write_json("s.json", {"P": "½", "none": None})
        assert json.loads(file.read_text(encoding="utf-8")) == {"P": "½", "none": None}
        with pytest.raises(ValueError, match="not JSON compliant"):
            folder.write_json("s.json", {"bad": float("nan")})
        assert json.loads(file.read_text(encoding="utf-8"))["none"] is None


def test_a_full_disk_costs_the_group_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        save(folder, 0)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        # Beyond this size writing fails, as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
        try:
            with pytest.raises(
                OSError, match=r"from 2 could not be saved: .* run the same command"
            ):
                save(folder, 2)
            with pytest.raises(OSError, match=r"summary.json could not be written: "):
                folder.write_json(store.SUMMARY, {"a": 1})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert folder.finished.keys() == {"from 0"}
    with opened(tmp_path) as folder:
        assert folder.finished.keys() == {"from 0"}
        save(folder, 2)
        np.testing.assert_array_equal(folder.read("curve")[:, 0], [0, 0, 2, 2])
