"""Processes of one job: what contradicts itself is refused, and a lost process is named."""

import random
import socket
import sys
import time
from collections.abc import Callable

import pytest

from negjax.errors import ArgumentError
from negjax.process import hosts
from tests.support.jobs import Ended, begun, detected, ends, free_address

CHILD = [sys.executable, "-m", "tests.support.hosts_child"]
HERE = socket.gethostname()


def never(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize(
    ("coordinator", "processes", "process", "message"),
    [
        ("host", 2, 0, r"coordinator is 'host', expected host:port, or 'auto'"),
        ("host:port", 2, 0, r"coordinator is 'host:port', expected host:port"),
        ("host:70000", 2, 0, r"coordinator is 'host:70000', expected"),
        (":80", 2, 0, r"coordinator is ':80', expected"),
        ("host:80", None, 0, r'coordinator="host:80" needs processes and process: how many'),
        ("host:80", 2, None, r'coordinator="host:80" needs processes and process: how many'),
        ("host:80", 2, 2, r"process=2 and processes=2: expected a number from 0 to 1"),
        ("host:80", 0, 0, r"processes is 0, expected a whole number, 1 or more"),
        ("auto", 2, None, r'processes=2 contradicts coordinator="auto", which finds'),
        ("auto", None, 1, r'process=1 contradicts coordinator="auto", which finds'),
    ],
)
def test_contradictions_are_refused(
    coordinator: str, processes: int | None, process: int | None, message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        hosts.join(coordinator, processes, process, lost=never)


def test_a_coordinator_that_does_not_answer_is_named() -> None:
    address, start = free_address(), time.monotonic()
    with pytest.raises(OSError, match=rf"the coordinator {address} does not answer \(.*refused"):
        hosts.join(address, 2, 1, lost=never, seconds=1)
    assert time.monotonic() - start < 10


def test_a_process_alone_needs_no_connection() -> None:
    alone = hosts.alone()
    assert (alone.index, alone.count, alone.alone) == (0, 1, True)
    assert alone.described(0) == f"process 0 of 1 ({HERE})"
    assert repr(alone) == "Hosts(process 0 of 1)"


def job(mode: str, count: int) -> list[Ended]:
    return ends(begun([*CHILD, mode], count))


def slurm(number: int, index: int) -> dict[str, str]:
    """What SLURM tells a task, of one of two on a node."""
    return {
        "SLURM_JOB_ID": str(number),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
    }


def open_mpi(number: int, index: int) -> dict[str, str]:
    """What Open MPI 4 tells a rank."""
    return {
        "OMPI_MCA_orte_hnp_uri": f"{number}.0;tcp://127.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(index),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(index),
    }


@pytest.mark.parametrize("environment", [slurm, open_mpi])
def test_jobs_are_found_in_the_environment(
    environment: Callable[[int, int], dict[str, str]],
) -> None:
    number = random.Random(time.time()).randrange(2**16, 2**20)
    found = ends(detected([*CHILD, "leave"], [environment(number, index) for index in range(2)]))
    assert [process.status for process in found] == [0, 0], found
    said = [process.out for process in found]
    assert said == [f"Hosts(process {index} of 2) from 1\n" for index in range(2)]


def test_a_process_that_fails_ends_the_others_by_name() -> None:
    start = time.monotonic()
    found = job("fail", 3)
    assert [process.status for process in found] == [7, 3, 7], found
    for process in (found[0], found[2]):
        assert f"lost: process 1 of 3 ({HERE}) ended: no more paper\n" in process.err
    assert time.monotonic() - start < 60


def test_the_first_process_takes_the_others_along() -> None:
    failed = job("fail first", 2)
    assert [process.status for process in failed] == [3, 7], failed
    assert f"lost: process 0 of 2 ({HERE}) ended: no more ink\n" in failed[1].err
    first, second = job("kill first", 2)
    # JAX ends it: by an exit or an abort, which depends on its version.
    assert first.status == -9
    assert second.status in (1, 7, -6), second


def test_processes_that_do_not_all_come_are_named() -> None:
    first, second = begun([*CHILD, "alone"], 2)
    second.kill()
    alone, _ = ends([first, second])
    assert alone.status == 7
    assert "not all processes of the job met at 127.0.0.1:" in alone.err
    assert "within 3 seconds; start them together, with the same address" in alone.err
