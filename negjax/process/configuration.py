"""What negjax changes in the process that it runs in: nothing unless it is asked to."""

import threading

from negjax.process import accelerators, memory, notices

_SAID = threading.Event()
"""Whether it was said that the process is not configured: filters of `warnings` forget what they
have shown whenever some package changes them, and reading a tokenizer does."""


def configure_process() -> None:
    """Configures this process, and children it starts, for large models and for GPUs.

    Call it first: it counts before JAX has computed anything. Where JAX has a plugin for GPUs, it
    adds an option to the environment variable XLA_FLAGS, unless that option is there already, which
    leaves matrix products to the vendor's library: programs are then compiled in seconds instead of
    minutes. What compiling took is from then on returned to the system before the program runs,
    which lowers the largest memory. Numbers stay the same. Called twice, it does no more than once.

    Neither importing negjax nor any other of its functions changes the process.
    """
    accelerators.compile_quickly()
    memory.give_back_after_compiling()


def say_if_unconfigured() -> None:
    """Says once, where JAX has a plugin for GPUs, what `configure_process` would change."""
    if accelerators.compiles_slowly() and not _SAID.is_set():
        notices.say(
            "programs for GPUs take minutes to compile, and compiling keeps its memory: call "
            "negjax.configure_process() before JAX computes anything; it adds "
            f"{accelerators.NO_TRITON} to XLA_FLAGS and returns that memory to the system"
        )
        _SAID.set()
