"""Extracts a tiny task's features: a process of its own, to be killed.

Run by `python -m tests.support.features_child FOLDER [wait]`. It says after each window how many
prompts are done and then, if it is told to, waits for a line.
"""

import sys

import jax

from negjax.skills.features.features import extract
from tests.support.block_shapes import tiny
from tests.support.few_shot import task_prompts

PROMPTS, WINDOW = 64, 2

if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    probes, gold = task_prompts(PROMPTS)
    done = 0

    def told(prompts: int) -> None:
        global done
        done += prompts
        print(done, flush=True)
        if sys.argv[2:] == ["wait"]:
            sys.stdin.readline()

    extract(
        *(sys.argv[1], tiny("gated", "float64"), probes, gold),
        activations=True,
        counts=(5, 40),
        window=WINDOW,
        after_window=told,
    )
