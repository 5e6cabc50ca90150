"""Every record that a user of the library can come to hold."""

import dataclasses
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import negjax
from negjax import estimators
from negjax.inputs import ranking, tables
from negjax.measurements import answers, writes
from negjax.storage import store
from negjax.weights.formats import gguf_files

# Beside the package and its public parts: modules whose functions the README, the notes and the
# experiments use by their own names.
MODULES = (negjax, answers, writes, store, tables, ranking, estimators, gguf_files)
PARTS = ("negjax.corpus", "negjax.mceval8k", "negjax.skills")


def is_record(kind: object) -> bool:
    named_tuple = inspect.isclass(kind) and issubclass(kind, tuple) and hasattr(kind, "_fields")
    return named_tuple or (inspect.isclass(kind) and dataclasses.is_dataclass(kind))


def public_records() -> dict[str, type]:
    """By name: the public classes, what public functions return, and what those hold."""
    found: dict[str, type] = {}
    todo = [member for module in MODULES for member in _members(module)]
    while todo:
        member = todo.pop()
        for kind in _kinds(member):
            own = kind.__module__.startswith("negjax") and not kind.__name__.startswith("_")
            name = f"{kind.__module__}.{kind.__name__}"
            if own and name not in found and (is_record(kind) or kind is store.RunFolder):
                found[name] = kind
                todo += [*typing.get_type_hints(kind).values()]
                todo += kind.__subclasses__()
    return dict(sorted(found.items()))


def _members(module: ModuleType) -> Iterator[object]:
    for name in getattr(module, "__all__", vars(module)):
        member = getattr(module, name)
        if inspect.ismodule(member):
            if member.__name__ in PARTS:
                yield from _members(member)
            continue
        own = getattr(inspect.unwrap(member), "__module__", None) == module.__name__
        if own or hasattr(module, "__all__"):
            yield member


def _kinds(member: Any) -> Iterator[type]:
    """The classes that a class, a function's result or a type with arguments is about."""
    if inspect.isclass(member) and not typing.get_args(member):
        yield member
    elif inspect.isroutine(function := inspect.unwrap(member)):
        if function.__module__.startswith("negjax"):
            yield from _kinds(typing.get_type_hints(function).get("return"))
    else:
        for argument in typing.get_args(member):
            yield from _kinds(argument)


def every_module() -> None:
    """Imports the whole library, so that subclasses are known."""
    for found in pkgutil.walk_packages(negjax.__path__, "negjax."):
        importlib.import_module(found.name)
