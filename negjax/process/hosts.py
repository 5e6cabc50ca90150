"""Several processes of one job, on one machine or many: who they are, and that all are alive.

JAX's distributed service, which process 0 runs, connects them; what they tell each other lies in
its store of keys and values. Nothing here computes across processes: that is a mesh's, of which
each of them has devices.

JAX itself ends the processes of a job when one is lost, by a message that names none. So each says
every second that it is alive, process 0 looks who is silent, and all are told whom they lost. What
is left to JAX is the end of process 0, whose store ends with it: JAX ends the others at once, from
C++, before Python hears of it.
"""

import atexit
import contextlib
import itertools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax

# JAX has no public name for the store of keys and values of its service.
from jax._src import distributed

from negjax import checks
from negjax.errors import Argument, ArgumentError

DETECTED = "auto"
"""In place of the coordinator's address: JAX finds the job in the environment."""

BEAT_SECONDS, SILENT_SECONDS, HEARTBEAT_SECONDS = 1, 20, 56
"""Between two signs of life; without one, until a process counts as lost; JAX's own, for what is
lost together with process 0. JAX hears of a process every half of its time only, and may miss it
after the other half: that is to be more than ours, and the whole less than a minute."""

POLL_SECONDS = 0.2

_STOPPED = "negjax/stopped"

Lost = Callable[[str], None]
"""Called in another thread, with what happened, when the job cannot go on: to end this process."""


class Hosts:
    """The processes of a job, as one of them sees them. Use `join`, or `alone`."""

    def __init__(self, index: int, count: int, coordinator: str | None, lost: Lost):
        self.index, self.count = index, count
        self._coordinator, self._lost = coordinator, lost
        self.names: tuple[str, ...] = (socket.gethostname(),)
        """Of the machines, process by process."""
        self._leaving = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __repr__(self) -> str:
        return f"Hosts(process {self.index} of {self.count})"

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1

    @property
    def without_first(self) -> str:
        """What has happened where process 0, and its store, is gone."""
        return (
            f"{self.described(0)}, which the others connect to at {self._coordinator}, ended or "
            "cannot be reached"
        )

    def tell(self, key: str, value: str) -> None:
        """Tells all processes something, once."""
        _client().key_value_set(f"negjax/{key}", value)

    def hear(self, key: str) -> str:
        """What a process tells, as soon as it does; a process that is lost ends the wait."""
        try:
            while (told := _asked(f"negjax/{key}", 10)) is None:
                pass
        except jax.errors.JaxRuntimeError:
            # The store is gone with process 0: who watches knows that too, and ends this process.
            time.sleep(HEARTBEAT_SECONDS)
            raise
        return told

    def agreed(self, key: str, value: Callable[[], str]) -> str:
        """What process 0 says of something, in all processes.

        Args:
            value: asked in process 0 alone.
        """
        if self.index == 0:
            self.tell(key, value())
        return self.hear(key)

    def gather(self, key: str) -> None:
        """Waits until all processes have come here.

        Args:
            key: of this place; no other has the same.
        """
        self.tell(f"{key}/{self.index}", "")
        for other in range(self.count):
            self.hear(f"{key}/{other}")

    def described(self, process: int) -> str:
        """A process's number and machine."""
        return f"process {process} of {self.count} ({self.names[process]})"

    def fail(self, reason: str, status: int) -> None:
        """Tells the others that this process ends, and why; it then ends without waiting for them.

        Args:
            reason: on one line.
            status: with which the interpreter will end.
        """
        self._end_watch()
        text = f"{self.described(self.index)} ended: {reason}"
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            # Of several that fail, the last one's reason is as good as the first one's.
            _client().key_value_set(_STOPPED, text, True)
            self._let_others_hear()
        # At the interpreter's end JAX waits for all processes, and aborts when some are lost.
        atexit.register(_end, status)

    def leave(self) -> None:
        """Ends the connection, in all processes together, when nothing is left to do."""
        self._end_watch()
        jax.distributed.shutdown()

    def _start(self) -> None:
        self.tell(f"name/{self.index}", self.names[0])
        self.names = tuple(self.hear(f"name/{other}") for other in range(self.count))
        self._watcher.start()

    def _end_watch(self) -> None:
        self._leaving.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def _watch(self) -> None:
        try:
            reason = self._first_loss()
        except jax.errors.JaxRuntimeError:
            reason = self.without_first
        if reason is not None:
            self._lost(reason)

    def _first_loss(self) -> str | None:
        """Says that this process is alive until another is not, and what happened; or until the
        end, None."""
        last_signs: dict[str, tuple[str, float]] = {}
        for beat in itertools.count():
            if self._leaving.is_set():
                break
            _client().key_value_set(f"negjax/alive/{self.index}", str(beat), True)
            silent = self._silent(last_signs) if self.index == 0 else None
            if silent is not None:
                text = f"{self.described(silent)} was lost: no sign of life of it for "
                _client().key_value_set(_STOPPED, f"{text}{SILENT_SECONDS} seconds", True)
            reason = _asked(_STOPPED, BEAT_SECONDS)
            if reason is not None:
                _client().key_value_set(f"negjax/heard/{self.index}", "", True)
                self._let_others_hear()
                return reason
        return None

    def _let_others_hear(self) -> None:
        """Waits, in process 0, with which the store ends, until the others know why they stop."""
        deadline = time.monotonic() + 5
        while self.index == 0 and time.monotonic() < deadline:
            if len(_client().key_value_dir_get("negjax/heard/")) >= self.count - 1:
                break
            time.sleep(0.1)

    def _silent(self, last_signs: dict[str, tuple[str, float]]) -> int | None:
        """A process that has given no sign of life for long, if there is one."""
        now = time.monotonic()
        for key, beat in _client().key_value_dir_get("negjax/alive/"):
            if last_signs.get(key, ("", now))[0] != beat:
                last_signs[key] = (beat, now)
        late = (key for key, (_, at) in last_signs.items() if now - at > SILENT_SECONDS)
        key = next(late, None)
        return None if key is None else int(key.rpartition("/")[2])


def alone() -> Hosts:
    """A job of this process alone, which needs no connection."""
    return Hosts(0, 1, None, lambda _: None)


def join(
    coordinator: str,
    processes: int | None = None,
    process: int | None = None,
    *,
    lost: Lost,
    seconds: float = 50,
) -> Hosts:
    """Connects this process with the others of its job, before JAX starts its devices.

    Args:
        coordinator: host:port at which process 0 is to be reached; "auto": JAX finds that and the
            numbers in the environment (SLURM, Open MPI, TPU pods and what else it knows).
        processes: how many there are.
        process: number of this one, from 0.
        lost: called when another process is lost or ends in an error, or not all join in time.
        seconds: until all have joined.

    Raises:
        ArgumentError: arguments that contradict each other, or no job in the environment.
        OSError: nothing answers at the coordinator's address, or it cannot be listened at.
    """
    numbers = _numbers(coordinator, processes, process)
    if numbers is not None and numbers["process_id"] != 0:
        _reach(coordinator, seconds)
    where = "the coordinator" if numbers is None else coordinator
    late = f"not all processes of the job met at {where} within {seconds:g} seconds; "
    timer = threading.Timer(seconds, lost, [late + "start them together, with the same address"])
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            **(numbers or {}),
            cluster_detection_method=None if numbers is None else "deactivate",
            # An abort that names nothing: ours comes first.
            initialization_timeout=int(seconds) + 30,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=60,
        )
    except jax.errors.JaxRuntimeError as error:
        said = str(error).partition("\n")[0]
        raise OSError(f"process 0 cannot listen at {where}: {said}; pass another port") from error
    except (ValueError, RuntimeError) as error:
        if numbers is not None:
            raise
        raise ArgumentError(
            f"no job was found in the environment ({error}); pass ",
            *(Argument("coordinator", "HOST:PORT"), ", ", Argument("processes"), " and "),
            Argument("process"),
        ) from error
    finally:
        timer.cancel()
    state = distributed.global_state
    found = Hosts(state.process_id, state.num_processes, state.coordinator_address, lost)
    found._start()
    return found


def _numbers(coordinator: str, processes: int | None, process: int | None) -> dict[str, Any] | None:
    """What JAX is told of the job; None: it is to find it."""
    checks.text(coordinator, "coordinator")
    if coordinator == DETECTED:
        for name, value in (("processes", processes), ("process", process)):
            if value is not None:
                raise ArgumentError(
                    *(Argument(name, value), " contradicts ", Argument("coordinator", DETECTED)),
                    ", which finds the numbers in the environment; leave one of them out",
                )
        return None
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ArgumentError(
            Argument("coordinator"), f" is {coordinator!r}, expected host:port, or {DETECTED!r}"
        )
    if processes is None or process is None:
        raise ArgumentError(
            *(Argument("coordinator", coordinator), " needs ", Argument("processes"), " and "),
            *(Argument("process"), ": how many there are, and the number of this one, from 0"),
        )
    count = checks.whole_number(processes, "processes", 1)
    index = checks.whole_number(process, "process", 0)
    if index >= count:
        raise ArgumentError(
            *(Argument("process", index), " and ", Argument("processes", count), ": expected "),
            f"a number from 0 to {count - 1}",
        )
    return {"coordinator_address": coordinator, "num_processes": count, "process_id": index}


def _reach(coordinator: str, seconds: float) -> None:
    """Waits until something listens at an address: JAX would abort where nothing does."""
    host, _, port = coordinator.rpartition(":")
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise OSError(
                    f"the coordinator {coordinator} does not answer ({error}) within {seconds:g} "
                    "seconds; start process 0 there, and let the machines reach that port"
                ) from error
            time.sleep(0.5)


def _asked(key: str, seconds: float) -> str | None:
    """What a process has told; None: nothing within that time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return str(_client().key_value_try_get(key))
        except jax.errors.JaxRuntimeError as error:
            if "NOT_FOUND" not in str(error):
                raise
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)


def _client() -> Any:
    return distributed.global_state.client


def _end(status: int) -> None:
    # Whoever read them may have gone.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
