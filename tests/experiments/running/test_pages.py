"""Pages of the documentation: a program's part of them is replaced, and nothing else."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from experiments.reporting.figures import Picture
from experiments.reporting.templates import Contents
from experiments.running import pages, study
from experiments.running.study import Findings, Finished, Report, Study
from tests.support.pages import PNG
from tests.support.tiny_runs import parse

pytestmark = pytest.mark.usefixtures("restored_flags")

START, STOP = "<!-- linearity: start -->", "<!-- linearity: stop -->"


def failing() -> Picture:
    raise ValueError("no mathematics")


def prepared(number: int, complete: bool = True) -> Study:
    """A study that measures nothing, and shows a number and two figures."""

    def report(summary: Mapping[str, Any]) -> Report:
        figures = {"dots": lambda: Picture(b"<svg/>", PNG), "lines": failing}
        return Report(
            contents=Contents(values={"number": number}, figures=figures),
            headline="a headline",
            printed=None,
            measured=None,
        )

    return Study(
        name="linearity",
        settings={},
        measure=lambda _: Finished(work=(), complete=complete),
        results=lambda *_: Findings(tables={}, summary={"command": "python x"}, report=report),
        template=lambda: "# T\n\n## S\n\n{number} of them.\n\n![Dots](dots) D.\n\n![L](lines) L.",
    )


@pytest.mark.lenient
def test_a_page_shows_what_the_report_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "a page.md"
    parse(f"--output={tmp_path / 'run'}", f"--page={page}")
    assert study.run(lambda: prepared(1)) == 0
    assert f"\npage: {page}\n" in capsys.readouterr().out
    first = page.read_text()
    assert first.startswith(f"{START}\n# T\n\nWritten 2") and first.endswith(f"{STOP}\n")
    assert "1 of them." in first and "    python x\n" in first
    assert "> This figure could not be drawn: ValueError: no mathematics" in first
    [link] = re.findall(r"!\[Dots\]\((.*)\)", first)
    assert link == "a%20page_figures/dots.svg"
    assert (tmp_path / "a page_figures" / "dots.svg").read_bytes() == b"<svg/>"
    # Beside what somebody wrote, which stays.
    page.write_text(f"# Mine\n\n{first}\n## By hand\n\n2 of them.\n")
    assert study.run(lambda: prepared(3)) == 0
    assert page.read_text() == f"# Mine\n\n{first}\n## By hand\n\n2 of them.\n".replace(
        "1 of them.", "3 of them."
    )


@pytest.mark.lenient
def test_a_run_that_is_not_complete_writes_no_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    parse(f"--output={tmp_path / 'run'}", f"--page={page}")
    assert study.run(lambda: prepared(1, complete=False)) == 1
    assert (tmp_path / "run" / "report.html").exists() and not page.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Mine", f"lacks the lines {START} and {STOP}"),
        (f"{STOP}\n{START}", "lacks the lines"),
        (f"{START}\n<!-- bench: stop -->", "lacks the lines"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_file_without_a_place_for_it_is_left_alone(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    page = tmp_path / "page.md"
    content = text.encode() if isinstance(text, str) else text
    page.write_bytes(content)
    parse(f"--output={tmp_path / 'run'}", f"--page={page}")
    with pytest.raises(ValueError, match=f"--page={re.escape(str(page))}: .*{message}"):
        study.run(lambda: prepared(1))
    assert page.read_bytes() == content and not (tmp_path / "run").exists()


def test_a_page_needs_a_folder(tmp_path: Path) -> None:
    parse(f"--page={tmp_path / 'nowhere' / 'page.md'}")
    with pytest.raises(FileNotFoundError, match="nowhere is no folder to make a page in"):
        pages.page_file("linearity")
    parse(f"--page={tmp_path}")
    with pytest.raises(IsADirectoryError, match="is a directory, expected a Markdown file"):
        pages.page_file("linearity")


def test_no_flag_no_page() -> None:
    parse()
    assert pages.page_file("linearity") is None
