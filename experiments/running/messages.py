"""Errors in the words of a command line: one line, with the flag that is at fault, and a status."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from negjax import checks

INPUT, ENVIRONMENT = 2, 1
"""Exit statuses: what was given is at fault, or what the program runs on."""

_IN_FLAGS = (
    (r"overwrite=True", "--overwrite"),
    (r"pass another folder", "pass another --output"),
    (r"budget_bytes=([\d,]+) is too small", r"--budget_mib is too small (budget_bytes=\1)"),
    (r'target_mode="first" or "all"', "--target_mode=first or --target_mode=all"),
    (r'target_mode="first"', "--target_mode=first"),
    (r"prompt_column and answer_column", "--prompt_column and --answer_column"),
    (r"pass unrelated= to name", "pass --unrelated to name"),
    (r"^step is (\S+) and radius", r"--step is \1 and --range"),
    (r"as root or the environment", "as --corpus_dir or the environment"),
    (r"or read a file of your own", "--corpus names a file of your own"),
    (r"or all \(count\)", "or all (--neurons)"),
    (r"^budget_bytes is", "--budget_mib: budget_bytes is"),
    (r"^(root|template|precision)\b", r"--\1"),
)
"""What the library calls an argument, and the flag that sets it."""


def in_flags(text: str) -> str:
    """A message of the library's in the words of the command line."""
    for pattern, flag in _IN_FLAGS:
        text = re.sub(pattern, flag, text)
    # An argument that a flag of the same name sets.
    named = re.match(r"([a-z_]+)(?= is | holds |=)", text)
    return f"--{text}" if named is not None and named[1] in flags.FLAGS else text


def told(error: BaseException) -> str:
    """An error's message on one line."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error)
    return in_flags(" ".join(text.split()))


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
