"""What was measured is written first; what shows it may fail, and printing never does."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from absl import flags
from absl.testing import flagsaver
from pyarrow import parquet

from experiments.reporting import report
from experiments.reporting.figures import Picture
from experiments.reporting.report import Drawing, Figure, Section
from experiments.running import documents, study
from negjax.storage import store
from negjax.storage.store import RunFolder
from negjax.storage.whole_files import read_json, write_json
from tests.support.pages import PNG

TABLES = {store.NEURONS: pa.table({"x": [1]}), store.PROMPTS: pa.table({"y": ["a"]})}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["test"])
    return store.open_to_measure(tmp_path, {}, {}, attributes={})


def drawn() -> Picture:
    return Picture(b"<svg/>", PNG)


def mathematics() -> Picture:
    raise ValueError("ParseException: \\oops <b>")


def document(*drawings: Drawing) -> report.Document:
    figures = [Figure(drawing, f"caption {drawing.name}", "alt") for drawing in drawings]
    return report.Document("title", "lead", [Section("heading", figures)])


@pytest.mark.lenient
def test_a_figure_that_fails_is_named_and_the_rest_goes_on(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.path / store.FIGURES).mkdir()
    (folder.path / store.FIGURES / "two.svg").write_text("of an earlier time")
    pictures = [Drawing("one", drawn), Drawing("two", mathematics), Drawing("three", drawn)]
    documents.write_report(folder, document(*pictures), {"a": 1})
    files = {path.name for path in (folder.path / store.FIGURES).iterdir()}
    assert files == {"one.svg", "one.png", "three.svg", "three.png"}
    reason = "ValueError: ParseException: \\oops <b>"
    assert read_json(folder.path / store.SUMMARY) == {"a": 1, "figures_not_drawn": {"two": reason}}
    said = capsys.readouterr().err
    assert said == f"figure 'two' could not be drawn and is left out: {reason}\n"
    page = (folder.path / store.REPORT).read_text(encoding="utf-8")
    assert "This figure could not be drawn: ValueError: ParseException: \\oops &lt;b&gt;" in page
    assert [f"caption {name}" in page for name in ("one", "two", "three")] == [True] * 3
    assert page.count("<img") == 2


def test_what_was_measured_is_there_whatever_becomes_of_the_report(tmp_path: Path) -> None:
    def nothing(summary: Mapping[str, Any]) -> study.Report:
        raise RuntimeError("a report's own fault")

    findings = study.Findings(tables=TABLES, summary={"a": 1}, report=nothing)
    prepared = study.Study(
        name="linearity",
        settings={},
        measure=lambda folder: study.Finished(work=()),
        results=lambda folder, finished: findings,
    )
    with flagsaver.flagsaver():
        flags.FLAGS(["test", f"--output={tmp_path}"])
        with pytest.raises(RuntimeError, match="own fault"):
            study.run(lambda: prepared)
    assert parquet.read_table(tmp_path / store.NEURONS).to_pydict() == {"x": [1]}
    assert parquet.read_table(tmp_path / store.PROMPTS).num_rows == 1
    assert read_json(tmp_path / store.SUMMARY) == {"a": 1}


def test_interruptions_are_no_failures(folder: RunFolder) -> None:
    def interrupted() -> Picture:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        documents.write_report(folder, document(Drawing("one", interrupted)), {})
    assert not (folder.path / store.REPORT).exists()


def test_figures_of_the_summary_that_are_no_numbers_are_null_and_listed(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = {"a": {"b": [1.0, float("nan")]}, "c": np.float64("inf"), "d": ({"e": 0.5},)}
    documents.write_results(folder, {}, summary)
    assert read_json(folder.path / store.SUMMARY) == {
        "a": {"b": [1.0, None]},
        "c": None,
        "d": [{"e": 0.5}],
        "not_finite": ["a.b[1]: nan", "c: inf"],
    }
    said = capsys.readouterr().err
    assert said == "null in summary.json, being no numbers: a.b[1]: nan; c: inf\n"


def test_half_of_a_surrogate_pair_has_a_spelling_in_json(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"text": "a\ud800東"})
    assert json.loads((tmp_path / "x.json").read_bytes()) == {"text": "a\ud800東"}


@dataclasses.dataclass(frozen=True)
class Size:
    """A record in a summary."""

    mean: float
    parts: tuple["Size", ...] = ()


def test_records_of_the_summary_are_objects(folder: RunFolder) -> None:
    documents.write_results(folder, {}, {"size": Size(1.0, (Size(float("nan")),))})
    assert read_json(folder.path / store.SUMMARY) == {
        "size": {"mean": 1.0, "parts": [{"mean": None, "parts": []}]},
        "not_finite": ["size.parts[0].mean: nan"],
    }
