"""Memory of this process: the most it has held, and giving back what it no longer needs."""

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

import jax

DEFAULT_BUDGET_BYTES = 2 * 2**30
"""Memory that one computation may take on top of the weights, unless the caller says otherwise."""

# What JAX calls the time that a program took to compile, and seconds from which it has taken much
# memory, too.
COMPILED, LONG = "/jax/core/compile/backend_compile_duration", 1.0


def forget_peak() -> None:
    """Begins anew, on Linux: what loading took is no part of what follows."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Bytes of the largest resident memory, on Linux since it was last forgotten."""
    status = Path("/proc/self/status")
    if status.is_file():
        # On Linux ru_maxrss starts from what the parent held at the fork.
        (line,) = (x for x in status.read_text("utf-8").splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def give_back() -> None:
    """Returns to the system what was freed, where the C library keeps it for later (glibc's does).

    Computing leaves hundreds of MB behind in small pieces, of which a large array can use none.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def give_back_after_compiling() -> None:
    """From now on, what compiling a program took is returned to the system before it runs.

    A fifth of a GB for a gradient of the embedded model, on top of which it would run.
    """
    # One listener, however often this is asked for.
    with contextlib.suppress(AssertionError, ValueError):
        jax.monitoring.unregister_event_duration_listener(_after_compiling)
    jax.monitoring.register_event_duration_secs_listener(_after_compiling)


def _after_compiling(event: str, duration_secs: float, **_: str | int) -> None:
    if event == COMPILED and duration_secs >= LONG:
        give_back()
