"""Parts of files, and memory for them."""

from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negjax.storage import file_parts
from negjax.storage.file_parts import FilePart, Scratch, aligned_empty


def test_a_part_is_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8)
    (tmp_path / "file").write_bytes(data.tobytes())
    np.testing.assert_array_equal(FilePart(tmp_path / "file", 100, 300).read(), data[100:400])
    assert FilePart(tmp_path / "file", 1000, 0).read().size == 0
    monkeypatch.setattr(file_parts, "LARGEST_READ", 7)
    np.testing.assert_array_equal(FilePart(tmp_path / "file", 0, 1000).read(), data)


@given(data=st.data(), shape=st.lists(st.integers(1, 5), max_size=4).map(tuple))
def test_a_block_of_an_array_is_read_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, shape: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.int16).reshape(shape)
    path = tmp_path_factory.mktemp("array") / "file"
    path.write_bytes(b"header" + array.tobytes())
    index = []
    for size in shape:
        start = data.draw(st.integers(0, size - 1))
        index.append(slice(start, data.draw(st.integers(start + 1, size))))
    part = FilePart(path, 6, array.nbytes).of_array(shape, 2, tuple(index))
    expected = array[tuple(index)]
    assert part.size * len(part.apart) == expected.nbytes
    found = part.read().view(np.int16).reshape(expected.shape)
    np.testing.assert_array_equal(found, expected)


def test_files_that_shrink_or_vanish_are_named(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    path.write_bytes(bytes(500))
    with pytest.raises(ValueError, match=r"shard: ends at byte 500, its header .* to byte 700"):
        FilePart(path, 200, 500).read()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"shard: the file has gone while its weights"):
        FilePart(path, 0, 1).read()


def test_scratch_is_used_again() -> None:
    scratch = Scratch()
    first, second, larger = scratch(100), scratch(50), scratch(2000)
    assert np.shares_memory(first, second) and not np.shares_memory(first, larger)
    assert (first.size, second.size, larger.size) == (100, 50, 2000)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_a_device_in_the_hosts_memory_takes_arrays_as_they_are(dtype: str) -> None:
    array = aligned_empty((3, 5, 7), np.dtype(jax.numpy.dtype(dtype)))
    array[...] = 1
    taken = jax.device_put(array, jax.devices("cpu")[0], may_alias=True)
    assert taken.unsafe_buffer_pointer() == array.ctypes.data
