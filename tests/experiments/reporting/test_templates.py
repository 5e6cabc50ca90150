"""Reports from templates: words from a file, numbers by name, text from outside as text."""

import re
from pathlib import Path
from typing import Any

import pytest

from experiments.reporting import templates
from experiments.reporting.figures import Picture
from experiments.reporting.report import Bullets, Code, Facts, Figure, Paragraph
from experiments.reporting.tables import Table, columns
from experiments.reporting.templates import Contents

TABLE = Table(title="of a", columns=columns("x"), rows=[["1"]])
EMPTY = Table(columns=columns("x"), rows=[])
PICTURE = Picture(b"<svg/>", b"")


def blocks(body: str, **values: Any) -> list[Any]:
    """Of the only section of a template."""
    contents = Contents(
        values=values,
        tables={"one": TABLE, "none": None, "two": [TABLE, TABLE], "empty": EMPTY},
        figures={"dots": lambda: PICTURE, "nothing": None},
    )
    made = templates.document(f"# T\n\nLead.\n\n## S\n\n{body}", contents)
    return made.blocks


def test_title_lead_and_sections() -> None:
    text = (
        "# How {n:d}\n\nA lead\nof {share:.0%}.\n\nMore.\n\n## First {n}\n\nText.\n\n## Empty\n\n"
    )
    made = templates.document(text, Contents(values={"n": 2, "share": 0.5}))
    assert (made.title, made.lead) == ("How 2", "A lead of 50%. More.")
    assert [section.heading for section in made.sections] == ["First 2"]


def test_numbers_are_put_in_and_what_is_none_is_a_dash() -> None:
    assert blocks(
        "{a.real:.1f} of {b[0]:.0%}, {c:.1%}\nand {d:.1e}.", a=1.0, b=[0.5], c=None, d=float("nan")
    ) == [Paragraph("1.0 of 50%, — and —.")]
    with pytest.raises(KeyError, match="missing"):
        blocks("{missing}")


def test_text_from_outside_is_text() -> None:
    hostile = "# T\n\n## S\n\n- {x} |one| ![a](dots)"
    assert blocks("{text} and", text=hostile) == [Paragraph(f"{hostile} and")]
    assert blocks("- {texts}", texts=[hostile, "b"]) == [Bullets([hostile, "b"])]
    assert blocks("- {text}", text=hostile) == [Bullets([hostile])]


def test_blocks_of_every_kind() -> None:
    code, facts = Code("x"), Facts([("a", "b")])
    found = blocks(
        "! Careful, {n}.\n\n- one\n  of two lines\n- {n}\n\n|one| A caption, {n}: {table.title}."
        "\n\n![What is\nseen](dots) Figure {n}.\n\n{code}\n\n{both}",
        n=3,
        code=code,
        both=[code, facts],
    )
    warning, bullets, table, figure, *rest = found
    assert warning == Paragraph("Careful, 3.", warning=True)
    assert bullets == Bullets(["one of two lines", "3"])
    assert (table.caption, table.name, table.rows) == ("A caption, 3: of a.", "one", TABLE.rows)
    assert isinstance(figure, Figure) and figure.drawing.draw() is PICTURE
    assert (figure.drawing.name, figure.caption, figure.alternative) == (
        "dots",
        "Figure 3.",
        "What is seen",
    )
    assert rest == [code, code, facts]


def test_what_is_not_there_is_left_out() -> None:
    assert (
        blocks(
            "|none| Caption.\n\n|empty| Caption.\n\n![a](nothing) Caption.\n\n- {few}\n\n{empty}",
            few=[],
            empty="",
        )
        == []
    )
    with pytest.raises(KeyError, match="three"):
        blocks("|three| Caption.")
    with pytest.raises(KeyError, match="lines"):
        blocks("![a](lines) Caption.")


def test_several_tables_of_one_name() -> None:
    found = blocks("|two| {table.title}")
    assert [(table.name, table.caption) for table in found] == [
        ("two_1", "of a"),
        ("two_2", "of a"),
    ]


def test_conditions() -> None:
    body = "?a Yes {n}.\n\n?!a No.\n\n- ?a yes\n- ?!a no\n- ?a ?b both\n\n?a |one| Caption."
    yes, items, table = blocks(body, a=True, b=False, n=1)
    assert (yes, items) == (Paragraph("Yes 1."), Bullets(["yes"])) and isinstance(table, Table)
    assert blocks(body, a=False, b=True, n=1) == [Paragraph("No."), Bullets(["no"])]
    lead = "# Title\n\n?a First {n}.\n\n?!a {missing}.\n\n?a Last."
    assert templates.document(lead, Contents(values={"a": True, "n": 1})).lead == "First 1. Last."


STUDIES = sorted(Path("experiments").glob("*/report.md"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.parent.name)
def test_templates_are_well_formed(path: Path) -> None:
    """Every block that looks like a table, a figure or a condition is one."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    for block in re.split(r"\n\s*\n", text):
        line = " ".join(block.split())
        line = re.sub(r"^(- )?(\?!?\w+ )*", "", line)
        assert not line.startswith("?"), line
        if line.startswith("|") and not line.startswith("|r|"):
            assert re.match(r"\|\w+\|( |$)", line), line
        if line.startswith("!"):
            assert re.match(r"! |!\[.+?\]\(\w+\) ", line), line


def test_a_section_comes_once_for_each_of_its_parts() -> None:
    parts = [
        Contents(
            values={"name": name},
            tables={"one": TABLE},
            figures={"dots": lambda: PICTURE},
            ending=f"_{name}",
        )
        for name in ("{n}", "b")
    ]
    text = "# T\n\n## *some {name} of {n}\n\n{name}\n\n|one| C.\n\n![a](dots) D.\n\n## Last\n\nEnd."
    made = templates.document(text, Contents(values={"n": 2}, parts={"some": parts}))
    assert [section.heading for section in made.sections] == ["{n} of 2", "b of 2", "Last"]
    paragraph, table, figure = made.sections[1].blocks
    assert paragraph == Paragraph("b") and isinstance(table, Table) and isinstance(figure, Figure)
    assert (table.name, figure.drawing.name) == ("one_b", "dots_b")
    none = templates.document(text, Contents(values={"n": 2}, parts={"some": []}))
    assert [section.heading for section in none.sections] == ["Last"]
