"""What `--help` prints: what the program is for, and its main flags with their defaults.

`--helpfull` explains all of them, and absl's.
"""

import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

ASKED = ("--help", "-help", "--helpshort", "-helpshort", "-h", "-?")
INDENT, WIDEST = "      ", 100
FURTHER: dict[str, Any] = {
    **{"initial_indent": "  ", "subsequent_indent": INDENT},
    **{"break_on_hyphens": False, "break_long_words": False},
}
OWN = "this program"
EVERY = "every run"
SHARED = {"experiments.inputs": "what is measured", "experiments.running": EVERY}
"""Packages whose flags several programs have, and what these are about."""
MAIN = ("model", "dtype", "seed", "output", "overwrite")
"""Of the flags of every run, those that most runs need."""


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for help; behind `--` nothing is a flag."""
    listed = list(arguments)
    before = listed[: listed.index("--")] if "--" in listed else listed
    return any(argument in ASKED for argument in before)


def lines() -> Iterator[str]:
    """The documentation of the program that runs, and its main flags, its own ones first."""
    documented = sys.modules["__main__"].__doc__
    if documented:
        yield from [*inspect.cleandoc(documented).splitlines(), ""]
    width = min(WIDEST, shutil.get_terminal_size().columns)
    for about, group in _groups().items():
        yield f"Flags of {about}, with their defaults:"
        main = [flag for flag in group if about != EVERY or flag.name in MAIN]
        for flag in main:
            yield f"  {_spelled(flag)}"
            text = " ".join(flag.help.split())
            yield from textwrap.wrap(text, width, initial_indent=INDENT, subsequent_indent=INDENT)
        if len(main) < len(group):
            more = ", ".join(f"--{flag.name}" for flag in group if flag not in main)
            # A flag that cannot be searched for in one piece is not found.
            yield from textwrap.wrap(f"and {more}", width, **FURTHER)
        yield ""
    yield "--flagfile=FILE reads flags from a file; --helpfull explains all flags, absl's too."


def _groups() -> dict[str, list[flags.Flag]]:
    """Flags that negjax defines, by what they are about."""
    found: dict[str, list[flags.Flag]] = {about: [] for about in (OWN, *SHARED.values())}
    for module, group in flags.FLAGS.flags_by_module_dict().items():
        package = ".".join(module.split(".")[:2])
        if package.startswith("experiments."):
            found[SHARED.get(package, OWN)] += group
    return {about: group for about, group in found.items() if group}


def _spelled(flag: flags.Flag) -> str:
    """A flag and its default, as a command line has them."""
    if flag.boolean:
        return f"--[no]{flag.name}, default: {'yes' if flag.default else 'no'}"
    if flag.default is None:
        return f"--{flag.name}=…"
    return f"--{flag.name}={(flag.default_as_str or '').strip(chr(39))}"
