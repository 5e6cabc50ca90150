"""GGUF files in several parts."""

import re
from pathlib import Path

import gguf
import numpy as np
import pytest

from negjax.weights.formats import gguf_files
from tests.support.gguf_conversion import write_gguf
from tests.support.tiny_models import LLAMA, as_source, assert_equal, convert, tensors_of

TENSORS = tensors_of(LLAMA)
PARTS = [f"m-{number:05}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    write_gguf(tmp_path / "m.gguf", LLAMA, TENSORS, tensors_a_part=9)
    assert sorted(path.name for path in tmp_path.iterdir()) == PARTS
    return [tmp_path / name for name in PARTS]


def part(path: Path, number: int, tensors: dict[str, np.ndarray]) -> None:
    """Writes one of three parts."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint16("split.no", number)
    writer.add_uint16("split.count", 3)
    writer.add_int32("split.tensors.count", len(TENSORS))
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_the_first_part_opens_all(parts: list[Path]) -> None:
    file = gguf_files.open_file(parts[0])
    assert len(file.tensors) == len(TENSORS) == 21
    config = gguf_files.read_config(file)
    params = convert(gguf_files.read_tensors(file, config), config)
    assert_equal(params, convert(as_source(TENSORS), LLAMA))


def test_missing_parts_are_named(parts: list[Path]) -> None:
    parts[1].unlink()
    with pytest.raises(FileNotFoundError, match=f"1 of the 3 parts .* missing: {PARTS[1]}"):
        gguf_files.open_file(parts[0])
    parts[2].unlink()
    with pytest.raises(FileNotFoundError, match=f"2 of the 3 .*: {PARTS[1]}, {PARTS[2]}"):
        gguf_files.open_file(parts[0])


@pytest.mark.parametrize(
    ("part", "name"), [(1, PARTS[1]), (1, PARTS[0]), (0, "m.gguf"), (0, "m-00001-of-00002.gguf")]
)
def test_what_is_not_the_first_part_is_refused(parts: list[Path], part: int, name: str) -> None:
    path = parts[part].rename(parts[part].with_name(name))
    message = "one of 3 parts, and not the first; pass the file whose name ends with -00001-of-"
    with pytest.raises(ValueError, match=re.escape(f"{name}: {message}00003.gguf")):
        gguf_files.open_file(path)


def test_parts_that_do_not_belong_together_are_refused(parts: list[Path]) -> None:
    part(parts[2], 1, {})
    with pytest.raises(ValueError, match=f"{PARTS[2]}: not the part that its name says"):
        gguf_files.open_file(parts[0])
    part(parts[2], 2, {"token_embd.weight": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match=r"'token_embd.weight' is in another part, too"):
        gguf_files.open_file(parts[0])
    part(parts[2], 2, {})
    with pytest.raises(ValueError, match=r"m-00001-of-00003.gguf: 18 tensors, .*count is 21"):
        gguf_files.open_file(parts[0])
    parts[2].write_bytes(parts[2].read_bytes()[:30])
    with pytest.raises(ValueError, match=f"{PARTS[2]}: truncated, or not a GGUF file"):
        gguf_files.open_file(parts[0])
