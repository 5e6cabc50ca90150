"""What `--help` prints: what the program is for, and its flags with their defaults."""

import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from absl import flags

ASKED = ("--help", "-help", "--helpshort", "-helpshort", "-h", "-?")
INDENT, WIDEST = "      ", 100
OWN = "this program"
SHARED = {"experiments.inputs": "what is measured", "experiments.running": "every run"}
"""Packages whose flags several programs have, and what these are about."""


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for help; behind `--` nothing is a flag."""
    listed = list(arguments)
    before = listed[: listed.index("--")] if "--" in listed else listed
    return any(argument in ASKED for argument in before)


def lines() -> Iterator[str]:
    """The documentation of the program that runs, and its flags, its own ones first."""
    documented = sys.modules["__main__"].__doc__
    if documented:
        yield from [*inspect.cleandoc(documented).splitlines(), ""]
    width = min(WIDEST, shutil.get_terminal_size().columns)
    for about, group in _groups().items():
        yield f"Flags of {about}, with their defaults:"
        for flag in group:
            yield f"  {_spelled(flag)}"
            text = " ".join(flag.help.split())
            yield from textwrap.wrap(text, width, initial_indent=INDENT, subsequent_indent=INDENT)
        yield ""
    yield "--flagfile=FILE reads flags from a file; --helpfull lists those of absl, too."


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
