"""How a program starts: it says so before it imports what takes seconds."""

import contextlib
import sys
import time
from collections.abc import Iterator

STARTED = time.monotonic()
"""When the process came to here: the clock of what it says counts from then."""


@contextlib.contextmanager
def importing(name: str) -> Iterator[None]:
    """Says that a program starts; an interrupt while its modules are imported ends it in one line.

    Args:
        name: of the program.
    """
    if not any(argument.lstrip("-").startswith("help") for argument in sys.argv[1:]):
        _say(f"{name}: starting")
    try:
        yield
    except KeyboardInterrupt:
        _say("interrupted while starting; nothing was measured")
        sys.exit(130)


def age() -> str:
    """Minutes and seconds since the program started, and hours if there are any."""
    return clock(time.monotonic() - STARTED)


def clock(seconds: float) -> str:
    """A time as minutes and seconds, and hours if there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _say(text: str) -> None:
    # Standard error may be closed, or its reader gone.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(text, file=sys.stderr, flush=True)
