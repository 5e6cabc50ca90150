"""What programs say: results on stdout, notes on stderr, in any encoding, whoever still listens."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

import negjax
from experiments.reporting.escaping import for_terminal


def note(text: str) -> None:
    """Says something on stderr, beside a progress bar."""
    with contextlib.suppress(OSError, ValueError):
        tqdm.write(for_terminal(text, keep="\n"), file=sys.stderr)


def say(text: str) -> None:
    """Prints results, where anybody still reads them: what was measured is saved already."""
    try:
        print(for_terminal(text, keep="\n"), flush=True)
    except (OSError, ValueError):
        # A pipe that was closed, or no stdout at all: nor shall the interpreter's last flush fail.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def speak_any_encoding() -> None:
    """What a terminal's encoding lacks is written out instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def notices_as_notes() -> Iterator[None]:
    """Says the library's notices on a line each, once; other warnings appear as ever."""
    said: set[str] = set()
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, negjax.Notice):
                usual(message, category, *where, **more)
            elif str(message) not in said:
                said.add(str(message))
                note(f"note: {message}")

        warnings.showwarning = show
        yield
