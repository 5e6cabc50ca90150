"""Tables of prompts and answers: the shipped facts, or a file of the user's."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from negjax import checks
from negjax.inputs.prompt_forms import PROMPT, TARGET
from negjax.inputs.table_files import SUFFIXES, read_columns, suffix_of
from negjax.records import readable
from negjax.storage import given_files


@readable
@dataclass(frozen=True, kw_only=True)
class Facts:
    """Prompts with the one answer each is to be continued by, and where they came from."""

    prompts: tuple[Any, ...]
    """As in the file, texts with surrounding white space; lists of it as token ids or messages."""
    answers: tuple[Any, ...]
    """One of each prompt: text, or token ids."""
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
        path: a .csv, .tsv, .parquet, .feather, .arrow, .ipc, .json, .jsonl or .ndjson file, as
            pandas and polars write them, CSV with any character between columns; None for the
            table shipped with negjax (whose `masked` column, as `prompt_column`, holds the prompts
            of masked models); "facts-bert" for facts that the shipped model of that name was
            trained on.
        prompt_column: name of the column of prompts: texts, or lists of token ids or of chat
            messages (`encode`). A column of texts that are all JSON lists of these is read so.
        answer_column: name of the column of answers: texts, or lists of token ids.
        limit: how many rows to keep, all by default: the first ones, or random ones with a `seed`.
        seed: draws the rows that `limit` keeps; they stay in the order of the file.

    Returns:
        The rows kept.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the suffix is unknown; the file is empty, damaged or not UTF-8; a column is
            missing, or there are several of its name; a prompt or an answer is null, of another
            type, or blank; `limit` is not between 1 and the number of rows.
    """
    wanted = {
        "prompt_column": checks.text(prompt_column, "prompt_column"),
        "answer_column": checks.text(answer_column, "answer_column"),
    }
    data, suffix, source = _read_bytes(path)
    columns = read_columns(data, suffix, wanted, source)
    prompts, answers = (
        _checked(_without_json(values), name, source, chats=chats)
        for values, name, chats in zip(columns, wanted.values(), (True, False), strict=True)
    )
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
    file = given_files.check_file(path, "path", f"a {', '.join(SUFFIXES)} file, or facts-bert")
    data = file.read_bytes()
    suffix = suffix_of(file, data)
    if suffix not in SUFFIXES:
        raise ValueError(
            f"path {str(path)!r}: unknown suffix {suffix!r}; known: {', '.join(SUFFIXES)}"
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


def _without_json(values: list[object]) -> list[object]:
    """A column of texts that are JSON lists of token ids or messages, as these lists."""
    if not all(isinstance(value, str) and value.lstrip().startswith("[") for value in values):
        return values
    lists: list[object] = []
    for value in values:
        try:
            lists.append(json.loads(str(value)))
        except (json.JSONDecodeError, RecursionError):
            return values
    return lists if all(_are_ids(found) or _are_messages(found) for found in lists) else values


def _are_ids(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(checks.is_whole, value))


def _are_messages(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(m, dict) for m in value)


def _checked(values: Sequence[object], name: str, source: str, *, chats: bool) -> list[Any]:
    """Texts, token ids and, for prompts, messages.

    Raises:
        ValueError: naming the row of anything else.
    """
    found: list[Any] = []
    for row, value in enumerate(values):
        where = f"{source}: row {row}: {name}"
        if isinstance(value, str):
            if not value.strip():
                raise ValueError(f"{where} is blank")
            found.append(checks.text(value, where))
        elif isinstance(value, list) and _are_ids(value):
            found.append(tuple(value))
        elif chats and isinstance(value, list) and _are_messages(value):
            # In Parquet a field that one message has is null in the others.
            found.append(tuple({k: v for k, v in m.items() if v is not None} for m in value))
        elif value is None:
            raise ValueError(f"{where} is null")
        else:
            expected = PROMPT if chats else TARGET
            given = checks.shown(value)
            raise ValueError(f"{where} is {type(value).__name__} {given}, expected {expected}")
    return found
