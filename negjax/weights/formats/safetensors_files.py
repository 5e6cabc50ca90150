"""Hugging Face directories of safetensors weights, read lazily as numpy arrays."""

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from negjax.checks import shown
from negjax.storage.file_parts import FilePart
from negjax.storage.given_files import first_bytes, read_json, refuse_pointer
from negjax.weights.tensors import LazyTensor, stored_array

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

# numpy names bfloat16 through ml_dtypes, which safetensors needs to have been imported.
READABLE = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}


def read_directory(directory: Path) -> dict[str, LazyTensor]:
    """Tensors of a directory's weights: one file, or shards with an index.

    Raises:
        FileNotFoundError: there are no safetensors weights, or a shard is missing.
        ValueError: a file is truncated, a Git LFS pointer or no safetensors file, holds a type
            other than float64, float32, float16 and bfloat16, or disagrees with the index.
    """
    if (directory / INDEX).is_file():
        return _read_shards(directory)
    if (directory / SINGLE).is_file():
        return read_tensors(directory / SINGLE)
    pickles = sorted(
        path.name
        for ending in ("*.bin", "*.pt", "*.pth", "*.ckpt")
        for path in directory.glob(ending)
    )
    if pickles:
        raise FileNotFoundError(
            f"{directory}: the weights are pickles ({', '.join(pickles)}), which can run code when "
            f"they are opened; negjax reads none: convert them to {SINGLE} first, for example with "
            "transformers' save_pretrained"
        )
    raise FileNotFoundError(f"{directory}: no {SINGLE} and no {INDEX} here")


def write_file(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Writes tensors as one safetensors file, marked as transformers expects."""
    save_file(tensors, path, metadata={"format": "pt"})


def _read_shards(directory: Path) -> dict[str, LazyTensor]:
    index = directory / INDEX
    weight_map = read_json(index).get("weight_map")
    named = isinstance(weight_map, dict) and all(isinstance(x, str) for x in weight_map.values())
    if not weight_map or not isinstance(weight_map, dict) or not named:
        raise ValueError(
            f"{index}: weight_map is {shown(weight_map)}, expected tensor names and files"
        )
    shards = sorted(set(weight_map.values()))
    strange = [shard for shard in shards if Path(shard).name != shard]
    if strange:
        raise ValueError(f"{index}: shards {strange} are not names of files beside it")
    absent = [shard for shard in shards if not (directory / shard).is_file()]
    if absent:
        raise FileNotFoundError(
            f"{directory}: {len(absent)} of the {len(shards)} shards that {INDEX} names are "
            f"missing: {', '.join(absent)}"
        )
    tensors: dict[str, LazyTensor] = {}
    for shard in shards:
        found = read_tensors(directory / shard)
        listed = {name for name, file in weight_map.items() if file == shard}
        if found.keys() != listed:
            raise ValueError(
                f"{index}: disagrees with {shard} about the tensors {sorted(found.keys() ^ listed)}"
            )
        tensors |= found
    return tensors


def read_tensors(path: Path) -> dict[str, LazyTensor]:
    """Tensors of one file.

    Raises:
        ValueError: it is truncated, a Git LFS pointer or no safetensors file, or holds a type other
            than float64, float32, float16 and bfloat16.
    """
    refuse_pointer(first_bytes(path), path)
    try:
        with safe_open(path, framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(
            f"{path}: truncated, or not a safetensors file ({error}); fetch or write it again"
        ) from error
    tensors = {}
    entries, start = _header(path)
    for name, entry in entries.items():
        dtype, (first, end) = entry["dtype"], entry["data_offsets"]
        if dtype not in READABLE:
            raise ValueError(
                f"{path}: tensor {name!r} has type {dtype}, expected one of {', '.join(READABLE)}"
            )
        where = FilePart(path, start + first, end - first)
        shape = tuple(entry["shape"])
        tensors[name] = stored_array(where, np.dtype(READABLE[dtype]), shape)
    return tensors


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """What a file that has been checked says of its tensors, and where their bytes begin."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(size))
    entries.pop("__metadata__", None)
    return entries, 8 + size
