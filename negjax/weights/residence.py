"""Whether a model's weights are held in memory or stay in their files."""

import math
import os
from pathlib import Path

import jax
import jax.numpy as jnp

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.model import meshes
from negjax.model.config import ModelConfig
from negjax.model.meshes import MeshShape
from negjax.process.memory import DEFAULT_BUDGET_BYTES
from negjax.process.notices import say
from negjax.weights.conversion import parameter_shapes

PLACES = ("auto", "resident", "streamed")
AUTO = "auto"


def check_place(weights: str, mesh: str | None) -> None:
    """Refuses another word than these, and what does not go with several devices.

    Raises:
        ValueError: naming the argument.
    """
    checks.one_of(weights, "weights", PLACES)
    if mesh is None or checks.text(mesh, "mesh") == AUTO:
        return
    shape = meshes.read_mesh(mesh)
    if weights == "streamed":
        raise ArgumentError(
            Argument("weights", weights),
            f" with mesh={str(shape)!r}: several devices hold weights together and do not stream "
            "them; leave one of the two out",
        )


def chosen_mesh(
    mesh: str | None, weights: str, config: ModelConfig, dtype: jnp.dtype, name: str
) -> MeshShape | None:
    """Devices that are to compute together, None: one; said in one line where it was left open.

    Args:
        mesh: as `meshes.read_mesh` takes it; `auto`: all accelerators of this process; None.
        weights: `auto`, `resident` or `streamed`.
        name: of the model, for what is said.
    """
    if mesh != AUTO:
        return None if mesh is None else meshes.read_mesh(mesh)
    devices = jax.local_device_count()
    if jax.default_backend() == "cpu" or weights == "streamed" or devices == 1:
        return None
    shape = fitting_mesh(config, held_bytes(config, dtype), devices, device_bytes())
    if shape is not None:
        say(f"{name}: {devices} devices compute together, mesh={str(shape)!r}; mesh=None takes one")
    return shape


def fitting_mesh(
    config: ModelConfig, needed: int, devices: int, there: int | None
) -> MeshShape | None:
    """All devices: as few as can hold the weights share them, the groups share the prompts.

    Args:
        needed: bytes of all weights.
        there: bytes of each device; None: unknown, one then holds all.

    Returns:
        None where the weights do not fit however they are divided.
    """
    for model in range(1, devices + 1):
        even = not (devices % model or config.heads % model or config.expert_neurons % model)
        if even and (there is None or needed / model + DEFAULT_BUDGET_BYTES <= there):
            return MeshShape(devices // model, model)
    return None


def is_streamed(weights: str, config: ModelConfig, dtype: jnp.dtype, name: str) -> bool:
    """Whether layers' matrices are to be streamed; said in one line where it was left open.

    Args:
        weights: `auto`, `resident` or `streamed`.
        name: of the model, for what is said.
    """
    if weights != "auto":
        return weights == "streamed"
    needed = held_bytes(config, dtype)
    there = device_bytes()
    if there is None or needed + DEFAULT_BUDGET_BYTES <= there:
        return False
    say(
        f"{name}: its weights take {needed / 1e9:.1f} GB and {there / 1e9:.1f} GB are free: they "
        "are streamed, layer by layer, from their files; weights='resident' holds them"
    )
    return True


def held_bytes(config: ModelConfig, dtype: jnp.dtype) -> int:
    """Bytes of all parameters, and of what programs make of them beside."""
    entries = sum(math.prod(shape) for shape in parameter_shapes(config, dtype).values())
    each = dtype.itemsize
    if dtype == jnp.bfloat16 and jax.default_backend() == "cpu" and widens_all():
        each += 4
    return entries * each


def widens_all() -> bool:
    """Whether XLA for CPUs makes float32 copies of all layers' bfloat16 weights at once.

    It does before JAX 0.12: its pass for types that a processor lacks takes a slice of bfloat16 to
    be such an operation, and widens what is sliced.
    """
    return bool(jax.__version_info__ < (0, 12))


def device_bytes() -> int | None:
    """Memory that is free for weights on each device; None where nothing says it."""
    if jax.default_backend() == "cpu":
        return _host_bytes()
    found = [device.memory_stats() for device in jax.local_devices()]
    sizes = [stats["bytes_limit"] for stats in found if stats and "bytes_limit" in stats]
    return min(sizes, default=None)


def _host_bytes() -> int | None:
    info = Path("/proc/meminfo")
    if info.is_file():
        lines = info.read_text("utf-8").splitlines()
        free = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
        if free:
            return int(free[0]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
