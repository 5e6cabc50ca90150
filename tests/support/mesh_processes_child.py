"""One of two processes with four devices each, of a mesh of all eight: their answers against those
of one device, and the share of the weights' bytes that it read.

    python -m tests.support.mesh_processes_child NUMBER ADDRESS FOLDER MESH
"""

import sys
from pathlib import Path
from unittest import mock

import jax
import numpy as np

import negjax
from negjax.storage.file_parts import FilePart
from tests.support.every_answer import answers


def main(number: str, address: str, folder: str, mesh: str) -> None:
    """Process 0 compares, and fails where an answer differs."""
    jax.config.update("jax_num_cpu_devices", 4)
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, 2, int(number))
    with mock.patch.object(FilePart, "read", autospec=True, side_effect=FilePart.read) as read:
        lm = negjax.load(folder, dtype="float64", mesh=mesh)
    parts = [call.args[0] for call in read.call_args_list]
    size = (Path(folder) / "model.safetensors").stat().st_size
    print(f"read {sum(part.size * len(part.apart) for part in parts) / size:.2f} of the bytes")
    together = list(answers(lm))
    if number == "0":
        alone = negjax.load(folder, dtype="float64")
        assert lm.fingerprint == alone.fingerprint
        for ours, one in zip(together, answers(alone), strict=True):
            assert np.abs(ours - one).max() < 1e-9 * np.abs(one).max()


if __name__ == "__main__":
    main(*sys.argv[1:])
