"""The folder of a run: measurements saved group by group, and the tables and pictures made of them.

A folder holds `settings.json` (what was asked), `measurements.zarr` (the arrays), `progress.json`
(which groups of them are finished) and whatever a study writes beside them. Every file appears
under its name whole or not at all, and a group counts as finished only after its arrays are
written: a run that is interrupted, killed or out of disk space goes on where it stopped.
"""

import hashlib
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.records import cut, readable
from negjax.storage import progress, zarr_groups
from negjax.storage.buckets import Elsewhere
from negjax.storage.locks import LOCK, lock_folder
from negjax.storage.run_settings import SETTINGS, check_same, recorded
from negjax.storage.whole_files import (
    explained,
    remove,
    remove_partial,
    write_bytes,
    write_json,
    write_whole,
)

ARRAYS = "measurements.zarr"
JOB = ".job"
"""Which job of several processes measures into the folder."""
DISCARDED = "settings.discarded.json"
"""A discarded run's settings, until all that it made is removed."""
SUMMARY, NEURONS, PROMPTS, REPORT, FIGURES, TABLES = (
    "summary.json",
    "neurons.parquet",
    "prompts.parquet",
    "report.html",
    "figures",
    "tables",
)
STATES, LOSSES, MODEL = "states", "losses.parquet", "model"
"""Of a training run: states to go on from, losses by step, the trained model."""
DOSES = "doses.parquet"
"""Of a study of large doses: every dosed neuron."""
SETS = "sets.parquet"
"""Of a study of many neurons at once: every set of neurons."""
CONTROLS = ("turned.parquet", "steered.parquet", "edited.parquet")
"""Of a study of control: neurons turned, prompts steered, facts edited."""
OVERLAPS, TEXTS = "overlaps.parquet", "texts.parquet"
"""How many items of one part of a benchmark stand in another; what a controlled model writes."""
ACCURACIES, TASKS, SAVED_PROBES = "accuracies.parquet", "tasks", "probes"
"""Of a study of skills: every accuracy, what was found of each task, fitted probes."""
CORPUS = "corpus.safetensors"
"""Of a stream over a corpus: what is known so far."""
ATLAS = "atlas"
"""Pages of every neuron."""
OUTPUTS = (
    *(SUMMARY, NEURONS, PROMPTS, REPORT, FIGURES, TABLES),
    *(STATES, LOSSES, MODEL, DOSES, SETS, *CONTROLS, TEXTS, OVERLAPS),
    *(ACCURACIES, TASKS, SAVED_PROBES, CORPUS, ATLAS),
)
"""What a study makes besides the measurements: discarded together with them."""

At = tuple[int | slice, ...]
"""Where in the leading axes of an array something lies."""
Places = At | Mapping[str, At]
"""One place in all arrays, or one in each by its name."""


@readable
@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """One array of a run."""

    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str, ...]
    """A name an axis."""
    meaning: str
    """What the numbers are, with units."""
    chunks: tuple[int, ...] | None = None
    """Of the file layout; as written at once is best. Default: one chunk."""


class RunFolder:
    """A folder opened for a run, by one process: by `open_to_measure`. Close it, or use `with`."""

    writes = True
    """Whether this process writes what is saved."""

    def __init__(
        self,
        path: Path,
        lock: BinaryIO,
        arrays: "zarr_groups.zarr.Group",
        before: progress.Progress,
    ):
        self.path = path
        self.elsewhere: Elsewhere | None = None
        self._lock, self._arrays = lock, arrays
        self._progress = path / progress.PROGRESS
        self._kept(before)

    def _kept(self, found: progress.Progress) -> None:
        self._groups, self._digests = dict(found["seconds"]), dict(found["sha256"])

    def __repr__(self) -> str:
        state = ", closed" * self._lock.closed
        return f"RunFolder({cut(str(self.path))!r}, {len(self._groups)} groups finished{state})"

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets other processes use the folder."""
        self._lock.close()

    @property
    def finished(self) -> Mapping[str, float]:
        """Finished groups, and the seconds each took."""
        return dict(self._groups)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Of the arrays: what they were measured with."""
        return self._arrays.attrs.asdict()

    @property
    def arrays(self) -> frozenset[str]:
        """Names of the arrays."""
        return frozenset(self._arrays.array_keys())

    def save(
        self, group: str, at: Places, values: Mapping[str, np.ndarray], seconds: float
    ) -> None:
        """Writes a group's arrays, then records it as finished, with their digests.

        Raises:
            OSError: the disk is full or failed; groups saved before are kept.
        """
        found = {}
        with explained(self.path, f"{group} could not be saved"):
            for name, value in values.items():
                array = zarr_groups.array_in(self._arrays, name)
                array[_place(at, name)] = value
                found[name] = _digest(np.asarray(value, array.dtype))
            groups, digests = self._groups | {group: seconds}, self._digests | {group: found}
            write_json(self._progress, {"seconds": groups, "sha256": digests})
        self._groups, self._digests = groups, digests

    def divide(self, process: int) -> None:
        """Records from here on in a file of this process: others measure other groups' chunks."""
        self._progress = self.path / progress.part(process)

    def gather(self) -> None:
        """Counts as finished what any process has saved, and records that in one file."""
        if self.elsewhere is not None:
            self.elsewhere.pull()
        with explained(self.path, "what several processes saved could not be recorded"):
            self._kept(progress.gathered(self.path))
            self._progress = self.path / progress.PROGRESS
            (self.path / JOB).unlink(missing_ok=True)

    def check(self, group: str, at: Places) -> bool:
        """Whether a group is finished and all that it saved can be read back as it was.

        If not, it does not count as finished any more.
        """
        try:
            whole = group in self._groups and all(
                _digest(self.read(name, _place(at, name))) == digest
                for name, digest in self._digests.get(group, {}).items()
            )
        except (ValueError, RuntimeError):
            # What the decompression of a damaged chunk raises.
            whole = False
        if not whole:
            self._groups.pop(group, None)
        return whole

    def read(self, name: str, at: At = ()) -> np.ndarray:
        """Part of an array, or all of it; what no group has written is 0 or NaN."""
        return np.asarray(zarr_groups.array_in(self._arrays, name)[at])

    def write_json(self, name: str, value: Mapping[str, Any]) -> Path:
        """Writes a JSON object; NaN and infinities are refused."""
        return self._written(name, lambda file: write_json(file, value))

    def write_table(self, name: str, table: pa.Table) -> Path:
        """Writes a Parquet file."""
        return self._written(
            name, lambda file: write_whole(file, lambda out: parquet.write_table(table, out))
        )

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Writes any file."""
        return self._written(name, lambda file: write_bytes(file, data))

    def _written(self, name: str, write: Callable[[Path], None]) -> Path:
        file = self.path / name
        with explained(self.path, f"{name} could not be written"):
            file.parent.mkdir(parents=True, exist_ok=True)
            write(file)
        return file


def open_to_measure(
    path: str | Path,
    settings: Mapping[str, Any],
    specs: Mapping[str, ArraySpec],
    *,
    attributes: Mapping[str, Any],
    overwrite: bool = False,
) -> RunFolder:
    """Opens the folder of a run: a new one, or one of the same settings, to go on with it.

    Args:
        path: made where it does not exist.
        settings: what determines the measurements, as JSON values.
        specs: the arrays to measure.
        attributes: of the Zarr group, as JSON values.
        overwrite: discard a run that is there already.

    Raises:
        ValueError: the folder holds a run with other settings, files that no run wrote, or damaged
            files; or another process is using it.
    """
    path = checks.path(path, "path")
    if path.is_file():
        raise ArgumentError(
            f"{path} is a file, expected a folder for the run; pass another ", Argument("folder")
        )
    with explained(path, "the run could not be started"):
        path.mkdir(parents=True, exist_ok=True)
        fresh = not (path / LOCK).exists()
        lock = lock_folder(path)
    try:
        with explained(path, "the run could not be started"):
            arrays = _prepare(path, settings, specs, attributes, overwrite)
        return RunFolder(path, lock, arrays, progress.gathered(path))
    except BaseException:
        # Somebody's folder that is refused stays as it was.
        if fresh and not (path / SETTINGS).exists():
            (path / LOCK).unlink(missing_ok=True)
        lock.close()
        raise


def open_finished(path: str | Path, settings: Mapping[str, Any]) -> RunFolder | None:
    """Opens a run of these settings that has its summary, to be read: by any number of processes.

    Raises:
        ValueError: the folder holds a run with other settings, or damaged files; or a process is
            writing it.
    """
    path = checks.path(path, "path")
    if not (path / SUMMARY).is_file():
        return None
    lock = lock_folder(path, shared=True)
    try:
        check_same(path, recorded(settings))
        arrays = zarr_groups.opened_group(path / ARRAYS, "r")
        return RunFolder(path, lock, arrays, progress.read(path / progress.PROGRESS))
    except BaseException:
        lock.close()
        raise


def _prepare(
    path: Path,
    settings: Mapping[str, Any],
    specs: Mapping[str, ArraySpec],
    attributes: Mapping[str, Any],
    overwrite: bool,
) -> "zarr_groups.zarr.Group":
    """The run's arrays: those that are there, or empty ones."""
    asked = recorded(settings)
    if (path / SETTINGS).exists():
        if not overwrite:
            check_same(path, asked)
            remove_partial(path, ARRAYS)
            return zarr_groups.opened_group(path / ARRAYS, "r+")
        # A kill after it leaves a folder without a run, whose outputs are known to be a run's.
        (path / SETTINGS).replace(path / DISCARDED)
    _refuse_strangers(path)
    outputs = OUTPUTS if (path / DISCARDED).exists() else ()
    for file in progress.progress_files(path):
        file.unlink()
    for name in (ARRAYS, *outputs, DISCARDED):
        remove(path / name)
    remove_partial(path, ARRAYS)
    arrays = zarr_groups.opened_group(path / ARRAYS, "w", attributes)
    for name, spec in specs.items():
        arrays.create_array(
            name,
            shape=spec.shape,
            dtype=spec.dtype,
            chunks=spec.chunks or tuple(max(1, size) for size in spec.shape),
            fill_value=float("nan") if np.issubdtype(np.dtype(spec.dtype), np.floating) else 0,
            dimension_names=spec.axes,
            attributes={"meaning": spec.meaning},
        )
    write_json(path / progress.PROGRESS, {"seconds": {}, "sha256": {}})
    write_json(path / SETTINGS, asked)
    return arrays


def _refuse_strangers(path: Path) -> None:
    """Refuses a folder with anything in it but a discarded run, or one that never began.

    Settings are written last, so that such a run has no outputs: those are somebody's.
    """
    if (path / DISCARDED).exists():
        return
    known = {progress.PROGRESS, ARRAYS, LOCK, JOB}
    strangers = sorted(
        file.name
        for file in path.iterdir()
        if file.name not in known and not file.name.endswith(".partial")
    )
    if strangers:
        raise ArgumentError(
            f"{path} holds files that no run wrote ({', '.join(strangers[:3])}); pass another ",
            Argument("folder"),
            ", or an empty one",
        )


def _place(at: Places, name: str) -> At:
    return at[name] if isinstance(at, Mapping) else at


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
