"""What programs say: results on stdout, notes on stderr."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

import negjax
from experiments.reporting.escaping import for_terminal
from experiments.running import start

LONGEST_LINE = 4000
"""Characters of a line that is printed; a longer one is cut."""


def note(text: str) -> None:
    """Says something on stderr, in one line, beside a progress bar."""
    tqdm.write(for_terminal(" ".join(text.splitlines()), LONGEST_LINE), file=sys.stderr)


def stage(text: str) -> None:
    """Says on stderr what begins now, and when."""
    note(f"{start.age()}  {text}")


def say(text: str) -> None:
    """Prints results, line by line; what text from outside stands in them ends no line."""
    print("\n".join(for_terminal(line, LONGEST_LINE) for line in text.split("\n")), flush=True)


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
