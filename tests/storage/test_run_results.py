"""Folders of runs as their readers take them: whole, unfinished, damaged, and none."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

import negjax
from negjax.storage import progress, store
from negjax.storage.run_settings import SETTINGS
from negjax.storage.store import ArraySpec

CURVE = np.arange(12.0).reshape(4, 3)
TABLE = pa.table({"prompt": [0, 1], "neg": [0.5, -0.5]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run, as a study leaves it."""
    path = tmp_path / "run"
    spec = ArraySpec(shape=(4, 3), dtype="float64", axes=("prompt", "x"), meaning="ΔP")
    settings = {"experiment": "linearity", "radius": 10.0}
    with store.open_to_measure(path, settings, {"curve": spec}, attributes={}) as run:
        run.save("one", (slice(0, 4),), {"curve": CURVE}, 1.5)
        run.write_table("neurons.parquet", TABLE)
        run.write_json(store.SUMMARY, {"headline": 0.9})
        run.write_bytes(store.REPORT, b"<html>")
    save_file({"mean": np.ones(2)}, path / "corpus.safetensors")
    return path


def test_what_was_written_is_read(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    found = negjax.open_run(str(folder))
    assert (found.experiment, found.finished) == ("linearity", True)
    assert found.settings["radius"] == 10.0 and found.summary == {"headline": 0.9}
    assert (found.tables, found.arrays) == (("neurons.parquet",), ("curve", "corpus.mean"))
    assert found.seconds == {"one": 1.5} and found.report == folder / "report.html"
    assert found.table("neurons.parquet").equals(TABLE)
    np.testing.assert_array_equal(found.array("curve"), CURVE)
    np.testing.assert_array_equal(found.array("curve", (slice(1, 3), 2)), CURVE[1:3, 2])
    np.testing.assert_array_equal(found.array("corpus.mean"), np.ones(2))
    assert "finished=True" in repr(found) and len(repr(found).splitlines()) <= 3
    assert not [one for one in recwarn if issubclass(one.category, negjax.Notice)]


@pytest.mark.parametrize("summary", [None, {"headline": 0.9, "complete": False}])
def test_an_unfinished_run_is_said_to_be_unfinished(folder: Path, summary: object) -> None:
    (folder / store.SUMMARY).unlink()
    if summary is not None:
        (folder / store.SUMMARY).write_text(json.dumps(summary))
    with pytest.warns(negjax.Notice, match="unfinished run: 1 group of measurements"):
        found = negjax.open_run(folder)
    assert not found.finished and found.summary == summary
    np.testing.assert_array_equal(found.array("curve"), CURVE)


def test_what_several_processes_saved_is_counted_and_left_as_it_is(folder: Path) -> None:
    part = folder / progress.part(1)
    part.write_text(json.dumps({"seconds": {"two": 2.0}, "sha256": {}}))
    before = {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    assert negjax.open_run(folder).seconds == {"one": 1.5, "two": 2.0}
    assert {file: file.read_bytes() for file in folder.iterdir() if file.is_file()} == before


@pytest.mark.parametrize("name", [SETTINGS, progress.PROGRESS, store.SUMMARY])
@pytest.mark.parametrize("content", ["", "[]", '{"format": 1', "\0"])
def test_damaged_files_are_named(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(negjax.errors.ArgumentError, match=rf"{name} is damaged; pass another"):
        negjax.open_run(folder)


def test_settings_that_were_changed_are_damaged(folder: Path) -> None:
    file = folder / SETTINGS
    file.write_text(file.read_text().replace("10.0", "20.0"))
    with pytest.raises(ValueError, match=r"settings\.json is damaged"):
        negjax.open_run(folder)


def test_damaged_tables_and_arrays_are_named_when_they_are_read(folder: Path) -> None:
    found = negjax.open_run(folder)
    (folder / "neurons.parquet").write_bytes(b"PAR1")
    (folder / "corpus.safetensors").write_bytes(b"{}")
    for chunk in (folder / store.ARRAYS / "curve" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"no chunk")
    with pytest.raises(ValueError, match=r"neurons\.parquet is damaged"):
        found.table("neurons.parquet")
    with pytest.raises(ValueError, match="curve is damaged"):
        found.array("curve")
    with pytest.raises(ValueError, match=r"corpus\.safetensors is damaged"):
        found.array("corpus.mean")
    with pytest.raises(ValueError, match=r"corpus\.safetensors is damaged"):
        negjax.open_run(folder)


@pytest.mark.parametrize("name", ["facts.parquet", "", None, "../run/neurons.parquet", ["curve"]])
def test_other_names_are_refused(folder: Path, name: object) -> None:
    found = negjax.open_run(folder)
    with pytest.raises(ValueError, match=r"expected one of the run's tables: neurons\.parquet"):
        found.table(name)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected one of the run's arrays: curve, corpus\.mean"):
        found.array("x" if name == ["curve"] else name)  # type: ignore[arg-type]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(ValueError, match=r"is no folder of a run: it has no settings\.json"):
            negjax.open_run(path)
