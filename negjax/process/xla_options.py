"""Options of XLA that make programs compile faster or take less memory."""

import importlib.util
import os

import jax

NO_TRITON = "--xla_gpu_enable_triton_gemm=false"
"""Leaves matrix products to the vendor's library. Left to itself, XLA for GPUs also writes kernels
of its own for each product and tries dozens of variants: minutes for a program that then takes
milliseconds, in full float32, where they have nothing to gain."""
FRUGAL = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
"""Orders a program's operations so that little memory is in use at once. Left to itself, XLA for
CPUs begins what can run side by side as early as it can: all matrices of a layer are then converted
before the first one is used."""
KNOWN_BEFORE = (0, 13)
"""XLA ends a process whose options it does not know: later versions of JAX were not tried."""


def add() -> None:
    """Sets the options in this process and its children, each unless XLA_FLAGS names it already.

    They count before JAX has compiled anything.
    """
    if jax.__version_info__ < KNOWN_BEFORE:
        _add(FRUGAL)
    if compiles_slowly():
        _add(NO_TRITON)


def compiles_slowly() -> bool:
    """Returns whether JAX has a plugin for a GPU and XLA_FLAGS does not name its option."""
    return not _named(NO_TRITON) and importlib.util.find_spec("jax_plugins") is not None


def _named(option: str) -> bool:
    return option.partition("=")[0] in os.environ.get("XLA_FLAGS", "")


def _add(option: str) -> None:
    if not _named(option):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {option}".strip()
