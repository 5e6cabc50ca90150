"""Records as files: arrays as safetensors, all else as JSON beside them; nothing is executed.

A file says which class of negjax each record in it is. `read` imports classes of negjax alone, and
of those only records.
"""

import dataclasses
import importlib
import inspect
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors import numpy as arrays_in_bytes

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.storage.given_files import check_file, first_bytes, refuse_pointer
from negjax.storage.whole_files import explained, write_bytes

KEY = "negjax_record"
"""Under which a file's metadata hold the record without its arrays."""
RECORD = "record"
"""Argument and, in errors, name of what is saved."""
ARRAY_KINDS = "biuf"
"""Kinds of numpy dtypes that safetensors hold: bool, integers, floats."""


def save(path: str | os.PathLike[str], record: object) -> Path:
    """Writes a record, such as what `neurgrad` or `sweep` returns, to a file that `read` reads.

    The file is a safetensors file, so other programs find the arrays in it, by the fields' names.
    It appears when it is complete; one that is there is replaced.

    Args:
        path: of the file; `.safetensors` is the usual suffix.
        record: a record of negjax, or a list, tuple or dict of such; models are written by
            `save_pretrained`.

    Returns:
        the path.

    Raises:
        ArgumentError: a part of it is nothing that a file can hold, by name.
        OSError: the file cannot be written.
    """
    where = checks.path(path, "path")
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_encoded(record, RECORD, arrays))
    data = arrays_in_bytes.save(arrays, metadata={KEY: text})
    with explained(where, "the record could not be written"):
        write_bytes(where, data)
    return where


def read(path: str | os.PathLike[str]) -> Any:
    """The record that `save` wrote to a file, equal to what was saved.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a directory.
        ValueError: it is damaged, or holds no record, or one that this version does not have.
    """
    where = check_file(path, "path", "a file that negjax.save wrote")
    about, arrays = checked_arrays(where)
    if KEY not in about:
        raise ValueError(f"{where}: holds no record; expected a file that negjax.save wrote")
    try:
        return _decoded(json.loads(about[KEY]), arrays)
    except (KeyError, TypeError, AttributeError, ImportError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{where}: holds a record that this version of negjax does not have ({error}); read it "
            "with the version that wrote it"
        ) from error


def checked_arrays(file: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """`read_arrays` of a file that should be there and whole.

    Raises:
        ValueError: it is none of safetensors, cut off, or stands for one that was not fetched.
    """
    refuse_pointer(first_bytes(file), file)
    try:
        return read_arrays(file)
    except SafetensorError as error:
        raise ValueError(
            f"{file}: truncated, or not a safetensors file ({error}); write it again"
        ) from error


def read_arrays(file: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays of a safetensors file.

    Raises:
        SafetensorError: it is none, or cut off.
    """
    with safe_open(file, framework="numpy") as held:
        names = held.keys()
        return held.metadata() or {}, {name: held.get_tensor(name) for name in names}


def _encoded(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """JSON of a value; its arrays are put into `arrays`, by their names."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _array(value, name, arrays)
    if isinstance(value, Path):
        return {"path": str(value)}
    if _is_record(type(value)):
        kind = type(value)
        fields = {
            field: _encoded(getattr(value, field), _joined(name, field), arrays)
            for field in _fields(kind)
        }
        return {"record": f"{kind.__module__}.{kind.__qualname__}", "fields": fields}
    if isinstance(value, list | tuple):
        items = [_encoded(item, f"{name}[{i}]", arrays) for i, item in enumerate(value)]
        return {"list" if isinstance(value, list) else "tuple": items}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {
            "dict": {key: _encoded(item, f"{name}[{key}]", arrays) for key, item in value.items()}
        }
    raise _unsaved(name, value)


def _array(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in ARRAY_KINDS or array.dtype.itemsize > 8:
        raise _unsaved(name, value)
    arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    return {"scalar" if isinstance(value, np.generic) else "array": name}


def _unsaved(name: str, value: object) -> ArgumentError:
    return ArgumentError(
        Argument(name),
        f" is {checks.shown(value)}, which a file of records does not hold; expected records of "
        "negjax, arrays of numbers, numbers, texts, and lists and dicts of these; models are "
        "written by negjax.save_pretrained",
    )


def _joined(name: str, field: str) -> str:
    """The names of a record's own arrays are those of its fields."""
    return field if name == RECORD else f"{name}.{field}"


def _is_record(kind: type) -> bool:
    """Whether a class is one of negjax's records, which are made of their fields."""
    of_fields = dataclasses.is_dataclass(kind) or (
        issubclass(kind, tuple) and hasattr(kind, "_fields")
    )
    return of_fields and kind.__module__.partition(".")[0] == "negjax"


def _fields(kind: Any) -> list[str]:
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.init]
    return list(kind._fields)


def _decoded(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    match value:
        case {"float": str(text)}:
            return float(text)
        case {"array": str(name)}:
            return arrays[name]
        case {"scalar": str(name)}:
            return arrays[name][()]
        case {"path": str(text)}:
            return Path(text)
        case {"list": [*items]}:
            return [_decoded(item, arrays) for item in items]
        case {"tuple": [*items]}:
            return tuple(_decoded(item, arrays) for item in items)
        case {"dict": dict(items)}:
            return {key: _decoded(item, arrays) for key, item in items.items()}
        case {"record": str(name), "fields": dict(fields)}:
            return _class(name)(**{key: _decoded(item, arrays) for key, item in fields.items()})
        case None | bool() | int() | float() | str():
            return value
    raise TypeError(f"{checks.shown(value)} is no part of a record")


def _class(name: str) -> Any:
    module, _, kind = name.rpartition(".")
    if module.partition(".")[0] != "negjax":
        raise TypeError(f"{name} is no class of negjax")
    found = getattr(importlib.import_module(module), kind)
    if not inspect.isclass(found) or not _is_record(found):
        raise TypeError(f"{name} is no record")
    return found
