"""Flags of every experiment with MCEval8K: where it lies, and which tasks."""

from dataclasses import dataclass
from pathlib import Path

from experiments.running import messages
from experiments.running.settings import define, setting
from negjax import mceval8k


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The benchmark, and the tasks to look at."""

    root: str | None = setting(
        None,
        "Directory of MCEval8K in the published layout. Default: what NEGJAX_MCEVAL8K names, or "
        "the hub's.",
    )
    tasks: list[str] = setting(
        mceval8k.names(), "Tasks of MCEval8K to look at.", choices=mceval8k.names()
    )


FLAGS = define(Settings)


def root() -> Path | None:
    """The benchmark's directory, if one is named."""
    return None if FLAGS["root"].value is None else messages.path(FLAGS["root"])


def tasks() -> list[str]:
    """Names of tasks.

    Raises:
        ValueError: an unknown one, or one twice.
    """
    return FLAGS.read().tasks
