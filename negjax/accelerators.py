"""How programs are compiled for GPUs."""

import importlib.util
import os

NO_TRITON = "--xla_gpu_enable_triton_gemm=false"
"""Leaves matrix products to the vendor's library. Left to itself, XLA for GPUs also writes kernels
of its own for each product and tries dozens of variants: minutes for a program that then takes
milliseconds, in full float32, where they have nothing to gain."""


def compile_quickly() -> None:
    """Sets `NO_TRITON` in this process and its children, where JAX has a plugin for a GPU.

    It counts before JAX has compiled anything, and unless XLA_FLAGS names that option already.
    """
    given = os.environ.get("XLA_FLAGS", "")
    if importlib.util.find_spec("jax_plugins") and NO_TRITON.partition("=")[0] not in given:
        os.environ["XLA_FLAGS"] = f"{given} {NO_TRITON}".strip()
