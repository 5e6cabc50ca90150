"""Meshes: how they are written, what fits, and eight devices against one."""

import dataclasses
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import negjax
from negjax.model import meshes
from negjax.model.meshes import MeshShape, check_divides, make_mesh, read_mesh
from negjax.weights.residence import chosen_mesh, fitting_mesh
from tests.support.block_shapes import GATED, tiny
from tests.support.host_mistakes import in_step
from tests.support.places import ROOT

CHILD = "tests.support.mesh_processes_child"


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


@pytest.mark.slow
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
    assert done.stdout.count(" agrees") == 3 * 2 + 1
    assert "rows of one prompt are divided" in done.stdout


def test_a_mesh_takes_all_devices_of_other_processes_or_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    with pytest.raises(
        ValueError, match=r"there are 1 of this process and 8 of all; expected 1 or"
    ):
        make_mesh(MeshShape(2, 2), GATED)


@pytest.mark.parametrize(
    ("needed", "there", "mesh"),
    [
        (8_000, None, MeshShape(8, 1)),
        (8_000, 10_200, MeshShape(8, 1)),
        (8_000, 10_000, MeshShape(4, 2)),
        (8_000, 4_200, MeshShape(2, 4)),
        # Four heads are not divided among eight.
        (8_000, 4_000, None),
    ],
)
def test_as_few_devices_as_can_hold_the_weights_share_them(
    needed: int, there: int | None, mesh: MeshShape | None
) -> None:
    """In units of a MiB; a computation takes 2,048 of them."""
    assert fitting_mesh(GATED, needed << 20, 8, there and there << 20) == mesh


def test_on_a_processor_one_device_is_taken_unless_told() -> None:
    arguments = "auto", GATED, jnp.dtype("float32"), "tiny"
    assert chosen_mesh("auto", *arguments) is chosen_mesh(None, *arguments) is None
    assert chosen_mesh("data:1", *arguments) == MeshShape()


def test_what_fails_in_one_process_of_a_mesh_fails_in_all() -> None:
    def here() -> object:
        return meshes.all_or_none(lambda: 1, None)

    def broken() -> object:
        return meshes.by_first(lambda: 1 // 0, None)

    assert in_step(here, np.asarray([False, False])) == 1
    with pytest.raises(ValueError, match="process 1 of the mesh failed; its own error says why"):
        in_step(here, np.asarray([False, True]))
    with pytest.raises(ZeroDivisionError):
        in_step(broken, np.asarray([True, False]))


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["gated", "experts"])
def test_devices_of_two_processes_answer_as_one(shape: str, tmp_path: Path) -> None:
    """Each process holds half of heads, neurons and vocabulary, and reads little more."""
    more = {"neurons": 48} if shape == "gated" else {"neurons": 4 * 16, "family": "mixtral"}
    made = tiny(shape, heads=8, kv_heads=4, head_width=2, **more)
    folder = negjax.save_pretrained(made, tmp_path / shape)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{1}".format(*free.getsockname())
    arguments = [address, str(folder), "data:1,model:8"]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", CHILD, str(number), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    try:
        for child in both:
            printed, _ = child.communicate(timeout=900)
            assert child.returncode == 0, printed
            (share,) = re.findall(r"^read (\S+) of the bytes$", printed, re.MULTILINE)
            assert 0.4 < float(share) < 0.6
    finally:
        for child in both:
            child.kill()
