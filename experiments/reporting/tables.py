"""Tables that people read: a column is its head, its value and its format together.

One table, four renderings: HTML (in `report`), Markdown, lines of the terminal, CSV.
"""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.reporting.escaping import MOST, for_markdown, for_terminal, storable

NOTHING = "—"
"""Stands where there is no number."""


def written(value: object, form: str = "") -> str:
    """A value for readers; what is None or no number is a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    return format(value, form)


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
        return [[written(c.value(row), c.form) for c in self.columns] for row in self.rows]


def terminal_lines(table: Table) -> list[str]:
    """The title, and below it right-aligned columns under heads of up to two lines."""
    heads = [(column.head, column.under) for column in table.columns]
    short = [[line.replace(" ≥ ", "≥").replace("above ", "> ") for line in name] for name in heads]
    upper = [list(line) for line in zip(*short, strict=True) if any(line)]
    shown = [[for_terminal(cell, MOST) for cell in row] for row in (*upper, *table.cells)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in shown]
    return [table.title, *lines] if table.title else lines


def markdown_lines(table: Table) -> list[str]:
    """A table of Markdown, the first column left-aligned."""
    heads = [for_markdown(head) for head in table.heads]
    rows = [
        [
            cell if column.marked else for_markdown(cell)
            for column, cell in zip(table.columns, row, strict=True)
        ]
        for row in table.cells
    ]
    lines = [f"| {' | '.join(row)} |" for row in (heads, *rows)]
    return [lines[0], "|---" + "|---:" * (len(table.columns) - 1) + "|", *lines[1:]]


def csv_bytes(table: Table) -> bytes:
    """Its values, unrounded, under one line of heads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(storable, table.heads))
    for row in table.rows:
        values = (column.value(row) for column in table.columns)
        writer.writerow(storable(v) if isinstance(v, str) else v for v in values)
    return text.getvalue().encode()
