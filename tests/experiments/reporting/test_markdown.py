"""A document as Markdown: every block is there, numbered as in HTML, and text stays text."""

import re

import pytest

from experiments.reporting import report
from experiments.reporting.escaping import for_markdown_line
from experiments.reporting.figures import Picture
from experiments.reporting.markdown import markdown_page
from experiments.reporting.report import (
    Bullets,
    Code,
    Document,
    Drawing,
    Facts,
    Failure,
    Figure,
    Paragraph,
    Section,
    html_page,
)
from experiments.reporting.tables import Table, columns
from tests.support.hostile_text import ALL_OF_THEM, HOSTILE, unseen
from tests.support.pages import Page

PICTURE = Picture(b"<svg/>", b"")


def figure(name: str, text: str) -> Figure:
    return Figure(Drawing(name, lambda: PICTURE), text, text)


def document(text: str) -> Document:
    """With a block of every kind, in two sections."""
    table = Table(columns=columns("a", text), rows=[["1", text], ["2", "c"]], caption=text)
    return Document(
        text,
        text,
        [
            Section(text, [Paragraph(text), Paragraph(text, warning=True), table]),
            Section("second", [figure("one", text), Bullets([text, "b"]), Facts([(text, text)])]),
            Section("third", [table, figure("two", text), Code(text)]),
        ],
    )


def test_every_block_has_its_form() -> None:
    page = markdown_page(document("x_y"), {"one": "p/one.svg", "two": Failure("no *")}, "A note.")
    table = "| a | x_y |\n|---:|---|\n| 1 | x_y |\n| 2 | c |"
    assert page == (
        "# x_y\n\nA note.\n\nx_y\n\n"
        f"## x_y\n\nx_y\n\n> x_y\n\n{table}\n\n**Table 1.** x_y\n\n"
        "## second\n\n![x_y](p/one.svg)\n\n**Figure 1.** x_y\n\n- x_y\n- b\n\n- x_y: x_y\n\n"
        f"## third\n\n{table}\n\n**Table 2.** x_y\n\n"
        "> This figure could not be drawn: no \\*\n\n**Figure 2.** x_y\n\n    x_y\n"
    )


def test_tables_and_figures_have_the_numbers_of_the_html_page() -> None:
    made = document("x")
    html = Page(html_page(made, {"one": PICTURE, "two": PICTURE})).text
    page = markdown_page(made, {"one": "1.svg", "two": "2.svg"})
    numbers = re.findall(r"\*\*((?:Table|Figure) \d\.)\*\*", page)
    assert numbers == [text for text in html if re.fullmatch(r"(Table|Figure) \d\.", text)]
    assert numbers == ["Table 1.", "Figure 1.", "Table 2.", "Figure 2."]


@pytest.mark.parametrize("text", [*HOSTILE, ALL_OF_THEM, "# a", "+ a", "12) a", "===", "    code"])
def test_text_from_outside_is_text(text: str) -> None:
    page = markdown_page(document(text), {"one": "1.svg", "two": Failure(text)})
    plain = markdown_page(document("x"), {"one": "1.svg", "two": Failure("x")})
    assert not unseen(page) - {"\n"}
    # Each line is of the kind that it is of where the text is a word; of nothing there is no line.
    shown = {"text": for_markdown_line(text), "    ": text.strip()}
    assert kinds(page) == [kind for kind in kinds(plain) if shown.get(kind, True)]


def kinds(page: str) -> list[str]:
    """What Markdown takes each line for, in a page of one indented line of code or more."""
    found = []
    for line in filter(str.strip, page.splitlines()):
        opening = re.match(r"#{1,6}(?= |$)|[-+](?= |$)|\d+[.)](?= |$)|>|\||!\[|\*\*| {4}|=+$", line)
        found.append(opening[0] if opening else "text")
    # However many lines of code there are.
    while found[-2:] == ["    ", "    "]:
        found.pop()
    return found


def test_only_the_beginning_of_a_line_is_escaped_as_such() -> None:
    shown = {"- a - b": r"\- a - b", "1. a": r"1\. a", "1.5 a": "1.5 a", "a # b": "a # b"}
    assert {text: for_markdown_line(text) for text in shown} == shown
    assert for_markdown_line("  a\nb ") == r"a\\nb"


def test_blocks_other_than_figures_and_tables_have_no_number() -> None:
    sections = [numbers for _, numbers in report.numbered(document("x"))]
    assert sections == [[0, 0, 1], [1, 0, 0], [2, 2, 0]]
