"""Masks and tables of neurons: read as they were written, by others too; and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from pyarrow import csv, parquet
from safetensors.numpy import load_file, save_file

import negjax
from tests.support.block_shapes import tiny

MASK = np.random.default_rng(0).random((3, 20)) < 0.2
NEURONS = np.asarray([[0, 5], [2, 19], [1, 0]])
VALUES = np.asarray([0.1, float("nan"), -3e-9])


def test_a_mask_comes_back_with_its_model_and_site(tmp_path: Path) -> None:
    lm = tiny("gated")
    path = negjax.save_mask(tmp_path / "mask.safetensors", lm, MASK, "product")
    found = negjax.read_mask(path, lm)
    np.testing.assert_array_equal(found.mask, MASK)
    assert (found.model, found.site, found.fingerprint) == ("gated", "product", lm.fingerprint)
    np.testing.assert_array_equal(found.neurons, np.argwhere(MASK))
    # Other programs find it, too.
    np.testing.assert_array_equal(load_file(path)["mask"], MASK)
    with pytest.raises(ValueError, match=r"a mask of neurons of 'gated', whose weights are not th"):
        negjax.read_mask(path, tiny("gpt2"))


def test_what_is_no_mask_is_refused(tmp_path: Path) -> None:
    lm, path = tiny("gated"), tmp_path / "mask.safetensors"
    with pytest.raises(ValueError, match=r"mask is \[2, 20\], expected \[L, F\] = \[3, 20\]"):
        negjax.save_mask(path, lm, MASK[:2])
    save_file({"mask": MASK.astype(np.int8)}, path, {"model": "a", "site": "up"})
    with pytest.raises(ValueError, match="holds no mask of neurons; expected an array `mask`"):
        negjax.read_mask(path)
    path.write_bytes(b"\x08")
    with pytest.raises(ValueError, match="truncated, or not a safetensors file"):
        negjax.read_mask(path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_comes_back_to_the_last_digit(tmp_path: Path, suffix: str) -> None:
    path = negjax.save_neurons(tmp_path / f"table{suffix}", NEURONS, VALUES)
    found = negjax.read_neurons(path)
    np.testing.assert_array_equal(found.neurons, NEURONS)
    np.testing.assert_array_equal(found.values, VALUES)
    table = csv.read_csv(path) if suffix == ".csv" else parquet.read_table(path)
    assert table.column_names == ["layer", "index", "value"]
    np.testing.assert_array_equal(table["value"].to_numpy(), VALUES)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,1,x", "row 0: value is 'x', expected a number"),
        ("0,,1", "row 0: index is '', expected a number"),
        ("0,1.5,1", "row 0: index is 1.5, expected the number of a layer or a neuron, 0 or more"),
        ("-1,1,1", "row 0: layer is -1, expected the number of a layer or a neuron, 0 or more"),
    ],
)
def test_what_is_no_neuron_is_refused_by_its_row(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"layer,index,value\n{row}\n")
    with pytest.raises(ValueError, match=message):
        negjax.read_neurons(path)
