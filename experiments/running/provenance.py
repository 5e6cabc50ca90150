"""Where results came from: the parts of summary.json and of tables that every experiment has."""

import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import jax
from absl import flags

import negjax
from experiments.running import common
from negjax.model.language_model import LanguageModel
from negjax.process import memory
from negjax.storage.store import RunFolder


def about_program(
    lm: LanguageModel, folder: RunFolder, complete: bool, loading: float
) -> dict[str, Any]:
    """The part of summary.json that every experiment with a model has.

    Args:
        loading: seconds that it took to load the model and encode the prompts.
    """
    return {
        "complete": complete,
        "command": command(),
        "flags": flag_values(),
        "environment": environment(),
        "model": {
            "name": lm.name,
            "fingerprint": lm.fingerprint,
            "family": lm.config.family,
            "layers": lm.config.layers,
            "neurons_a_layer": lm.config.neurons,
            "parameters": lm.parameter_count,
            "dtype": lm.dtype.name,
            "precision": lm.precision,
            "requested_precision": lm.requested_precision,
            "assume_harmless": [*lm.assumed_harmless],
        },
        "site": common.site(lm),
        "seconds": {"load": loading, "measure": dict(folder.finished)},
        "peak_memory_bytes": memory.peak_memory(),
    }


def command() -> str:
    """The command line, to run it again."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = [Path(sys.argv[0]).name]
    if spec is not None:
        # Of a study's package its `__main__` runs.
        program = ["-m", spec.name.removesuffix(".__main__")]
    return shlex.join(["python", *program, *sys.argv[1:]])


def flag_values() -> dict[str, Any]:
    """Values of the experiments' own flags."""
    return {
        flag.name: flag.value
        for module, defined in flags.FLAGS.flags_by_module_dict().items()
        if not module.startswith("absl")
        for flag in defined
    }


def cpus() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment() -> dict[str, Any]:
    """Versions and hardware."""
    packages = ("jax", "jaxlib", "flax", "numpy", "zarr", "pyarrow", "transformers", "matplotlib")
    devices = jax.devices()
    return {
        "negjax": negjax.__version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": cpus(),
        "devices": [f"{device.platform}: {device.device_kind}" for device in devices],
    }
