"""A whole study of skill neurons as a case of `experiments.bench`: its time and its memory.

Features, all probes fitted and tested, at two sizes: what a study holds must not grow with the
number of its prompts. It runs as its users run it, in a process and folders of its own.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from experiments.bench.cases import Goal, judged
from negjax.storage import store

TASK = "agnews"
MEMORY = Goal("peak memory in GB", 3.0, at_most=True)


@dataclasses.dataclass(frozen=True)
class Study:
    """`experiments.skills` on one task; sizes of 0 mean all prompts of a part."""

    name: str
    train: int
    valid: int
    test: int
    minutes: Goal | None = None


STUDIES = (
    Study("agnews_500", train=300, valid=100, test=100),
    Study("agnews_8000", train=0, valid=0, test=0, minutes=Goal("minutes", 40.0, at_most=True)),
)


def measure(study: Study, model: str, assumed: Sequence[str] = ()) -> dict[str, Any]:
    """Seconds, prompts, peak memory and accuracies of one run, nothing of it measured before.

    The published parts are taken, because only they have 8,000 prompts: test items that are
    training items, too, are left out of the disjoint ones.

    Args:
        model: what to load.
        assumed: settings of its file that are to be ignored.

    Raises:
        ValueError: the study failed; the message ends with what it said.
    """
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        command = [sys.executable, "-m", "experiments.skills", f"--model={model}"]
        command += [f"--assume_harmless={','.join(assumed)}"] if assumed else []
        command += [f"--tasks={TASK}", "--splits=original", f"--output={run}"]
        command += [f"--{part}={getattr(study, part)}" for part in ("train", "valid", "test")]
        command += [f"--features={Path(temporary) / 'features'}"]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise ValueError(f"{study.name} failed:\n{done.stderr[-2000:]}")
        summary = json.loads((run / store.SUMMARY).read_text("utf-8"))
        rows = pq.read_table(run / store.ACCURACIES).to_pylist()
    tested = {row["part"]: row["tested"] for row in rows}
    return {
        "seconds": seconds,
        "prompts": sum(tested.values()),
        "peak_bytes": summary["peak_memory_bytes"],
        "accuracy": {row["probe"]: row["accuracy"] for row in rows if row["part"] == "test"},
    }


def line(study: Study, found: dict[str, Any]) -> str:
    """What was found, as a line of Markdown."""
    minutes, memory = found["seconds"] / 60, found["peak_bytes"] / 1e9
    return (
        f"- {TASK}, {found['prompts']:,} prompts, features, all probes fitted and tested: "
        f"{judged(study.minutes, minutes, f'{minutes:.1f} minutes')}, "
        f"{judged(MEMORY, memory, f'peak memory {memory:.2f} GB')}"
    )
