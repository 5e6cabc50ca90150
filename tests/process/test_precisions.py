"""The ladder of precision: its names, what devices have of it, and what runs."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
import pytest

import negjax
from negjax.errors import ArgumentError
from negjax.process import precisions
from negjax.process.notices import Notice
from negjax.process.precisions import AUTO, RUNGS, Hardware, chosen_rung, rungs_of
from tests.support.block_shapes import error, tiny, tiny_probes

CPU = Hardware("cpu", "cpu")
H100 = Hardware("gpu", "NVIDIA H100 80GB HBM3", "9.0")
RTX_4090 = Hardware("gpu", "NVIDIA GeForce RTX 4090", "8.9")
V100 = Hardware("gpu", "Tesla V100-SXM2-16GB", "7.0")
MI300 = Hardware("gpu", "AMD Instinct MI300X", "gfx942")
TPU_V5E = Hardware("tpu", "TPU v5 lite")
ALL = tuple(RUNGS)


def test_every_rung_has_a_name_in_jax_and_a_meaning() -> None:
    assert RUNGS.keys() == precisions.MEANINGS.keys()
    for algorithm in RUNGS.values():
        with jax.default_matmul_precision(algorithm):
            pass
        assert algorithm == "highest" or algorithm in jax.lax.DotAlgorithmPreset.__members__


@pytest.mark.parametrize(("name", "rung"), [(AUTO, AUTO), *zip(RUNGS, RUNGS, strict=True)])
def test_names(name: str, rung: str) -> None:
    assert precisions.rung_named(name) == rung


@pytest.mark.parametrize(("rung", "algorithm"), RUNGS.items())
def test_names_in_jax_are_understood(rung: str, algorithm: str) -> None:
    assert precisions.rung_named(algorithm) == rung


@pytest.mark.parametrize("name", ["high", "default", "tensorfloat32", "F64_F64_F64", "", None, 3])
def test_other_names_are_refused_with_the_ladder(name: Any) -> None:
    ladder = "auto, float32, x6, tf32_x3, x3, tf32, bfloat16$"
    with pytest.raises(ArgumentError, match=rf"^precision is .*, expected one of {ladder}"):
        precisions.rung_named(name)


@pytest.mark.parametrize(
    ("hardware", "rungs"),
    [
        (CPU, ("float32",)),
        (H100, ALL),
        (RTX_4090, ALL),
        (Hardware("gpu", "NVIDIA B200", "10.0"), ALL),
        (Hardware("gpu", "NVIDIA A100-SXM4-80GB", "8.0"), ALL),
        (V100, ("float32",)),
        (MI300, ("float32",)),
        (TPU_V5E, ("float32", "x6", "x3", "bfloat16")),
        (Hardware("METAL", "Metal"), ("float32",)),
    ],
    ids=lambda value: value.kind if isinstance(value, Hardware) else "",
)
def test_what_devices_have(hardware: Hardware, rungs: tuple[str, ...]) -> None:
    assert rungs_of(hardware) == rungs
    for rung in RUNGS:
        if rung in rungs:
            assert chosen_rung(rung, hardware, "bfloat16") == rung
            continue
        with pytest.raises(ArgumentError) as found:
            chosen_rung(rung, hardware, "float32")
        assert found.value.arguments == ("precision", "precision")
        assert hardware.kind in str(found.value) and 'precision="float32"' in str(found.value)


@pytest.mark.parametrize("hardware", [CPU, V100, MI300, RTX_4090])
def test_auto_is_float32_silently_where_that_is_fastest(hardware: Hardware) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen_rung(AUTO, hardware, "float32") == "float32"


def test_float64_weights_have_one_precision() -> None:
    assert chosen_rung(AUTO, H100, "float64") == chosen_rung("float32", CPU, "float64") == "float32"
    with pytest.raises(ArgumentError, match=r'^precision="x3" with dtype="float64": products of'):
        chosen_rung("x3", H100, "float64")


def test_what_jax_says_of_a_device() -> None:
    gpu = mock.Mock(platform="gpu", device_kind=H100.kind, compute_capability="9.0")
    assert precisions.hardware_of(gpu) == H100
    assert precisions.hardware_here() == CPU


def test_a_loaded_model_knows_what_was_asked_and_what_runs(tmp_path: Path) -> None:
    folder = negjax.save_pretrained(tiny("gated"), tmp_path / "model")
    for asked, known in ((AUTO, AUTO), ("float32", "float32"), ("highest", "float32")):
        lm = negjax.load(folder, precision=asked)
        assert (lm.requested_precision, lm.precision) == (known, "highest")
    # JAX would take it on a processor, and compute float32.
    with pytest.raises(ArgumentError, match=r'^precision="x3": this device \(cpu\) does not comp'):
        negjax.load(folder, precision="x3")
    with mock.patch.object(precisions, "hardware_here", return_value=H100), pytest.warns(Notice):
        lm = negjax.load(folder)
    assert (lm.requested_precision, lm.precision) == (
        AUTO,
        RUNGS[precisions.fastest_rung(H100)],
    )


def test_every_preset_is_what_programs_run_at() -> None:
    """Products carry the algorithm into the program, whatever function asks for them."""
    lm = dataclasses.replace(tiny("gated"), precision=RUNGS["x3"])
    with lm.numerics():
        program = jax.jit(lambda a, b: a @ b).lower(np.ones((2, 3)), np.ones((3, 2))).as_text()
    assert "num_primitive_operations = 3" in program and "bf16" in program
    # A processor's products are float32's all the same.
    ours, expected = (
        negjax.neurgrad(model, tiny_probes(model)).computed for model in (lm, tiny("gated"))
    )
    assert error(ours, expected) < 1e-6
