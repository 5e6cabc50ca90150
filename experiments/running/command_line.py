"""A program's command line: flag files of whatever editor, and flags that do not parse."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from experiments.running import help_text, messages
from negjax.storage import given_files

FLAG_FILES = Path(__file__).parents[1] / "flagfiles"
"""Of ours, wherever the package is installed."""

BOM = "\ufeff"
# As a file that begins with it reads where the system's encoding is Latin-1 or Windows-1252.
BOM_IN_LATIN_1 = "ï»¿"


def parse(argv: Sequence[str]) -> list[str]:
    """What is left of a command line when the flags are taken; ends the program where they are bad,
    or where help is asked for.

    Args:
        argv: the program's name, then its arguments.
    """
    if help_text.is_asked(argv[1:]):
        print("\n".join(help_text.lines()))
        sys.exit(0)
    try:
        left = flags.FLAGS([argv[0], *expanded(argv[1:])])
        _check_numbers()
        return left
    except (flags.Error, ValueError, OSError) as error:
        print(f"error: {messages.told(error)} (--help lists the flags)", file=sys.stderr)
        sys.exit(messages.INPUT)


def _check_numbers() -> None:
    """Bounds of a flag let NaN pass, which is neither above nor below."""
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"--{name}={value}: expected a finite number")


def expanded(arguments: Sequence[str]) -> list[str]:
    """Arguments with the contents of flag files in their place.

    Raises:
        ValueError, OSError: a flag file is not there, or no UTF-8 text.
        absl.flags.Error: as above, of a flag file that another one names.
    """
    arguments = _packaged(arguments)
    values = iter(arguments)
    for argument in values:
        name, given, value = argument.partition("=")
        if name in ("--flagfile", "-flagfile"):
            _check_flag_file(value if given else next(values, ""))
    try:
        lines = flags.FLAGS.read_flags_from_files(list(arguments))
    except UnicodeDecodeError as error:
        raise ValueError(f"--flagfile: one that a flag file names is no text: {error}") from error
    found = [_unmarked(line) for line in lines]
    kept = [line for line in found if line is not None]
    # Behind the mark another flag file may be named.
    return expanded(kept) if kept != lines and _names_file(kept) else kept


def _packaged(arguments: Sequence[str]) -> list[str]:
    """Arguments that name our own flag files where these lie.

    `quickstart.flags` and `experiments/flagfiles/quickstart.flags` are found outside of the
    repository, too; a file of that name in the working directory comes first.
    """
    found = list(arguments)
    for place, argument in enumerate(found):
        name, given, value = argument.partition("=")
        if name not in ("--flagfile", "-flagfile") or (not given and place + 1 == len(found)):
            continue
        file = Path(value if given else found[place + 1])
        ours = FLAG_FILES / file.name
        if file.parent in (Path(), Path("experiments", "flagfiles")) and not file.exists():
            if ours.is_file() and given:
                found[place] = f"{name}={ours}"
            elif ours.is_file():
                found[place + 1] = str(ours)
    return found


def _names_file(arguments: Sequence[str]) -> bool:
    return any(line.startswith(("--flagfile=", "-flagfile=")) for line in arguments)


def _check_flag_file(name: str) -> None:
    if not name:
        raise ValueError("--flagfile: expected a file of flags, one a line")
    file = given_files.check_file(name, "--flagfile", "a file of flags, one a line")
    data = file.read_bytes()
    if data:
        given_files.decoded(data, f"--flagfile={name}")


def _unmarked(line: str) -> str | None:
    """A line without the mark that some editors begin a file with; None if a comment is left."""
    for mark in (BOM, BOM_IN_LATIN_1):
        if line.startswith(mark):
            rest = line.removeprefix(mark).strip()
            return None if not rest or rest.startswith(("#", "//")) else rest
    return line
