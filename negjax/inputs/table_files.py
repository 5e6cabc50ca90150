"""The columns of a table's file: CSV, TSV, Parquet, Feather, JSON and JSON lines.

As people, pandas and polars write them: any character between the columns of a CSV file, any of
pandas' orientations of JSON that names columns.
"""

import csv
import difflib
import io
import itertools
import json
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from negjax.checks import shown
from negjax.errors import Argument, ArgumentError
from negjax.storage import given_files

MOST_BLOCK = 2**31 - 1
"""Bytes that pyarrow reads of a CSV file at once."""
HEAD = 2**16
"""Characters of a CSV file that its header is looked for in."""
MOST_NAMES = 20
"""Of a table's columns, that an error lists."""

# First those that files mostly use, then what else a header may hold between names.
_SEPARATORS = ",\t;|" + "".join(
    c for c in string.punctuation + " \x01\x1e\x1f" if c not in ",;|\"'_"
)

Wanted = Mapping[str, str]
"""Name of an argument, and the column that it names."""


class Table(NamedTuple):
    """A file's columns, of which one may be read at a time."""

    names: list[str]
    rows: int
    values: Callable[[str], list[object]]
    """Of the column of a name."""


def read_columns(data: bytes, suffix: str, wanted: Wanted, source: str) -> list[list[object]]:
    """The wanted columns of a file's bytes, in their order.

    Args:
        suffix: of the file's name, one of `SUFFIXES`.
        source: the file, for errors.

    Raises:
        ValueError: the file is empty, damaged or not UTF-8, or no table; a column is missing, or
            there are several of its name.
    """
    if not data:
        raise ValueError(f"{source}: the file is empty")
    given_files.refuse_pointer(data, source)
    try:
        table = _READERS[suffix](data, wanted, source)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{source}: not readable: {error}") from error
    if table.rows == 0:
        raise ValueError(f"{source}: the table has no rows")
    for argument, name in wanted.items():
        _check_name(table.names, argument, name, source)
    return [table.values(name) for name in wanted.values()]


def suffix_of(path: Path, data: bytes) -> str:
    """The suffix that says how a file is read, as far as its name or its content tells."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return suffix
    # Caches keep files under names without a suffix: the content decides where it can.
    return next((own for magic, own in _MAGIC.items() if data.startswith(magic)), suffix)


def _check_name(names: Sequence[str], argument: str, name: str, source: str) -> None:
    count = names.count(name)
    if count == 1:
        return
    alike = {other.casefold(): other for other in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), alike, n=2)
    listed = ", ".join(names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    raise ArgumentError(
        f"{source}: {'no column' if count == 0 else f'{count} columns'} {name!r}; columns: "
        f"{listed}{more}; name yours with ",
        Argument(argument, *[alike[key] for key in near if count == 0]),
    )


# ---- Arrow's formats.


def _arrow_columns(table: pa.Table, source: str) -> Table:
    def values(name: str) -> list[object]:
        column = table.column(name)
        try:
            # In one chunk, so that the index in the error is the row.
            column.combine_chunks().validate(full=True)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{source}: column {name!r}: {error}") from error
        found: list[object] = column.to_pylist()
        return found

    return Table(table.column_names, table.num_rows, values)


def _csv_table(data: bytes, wanted: Wanted, source: str) -> Table:
    text = given_files.decoded(data, source)
    # One block, whatever its size: pyarrow reads no row that is longer than a block. Without
    # threads its errors give row numbers.
    block = min(len(data) + 1, MOST_BLOCK)
    read = arrow_csv.ReadOptions(use_threads=False, block_size=block)
    separator = _separator(text[:HEAD], wanted)
    parse = arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    opened = arrow_csv.open_csv(pa.BufferReader(data), read_options=read, parse_options=parse)
    # Left to itself, pyarrow guesses types, and an answer "1990" or "true" would not stay a string.
    types = dict.fromkeys(opened.schema.names, pa.string())
    convert = arrow_csv.ConvertOptions(column_types=types)
    table = arrow_csv.read_csv(pa.BufferReader(data), read, parse, convert)
    return _arrow_columns(table, source)


def _separator(head: str, wanted: Wanted) -> str:
    """What stands between columns: what parts the header into the wanted names, or into most."""
    headers = {separator: _header(head, separator) for separator in _SEPARATORS}
    for separator, names in headers.items():
        if set(wanted.values()) <= set(names):
            return separator
    usual = itertools.islice(headers, len(",\t;|"))
    return max(usual, key=lambda separator: len(headers[separator]))


def _header(head: str, separator: str) -> list[str]:
    try:
        rows = csv.reader(io.StringIO(head, newline=""), delimiter=separator)
        return next((row for row in rows if row), [])
    except csv.Error:  # a quotation mark that nothing closes, by this separator
        return []


def _parquet_table(data: bytes, wanted: Wanted, source: str) -> Table:
    return _arrow_columns(parquet.read_table(pa.BufferReader(data)), source)


def _arrow_table(data: bytes, wanted: Wanted, source: str) -> Table:
    # ".arrow" is in use for both layouts; only the file layout (= Feather) starts with this magic.
    layout = pa.ipc.open_file if data.startswith(b"ARROW1") else pa.ipc.open_stream
    return _arrow_columns(layout(pa.BufferReader(data)).read_all(), source)


# ---- JSON.


def _records(records: Sequence[Mapping[str, object]]) -> Table:
    names = list(dict.fromkeys(name for record in records for name in record))
    return Table(names, len(records), lambda name: [record.get(name) for record in records])


def _lines_table(data: bytes, wanted: Wanted, source: str) -> Table:
    records: list[dict[str, object]] = []
    for number, line in enumerate(given_files.decoded(data, source).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{source}: line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise ValueError(f"{source}: line {number} is not a JSON object: {line.strip()[:60]}")
        records.append(record)
    return _records(records)


def _json_table(data: bytes, wanted: Wanted, source: str) -> Table:
    text = given_files.decoded(data, source)
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            # Several values: lines under another name.
            return _lines_table(data, wanted, source)
        content = given_files.parsed(text, source)
    table = _json_columns(content, wanted)
    if table is None:
        raise ValueError(
            f"{source}: holds {shown(content)}, which is no table; expected a list of JSON objects "
            "(a row each), or what pandas or polars write"
        )
    return table


def _json_columns(content: Any, wanted: Wanted) -> Table | None:
    """A table of one of the forms that pandas' `to_json` and polars' `write_json` have."""
    match content:
        case [*rows] if all(isinstance(row, dict) for row in rows):
            return _records(rows)
        case {"columns": [*names], "data": [*rows]} if _fit(names, rows):  # "split"
            return _records([dict(zip(names, row, strict=True)) for row in rows])
        case {"data": [*rows]} if all(isinstance(row, dict) for row in rows):  # "table"
            return _records(rows)
        case {"columns": [*columns]} if all(
            isinstance(column, dict) and {"name", "values"} <= column.keys() for column in columns
        ):  # polars before 1.0
            return _named_columns({column["name"]: column["values"] for column in columns}, wanted)
    return _named_columns(content, wanted) if isinstance(content, dict) and content else None


def _named_columns(content: dict[str, Any], wanted: Wanted) -> Table | None:
    """A table of an object of lists, or of objects: columns of rows, or rows of columns."""
    first = next(iter(content.values()))
    if all(isinstance(column, list) for column in content.values()):
        same = all(len(column) == len(first) for column in content.values())
        return Table(list(content), len(first), content.__getitem__) if same else None
    if not all(isinstance(entry, dict) for entry in content.values()):
        return None
    names = wanted.values()
    if any(name in first for name in names) and not any(name in content for name in names):
        return _records(list(content.values()))  # "index"
    # "columns", which is pandas' own choice.
    return Table(list(content), len(first), lambda name: [content[name].get(row) for row in first])


def _fit(names: Sequence[object], rows: Sequence[object]) -> bool:
    """Whether there is a name for each value of each row."""
    return all(isinstance(name, str) for name in names) and all(
        isinstance(row, list) and len(row) == len(names) for row in rows
    )


_MAGIC = {b"PAR1": ".parquet", b"ARROW1": ".arrow"}
"""What files of some suffixes begin with."""

_READERS: dict[str, Callable[[bytes, Wanted, str], Table]] = {  # by suffix
    ".csv": _csv_table,
    ".tsv": _csv_table,
    ".parquet": _parquet_table,
    ".feather": _arrow_table,
    ".arrow": _arrow_table,
    ".ipc": _arrow_table,
    ".json": _json_table,
    ".jsonl": _lines_table,
    ".ndjson": _lines_table,
}

SUFFIXES = tuple(_READERS)
"""Of files that are read as tables."""
