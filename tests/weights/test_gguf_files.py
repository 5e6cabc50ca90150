"""GGUF files."""

import dataclasses
import re
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from flax import nnx

from negjax.model.config import ModelConfig
from negjax.model.rope import Rope
from negjax.storage.file_parts import FilePart
from negjax.weights.formats import gguf_files
from negjax.weights.loading import embedded_file
from tests.support.gguf_conversion import Fields, write_gguf
from tests.support.tiny_models import (
    LLAMA,
    as_source,
    assert_equal,
    convert,
    leaves,
    tensors_of,
    truncate,
)

# Wide enough for blocks of 32 values a row, and of 256 in the feed-forward layer.
WIDE = dataclasses.replace(LLAMA, width=32, neurons=256, head_width=16, heads=4, kv_heads=2)


def read_gguf(path: Path) -> tuple[ModelConfig, nnx.State]:
    file = gguf_files.open_file(path)
    config = gguf_files.read_config(file)
    return config, convert(gguf_files.read_tensors(file, config), config, str(path))


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_gguf_types_are_decoded_and_heads_put_back(tmp_path: Path, kind: str) -> None:
    quantised = gguf.GGMLQuantizationType[kind]
    stored = write_gguf(tmp_path / "m.gguf", WIDE, tensors_of(WIDE), quantised)
    config, params = read_gguf(tmp_path / "m.gguf")
    assert config == dataclasses.replace(WIDE, norm_eps=float(np.float32(WIDE.norm_eps)))
    assert_equal(params, convert(as_source(stored), WIDE))


def encodes(kind: gguf.GGMLQuantizationType) -> bool:
    try:
        gguf.quantize(np.zeros((1, 256), np.float32), kind)
    except NotImplementedError:
        return False
    return True


def decodes(kind: gguf.GGMLQuantizationType) -> bool:
    try:
        gguf.dequantize(np.zeros(gguf.quant_shape_to_byte_shape((1, 256), kind), np.uint8), kind)
    except NotImplementedError:
        return False
    return True


ENCODED = [kind for kind in gguf.GGMLQuantizationType if encodes(kind)]
DECODED = [kind for kind in gguf.GGMLQuantizationType if decodes(kind) and kind not in ENCODED]


def stored_tensor(
    path: Path, raw: np.ndarray, kind: gguf.GGMLQuantizationType
) -> gguf_files.GGUFFile:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("a.weight", raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return gguf_files.open_file(path)


@pytest.mark.parametrize("kind", ENCODED, ids=lambda kind: kind.name)
def test_every_type_that_is_encoded_is_read(
    tmp_path: Path, kind: gguf.GGMLQuantizationType
) -> None:
    # Three values, which types of few bits hold too.
    values = np.random.default_rng(0).integers(-1, 2, size=(3, 512)).astype(np.float32)
    raw = gguf.quantize(values, kind)
    read = stored_tensor(tmp_path / "m.gguf", raw, kind).read("a.weight")
    np.testing.assert_array_equal(read, gguf.dequantize(raw, kind))
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, values, atol=0.13)


@pytest.mark.parametrize("kind", DECODED, ids=lambda kind: kind.name)
def test_every_type_that_is_decoded_alone_has_its_shape(
    tmp_path: Path, kind: gguf.GGMLQuantizationType
) -> None:
    raw = np.zeros(gguf.quant_shape_to_byte_shape((3, 512), kind), np.uint8)
    file = stored_tensor(tmp_path / "m.gguf", raw, kind)
    assert file.tensors["a.weight"].shape == (3, 512)
    read = file.read("a.weight")
    assert read.shape == (3, 512) and read.dtype == np.float32
    np.testing.assert_array_equal(read, gguf.dequantize(raw, kind))


def test_the_usual_types_are_among_them() -> None:
    usual = {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ2_XS", "IQ3_S", "IQ4_NL", "IQ4_XS"}
    assert usual <= {kind.name for kind in DECODED}
    assert {"F16", "BF16", "Q4_0", "Q8_0"} <= {kind.name for kind in ENCODED}


def test_gguf_blocks_of_256_are_decoded(tmp_path: Path) -> None:
    """Q4_K has no encoder in Python: blocks of zeros but for their scales and minima decode to
    minus the smallest value."""
    tensors = tensors_of(WIDE)
    path = tmp_path / "m.gguf"
    down = "model.layers.0.mlp.down_proj.weight"
    block = struct.pack("<ee", 0.5, 0.25) + bytes([1] * 4 + [2] * 4 + [0x21] * 4) + bytes(128)
    write_gguf(path, WIDE, {name: values for name, values in tensors.items() if name != down})
    raw = np.frombuffer(block * 32, np.uint8).reshape(32, -1)
    decoded = gguf.dequantize(raw, gguf.GGMLQuantizationType.Q4_K)
    assert decoded.shape == (32, 256)
    assert set(decoded.flat) == {-0.5}
    file = gguf_files.open_file(path)
    (tmp_path / "blocks").write_bytes(raw.tobytes())
    stored = dataclasses.replace(
        file.tensors["blk.1.ffn_down.weight"],
        kind=gguf.GGMLQuantizationType.Q4_K,
        rows=raw.shape,
        where=FilePart(tmp_path / "blocks", 0, raw.size),
    )
    file.tensors["blk.0.ffn_down.weight"] = stored
    config = gguf_files.read_config(file)
    params = leaves(convert(gguf_files.read_tensors(file, config), config))
    assert set(params["blocks.ffn.down.kernel"][0].flat) == {-0.5}


def test_gguf_rope_scaling(tmp_path: Path) -> None:
    fields: Fields = {
        "llama__rope__scaling__type": "linear",
        "llama__rope__scaling__factor": 4.0,
    }
    write_gguf(tmp_path / "m.gguf", WIDE, tensors_of(WIDE), **fields)
    assert read_gguf(tmp_path / "m.gguf")[0].rope == Rope(theta=10000.0, linear_factor=4.0)


def test_gguf_rope_factors_are_a_tensor(tmp_path: Path) -> None:
    factors = np.arange(1.0, 9.0, dtype=np.float32)
    tensors = tensors_of(WIDE)
    write_gguf(tmp_path / "m.gguf", WIDE, tensors | {"rope_freqs.weight": factors})
    config, params = read_gguf(tmp_path / "m.gguf")
    assert config.rope == Rope(theta=10000.0, factors=tuple(factors.tolist()))
    assert_equal(params, convert(as_source(tensors), WIDE))
    write_gguf(tmp_path / "m.gguf", WIDE, tensors | {"rope_freqs.weight": factors[:3]})
    with pytest.raises(
        ValueError, match=r"rope_freqs.weight has 3 factors, expected half the head"
    ):
        read_gguf(tmp_path / "m.gguf")


def test_gguf_windows_shorten_the_context(tmp_path: Path) -> None:
    window: Fields = {"llama__attention__sliding_window": 8}
    write_gguf(tmp_path / "m.gguf", WIDE, tensors_of(WIDE), **window)
    assert read_gguf(tmp_path / "m.gguf")[0].context_length == 8


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"llama__expert_shared_count": 1}, r"llama.expert_shared_count = 1"),
        ({"llama__logit_scale": 2.0}, r"llama.logit_scale = 2.0"),
        ({"llama__rope__scaling__attn_factor": 2.0}, r"llama.rope.scaling.attn_factor = 2.0"),
    ],
)
def test_gguf_settings_that_are_not_implemented_are_named(
    tmp_path: Path, fields: Fields, message: str
) -> None:
    write_gguf(tmp_path / "m.gguf", WIDE, tensors_of(WIDE), **fields)
    with pytest.raises(ValueError, match=message):
        read_gguf(tmp_path / "m.gguf")


def test_unknown_gguf_settings_are_named_at_once_and_can_be_assumed_harmless(
    tmp_path: Path,
) -> None:
    fields: Fields = {"llama__quirk": 1.0, "llama__rope__scaling__attn_factor": 2.0}
    write_gguf(tmp_path / "m.gguf", WIDE, tensors_of(WIDE), **fields)
    file = gguf_files.open_file(tmp_path / "m.gguf")
    names = ["llama.quirk", "llama.rope.scaling.attn_factor"]
    with pytest.raises(ValueError, match=re.escape(f"pass assume_harmless={names}")):
        gguf_files.read_config(file)
    write_gguf(tmp_path / "plain.gguf", WIDE, tensors_of(WIDE))
    plain = gguf_files.read_config(gguf_files.open_file(tmp_path / "plain.gguf"))
    assert gguf_files.read_config(file, names) == plain


@pytest.mark.parametrize("size", [0, 3, 20, 300, -1, -5000])
def test_truncated_gguf_files_are_named(tmp_path: Path, size: int) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, WIDE, tensors_of(WIDE))
    truncate(path, size)
    with pytest.raises(ValueError, match=r"m.gguf: truncated, or not a GGUF file"):
        gguf_files.open_file(path)


def test_what_is_no_gguf_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(
        ValueError, match=r"not a GGUF file \(it starts with 0x4034b50, version 0\)"
    ):
        gguf_files.open_file(tmp_path / "m.gguf")


@pytest.mark.parametrize("arch", ["modern-bert", "mamba"])
def test_other_gguf_architectures_are_refused(tmp_path: Path, arch: str) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", arch)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ValueError, match=f"general.architecture is '{arch}'.*reads GGUF files of"):
        gguf_files.read_config(gguf_files.open_file(tmp_path / "m.gguf"))


def test_gguf_tensors_left_over_or_missing_are_named(tmp_path: Path) -> None:
    tensors = tensors_of(WIDE)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    write_gguf(tmp_path / "m.gguf", WIDE, tensors | {"blk.0.extra.weight": np.zeros(2, np.float32)})
    expected = (
        r"missing \(1\):\n  model.layers.1.mlp.up_proj.weight\nleft over \(1\):\n  blk.0.extra"
    )
    with pytest.raises(ValueError, match=expected):
        read_gguf(tmp_path / "m.gguf")


def test_gguf_types_without_a_decoder_are_named(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", WIDE, tensors_of(WIDE))
    file = gguf_files.open_file(tmp_path / "m.gguf")
    name = "blk.0.ffn_up.weight"
    kind = gguf.GGMLQuantizationType.F64
    file.tensors[name] = dataclasses.replace(file.tensors[name], kind=kind)
    with pytest.raises(
        ValueError, match=r"tensor 'blk.0.ffn_up.weight' has type F64, which the gguf"
    ):
        file.read(name)


def test_headers_are_read_as_the_gguf_package_reads_them() -> None:
    path = embedded_file()
    file = gguf_files.open_file(path)
    reader = gguf.GGUFReader(path)
    theirs = {key: field.contents() for key, field in reader.fields.items()}
    assert file.metadata == {k: v for k, v in theirs.items() if not k.startswith("GGUF.")}
    assert list(file.tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors[:12]:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(file.read(tensor.name), values)
