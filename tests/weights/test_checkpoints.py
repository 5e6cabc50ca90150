"""Directories of safetensors files."""

import json
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from negjax.storage import given_files
from negjax.weights.conversion import to_parameters
from negjax.weights.families import FAMILIES
from negjax.weights.formats import safetensors_files
from tests.support.tiny_models import (
    LLAMA,
    as_source,
    assert_equal,
    convert,
    leaves,
    tensors_of,
    truncate,
)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_every_float_type_is_read(tmp_path: Path, dtype: str) -> None:
    tensors = {name: values.astype(dtype) for name, values in tensors_of(LLAMA).items()}
    safetensors_files.write_file(tmp_path / "model.safetensors", tensors)
    params = convert(safetensors_files.read_directory(tmp_path), LLAMA)
    widened = {name: values.astype(np.float32) for name, values in tensors.items()}
    assert_equal(params, convert(as_source(widened), LLAMA))


def test_weights_can_be_kept_in_bfloat16() -> None:
    tensors = tensors_of(LLAMA)
    table = FAMILIES["llama"].table(LLAMA)
    params = to_parameters(as_source(tensors), table, LLAMA, jnp.dtype("bfloat16"), origin="memory")
    for name, values in leaves(convert(as_source(tensors), LLAMA)).items():
        kept = leaves(params)[name]
        assert kept.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(kept, values.astype(ml_dtypes.bfloat16))


def write_shards(directory: Path, tensors: dict[str, np.ndarray]) -> dict[str, str]:
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for shard, held in shards.items():
        safetensors_files.write_file(directory / shard, {name: tensors[name] for name in held})
    return {name: shard for shard, held in shards.items() for name in held}


def write_index(directory: Path, weight_map: object) -> None:
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    tensors = tensors_of(LLAMA)
    write_index(tmp_path, write_shards(tmp_path, tensors))
    params = convert(safetensors_files.read_directory(tmp_path), LLAMA)
    assert_equal(params, convert(as_source(tensors), LLAMA))


def test_shards_that_disagree_with_the_index_are_named(tmp_path: Path) -> None:
    weight_map = write_shards(tmp_path, tensors_of(LLAMA))
    write_index(tmp_path, weight_map | {"lm_head.weight": "model-2.safetensors"})
    with pytest.raises(ValueError, match=r"disagrees with model-1.safetensors .*lm_head.weight"):
        safetensors_files.read_directory(tmp_path)
    write_index(tmp_path, weight_map | {"x": "model-3.safetensors"})
    with pytest.raises(FileNotFoundError, match=r"1 of the 3 shards .* missing: model-3"):
        safetensors_files.read_directory(tmp_path)
    write_index(tmp_path, {"x": "../model-1.safetensors"})
    with pytest.raises(ValueError, match="not names of files beside it"):
        safetensors_files.read_directory(tmp_path)
    write_index(tmp_path, [])
    with pytest.raises(ValueError, match="weight_map is"):
        safetensors_files.read_directory(tmp_path)


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_truncated_safetensors_are_named(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.safetensors"
    safetensors_files.write_file(path, tensors_of(LLAMA))
    truncate(path, size)
    with pytest.raises(
        ValueError, match=r"model.safetensors: truncated, or not a safetensors file"
    ):
        safetensors_files.read_directory(tmp_path)


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    safetensors_files.write_file(tmp_path / "model.safetensors", {"x": np.zeros(3, np.int8)})
    with pytest.raises(ValueError, match="tensor 'x' has type I8, expected one of F64"):
        safetensors_files.read_directory(tmp_path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model.safetensors and no model.safetensors.i"):
        safetensors_files.read_directory(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"never opened")
    with pytest.raises(FileNotFoundError, match=r"pickles \(pytorch_model.bin\).*convert them to"):
        safetensors_files.read_directory(tmp_path)


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json: not JSON"):
        given_files.read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config.json: holds a JSON list, expected an object"):
        given_files.read_json(tmp_path / "config.json")
