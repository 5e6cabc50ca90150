"""Tables of prompts and answers: the shipped facts, or a CSV, Parquet, Feather or JSON file."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.records import readable
from negjax.storage import given_files

MOST_BLOCK = 2**31 - 1
"""Bytes that pyarrow reads of a CSV file at once."""

# (bytes of a file, names of the wanted columns, source) -> those columns, checked.
_Columns = Callable[[bytes, Sequence[str], str], list[list[str]]]


@readable
@dataclass(frozen=True, kw_only=True)
class Facts:
    """Prompts with the one answer each is to be continued by, and where they came from."""

    prompts: tuple[str, ...]
    """As in the file, surrounding whitespace included."""
    answers: tuple[str, ...]
    """One of each prompt."""
    rows: tuple[int, ...]
    """Row of each in the file, header not counted, from 0."""
    source: str
    """File name; "negjax facts" or "facts-bert facts" for a shipped table."""
    sha256: str
    """Of the file's bytes."""


def read_facts(
    path: str | Path | None = None,
    *,
    prompt_column: str = "prompt",
    answer_column: str = "answer",
    limit: int | None = None,
    seed: int | None = None,
) -> Facts:
    """Read prompts and answers from a table.

    Every row is checked, those that `limit` leaves out too.

    Args:
        path: a .csv, .parquet, .feather, .arrow or .jsonl file; None for the table shipped with
            negjax (whose `masked` column, as `prompt_column`, holds the prompts of masked models);
            "facts-bert" for facts that the shipped model of that name was trained on.
        prompt_column: name of the column of prompts.
        answer_column: name of the column of answers.
        limit: how many rows to keep, all by default: the first ones, or random ones with a `seed`.
        seed: draws the rows that `limit` keeps; they stay in the order of the file.

    Returns:
        The rows kept.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the suffix is unknown; the file is empty, damaged or not UTF-8; a column is
            missing, or there are several of its name; a prompt or an answer is null, not a string,
            or blank; `limit` is not between 1 and the number of rows.
    """
    wanted = (
        checks.text(prompt_column, "prompt_column"),
        checks.text(answer_column, "answer_column"),
    )
    data, suffix, source = _read_bytes(path)
    prompts, answers = _COLUMNS[suffix](data, wanted, source)
    rows = _choose_rows(len(prompts), limit, seed, source)
    return Facts(
        prompts=tuple(prompts[row] for row in rows),
        answers=tuple(answers[row] for row in rows),
        rows=rows,
        source=source,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _read_bytes(path: str | Path | None) -> tuple[bytes, str, str]:
    if path is None:
        return _shipped("facts.csv"), ".csv", "negjax facts"
    if isinstance(path, str) and path == "facts-bert":
        return _shipped("facts_bert/facts.csv"), ".csv", "facts-bert facts"
    file = given_files.check_file(path, "path", f"a {', '.join(_COLUMNS)} file, or facts-bert")
    data, suffix = file.read_bytes(), file.suffix.lower()
    if suffix not in _COLUMNS:
        # Caches keep files under names without a suffix: the content decides where it can.
        suffix = next((own for magic, own in _MAGIC.items() if data.startswith(magic)), suffix)
    if suffix not in _COLUMNS:
        raise ValueError(
            f"path {str(path)!r}: unknown suffix {suffix!r}; known: {', '.join(_COLUMNS)}"
        )
    return data, suffix, file.name


def _shipped(file: str) -> bytes:
    return resources.files("negjax").joinpath("data", file).read_bytes()


def _choose_rows(total: int, limit: int | None, seed: int | None, source: str) -> tuple[int, ...]:
    if seed is not None:
        seed = checks.whole_number(seed, "seed", 0)
    if limit is None:
        return tuple(range(total))
    if not checks.is_whole(limit) or not 1 <= limit <= total:
        raise ValueError(
            f"limit={checks.shown(limit)}: {source} has {total} rows; pass 1 to {total}, or None"
        )
    if seed is None:
        return tuple(range(limit))
    drawn = np.random.Generator(np.random.PCG64(seed)).choice(total, size=limit, replace=False)
    return tuple(sorted(drawn.tolist()))


def _csv_table(data: bytes, source: str) -> pa.Table:
    given_files.decoded(data, source)
    # One block, whatever its size: pyarrow reads no row that is longer than a block. Without
    # threads its errors give row numbers.
    block = min(len(data) + 1, MOST_BLOCK)
    read = csv.ReadOptions(use_threads=False, block_size=block)
    parse = csv.ParseOptions(newlines_in_values=True)
    names = csv.open_csv(pa.BufferReader(data), read_options=read, parse_options=parse).schema.names
    # Left to itself, pyarrow guesses types, and an answer "1990" or "true" would not stay a string.
    convert = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return csv.read_csv(pa.BufferReader(data), read, parse, convert)


def _parquet_table(data: bytes, source: str) -> pa.Table:
    return parquet.read_table(pa.BufferReader(data))


def _arrow_table(data: bytes, source: str) -> pa.Table:
    # ".arrow" is in use for both layouts; only the file layout (= Feather) starts with this magic.
    layout = pa.ipc.open_file if data.startswith(b"ARROW1") else pa.ipc.open_stream
    return layout(pa.BufferReader(data)).read_all()


def _table_columns(read: Callable[[bytes, str], pa.Table]) -> _Columns:
    def columns(data: bytes, wanted: Sequence[str], source: str) -> list[list[str]]:
        if not data:
            raise ValueError(f"{source}: the file is empty")
        given_files.refuse_pointer(data, source)
        try:
            table = read(data, source)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{source}: not readable: {error}") from error
        _check_names(table.column_names, table.num_rows, wanted, source)
        return [_table_texts(table.column(name), name, source) for name in wanted]

    return columns


def _table_texts(column: pa.ChunkedArray, name: str, source: str) -> list[str]:
    try:
        # In one chunk, so that the index in the error is the row.
        column.combine_chunks().validate(full=True)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{source}: column {name!r}: {error}") from error
    return _check_texts(column.to_pylist(), name, source)


def _json_columns(data: bytes, wanted: Sequence[str], source: str) -> list[list[str]]:
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
    names = list(dict.fromkeys(name for record in records for name in record))
    _check_names(names, len(records), wanted, source)
    return [_check_texts([row.get(name) for row in records], name, source) for name in wanted]


def _check_names(names: Sequence[str], rows: int, wanted: Sequence[str], source: str) -> None:
    if rows == 0:
        raise ValueError(f"{source}: the table has no rows")
    for name in wanted:
        count = names.count(name)
        if count != 1:
            found = "no column" if count == 0 else f"{count} columns"
            raise ArgumentError(
                f"{source}: {found} {name!r}; columns: {', '.join(names)}; name yours with ",
                Argument("prompt_column"),
                " and ",
                Argument("answer_column"),
            )


def _check_texts(values: Sequence[object], name: str, source: str) -> list[str]:
    texts = []
    for row, value in enumerate(values):
        if not isinstance(value, str):
            found = "null" if value is None else f"{type(value).__name__} {value!r}, not a string"
            raise ValueError(f"{source}: row {row}: {name} is {found}")
        if not value.strip():
            raise ValueError(f"{source}: row {row}: {name} is blank")
        checks.text(value, f"{source}: row {row}: {name}")
        texts.append(value)
    return texts


_MAGIC = {b"PAR1": ".parquet", b"ARROW1": ".arrow"}
"""What files of some suffixes begin with."""

_COLUMNS: dict[str, _Columns] = {  # by suffix
    ".csv": _table_columns(_csv_table),
    ".parquet": _table_columns(_parquet_table),
    ".feather": _table_columns(_arrow_table),
    ".arrow": _table_columns(_arrow_table),
    ".jsonl": _json_columns,
}
