"""`open_run`: the folder of a run as its reader takes it, finished or not. Nothing is written.

What a study's folder holds is said in `negjax.storage.store`, which writes it.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from safetensors import SafetensorError, safe_open

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.process.notices import say
from negjax.records import readable
from negjax.storage import progress, zarr_groups
from negjax.storage.run_settings import FORMAT, SETTINGS, settings_key
from negjax.storage.store import ARRAYS, REPORT, SUMMARY, At
from negjax.storage.whole_files import read_json


@readable
@dataclass(frozen=True, kw_only=True)
class RunResults:
    """What the folder of a run holds; tables and arrays are read when they are asked for."""

    path: Path
    experiment: str | None
    """None: what was run is no study, such as features or a stream over a corpus."""
    finished: bool
    """False: it was interrupted, or is still running, and results are those of a part, if any."""
    settings: Mapping[str, Any]
    """What determined the measurements."""
    summary: Mapping[str, Any] | None
    """What was found; None where nothing is summarised yet."""
    seconds: Mapping[str, float]
    """That each finished group of measurements took."""
    tables: tuple[str, ...]
    """Names of its Parquet files, as `table` takes them."""
    arrays: tuple[str, ...]
    """Names as `array` takes them: of Zarr arrays, and of a safetensors file's as FILE.NAME."""
    report: Path | None
    """Its page; None where none is written yet."""

    def table(self, name: str) -> pa.Table:
        """One of the tables.

        Raises:
            ArgumentError: no table of this name, or a damaged one.
        """
        _known(name, "tables", self.tables)
        file = self.path / name
        with _damaged(file):
            return parquet.read_table(file)

    def array(self, name: str, at: At = ()) -> np.ndarray:
        """One of the arrays, or a part of it; what was not measured yet is NaN or 0.

        Args:
            at: indices or slices of its leading axes; of a safetensors file's arrays, too.

        Raises:
            ArgumentError: no array of this name, or a damaged one.
        """
        _known(name, "arrays", self.arrays)
        stem, _, own = name.partition(".")
        file = self.path / f"{stem}.safetensors"
        if own and file.is_file():
            with _damaged(file), safe_open(file, "numpy") as opened:
                found: np.ndarray = opened.get_tensor(own)[at]
                return found
        with _damaged(self.path / ARRAYS / name):
            group = zarr_groups.opened_group(self.path / ARRAYS, "r")
            return np.asarray(zarr_groups.array_in(group, name)[at])


def open_run(folder: str | os.PathLike[str]) -> RunResults:
    """Opens the folder that a study wrote, or is writing: settings, tables, arrays and summary.

    An unfinished run is opened, too, and said to be unfinished.

    Args:
        folder: of a run, such as `runs/linearity`.

    Raises:
        ArgumentError: no folder of a run, one of another layout, or a damaged one.
    """
    path = checks.path(folder, "folder")
    if not (path / SETTINGS).is_file():
        raise ArgumentError(
            f"{path} is no folder of a run: it has no {SETTINGS}; pass ",
            *(Argument("folder"), ", one that a study wrote"),
        )
    with _damaged(path / SETTINGS):
        recorded = read_json(path / SETTINGS)
        layout = recorded.get("format")
    if layout != FORMAT:
        raise ArgumentError(
            f"{path} was written in layout {checks.shown(layout)}, and layout {FORMAT} is read; ",
            *("pass another ", Argument("folder"), ", or measure the run anew"),
        )
    with _damaged(path / SETTINGS):
        settings = recorded["settings"]
        if settings_key(settings) != recorded["key"]:
            raise ValueError("not as it was written")
    seconds: dict[str, float] = {}
    for file in progress.progress_files(path):
        with _damaged(file):
            seconds |= progress.read(file)["seconds"]
    summary = None
    if (path / SUMMARY).is_file():
        with _damaged(path / SUMMARY):
            summary = read_json(path / SUMMARY)
    finished = summary is not None and summary.get("complete", True) is True
    if not finished:
        groups = f"{len(seconds)} group{'s' * (len(seconds) != 1)}"
        say(f"{path} holds an unfinished run: {groups} of measurements are saved so far")
    report = path / REPORT
    return RunResults(
        path=path,
        experiment=settings.get("experiment"),
        finished=finished,
        settings=settings,
        summary=summary,
        seconds=seconds,
        tables=tuple(sorted(file.name for file in path.glob("*.parquet"))),
        arrays=tuple(_array_names(path)),
        report=report if report.is_file() else None,
    )


def _array_names(path: Path) -> Iterator[str]:
    if (path / ARRAYS).is_dir():
        with _damaged(path / ARRAYS):
            yield from sorted(zarr_groups.opened_group(path / ARRAYS, "r").array_keys())
    for file in sorted(path.glob("*.safetensors")):
        with _damaged(file), safe_open(file, "numpy") as opened:
            yield from (f"{file.stem}.{name}" for name in sorted(opened.keys()))


def _known(name: object, kind: str, names: tuple[str, ...]) -> None:
    if not isinstance(name, str) or name not in names:
        raise ArgumentError(
            Argument("name"),
            f" is {checks.shown(name)}, expected one of the run's {kind}: "
            f"{', '.join(names) or 'it has none'}",
        )


@contextlib.contextmanager
def _damaged(file: Path) -> Iterator[None]:
    """Says of a file that cannot be read as it was written what it is, and what to do."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError, OSError) as error:
        raise ArgumentError(
            f"{file} is damaged; pass another ", Argument("folder"), ", or measure the run anew"
        ) from error
