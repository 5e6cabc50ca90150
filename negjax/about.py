"""`python -m negjax.about`: versions, devices, caches and settings, for a report of a fault."""

import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
from huggingface_hub import constants

import negjax
from negjax.weights import loading

PACKAGES = (
    *("jax", "jaxlib", "flax", "numpy", "transformers", "tokenizers", "safetensors", "gguf"),
    *("huggingface-hub", "orbax-checkpoint", "optax", "pyarrow", "zarr", "scikit-learn", "scipy"),
    *("matplotlib", "torch", "pandas"),
)
PREFIXES = ("NEGJAX_", "JAX_", "XLA_", "CUDA_VISIBLE", "TPU_", "HF_", "TRANSFORMERS_")
SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD")
"""Of a variable's name: what it holds is not shown."""


def lines(environment: Mapping[str, str]) -> Iterator[str]:
    """What there is, a line each; asks JAX for its devices.

    Args:
        environment: variables of the process.
    """
    yield f"negjax {negjax.__version__} in {Path(negjax.__file__).parent}"
    yield f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores"
    for name in PACKAGES:
        yield f"{name} {_version(name) or 'is not installed'}"
    yield from _devices()
    yield f"embedded model: {_embedded()}"
    yield f"cache of compiled programs: {jax.config.values['jax_compilation_cache_dir'] or 'none'}"
    yield f"cache of the hub: {constants.HF_HUB_CACHE}"
    for name in sorted(environment):
        if name.startswith(PREFIXES):
            secret = any(word in name for word in SECRET)
            yield f"{name}={'(not shown)' if secret else environment[name]}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> Iterator[str]:
    try:
        found = jax.devices()
    except RuntimeError as error:
        yield f"devices: JAX finds none ({error})"
        return
    for device in found:
        limit = (device.memory_stats() or {}).get("bytes_limit")
        room = "" if limit is None else f", {limit / 2**30:.1f} GiB for JAX"
        yield f"device {device.id}: {device.device_kind} ({device.platform}){room}"


def _embedded() -> str:
    try:
        return str(loading.embedded_file())
    except (OSError, ValueError) as error:
        return f"none ({error})"


if __name__ == "__main__":
    print("\n".join(lines(os.environ)))
