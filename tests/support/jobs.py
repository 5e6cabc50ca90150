"""Jobs of several processes on this machine."""

import dataclasses
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from tests.support.places import ROOT

MOST_SECONDS = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process of a job ended."""

    status: int
    out: str
    err: str


def free_address() -> str:
    """An address of this machine at which nothing listens."""
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{some.getsockname()[1]}"


def begun(program: Sequence[str], count: int, devices: int = 1) -> list[subprocess.Popen[str]]:
    """The processes of a job, which is told its address and numbers by flags.

    Args:
        devices: of each.
    """
    job = [f"--coordinator={free_address()}", f"--processes={count}"]
    own = {"JAX_NUM_CPU_DEVICES": str(devices)}
    return [_process([*program, *job, f"--process={index}"], own) for index in range(count)]


def detected(
    program: Sequence[str], environments: Sequence[Mapping[str, str]]
) -> list[subprocess.Popen[str]]:
    """The processes of a job that finds address and numbers in their environments."""
    return [_process([*program, "--coordinator=auto"], some) for some in environments]


def _process(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(processes: Sequence[subprocess.Popen[str]]) -> list[Ended]:
    """How they end, all of them."""
    found = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=MOST_SECONDS)
            found.append(Ended(status=process.returncode, out=out, err=err))
    finally:
        for process in processes:
            process.kill()
    return found


def wait_for(happened: Callable[[], bool]) -> None:
    """Waits until something has happened."""
    deadline = time.monotonic() + MOST_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
