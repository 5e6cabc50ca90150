"""Python in processes of its own, and programs that end early."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags
from absl.testing import flagsaver

from experiments.running import common
from negjax.storage import progress
from tests.support.places import ROOT


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
        timeout=300,
        check=True,
    )


def command(name: str, *arguments: str) -> list[str]:
    """Runs an experiment."""
    return [sys.executable, "-m", f"experiments.{name}", *arguments]


def started(program: Sequence[str], output: Path, groups: int) -> subprocess.Popen[str]:
    """A run in a process of its own, as soon as so many groups are finished."""
    process = subprocess.Popen(
        program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        file = output / progress.PROGRESS
        if file.exists() and len(json.loads(file.read_text())["seconds"]) >= groups:
            break
        time.sleep(0.005)
    return process


def ended(program: Callable[[Sequence[str]], int]) -> int:
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["test"])
    with flagsaver.flagsaver(compilation_cache="none"):
        return common._guarded(program, [])


def failing(error: BaseException) -> Callable[[Sequence[str]], int]:
    def program(_: Sequence[str]) -> int:
        raise error

    return program
