"""What is asked of XLA, and that it knows it."""

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec

import jax
import pytest

from negjax.process.xla_options import FRUGAL, KNOWN_BEFORE, NO_TRITON, add


@pytest.mark.parametrize("plugin", [True, False])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", NO_TRITON),
        ("--xla_x=1", f"--xla_x=1 {NO_TRITON}"),
        ("--xla_gpu_enable_triton_gemm=true", "--xla_gpu_enable_triton_gemm=true"),
    ],
)
def test_products_are_left_to_the_library(monkeypatch, plugin, given, expected):
    """With a plugin for GPUs alone, and never against what the user said."""
    spec = ModuleSpec("jax_plugins", None) if plugin else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(jax, "__version_info__", KNOWN_BEFORE)
    monkeypatch.setenv("XLA_FLAGS", given)
    add()
    add()
    assert os.environ["XLA_FLAGS"] == (expected if plugin else given)


@pytest.mark.parametrize(
    ("version", "given", "expected"),
    [
        ((0, 8, 1), "--xla_x=1", f"--xla_x=1 {FRUGAL}"),
        ((0, 12, 0), "", FRUGAL),
        ((0, 12, 0), FRUGAL.replace("false", "true"), FRUGAL.replace("false", "true")),
        (KNOWN_BEFORE, "", ""),
    ],
)
def test_programs_take_little_memory(monkeypatch, version, given, expected):
    """Where XLA is known to know the option: it ends the process otherwise."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(jax, "__version_info__", version)
    monkeypatch.setenv("XLA_FLAGS", given)
    add()
    assert os.environ["XLA_FLAGS"] == expected


@pytest.mark.skipif(jax.__version_info__ >= KNOWN_BEFORE, reason="the option is not set there")
def test_matrices_are_converted_one_by_one():
    """Eight of them, where the option is not set, all before the first product."""
    code = """
import jax, jax.numpy as jnp
import negjax

configure = {configure}
if configure:
    negjax.configure_process()

def layers(x, matrices):
    for matrix in matrices:
        x = jnp.tanh(x @ matrix.astype(jnp.float32))
    return x

matrices = [jax.ShapeDtypeStruct((512, 512), jnp.bfloat16)] * 8
x = jax.ShapeDtypeStruct((4, 512), jnp.float32)
print(jax.jit(layers).lower(x, matrices).compile().memory_analysis().temp_size_in_bytes)
"""
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    taken = [
        int(
            subprocess.run(
                [sys.executable, "-c", code.replace("{configure}", str(configure))],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for configure in (False, True)
    ]
    matrix = 512 * 512 * 4
    assert taken[1] < 2.5 * matrix < 7 * matrix < taken[0]


@pytest.mark.parametrize("option", [NO_TRITON, FRUGAL])
def test_xla_knows_the_option(option):
    """It would end the process otherwise."""
    environment = {**os.environ, "XLA_FLAGS": option}
    code = "import jax; jax.devices()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
