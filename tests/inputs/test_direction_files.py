"""Decoders of autoencoders in files: both layouts, and which tensor is meant."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import save_file

import negjax
from tests.support.tiny_models import truncate

DECODER = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "stored", "tensor"),
    [
        ("W_dec", DECODER, None),
        ("decoder.weight", np.ascontiguousarray(DECODER.T), None),
        ("layers.3.W_dec", DECODER, "layers.3.W_dec"),
        ("layers.3.dec.weight", np.ascontiguousarray(DECODER.T), "layers.3.dec.weight"),
    ],
)
def test_latents_are_rows_of_whatever_layout(
    name: str, stored: np.ndarray, tensor: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "sae.safetensors"
    save_file({name: stored, "W_enc": DECODER.T.copy(), "b_dec": DECODER[0]}, path)
    found = negjax.read_directions(path, 3, tensor, "ffn_out")
    np.testing.assert_array_equal(found.vectors, DECODER)
    assert found.layer.tolist() == [3] * 5
    assert found.place == "ffn_out"
    np.testing.assert_array_equal(found.select([4, 1]).vectors, DECODER[[4, 1]])


def test_numpys_archives_are_read_too(tmp_path: Path) -> None:
    for name, write in (("sae.npz", np.savez), ("sae.bin.npz", np.savez_compressed)):
        write(
            tmp_path / name,
            W_dec=DECODER,
            W_enc=DECODER.T,
            b_dec=DECODER[0],
            dead=np.asarray([None]),
        )
        path = (tmp_path / name).rename(tmp_path / name.removesuffix(".npz"))
        found = negjax.read_directions(path, 1)
        np.testing.assert_array_equal(found.vectors, DECODER)
        assert found.layer.tolist() == [1] * 5
    # Stored column by column, as Fortran does.
    np.savez(tmp_path / "turned.npz", **cast(Any, {"decoder.weight": np.asfortranarray(DECODER.T)}))
    turned = negjax.read_directions(tmp_path / "turned.npz", 1)
    np.testing.assert_array_equal(turned.vectors, DECODER)


class Evil:
    """Makes a file where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("open('unpickled', 'w')",))


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "sae.npz", W_dec=np.asarray([[Evil()]]))
    with pytest.raises(ValueError, match="W_dec holds Python objects, which can run code when"):
        negjax.read_directions(tmp_path / "sae.npz", 0)
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("size", [40, -60, -200])
def test_archives_that_are_cut_off_are_named(size: int, tmp_path: Path) -> None:
    path = tmp_path / "sae.npz"
    np.savez(path, W_dec=DECODER)
    whole = path.read_bytes()
    truncate(path, size)
    with pytest.raises(ValueError, match=r"sae\.npz: truncated, or not an \.npz file \("):
        negjax.read_directions(path, 0)
    at = whole.index(DECODER.tobytes())
    path.write_bytes(whole[:at] + bytes(4) + whole[at + 4 :])
    with pytest.raises(ValueError, match="truncated, or not"):
        negjax.read_directions(path, 0)


def test_two_decoders_are_not_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "sae.safetensors"
    save_file({"W_dec": DECODER, "decoder.weight": DECODER}, path)
    with pytest.raises(ValueError, match=r"W_dec, decoder\.weight.*pass tensor"):
        negjax.read_directions(path, 0)
