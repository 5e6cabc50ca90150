"""Tables that people read: heads and cells belong together, in each of their renderings."""

import csv
import io

from experiments.reporting.tables import (
    Column,
    Table,
    columns,
    counted,
    csv_bytes,
    markdown_lines,
    terminal_lines,
    written,
)
from tests.support.hostile_text import ALL_OF_THEM, unseen

TABLE = Table(
    title="a title",
    columns=[
        Column("name", lambda row: row[0]),
        Column("r ≥ 1", lambda row: row[1], ".1%", "all"),
        Column("r ≥ 1", lambda row: row[2], ".2f", "some"),
    ],
    rows=[("a|b", 0.25, None), ("c", 1.0, float("nan"))],
)


def test_what_is_no_number_is_a_dash() -> None:
    assert [written(v, ".1f") for v in (None, float("nan"), 1.25, 2)] == ["—", "—", "1.2", "2.0"]
    assert written("text") == "text" and written(0) == "0"
    assert written(float("inf"), ".1f") == "inf"


def test_each_rendering_has_every_column_and_row() -> None:
    assert TABLE.heads == ["name", "r ≥ 1 all", "r ≥ 1 some"]
    assert TABLE.cells == [["a|b", "25.0%", "—"], ["c", "100.0%", "—"]]
    assert terminal_lines(TABLE) == [
        "a title",
        "name     r≥1   r≥1",
        "         all  some",
        "a|b    25.0%     —",
        "c     100.0%     —",
    ]
    assert markdown_lines(TABLE) == [
        "| name | r ≥ 1 all | r ≥ 1 some |",
        "|---|---:|---:|",
        "| a\\|b | 25.0% | — |",
        "| c | 100.0% | — |",
    ]


def test_texts_are_left_and_numbers_right_whatever_they_begin_with() -> None:
    rows = [["1984 is a book", "±2", "2.6e−05", "—"], ["—", "≈1.5", "—", "12,345"]]
    assert Table(columns=columns(*"abcd"), rows=rows).texts == [True, False, False, False]
    several = [["5,979, 997", "3–4", "0.5 (−0.25)"], ["–, 1,000", "–", "—"]]
    assert Table(columns=columns(*"abc"), rows=several).texts == [False] * 3
    assert Table(columns=columns("a"), rows=[]).texts == [False]


def test_one_minus_and_one_notation_in_a_column() -> None:
    shown = Table(
        columns=[Column("x", lambda x: x, form) for form in (".3g", "+.3g", ".1e", "g")],
        rows=[0.5, -2e-7],
    )
    assert [list(column) for column in zip(*shown.cells, strict=True)] == [
        ["5.00e−01", "−2.00e−07"],
        ["+5.00e−01", "−2.00e−07"],
        ["5.0e−01", "−2.0e−07"],
        ["0.5", "−2e−07"],
    ]
    plain = Table(columns=[Column("x", lambda x: x, ".3g")], rows=[0.5, -0.25, None])
    assert plain.cells == [["0.5"], ["−0.25"], ["—"]]
    # Texts keep what they have.
    assert written("a-b") == "a-b"


def test_one_of_a_thing_is_no_plural() -> None:
    assert counted(1, "neuron") == "1 neuron"
    assert [counted(n, "pair") for n in (0, 2, 1000)] == ["0 pairs", "2 pairs", "1,000 pairs"]


def test_heads_of_one_line_take_one_line() -> None:
    shown = terminal_lines(Table(columns=columns("a", "b"), rows=[["1", "2"]]))
    assert shown == ["a  b", "1  2"]


def test_a_file_holds_values_as_they_are() -> None:
    rows = list(csv.reader(io.StringIO(csv_bytes(TABLE).decode())))
    assert rows == [
        ["name", "r ≥ 1 all", "r ≥ 1 some"],
        ["a|b", "0.25", ""],
        ["c", "1.0", "nan"],
    ]


def test_hostile_text_stays_in_its_cell() -> None:
    table = Table(columns=columns(ALL_OF_THEM, "b"), rows=[[ALL_OF_THEM, "x"], ["y\ud800", "z"]])
    assert len(terminal_lines(table)) == len(markdown_lines(table)) - 1 == 3
    assert not unseen("".join(terminal_lines(table)))
    rows = list(csv.reader(io.StringIO(csv_bytes(table).decode(), newline="")))
    assert [len(row) for row in rows] == [2, 2, 2]
