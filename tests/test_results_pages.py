"""The pages of results: which of them runs write, and that what a run wrote is there."""

import re
from pathlib import Path

import pytest

from tests.support.places import ROOT

PAGES = {page.stem: page for page in (ROOT / "docs" / "results").glob("*.md")}
PAGES.pop("README")
WRITTEN = (
    *("linearity", "neg_map", "estimators", "multi_neuron", "control", "windows", "corpus"),
    *("atlas", "skills", "skills_efficiency", "skills_flexibility", "skills_inclusivity"),
    *("skills_interdependency", "skills_robustness"),
)
"""Pages whose first part a run of the study has written."""
BY_HAND = ("mceval8k", "pretrain_bert")
"""Pages of runs that take long, or whose table stands elsewhere."""
MARK = re.compile(r"^<!-- (\w+(?: \w+)*): (start|stop) -->$", re.MULTILINE)


def part(page: Path) -> str:
    """What stands between a page's marks."""
    text = page.read_text(encoding="utf-8")
    start, stop = MARK.finditer(text)
    return text[start.end() : stop.start()]


def test_every_page_is_written_in_one_way() -> None:
    assert sorted([*WRITTEN, *BY_HAND]) == sorted(PAGES)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_page_begins_with_the_part_of_its_study(name: str) -> None:
    text = PAGES[name].read_text(encoding="utf-8")
    assert MARK.findall(text) == [(name, "start"), (name, "stop")]
    assert text.startswith("<!--") and part(PAGES[name]).strip().startswith("# ")


def test_every_mark_of_the_documents_is_closed_and_holds_something() -> None:
    marked: list[str] = []
    for page in (ROOT / "docs").rglob("*.md"):
        pieces = re.split(MARK, page.read_text(encoding="utf-8"))
        # Text, name, kind, text, name, kind, …, text.
        names, kinds, held = pieces[1::3], pieces[2::3], pieces[3::3]
        assert kinds == ["start", "stop"] * (len(kinds) // 2), page
        assert names[::2] == names[1::2], page
        assert all(text.strip() for text in held[::2]), page
        marked += names[::2]
    # A command finds its part by its name.
    assert len(set(marked)) == len(marked)
    assert {*WRITTEN, "bench", "mceval8k_leaks", "quadrature", "loading"} <= {*marked}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_run_wrote_the_part_between_the_marks(name: str) -> None:
    written = part(PAGES[name])
    assert re.search(r"^Written 20\d\d-\d\d-\d\d by the command at the end", written, re.MULTILINE)
    assert "\n## What was measured\n" in written and "\n## To run it again\n" in written
    last = written.strip().splitlines()[-1]
    assert re.fullmatch(
        rf"    python -m experiments\.{name} .* --page=docs/results/{name}\.md", last
    )
    assert "**Table 1.**" in written and "**Figure 1.**" in written
    # Neither folders of the machine that wrote it, nor tables of heads alone.
    assert not re.search(r"(?<![\w.])/(?:work|home|root|tmp)/", written)
    assert not re.search(r"^\|(?:---:?\|)+\n(?!\|)", written, re.MULTILINE)
    pictures = re.findall(r"^!\[.+\]\((.+)\)$", written, re.MULTILINE)
    folder = PAGES[name].with_name(f"{name}_figures")
    assert {*pictures} == {f"{folder.name}/{file.name}" for file in folder.iterdir()}
    for caption in re.findall(r"^\*\*(?:Table|Figure) \d+\.\*\*(.*)$", written, re.MULTILINE):
        assert caption.strip()


# The run that wrote their parts is all that there is of these.
@pytest.mark.parametrize("name", sorted({*PAGES} - {"atlas", "control", "windows"}))
def test_what_is_written_by_hand_says_how_and_when_it_was_made(name: str) -> None:
    text = PAGES[name].read_text(encoding="utf-8")
    by_hand = text if name in BY_HAND else text.replace(part(PAGES[name]), "")
    assert re.search("written by hand", by_hand, re.IGNORECASE)
    assert re.search(r"python -m experiments\.\w+", by_hand)
    assert re.search(r"\b20\d\d-\d\d-\d\d\b", by_hand)


def test_make_writes_all_of_them() -> None:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    loops = " ".join(re.findall(r"for study in (.*?); do", lines)).split()
    alone = {"linearity", "atlas"}
    assert {*alone, *loops} == {*WRITTEN}
    assert all(f"--page=docs/results/{name}.md" in lines for name in alone)
    assert lines.count("--page=docs/results/$$study.md") == lines.count("for study in")
