"""How exact products of float32 matrices are: a ladder of names, and which of them a device has.

A rung says what is multiplied, so that it means the same numbers wherever it runs. The names that
`jax.default_matmul_precision` takes do not: "default" is bfloat16 on a TPU, TF32 on a GPU and
float32 on a processor, which takes the names of most algorithms and computes float32 all the same.

What devices have: of NVIDIA's GPUs XLA's `IsSupportedDotAlgorithmOnGpu`
(xla/service/algorithm_util.cc: compute capability 8.0 and later for all but float32); of TPUs,
whatever their generation, JAX's tests/lax_test.py (`testDotAlgorithm`), where "highest" is six
products. Of other devices nothing has been checked, so they have float32 alone.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.process.notices import say

AUTO = "auto"
"""The fastest rung of the device whose error in ΔP is at most twice that of float32."""

RUNGS: Mapping[str, str] = MappingProxyType(
    {
        "float32": "highest",
        "x6": "BF16_BF16_F32_X6",
        "tf32_x3": "TF32_TF32_F32_X3",
        "x3": "BF16_BF16_F32_X3",
        "tf32": "TF32_TF32_F32",
        "bfloat16": "BF16_BF16_F32",
    }
)
"""From the most exact on, each with its name in JAX (`jax.lax.DotAlgorithmPreset`)."""

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "float32": "float32",
        "x6": "six products of three bfloat16 parts each",
        "tf32_x3": "three products of two TF32 parts each",
        "x3": "three products of two bfloat16 parts each",
        "tf32": "one product in TF32",
        "bfloat16": "one product in bfloat16",
    }
)
"""What one product of two float32 matrices is made of."""

OF_TPUS = ("float32", "x6", "x3", "bfloat16")
FIRST_TENSOR_CORES = (8, 0)
"""Compute capability from which on XLA has all rungs."""
SIX_PAY = ("8.0", "9.0", "10.0")
"""Compute capabilities (A100; H100, H200; B200) whose tensor cores make six products in bfloat16
sooner than one in float32 outside them: 312/6 against 19.5 TFLOP/s, 989/6 against 67, 2250/6
against 80, by NVIDIA's datasheets. On 8.6, 8.9 and 12.0 they do not."""


class Hardware(NamedTuple):
    """A device, as far as its products depend on it."""

    platform: str
    """JAX's: `cpu`, `gpu`, `tpu`."""
    kind: str
    """JAX's `device_kind`, such as `NVIDIA H100 80GB HBM3`."""
    capability: str | None = None
    """Compute capability of an NVIDIA GPU, such as `9.0`; None of what is no GPU."""


def rung_named(precision: object) -> str:
    """The rung of a name, or `auto`; JAX's own names of the rungs are understood, too.

    Raises:
        ArgumentError: another name, which the ladder is told with.
    """
    rungs = {algorithm: rung for rung, algorithm in RUNGS.items()}
    rung = rungs.get(precision, precision) if isinstance(precision, str) else precision
    return checks.one_of(rung, "precision", (AUTO, *RUNGS))


def hardware_of(device: Any) -> Hardware:
    """What JAX says of one of its devices."""
    capability = getattr(device, "compute_capability", None)
    return Hardware(device.platform, device.device_kind, capability)


def hardware_here() -> Hardware:
    """The device on which JAX computes unless it is told otherwise."""
    (device,) = jnp.zeros(()).devices()
    return hardware_of(device)


def rungs_of(hardware: Hardware) -> tuple[str, ...]:
    """The rungs that a device computes as their names say, from the most exact on."""
    if hardware.platform == "tpu":
        return OF_TPUS
    version = re.fullmatch(r"(\d+)\.(\d+)", hardware.capability or "")
    if version and (int(version[1]), int(version[2])) >= FIRST_TENSOR_CORES:
        return tuple(RUNGS)
    return ("float32",)


def fastest_rung(hardware: Hardware) -> str:
    """What `auto` is on a device.

    By docs/precision.md, x6 and tf32_x3 keep the error in ΔP under twice float32's on every model,
    x3 does not. They are equally fast, and x6 is more exact. A TPU's float32 is x6.
    """
    return "x6" if hardware.capability in SIX_PAY else "float32"


def chosen_rung(precision: object, hardware: Hardware, dtype: str) -> str:
    """The rung that runs; said in one line where `auto` is not float32.

    Args:
        precision: a name that `rung_named` takes.
        dtype: of the weights.

    Raises:
        ArgumentError: no such name; the device does not have the rung; float64 weights, whose
            products are float64.
    """
    rung = rung_named(precision)
    if dtype == "float64":
        if rung in (AUTO, "float32"):
            return "float32"
        raise ArgumentError(
            Argument("precision", precision),
            " with ",
            Argument("dtype", dtype),
            ": products of float64 numbers are float64; leave one of the two out",
        )
    if rung == AUTO:
        rung = fastest_rung(hardware)
        if rung != "float32":
            say(
                f"a product of float32 matrices is {MEANINGS[rung]} on this {hardware.kind} "
                f"(precision {rung}), the fastest that is about as exact; "
                f"{Argument('precision', 'float32')} computes float32"
            )
        return rung
    has = rungs_of(hardware)
    if rung not in has:
        raise ArgumentError(
            Argument("precision", precision),
            f": this device ({hardware.kind}) does not compute {MEANINGS[rung]}; pass ",
            Argument("precision", *has),
        )
    return rung
