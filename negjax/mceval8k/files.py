"""The published files of a task: found in a directory or fetched, and checked row by row."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from negjax import checks
from negjax.errors import Argument, Message
from negjax.mceval8k.catalogue import (
    HUB_ID,
    LANGUAGES,
    PARTS,
    TASKS,
    TaskSpec,
    task_name,
)
from negjax.records import readable
from negjax.storage import given_files
from negjax.weights import hub

ROOT_VARIABLE = "NEGJAX_MCEVAL8K"
"""Environment variable: a directory in the published layout."""


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A published record. White space in its texts is collapsed: in a prompt each is one line."""

    part: str
    """train, valid or test: the file it stands in."""
    number: int
    """Its place in the file, from 0."""
    texts: tuple[str, ...]
    """The input texts, by which items are told apart."""
    target: str | None
    """The word or phrase asked about."""
    options: tuple[str, ...]
    """Its own, one a label; none where all items have the same."""
    label: int
    """Index of the answer among the task's labels."""
    language: str | None
    """In which it is asked; None in the tasks that ask all in English."""
    translation: str | None
    """What the translations of one item in this file have in common."""


@dataclasses.dataclass(frozen=True)
class Published:
    """The files of one task."""

    parts: Mapping[str, tuple[Row, ...]]
    """By part, in the order of the files; a part whose file may be absent and is, is missing."""
    nulls: Mapping[str, int]
    """Records left out because they lack a text, by part."""


def published(name: str, root: str | Path | None = None) -> Published:
    """Reads and checks a task's published files.

    Args:
        name: of the task.
        root: a directory in the published layout. Default: the one that the environment variable
            NEGJAX_MCEVAL8K names, or else the hub's, fetched where it is not in the local cache.

    Raises:
        FileNotFoundError: the directory or a file is missing, or the hub does not give it.
        ValueError: there is no such task, or a file is not what it should be: the message names
            task, file and row.
    """
    name = task_name(name)
    spec = TASKS[name]
    directory = _directory(root, spec)
    parts, nulls = {}, {}
    for part in PARTS:
        file = directory / spec.folder / f"{part}.json"
        if part == "train" and spec.without_train and not file.exists():
            continue
        parts[part], nulls[part] = _read_part(name, spec, file, part)
    return Published(parts, {part: count for part, count in nulls.items() if count})


def _directory(root: str | Path | None, spec: TaskSpec) -> Path:
    origin = "root"
    if root is None and os.environ.get(ROOT_VARIABLE):
        root, origin = os.environ[ROOT_VARIABLE], f"environment variable {ROOT_VARIABLE}"
    if root is None:
        return hub.fetch(HUB_ID, [f"{spec.folder}/{part}.json" for part in PARTS], "dataset")
    directory = checks.path(root, origin)
    if not directory.is_dir():
        raise FileNotFoundError(
            Message(
                Argument(origin),
                f" {str(root)!r} is no directory; expected one that holds MCEval8K as published, "
                f"for instance {spec.folder}/test.json",
            )
        )
    return directory


def _read_part(name: str, spec: TaskSpec, file: Path, part: str) -> tuple[tuple[Row, ...], int]:
    """A file's rows, and how many were left out for lack of a text."""
    if not file.is_file():
        raise FileNotFoundError(
            f"{name}: {file} is missing; complete the directory from the published benchmark "
            f"({HUB_ID} on the hub), or leave root out to fetch it"
        )
    records = _records(name, file)
    rows, nulls = [], 0
    for number, record in enumerate(records):
        where = f"{name}: {file}: row {number}"
        if not isinstance(record, dict):
            raise ValueError(f"{where} is no JSON object: {_short(record)}")
        if spec.without_null and any(record.get(f, "") is None for f in spec.texts):
            nulls += 1
            continue
        rows.append(_row(where, spec, record, part, number))
    if not rows:
        raise ValueError(f"{name}: {file} has no rows; fetch the file again")
    return tuple(rows), nulls


def _records(name: str, file: Path) -> Sequence[object]:
    data = file.read_bytes()
    given_files.refuse_pointer(data, f"{name}: {file}")
    # Bytes that are not UTF-8 become lone surrogates, so that the row they stand in can be found.
    text = data.decode("utf-8-sig", errors="surrogateescape")
    try:
        records = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"{name}: {file} is truncated or damaged: {error} "
            f"({len(data):,} bytes); fetch the file again"
        ) from None
    if not isinstance(records, list):
        raise ValueError(f"{name}: {file} holds {_short(records)}; expected a list of records")
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = next((n for n, record in enumerate(records) if _has_stray_bytes(record)), 0)
        raise ValueError(
            f"{name}: {file}: row {row} is not UTF-8 (byte {error.start} of the file: "
            f"{error.reason}); save the file as UTF-8"
        ) from None
    return records


def _has_stray_bytes(record: object) -> bool:
    return any("\udc80" <= c <= "\udcff" for c in json.dumps(record, ensure_ascii=False))


def _row(where: str, spec: TaskSpec, record: Mapping[str, Any], part: str, number: int) -> Row:
    options: tuple[str, ...] = ()
    if spec.options is not None:
        found = _field(where, record, spec.options)
        if not isinstance(found, list) or len(found) != len(spec.labels):
            raise ValueError(
                f"{where}: {spec.options} is {_short(found)}; expected a list of "
                f"{len(spec.labels)}, one a label"
            )
        options = tuple(_text(where, spec.options, value) for value in found)
    target = None
    if spec.target is not None:
        found = _field(where, record, spec.target)
        words = found if isinstance(found, list) else [found]
        target = " ".join(_text(where, spec.target, word) for word in words)
        if not target:
            raise ValueError(f"{where}: {spec.target} is empty; expected text")
    return Row(
        part=part,
        number=number,
        texts=tuple(_text(where, f, _field(where, record, f)) for f in spec.texts),
        target=target,
        options=options,
        label=_label(where, spec, _field(where, record, spec.gold)),
        language=_language(where, spec, record),
        translation=None
        if spec.translations is None
        else str(_field(where, record, spec.translations)),
    )


def _field(where: str, record: Mapping[str, Any], name: str) -> Any:
    if name not in record:
        raise ValueError(f"{where} has no field {name!r}; it has {', '.join(record) or 'none'}")
    return record[name]


def _text(where: str, field: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: {field} is {_short(value)}; expected text")
    text = " ".join(value.split())
    if not text:
        raise ValueError(f"{where}: {field} is empty ({value!r}); expected text")
    return text


def _label(where: str, spec: TaskSpec, value: object) -> int:
    golds = spec.golds or tuple(range(len(spec.labels)))
    if isinstance(value, bool) or value not in golds:
        known = ", ".join(map(repr, golds))
        raise ValueError(f"{where}: {spec.gold} is {_short(value)}; expected one of {known}")
    return golds.index(value)


def _language(where: str, spec: TaskSpec, record: Mapping[str, Any]) -> str | None:
    if spec.language is None:
        return None
    value = _field(where, record, spec.language)
    if value not in LANGUAGES:
        raise ValueError(
            f"{where}: {spec.language} is {_short(value)}; expected one of {', '.join(LANGUAGES)}"
        )
    return str(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
