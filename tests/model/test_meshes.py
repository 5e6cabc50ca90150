"""Meshes: how they are written, what fits, and eight devices against one."""

import dataclasses
import subprocess
import sys

import pytest

from negjax.model.meshes import MeshShape, check_divides, read_mesh
from tests.support.block_shapes import GATED
from tests.support.places import ROOT


@pytest.mark.parametrize(
    ("text", "mesh"),
    [
        ("data:1,model:8", MeshShape(1, 8)),
        ("model:16,data:4", MeshShape(4, 16)),
        ("model:2", MeshShape(1, 2)),
        ("data:3", MeshShape(3, 1)),
    ],
)
def test_meshes(text: str, mesh: MeshShape) -> None:
    assert read_mesh(text) == mesh
    assert mesh.devices == mesh.data * mesh.model
    assert read_mesh(str(mesh)) == mesh


@pytest.mark.parametrize(
    "text",
    ["", "8", "model:0", "model:2,model:4", "data:1;model:2", "data:1,pipe:2", "data:1,", "data=1"],
)
def test_other_meshes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected axes and their sizes from 1 on"):
        read_mesh(text)


def test_a_mesh_that_divides_unevenly_is_refused() -> None:
    with pytest.raises(ValueError, match=r"4 heads and 20 .*; expected one of model: 1, 2, 4$"):
        check_divides(GATED, MeshShape(1, 3))
    odd = dataclasses.replace(GATED, neurons=21)
    with pytest.raises(ValueError, match=r"4 heads and 21 neurons .*; expected one of model: 1$"):
        check_divides(odd, MeshShape(1, 2))


def test_eight_devices_answer_as_one() -> None:
    """In a process of its own: the number of devices is fixed when JAX starts."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.mesh_child"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" agrees") == 3 * 2
