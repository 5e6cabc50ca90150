"""Decoders of autoencoders in files: both layouts, and which tensor is meant."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import negjax

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


def test_two_decoders_are_not_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "sae.safetensors"
    save_file({"W_dec": DECODER, "decoder.weight": DECODER}, path)
    with pytest.raises(ValueError, match=r"W_dec, decoder\.weight.*pass tensor"):
        negjax.read_directions(path, 0)
