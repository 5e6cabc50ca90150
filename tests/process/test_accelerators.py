"""What is asked of XLA where there is a GPU, and how much is computed at once there."""

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec

import jax
import pytest

from negjax.execution import batching, passes, row_plans
from negjax.measurements import gradient_runs
from negjax.process import accelerators


@pytest.mark.parametrize("plugin", [True, False])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", accelerators.NO_TRITON),
        ("--xla_x=1", f"--xla_x=1 {accelerators.NO_TRITON}"),
        ("--xla_gpu_enable_triton_gemm=true", "--xla_gpu_enable_triton_gemm=true"),
    ],
)
def test_products_are_left_to_the_library(monkeypatch, plugin, given, expected):
    """With a plugin for GPUs alone, and never against what the user said."""
    spec = ModuleSpec("jax_plugins", None) if plugin else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setenv("XLA_FLAGS", given)
    accelerators.compile_quickly()
    accelerators.compile_quickly()
    assert os.environ["XLA_FLAGS"] == (expected if plugin else given)


def test_xla_knows_the_option():
    """It would end the process otherwise."""
    environment = {**os.environ, "XLA_FLAGS": accelerators.NO_TRITON}
    code = "import jax; jax.devices()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_accelerators_compute_more_at_once(monkeypatch):
    """Each operation has a price there, and there is no cache to stay in."""
    for number in (row_plans.chunk_tokens, passes.pass_tokens):
        here = number()
        with monkeypatch.context() as patch:
            patch.setattr(jax, "default_backend", lambda: "gpu")
            assert number() > here
    assert batching.tokens_at_once(1, 2) == 1
    assert gradient_runs.ACCELERATOR_FEW_TOKENS > gradient_runs.FEW_TOKENS
