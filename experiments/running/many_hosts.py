"""Several processes that measure one run together: flags, the split of the work, the ends.

Groups of prompts are divided among the processes; what a group holds does not depend on who
measures it, nor on how many there are. Process 0 opens the folder, gathers what all have saved, and
writes summary and report. With a mesh of all processes' devices nothing is divided: all go through
all groups in step, and process 0 saves them.
"""

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import jax
from absl import flags

from experiments.reporting.escaping import for_terminal
from experiments.running import common, in_buckets, messages, terminal
from negjax.errors import Argument, ArgumentError
from negjax.model import meshes
from negjax.process import hosts as host_processes
from negjax.process.hosts import Hosts
from negjax.storage import parts, store
from negjax.storage.store import RunFolder
from negjax.weights import residence

_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "Several processes measure together: host:port at which process 0 is to be reached, or `auto`, "
    "as JAX finds it in the environment (SLURM, Open MPI, TPU pods). Default: this process alone.",
)
_PROCESSES = flags.DEFINE_integer(
    "processes", None, "How many processes measure together, with --coordinator.", lower_bound=1
)
_PROCESS = flags.DEFINE_integer(
    "process", None, "Number of this one among --processes, from 0.", lower_bound=0
)
_JOIN_SECONDS = flags.DEFINE_float(
    "join_seconds", 50.0, "Seconds until all processes must have met.", lower_bound=1
)


@contextlib.contextmanager
def joined() -> Iterator[Hosts]:
    """This process among those of its job, as the flags say; errors end the others too.

    Raises:
        ValueError: flags that contradict each other.
        OSError: the coordinator does not answer.
    """
    if _COORDINATOR.value is None:
        for flag in (_PROCESSES, _PROCESS):
            if flag.value is not None:
                raise ValueError(
                    f"--{flag.name}={flag.value} needs --coordinator=HOST:PORT, where process 0 is"
                )
        yield host_processes.alone()
        return
    word = _LastWord()
    hosts = host_processes.join(
        _COORDINATOR.value,
        _PROCESSES.value,
        _PROCESS.value,
        lost=functools.partial(_end, word),
        seconds=_JOIN_SECONDS.value,
    )
    word.prepare(hosts)
    terminal.note(f"{hosts.described(hosts.index)} began; {hosts.described(0)} writes the report")
    try:
        yield hosts
    except KeyboardInterrupt:
        hosts.fail("interrupted", 130)
        word.leave_out()
        raise
    except BaseException as error:
        told = messages.told(error) or type(error).__name__
        hosts.fail(told, messages.status(error))
        word.leave_out()
        raise
    hosts.leave()
    word.leave_out()


def in_step() -> bool:
    """Whether --mesh has more devices than this process: all processes then compute together."""
    if common.MESH.value in (None, residence.AUTO):
        return False
    return meshes.read_mesh(common.MESH.value).devices > jax.local_device_count()


def refuse_idle(hosts: Hosts, groups: int) -> None:
    """Refuses more processes than there are groups to divide.

    Raises:
        ArgumentError: some would have nothing to do.
    """
    if hosts.count > groups:
        raise ArgumentError(
            *(Argument("processes", hosts.count), f": {groups} groups of prompts are to be "),
            *("measured; pass ", Argument("processes", groups), " or less, more "),
            *(Argument("prompts"), ", or a smaller ", Argument("group")),
        )


@contextlib.contextmanager
def opened(
    hosts: Hosts,
    experiment: str,
    settings: Mapping[str, Any],
    specs: Mapping[str, store.ArraySpec],
    attributes: Mapping[str, Any],
) -> Iterator[RunFolder]:
    """The run's folder, which process 0 begins or goes on with, divided among the processes."""
    address, first = common.output_address(), hosts.index == 0
    with contextlib.ExitStack() as stack:
        mirror = None
        if address is not None:
            mirror = stack.enter_context(in_buckets.mirrored(address, owner=first))
        path = common.output_folder(experiment) if mirror is None else mirror.folder
        if not first:
            job = hosts.hear("job")
            if mirror is not None:
                mirror.pull()
            folder = stack.enter_context(
                parts.open_part(path, settings, hosts.index, job, follow=in_step())
            )
        else:
            folder = stack.enter_context(common.open_folder(path, settings, specs, attributes))
            if not hosts.alone:
                job = parts.announce(folder)
        folder.elsewhere = mirror
        if first and not hosts.alone:
            if mirror is not None:
                mirror.push()
            hosts.tell("job", job)
        if first:
            _say_what_is_kept(folder)
        yield folder


def gather(hosts: Hosts, folder: RunFolder) -> None:
    """Waits until all processes have saved their share; process 0 then has all of it."""
    if folder.elsewhere is not None:
        folder.elsewhere.push()
    hosts.gather("measured")
    if hosts.index == 0:
        folder.gather()


def _say_what_is_kept(folder: RunFolder) -> None:
    """Says on stderr what was measured before."""
    if folder.finished:
        terminal.note(
            f"{in_buckets.shown(folder)}: {len(folder.finished)} groups were measured before and "
            "are kept; --overwrite measures anew"
        )


class _LastWord:
    """What is said of this process when it cannot say it itself: when it is killed, or JAX ends it
    from C++. A shell says it when the pipe from this process closes without a line."""

    def __init__(self) -> None:
        self._shell: subprocess.Popen[bytes] | None = None

    def prepare(self, hosts: Hosts) -> None:
        """Starts the shell."""
        cause = "it was killed" if hosts.index == 0 else f"it was killed, or {hosts.without_first}"
        text = f"{hosts.described(hosts.index)} ended without a word: {cause}"
        say = 'read -r line || printf "%s\\n" "$1" >&2'
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", say, "sh", _line(text)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # An interruption of the program is none of the shell.
            start_new_session=True,
        )

    def leave_out(self) -> None:
        """Ends the shell: this process has said all, or has nothing to say."""
        if self._shell is not None:
            self._shell.communicate(b"\n")


def _end(word: _LastWord, text: str) -> NoReturn:
    """Ends this process because another one ended, whatever it is computing."""
    # Not through the progress bar: who holds its lock may be what will not end.
    os.write(sys.stderr.fileno(), f"\n{_line(text)}\n".encode())
    word.leave_out()
    os._exit(messages.ENVIRONMENT)


def _line(text: str) -> str:
    line = for_terminal(" ".join(text.split()), terminal.LONGEST_LINE)
    return f"error: {line}; what was measured is saved, and the same command goes on from there"
