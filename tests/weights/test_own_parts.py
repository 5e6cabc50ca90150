"""What a process of a mesh reads: its parts of parameters, however the file holds them."""

import dataclasses
from pathlib import Path
from typing import Any
from unittest import mock

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from negjax.model import meshes
from negjax.storage.file_parts import FilePart
from negjax.storage.given_files import read_json
from negjax.weights.conversion import to_parameters
from negjax.weights.families import FAMILIES
from negjax.weights.formats import gguf_files
from negjax.weights.formats.safetensors_files import read_tensors, write_file
from negjax.weights.tensors import Tensors
from tests.support.drawn_configs import GOLDEN, read
from tests.support.gguf_conversion import write_gguf
from tests.support.tiny_models import leaves, tensors_of

ORDERED_OTHERWISE = "pythia"
"""Of whose GGUF files each head's share of a tensor lies apart."""
SIZES: dict[str, Any] = {"heads": 8, "kv_heads": 4, "head_width": 16, "width": 64, "neurons": 384}
CASES = [
    *(("phi3", None), ("pythia", None), ("gpt2", None), ("modernbert", None)),
    *(("llama2_mha", "Q8_0"), ("phi3", "Q8_0"), ("pythia", "Q4_0"), ("gpt2", "Q5_1")),
    *(("qwen2", "Q8_0"), ("mixtral", "Q8_0"), ("llama2_mha", "BF16")),
]


def made(case: str, kind: str | None, folder: Path) -> tuple[Any, Tensors, int]:
    """A model's config, its tensors in a file, and the file's bytes of them."""
    config = read(read_json(GOLDEN / case / "config.json"))
    kv_heads = SIZES["kv_heads"] if config.kv_heads < config.heads else SIZES["heads"]
    config = dataclasses.replace(config, **SIZES | {"kv_heads": kv_heads})
    values = tensors_of(config)
    file = folder / "weights"
    if kind is None:
        write_file(file, values)
        return config, read_tensors(file), sum(value.nbytes for value in values.values())
    write_gguf(file, config, values, gguf.GGMLQuantizationType[kind])
    opened = gguf_files.open_file(file)
    size = sum(tensor.where.size for tensor in opened.tensors.values())
    return config, gguf_files.read_tensors(opened, config), size


@pytest.mark.parametrize(("case", "kind"), CASES, ids=str)
@pytest.mark.parametrize("half", [0, 1])
def test_a_process_reads_little_more_than_its_part(
    case: str, kind: str | None, half: int, tmp_path: Path
) -> None:
    """Of what is divided, half; here the vocabulary is not."""
    config, tensors, size = made(case, kind, tmp_path)
    table = FAMILIES[config.family].table(config)
    dtype = jnp.dtype("float32")
    whole = leaves(to_parameters(tensors, table, config, dtype, origin=case))
    parts: list[tuple[np.ndarray, tuple[slice, ...]]] = []
    mesh = meshes.make_mesh(meshes.MeshShape(), config)

    def own_part(sharding: jax.sharding.NamedSharding, shape: tuple[int, ...]) -> Any:
        names = (*sharding.spec, *[None] * (len(shape) - len(sharding.spec)))
        return tuple(
            slice(size // 2 * half, size // 2 * (half + 1)) if name else slice(0, size)
            for name, size in zip(names, shape, strict=True)
        )

    def from_part(part: np.ndarray, own: tuple[slice, ...], *_: Any) -> jax.Array:
        parts.append((np.array(part), own))
        return jnp.asarray(part)

    with (
        mock.patch.object(meshes, "is_shared", return_value=True),
        mock.patch.object(meshes, "own_part", own_part),
        mock.patch.object(meshes, "from_part", from_part),
        mock.patch.object(FilePart, "read", autospec=True, side_effect=FilePart.read) as reads,
    ):
        found = leaves(to_parameters(tensors, table, config, dtype, origin=case, mesh=mesh))
    divided = 0
    for name, value in found.items():
        own = next(own for part, own in parts if np.array_equal(part, value))
        np.testing.assert_array_equal(value, whole[name][own], err_msg=name)
        divided += value.shape != whole[name].shape
    assert divided
    bytes_read = sum(
        part.size * len(part.apart) for part in (call.args[0] for call in reads.call_args_list)
    )
    apart = kind is not None and case == ORDERED_OTHERWISE
    assert bytes_read < (0.7 if apart else 0.6) * size
