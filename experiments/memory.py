"""The most memory that this process has held."""

import contextlib
import resource
import sys
from pathlib import Path


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
