"""Flags of every experiment with MCEval8K: where it lies, and which tasks."""

from pathlib import Path

from absl import flags

from experiments.running import flag_lists, messages
from negjax import mceval8k

_ROOT = flags.DEFINE_string(
    "root",
    None,
    "Directory of MCEval8K in the published layout. Default: what NEGJAX_MCEVAL8K names, or the "
    "hub's.",
)
_TASKS = flags.DEFINE_list("tasks", list(mceval8k.names()), "Tasks of MCEval8K to look at.")


def root() -> Path | None:
    """The benchmark's directory, if one is named."""
    return None if _ROOT.value is None else messages.path(_ROOT)


def tasks() -> list[str]:
    """Names of tasks.

    Raises:
        ValueError: an unknown one, or one twice.
    """
    return flag_lists.names(_TASKS, mceval8k.names())
