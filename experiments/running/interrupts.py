"""Ctrl-C, wherever it arrives."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from experiments.running import in_buckets, terminal
from negjax.storage.store import RunFolder

P = ParamSpec("P")
T = TypeVar("T")


AGAIN = "what there is is shown now, which another Ctrl-C leaves out"


def heard(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function returns.

    An interrupt that arrives while C code has called Python, as NumPy does that asks JAX for a
    dtype, may end as a SystemError whose cause it is.

    Raises:
        KeyboardInterrupt: as it was meant.
    """
    try:
        return function(*args, **kwargs)
    except SystemError as error:
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def say_interrupted(folder: RunFolder, groups: int) -> None:
    """Says what an interrupted run has kept and how to go on."""
    terminal.note(
        f"interrupted: {len(folder.finished)} of {groups} groups are saved in "
        f"{in_buckets.shown(folder)}; the same command goes on from there; {AGAIN}"
    )
