"""`mceval8k_leaks`: overlaps counted by hand, what a run writes, and the page in the docs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import flags
from absl.testing import flagsaver
from pyarrow import parquet

from experiments.mceval8k_leaks import program as mceval8k_leaks
from experiments.mceval8k_leaks.report import COLUMNS
from experiments.mceval8k_leaks.results import measure
from experiments.reporting.tables import Table, markdown_lines
from experiments.running import common, study
from negjax import mceval8k
from negjax.mceval8k.files import Row
from negjax.mceval8k.identity import LEVELS, overlap
from negjax.storage import store
from tests.support.made_up_mceval8k import write_benchmark
from tests.support.pages import Page
from tests.support.places import ROOT
from tests.support.shared_data import MCEVAL8K

DOCS = ROOT / "docs" / "mceval8k_leaks.md"


TITLE = "How much of MCEval8K's test a probe has already seen"


def summary_sentences(lines: list[str]) -> list[str]:
    """What a page says of all tasks together."""
    found = [line.removeprefix("- ") for line in lines if line.startswith("- Every published ")]
    assert len(found) == 3
    return found


@pytest.fixture(autouse=True)
def restored_flags() -> Iterator[None]:
    with flagsaver.flagsaver():
        yield


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_benchmark(tmp_path_factory.mktemp("benchmark"))


def row(number: int, *texts: str, target: str | None = None, options: tuple[str, ...] = ()) -> Row:
    return Row(
        part="train",
        number=number,
        texts=texts,
        target=target,
        options=options,
        label=0,
        language=None,
        translation=None,
    )


def test_overlaps_counted_by_hand() -> None:
    train = [
        row(0, "One fish", "two", target="fish", options=("N", "V")),
        row(1, "red fish", "blue", target="red", options=("A", "V")),
    ]
    test = [
        row(0, "One fish", "two", target="fish", options=("V", "N")),  # the same item
        row(1, "One fish", "two", target="One", options=("V", "N")),  # another target
        row(2, "three", "two"),  # one of its texts
        row(3, "RED fish!", "green"),  # one of its texts, written otherwise
        row(4, "old fish", "new"),
    ]
    counts = {level: overlap(test, train, keys) for level, keys in LEVELS.items()}
    assert counts == {"item": 1, "text": 3, "normalised": 4}
    assert overlap(train, test, LEVELS["normalised"]) == 2


def test_a_run_writes_what_it_found(
    made_up: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, page = tmp_path / "run", tmp_path / "leaks.md"
    given = [f"--root={made_up}", f"--output={output}", f"--page={page}", "--tasks=ner,xnli,imdb"]
    flags.FLAGS(["experiment", *given])
    assert study.run(mceval8k_leaks.prepare) == 0
    printed = capsys.readouterr().out
    assert f"report: {output / store.REPORT}\npage: {page}\n" in printed
    summary = json.loads((output / store.SUMMARY).read_text(encoding="utf-8"))
    # Made so that valid is a piece of train, and half of test as well.
    assert summary["valid_is_training"] == ["ner", "xnli", "imdb"]
    assert summary["test_is_training"] == summary["test_is_valid"] == []
    assert summary["largest_overlap"]["disjoint"] == 0
    [ner] = [task for task in summary["tasks"] if task["name"] == "ner"]
    assert ner["key"] == mceval8k.load("ner", made_up).key
    table = parquet.read_table(output / store.OVERLAPS).to_pylist()
    published = {
        (r["task"], r["part"], r["other"]): (r["shared"], r["items"])
        for r in table
        if (r["split"], r["level"]) == ("original", "text")
    }
    assert published["ner", "test", "train"] == (8, 16)
    assert published["ner", "test", "valid"] == (4, 16)
    assert published["xnli", "valid", "train"] == (30, 30)
    ours = [r for r in table if r["split"] == "disjoint"]
    assert len(ours) == 3 * 6 * 3 and {r["shared"] for r in ours} == {0}
    shown = Page((output / store.REPORT).read_text(encoding="utf-8"))
    lines = page.read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("In 0 of 3 tasks of MCEval8K as it is published") for line in lines)
    assert lines[:2] == ["<!-- mceval8k_leaks: start -->", f"# {TITLE}"]
    assert lines[-1] == "<!-- mceval8k_leaks: stop -->"
    assert len(shown.images) == 1 and (output / store.FIGURES / "shares.svg").stat().st_size > 1000
    # Report and page are made of one document.
    assert {TITLE, *summary_sentences(lines)} <= set(shown.text)
    # Another benchmark's results are not written over these.
    flags.FLAGS(["experiment", *given[:3], "--tasks=ner"])
    with pytest.raises(ValueError, match=f"{output} holds a run with other settings"):
        study.run(mceval8k_leaks.prepare)


@pytest.mark.parametrize("tasks", ["", "ner,ner", "ner,unknown"])
def test_unknown_tasks_are_refused(tasks: str) -> None:
    flags.FLAGS(["experiment", f"--tasks={tasks}"])
    with pytest.raises(ValueError, match=f"--tasks={tasks}: expected some of ged, pos, "):
        study.run(mceval8k_leaks.prepare)
    assert common.output_folder("mceval8k_leaks") == Path("runs/mceval8k_leaks")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ged", "chunk", "stereoset", "mlama"])
def test_the_docs_say_what_is_measured(name: str) -> None:
    """The page is written by the experiment with --page; here some of its rows are made again."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    found = measure(name, MCEVAL8K)
    table = Table(columns=COLUMNS, rows=[found])
    assert {*markdown_lines(table)} <= {*lines}
    assert table.cells[0][-1] == "0"
    if found.notes:
        assert f"- {name}: {'; '.join(found.notes)}" in lines


def test_the_docs_have_every_task_and_no_leak_of_ours() -> None:
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    assert [line.split(" | ")[0] for line in rows[1:]] == [f"| {n}" for n in mceval8k.names()]
    assert all(line.endswith("| 0 |") for line in rows[1:])
