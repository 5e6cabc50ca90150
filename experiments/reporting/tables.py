"""Tables that people read: a column is its head, its value and its format together.

One table, five renderings: HTML (in `report`), Markdown, lines of the terminal, CSV, Arrow.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pyarrow as pa

from experiments.reporting.escaping import MOST, for_markdown, for_terminal, storable

NOTHING = "—"
"""Stands where there is no number."""
# Figures, alone or several.
_NUMBER = re.compile(r"([\d\s.,()%±≈−+–]|e[−+])*")
_SHORTEST = re.compile(r"(\+?)\.(\d)g")


def written(value: object, form: str = "") -> str:
    """A value for readers; what is None or no number is a dash, and a minus is one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    shown = format(value, form)
    return shown if isinstance(value, str) else shown.replace("-", "−")


def counted(count: int, noun: str) -> str:
    """How many there are, in words: "1 neuron", "2,000 neurons"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    head: str
    value: Callable[[Any], object]
    """Of a row."""
    form: str = ""
    """Format of its values, as of `format`."""
    under: str = ""
    """Second line of its head: what tells it from columns with the same first one."""
    marked: bool = False
    """Whether its values are Markdown, made by us: they are not escaped there."""

    @property
    def name(self) -> str:
        """Its head on one line."""
        return f"{self.head} {self.under}".strip()


def columns(*heads: str | tuple[str, str, str]) -> list[Column]:
    """Columns of rows that are sequences of values.

    Args:
        heads: of texts, their one line; of others the first line, the format and the second line.
    """

    def item(place: int) -> Callable[[Sequence[object]], object]:
        return lambda row: row[place]

    every = [(head, "", "") if isinstance(head, str) else head for head in heads]
    return [Column(head, item(n), form, under) for n, (head, form, under) in enumerate(every)]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows in columns."""

    columns: Sequence[Column]
    rows: Sequence[Any]
    title: str = ""
    """A line above it in the terminal; templates of reports may name it."""
    caption: str = ""
    name: str = ""
    """Of its file."""

    @property
    def heads(self) -> list[str]:
        """Of its columns, each on one line."""
        return [column.name for column in self.columns]

    @property
    def cells(self) -> list[list[str]]:
        """What its rows show."""
        return [list(row) for row in zip(*map(self._column, self.columns), strict=True)]

    @property
    def texts(self) -> list[bool]:
        """Which of its columns are texts, aligned left: most of their cells are no numbers."""
        every = ([c for c in self._column(column) if c != NOTHING] for column in self.columns)
        return [2 * sum(not _NUMBER.fullmatch(c) for c in cells) > len(cells) for cells in every]

    def _column(self, column: Column) -> list[str]:
        """Its cells: with powers of ten in all of them or in none."""
        values = [column.value(row) for row in self.rows]
        shown = [written(value, column.form) for value in values]
        shortest = _SHORTEST.fullmatch(column.form)
        if shortest and any("e" in cell for cell in shown):
            form = f"{shortest[1]}.{int(shortest[2]) - 1}e"
            return [written(value, form) for value in values]
        return shown


def terminal_lines(table: Table, most: int | None = None) -> list[str]:
    """The title, and below it columns under heads of up to two lines: texts left, numbers right.

    Args:
        most: lines; of a longer table the last says how many rows there are beside the first.
    """
    heads = [(column.head, column.under) for column in table.columns]
    short = [[line.replace(" ≥ ", "≥").replace("above ", "> ") for line in name] for name in heads]
    upper = [list(line) for line in zip(*short, strict=True) if any(line)]
    shown = [[for_terminal(cell, MOST) for cell in row] for row in (*upper, *table.cells)]
    every = [
        [cell.ljust(width) if text else cell.rjust(width) for cell in column]
        for column, text in zip(zip(*shown, strict=True), table.texts, strict=True)
        for width in [max(map(len, column))]
    ]
    lines = ["  ".join(row).rstrip() for row in zip(*every, strict=True)]
    lines = [table.title, *lines] if table.title else lines
    if most is None or len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"… and {counted(len(lines) - most + 1, 'row')} in the report"]


def markdown_lines(table: Table) -> list[str]:
    """A table of Markdown: texts left, numbers right."""
    heads = [for_markdown(head) for head in table.heads]
    rows = [
        [
            cell if column.marked else for_markdown(cell)
            for column, cell in zip(table.columns, row, strict=True)
        ]
        for row in table.cells
    ]
    sides = ["---" if text else "---:" for text in table.texts]
    lines = [f"| {' | '.join(row)} |" for row in (heads, *rows)]
    return [lines[0], f"|{'|'.join(sides)}|", *lines[1:]]


def arrow_table(table: Table) -> pa.Table:
    """Its values, unrounded: a column is of numbers, or of texts where one of its values is."""
    arrays = [_array([column.value(row) for row in table.rows]) for column in table.columns]
    return pa.table(arrays, names=list(map(storable, table.heads)))


def _array(values: Sequence[object]) -> pa.Array:
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    known = [value for value in plain if value is not None]
    if all(isinstance(value, Real) and not isinstance(value, bool) for value in known):
        return pa.array(plain)
    return pa.array([None if value is None else storable(str(value)) for value in plain])


def csv_bytes(table: Table) -> bytes:
    """Its values, unrounded, under one line of heads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(storable, table.heads))
    for row in table.rows:
        values = (column.value(row) for column in table.columns)
        writer.writerow(storable(v) if isinstance(v, str) else v for v in values)
    return text.getvalue().encode()
