"""Tables that people read: heads and cells belong together, in each of their renderings."""

import csv
import io
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from experiments.reporting.escaping import storable
from experiments.reporting.tables import (
    Column,
    Table,
    arrow_table,
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


def test_files_of_columns_have_numbers_as_numbers() -> None:
    rows = [
        (1, np.float32(0.5), "a", 7, None, True),
        (np.int64(2), None, None, "over 90%", None, False),
        (3, math.inf, "\ud800", 0.25, None, True),
    ]
    found = arrow_table(Table(columns=columns(*"abcdef"), rows=rows))
    assert found.schema.types == [
        *(pa.int64(), pa.float64(), pa.string(), pa.string(), pa.null(), pa.string()),
    ]
    assert found.to_pydict() == {
        "a": [1, 2, 3],
        "b": [0.5, None, math.inf],
        "c": ["a", None, "\\ud800"],
        "d": ["7", "over 90%", "0.25"],
        "e": [None] * 3,
        "f": ["True", "False", "True"],
    }


def test_tables_of_any_heads_and_texts_are_files(tmp_path: Path) -> None:
    table = Table(columns=columns(ALL_OF_THEM), rows=[[ALL_OF_THEM], [None]])
    parquet.write_table(arrow_table(table), tmp_path / "t.parquet")
    [texts] = parquet.read_table(tmp_path / "t.parquet").to_pydict().values()
    assert texts == [storable(ALL_OF_THEM), None]
