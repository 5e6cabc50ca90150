"""A profile of the measuring stage: what ran on host and device when, for xprof to show."""

import contextlib
from collections.abc import Iterator

import jax
from absl import flags

from experiments.running import messages
from negjax.process.hosts import Hosts

_PROFILE = flags.DEFINE_string(
    "profile",
    None,
    "Folder for a profile of the measuring stage, which `xprof --logdir=FOLDER` shows; of several "
    "processes each writes into a folder of its number in it. Large where runs are long.",
)


@contextlib.contextmanager
def traced(hosts: Hosts) -> Iterator[None]:
    """Profiles what runs within it, if the flag asks for that.

    Raises:
        ValueError, OSError: the folder is no path, or cannot be written.
    """
    if not _PROFILE.value:
        yield
        return
    folder = messages.path(_PROFILE)
    if not hosts.alone:
        # Processes of one machine would write the same file.
        folder = folder / str(hosts.index)
    with messages.of_flag(_PROFILE):
        folder.mkdir(parents=True, exist_ok=True)
    with jax.profiler.trace(str(folder)):
        yield
