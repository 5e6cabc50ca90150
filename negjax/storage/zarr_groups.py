"""Groups of zarr arrays, of format 3.

zarr takes a tenth of the time of importing negjax: it is imported when it is asked for first, as
`zarr_groups.zarr`.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import zarr as zarr


def __getattr__(name: str) -> Any:
    if name != "zarr":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _zarr()


def _zarr() -> Any:
    return importlib.import_module("zarr")


def opened_group(
    folder: Path,
    mode: Literal["r", "r+", "w"],
    attributes: Mapping[str, Any] | None = None,
) -> "zarr.Group":
    """The group in a folder.

    Args:
        mode: read, change, or make anew.
        attributes: of a new group.
    """
    given = {} if attributes is None else {"attributes": dict(attributes)}
    result: zarr.Group = _zarr().open_group(folder, mode=mode, zarr_format=3, **given)
    return result


def array_in(group: "zarr.Group", name: str) -> "zarr.Array[Any]":
    """An array of a group.

    Raises:
        ValueError: what has this name is a group.
    """
    found: Any = group[name]
    if not isinstance(found, _zarr().Array):
        raise ValueError(f"{name} is no array of this run")
    result: zarr.Array[Any] = found
    return result
