"""What provokes errors of several processes, of listening and of the atlas, as `docs/errors.md` has
them."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.atlas.settings import Settings as AtlasSettings
from experiments.playground import program
from experiments.running import many_hosts
from negjax.model import meshes
from negjax.process import hosts
from negjax.skills.features import features
from negjax.storage import parts, store
from tests.support.jobs import free_address
from tests.support.mistakes import Provoke, run_folder


def _ignored(text: str) -> None:
    del text


def _join(*arguments: Any, **options: Any) -> Provoke:
    return lambda _: hosts.join(*arguments, lost=_ignored, **options)


def _where_jax(error: Exception, *arguments: Any) -> Provoke:
    """Joins where JAX, which can begin only once in a process, ends in an error."""

    def provoke(_: Path) -> object:
        with mock.patch.object(jax.distributed, "initialize", side_effect=error):
            return hosts.join(*arguments, lost=_ignored)

    return provoke


def _unshared(folder: Path) -> object:
    with run_folder(folder, {}) as run:
        other = parts.announce(run)
        parts.announce(run)
        return parts.open_part(run.path, {}, 1, other, seconds=0.1)


def in_step(work: Callable[[], object], failed: np.ndarray) -> object:
    """What process 0 of a mesh of two makes of work of which it is told who failed."""
    with (
        mock.patch.object(meshes, "is_shared", return_value=True),
        mock.patch.object(multihost_utils, "process_allgather", return_value=failed),
        mock.patch.object(multihost_utils, "broadcast_one_to_all", side_effect=other_bytes),
    ):
        return work()


def other_bytes(values: np.ndarray) -> np.ndarray:
    """What another process has in their place."""
    return values + 1


def _failed(_: Path) -> object:
    failed = np.asarray([False, True])
    return in_step(lambda: meshes.all_or_none(lambda: 1, None), failed)


def _not_written(folder: Path) -> object:
    (folder / store.SUMMARY).write_bytes(b"{}")
    with mock.patch.object(features, "SEEN_SECONDS", 0.1):
        return in_step(lambda: features._read_by_all(folder, None), np.zeros(2, bool))


def _idle(_: Path) -> None:
    many_hosts.refuse_idle(hosts.Hosts(0, 3, "here:9", _ignored), 2)


def _taken(_: Path) -> object:
    with socket.create_server(("127.0.0.1", 0)) as other:
        return program.bound("127.0.0.1", other.getsockname()[1])


def _few_facts(**asked: Any) -> Callable[[Path], object]:
    return lambda _: AtlasSettings(**asked).check_facts(3)


CASES: dict[str, Callable[[Path], object]] = {
    "--…: … facts are asked; pass fewer, or more --prompts": _few_facts(sample_facts=4),
    "--strong_facts=… is less than --own_facts=…, which …": _few_facts(
        sample_facts=1, own_facts=3, strong_facts=2
    ),
    "coordinator is …, expected host:port, or 'auto'": _join("here", 2, 0),
    "coordinator=… needs processes and process: how many …": _join("here:9", 2),
    "…=… contradicts coordinator=…, which finds …": _join("auto", 2),
    "process=… and processes=…: expected a number from 0 …": _join("here:9", 2, 2),
    "no job was found in the environment (…); pass …": _where_jax(
        ValueError("coordinator_address should be defined."), "auto"
    ),
    "the coordinator … does not answer (…) within …": _join(free_address(), 2, 1, seconds=0.1),
    "process 0 cannot listen at …; pass another port": _where_jax(
        jax.errors.JaxRuntimeError("UNKNOWN: Failed to start RPC server"), "here:9", 2, 0
    ),
    "processes=…: … groups of prompts are to be measured; …": _idle,
    "cannot listen at …, port …: …; pass another --port, …": _taken,
    "… on … belongs to another job: all processes need …": _unshared,
    "process … of the mesh failed; its own error says why": _failed,
    "… on … is not what process 0 has written: pass a …": _not_written,
}
