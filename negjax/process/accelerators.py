"""How programs are compiled for GPUs, and what to do when JAX cannot start on one."""

import importlib.util
import os

import jax

NO_TRITON = "--xla_gpu_enable_triton_gemm=false"
"""Leaves matrix products to the vendor's library. Left to itself, XLA for GPUs also writes kernels
of its own for each product and tries dozens of variants: minutes for a program that then takes
milliseconds, in full float32, where they have nothing to gain."""


def compiles_slowly() -> bool:
    """Returns whether JAX has a plugin for a GPU and XLA_FLAGS does not name that option."""
    named = NO_TRITON.partition("=")[0] in os.environ.get("XLA_FLAGS", "")
    return not named and importlib.util.find_spec("jax_plugins") is not None


def compile_quickly() -> None:
    """Sets `NO_TRITON` in this process and its children, where JAX has a plugin for a GPU.

    It counts before JAX has compiled anything, and unless XLA_FLAGS names that option already.
    """
    if compiles_slowly():
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {NO_TRITON}".strip()


def check_started() -> None:
    """Starts JAX on the device that it finds or is told to use.

    Raises:
        OSError: there is no such device, or what is installed for it fails.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        # Of a platform that has a name and no plugin, JAX fails an assertion without a word.
        told = str(error).strip().partition("\n")[0] or "no such device was found"
        asked = os.environ.get("JAX_PLATFORMS") or jax.config.values["jax_platforms"]
        if asked:
            remedy = (
                f"JAX_PLATFORMS is {asked!r}: set JAX_PLATFORMS=cpu or unset it, or install the "
                "jaxlib and the driver of that device"
            )
        else:
            remedy = "set JAX_PLATFORMS=cpu to compute on the CPU, or mend the device's driver"
        raise OSError(f"JAX cannot start: {told}; {remedy}") from error
