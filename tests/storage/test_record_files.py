"""Records that are written and read: equal afterwards, and refused by name where they cannot be."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import negjax
from negjax import skills
from negjax.storage.record_files import KEY
from tests.support.block_shapes import tiny, tiny_probes


@pytest.fixture(scope="module")
def lm() -> negjax.LanguageModel:
    return tiny("gated")


def assert_same(found: Any, expected: Any) -> None:
    """Equal in class, shape, dtype and value, all the way down."""
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray | np.generic):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif dataclasses.is_dataclass(expected):
        for field in dataclasses.fields(expected):
            assert_same(getattr(found, field.name), getattr(expected, field.name))
    elif isinstance(expected, list | tuple):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        assert_same(list(found.values()), list(expected.values()))
    else:
        assert found == expected or (found != found and expected != expected)


def test_records_come_back_equal(lm: negjax.LanguageModel, tmp_path: Path) -> None:
    probes = tiny_probes(lm)
    neurons = negjax.random_neurons(lm.config, 4, len(probes), seed=0)
    gradients = negjax.neurgrad(lm, probes)
    swept = negjax.sweep(lm, probes, neurons, [-1.0, 1.0], target=0, spread=True)
    grid = np.random.default_rng(0).normal(size=(12, 2, 3, 20))
    every = {
        "probes": probes,
        "gradients": gradients,
        "swept": swept,
        "fit": negjax.linear_fit(swept),
        "neg": negjax.neg(lm, probes, neurons, target=0),
        "top": negjax.top_neurons(gradients, 3, target=0),
        "facts": negjax.read_facts(),
        "sets": negjax.neuron_sets(lm.config, [(neurons[0], 0.5)]),
        "polar": skills.Polar(2).fit(grid, np.arange(12) % 2),
    }
    for name, record in every.items():
        path = negjax.save(tmp_path / f"{name}.safetensors", record)
        assert_same(negjax.read(path), record)
    # Others find the arrays by the fields' names.
    arrays = load_file(tmp_path / "gradients.safetensors")
    assert arrays.keys() == {"probability", "activation", "computed"}
    np.testing.assert_array_equal(arrays["computed"], gradients.computed)
    path = negjax.save(tmp_path / "all", every)
    assert_same(negjax.read(path), every)


@pytest.mark.parametrize(
    "value",
    [
        [1, -2.5, "text \ud83d \0 é", None, True, (), [], {}],
        (float("inf"), float("nan"), np.float32(0.1), np.int64(3), np.bool_(True)),
        {"dict": {"list": [1], "array": np.zeros((0, 3))}, "path": Path("a") / "b"},
        [np.arange(6).reshape(2, 3).T, np.asarray(1.5), np.zeros(3, bool), np.zeros(2, np.float16)],
    ],
)
def test_parts_of_records_come_back_equal(value: object, tmp_path: Path) -> None:
    assert_same(negjax.read(negjax.save(tmp_path / "file", value)), value)


def test_arrays_of_devices_come_back_as_numpys(tmp_path: Path) -> None:
    found = negjax.read(negjax.save(tmp_path / "file", [jnp.arange(3.0)]))
    assert_same(found, [np.arange(3, dtype=np.float32)])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), r"record is <object .*, which a file of records does not hold; expected rec"),
        ([{"a": {1, 2}}], r"record\[0\]\[a\] is \{1, 2\}, which a file"),
        (np.zeros(2, complex), r"record is .*, which a file"),
        ([np.asarray(["text"])], r"record\[0\] is .*, which a file"),
        ({1: 2}, r"record is \{1: 2\}, which a file"),
        (skills.rank_neurons, r"record is <function"),
    ],
)
def test_what_no_file_holds_is_refused_by_name(value: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        negjax.save(tmp_path / "file", value)
    assert not any(tmp_path.iterdir())


def test_a_model_is_refused_with_what_writes_it(lm: negjax.LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"models are written by negjax.save_pretrained"):
        negjax.save(tmp_path / "file", lm)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = negjax.save(tmp_path / "file", [1])
    with pytest.raises(ValueError, match="which a file of records does not hold"):
        negjax.save(path, [object()])
    assert negjax.read(path) == [1]
    negjax.save(path, [2])
    assert negjax.read(path) == [2] and list(tmp_path.iterdir()) == [path]


def test_files_that_hold_no_record_are_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError, match=r"file': no such file; expected a file that negj"):
        negjax.read(path)
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="file: truncated, or not a safetensors file"):
        negjax.read(path)
    save_file({"a": np.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"file: holds no record; expected a file that negjax"):
        negjax.read(path)
    data = negjax.save(path, [np.zeros(1000)]).read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match="file: truncated, or not a safetensors file"):
        negjax.read(path)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ({"record": "os.system", "fields": {}}, "os.system is no class of negjax"),
        ({"record": "negjax.storage.record_files.save", "fields": {}}, "save is no record"),
        ({"record": "negjax.errors.ArgumentError", "fields": {}}, "ArgumentError is no record"),
        ({"record": "negjax.gone.Record", "fields": {}}, "No module named"),
        ({"record": "negjax.records.Gone", "fields": {}}, "has no attribute 'Gone'"),
        ({"record": "negjax.weights.tensors.Form", "fields": {"other": 1}}, "unexpected keyword"),
        ({"array": "gone"}, "gone"),
        ({"tuple": 3}, "is no part of a record"),
    ],
)
def test_records_that_this_version_does_not_have_are_named(
    encoded: object, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    save_file({"a": np.zeros(1)}, path, metadata={KEY: json.dumps(encoded)})
    with pytest.raises(ValueError, match=rf"this version of negjax does not have \(.*{reason}"):
        negjax.read(path)
