"""Neurons as files that other programs read: masks as safetensors, tables as CSV or Parquet."""

import dataclasses
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from safetensors import numpy as arrays_in_bytes

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.inputs.table_files import read_columns
from negjax.model.language_model import LanguageModel, check_model
from negjax.records import readable
from negjax.storage.given_files import check_file
from negjax.storage.record_files import checked_arrays
from negjax.storage.whole_files import explained, write_bytes

MASK = "mask"
"""Of the array in a file."""
COLUMNS = ("layer", "index", "value")
MOST_NUMBER = 2**31
"""Which no layer and no neuron has."""
SUFFIXES = (".csv", ".parquet")


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class NeuronMask:
    """Which neurons of a model are meant."""

    mask: Bool[np.ndarray, "L F"]
    model: str
    """What the model was loaded as."""
    fingerprint: str
    """Of its weights."""
    site: str

    @property
    def neurons(self) -> Int[np.ndarray, "N 2"]:
        """(layer, index) of those that are in it, layer-major."""
        return np.argwhere(self.mask).astype(np.int32)


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class NeuronTable:
    """Neurons with a number each."""

    neurons: Int[np.ndarray, "N 2"]
    """(layer, index)."""
    values: Float[np.ndarray, " N"]


def save_mask(
    path: str | os.PathLike[str], lm: LanguageModel, mask: ArrayLike, site: str | None = None
) -> Path:
    """Writes a mask of neurons to a safetensors file: an array `mask`, and metadata.

    Args:
        path: of the file; `.safetensors` is the usual suffix.
        lm: the model that has the neurons; its name and fingerprint are written, too.
        mask: [L, F], truth values.
        site: of the neurons; None is the model's default.

    Returns:
        the path.

    Raises:
        ArgumentError: a mask of another shape, or of something else.
        ValueError: a site that the model does not have.
        OSError: the file cannot be written.
    """
    where, lm = checks.path(path, "path"), check_model(lm)
    array = checks.truths(mask, "mask")
    shape = (lm.config.layers, lm.config.neurons)
    if array.shape != shape:
        raise ArgumentError(
            Argument("mask"), f" is {list(array.shape)}, expected [L, F] = {list(shape)}"
        )
    about = {
        "format": "negjax mask of neurons",
        "model": lm.name,
        "fingerprint": lm.fingerprint,
        "site": lm.config.site(site),
    }
    data = arrays_in_bytes.save({MASK: np.ascontiguousarray(array)}, metadata=about)
    with explained(where, "the mask could not be written"):
        write_bytes(where, data)
    return where


def read_mask(path: str | os.PathLike[str], lm: LanguageModel | None = None) -> NeuronMask:
    """A mask that `save_mask` wrote, or another program in the same form.

    Args:
        lm: refuse a mask of a model with other weights.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        ValueError: it is damaged, holds no mask, or one of another model.
    """
    model = None if lm is None else check_model(lm)
    where = check_file(path, "path", "a file that negjax.save_mask wrote")
    about, arrays = checked_arrays(where)
    mask = arrays.get(MASK)
    if mask is None or mask.dtype != bool or mask.ndim != 2 or not {"model", "site"} <= {*about}:
        raise ValueError(
            f"{where}: holds no mask of neurons; expected an array `mask` [L, F] of truth values, "
            "and model and site in the metadata"
        )
    found = NeuronMask(
        mask=mask,
        model=about["model"],
        fingerprint=about.get("fingerprint", ""),
        site=about["site"],
    )
    if model is not None and found.fingerprint != model.fingerprint:
        raise ValueError(
            f"{where}: a mask of neurons of {checks.shown(found.model)}, whose weights are not "
            f"those of {checks.shown(model.name)}; leave lm out to read it all the same"
        )
    return found


def save_neurons(path: str | os.PathLike[str], neurons: ArrayLike, values: ArrayLike) -> Path:
    """Writes neurons with a number each to a table of the columns layer, index and value.

    Args:
        path: of the file, `.csv` or `.parquet`.
        neurons: (layer, index) pairs [N, 2].
        values: [N], such as means or entropies; NaN stays NaN.

    Returns:
        the path.

    Raises:
        ArgumentError: another suffix; neurons or values of another shape or kind.
        OSError: the file cannot be written.
    """
    where = _table_path(path)
    pairs = checks.integers(neurons, "neurons", "integers [N, 2]: (layer, index) pairs")
    numbers = checks.real_numbers(values, "values")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or (pairs < 0).any():
        raise ArgumentError(
            Argument("neurons"),
            f" are {checks.described(neurons)}, expected one or more (layer, index) pairs [N, 2], "
            "from 0 on",
        )
    if numbers.shape != (len(pairs),):
        raise ArgumentError(
            Argument("values"),
            f" are {list(numbers.shape)} for {len(pairs)} neurons, expected one each",
        )
    table = pa.table(dict(zip(COLUMNS, (*pairs.T, numbers), strict=True)))
    out = io.BytesIO()
    if where.suffix.lower() == ".csv":
        arrow_csv.write_csv(table, out)
    else:
        parquet.write_table(table, out)
    with explained(where, "the table of neurons could not be written"):
        write_bytes(where, out.getvalue())
    return where


def read_neurons(path: str | os.PathLike[str]) -> NeuronTable:
    """A table that `save_neurons` wrote, or any with the columns layer, index and value.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        ValueError: another suffix, a damaged file, a missing column, or a cell that is no number,
            by its row.
    """
    where = _table_path(check_file(path, "path", "a table of neurons: .csv or .parquet"))
    named = {name: name for name in COLUMNS}
    columns = read_columns(where.read_bytes(), where.suffix.lower(), named, str(where))
    layer, index, values = (
        [_number(cell, f"{where}: row {row}: {name}") for row, cell in enumerate(cells)]
        for name, cells in zip(COLUMNS, columns, strict=True)
    )
    pairs = np.stack([layer, index], axis=1)
    wrong = np.argwhere((pairs != np.floor(pairs)) | ~(pairs >= 0) | ~(pairs < MOST_NUMBER))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{where}: row {row}: {COLUMNS[column]} is {pairs[row, column]:g}, expected the "
            "number of a layer or a neuron, 0 or more"
        )
    return NeuronTable(neurons=pairs.astype(np.int32), values=np.asarray(values))


def _number(cell: Any, what: str) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise ValueError(f"{what} is {checks.shown(cell)}, expected a number") from None


def _table_path(path: object) -> Path:
    where = checks.path(path, "path")
    if where.suffix.lower() not in SUFFIXES:
        raise ArgumentError(
            Argument("path"),
            f" {checks.shown(str(path))}: unknown suffix {where.suffix!r}; known: .csv, .parquet",
        )
    return where
