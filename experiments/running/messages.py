"""Errors in the words of a command line: one line, with the flag that is at fault, and a status."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from negjax import checks
from negjax.errors import Argument, Message

INPUT, ENVIRONMENT = 2, 1
"""Exit statuses: what was given is at fault, or what the program runs on."""

_OTHER_NAMES = {
    "budget_bytes": ("budget_mib: budget_bytes",),
    "count": ("neurons",),
    "folder": ("output",),
    "radius": ("range", "neg_radius"),
    "step": ("step", "neg_step"),
    "pairs": ("neg_pairs",),
}
"""Flags of arguments that the library calls otherwise: of those that a program has, the first."""


def as_flag(argument: Argument) -> str:
    """Returns an argument as the flag that sets it, or as it is where no flag does."""
    names = _OTHER_NAMES.get(argument.name, (argument.name,))
    written = next((name for name in names if name.partition(":")[0] in flags.FLAGS), None)
    if written is None:
        return str(argument)
    if argument.values in ((), (True,)):
        return f"--{written}"
    return " or ".join(f"--{written}={value}" for value in argument.values)


def in_flags(text: str) -> str:
    """Returns a message of the library's in the words of the command line."""
    return text.spelled(as_flag) if isinstance(text, Message) else text


def told(error: BaseException) -> str:
    """Returns an error's message on one line."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.filename}: {in_flags(error.strerror)}"
    elif error.args and isinstance(error.args[0], Message):
        text = in_flags(error.args[0])
    else:
        text = str(error)
    return " ".join(text.split())


def status(error: BaseException) -> int:
    """With which status a program ends for want of right input, or of what it runs on."""
    paths = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
    return INPUT if isinstance(error, (ValueError, TypeError, *paths)) else ENVIRONMENT


@contextlib.contextmanager
def of_flag(flag: flags.FlagHolder[Any]) -> Iterator[None]:
    """Names the flag in errors about what it was set to.

    Raises:
        ValueError, OSError: as inside, of the same class.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        name = f"--{flag.name}"
        if name in str(error) or str(error).startswith("--"):
            raise
        said = told(error)
        if isinstance(error, OSError) and error.strerror and error.filename is None:
            said = error.strerror
        value = ",".join(flag.value) if isinstance(flag.value, list) else flag.value
        text = f"{name}={value}: {said}" if flag.present else said
        raise _same_kind(error)(text) from error


def path(flag: flags.FlagHolder[Any]) -> Path:
    """A flag's path, with the user's home folder in place of `~`."""
    with of_flag(flag):
        return checks.path(flag.value, "path")


def _same_kind(error: ValueError | OSError) -> type[ValueError | OSError]:
    """The class to raise again: one that takes a message alone."""
    for kind in (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
        if isinstance(error, kind):
            return kind
    return OSError if isinstance(error, OSError) else ValueError
