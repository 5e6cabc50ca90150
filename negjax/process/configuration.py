"""What negjax changes in the process that it runs in: nothing unless it is asked to."""

import threading

from negjax.process import memory, notices, xla_options

_SAID = threading.Event()
"""Whether it was said that the process is not configured: filters of `warnings` forget what they
have shown whenever some package changes them, and reading a tokenizer does."""


def configure_process() -> None:
    """Configures this process, and children it starts, for large models and for GPUs.

    Call it first: it counts before JAX has computed anything. It adds options to the environment
    variable XLA_FLAGS, unless they are there already. One makes programs for CPUs take less memory,
    of a 7B model in bfloat16 1.6 GB less. Where JAX has a plugin for GPUs, another leaves matrix
    products to the vendor's library: programs are then compiled in seconds instead of minutes. What
    compiling took is from then on returned to the system before the program runs, which lowers the
    largest memory. Numbers stay the same, to rounding. Called twice, it does no more than once.

    Neither importing negjax nor any other of its functions changes the process.
    """
    xla_options.add()
    memory.give_back_after_compiling()


def say_if_unconfigured() -> None:
    """Says once, where JAX has a plugin for GPUs, what `configure_process` would change."""
    if xla_options.compiles_slowly() and not _SAID.is_set():
        notices.say(
            "programs for GPUs take minutes to compile, and compiling keeps its memory: call "
            "negjax.configure_process() before JAX computes anything; it adds "
            f"{xla_options.NO_TRITON} to XLA_FLAGS and returns that memory to the system"
        )
        _SAID.set()
