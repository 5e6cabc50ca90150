"""Features whose process is killed, again and again, end as if nothing had happened."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.features_child import PROMPTS, WINDOW
from tests.support.few_shot import content

KILLS = 3


def started(root: Path, *arguments: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "tests.support.features_child", str(root), *arguments]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8")


def finished(process: subprocess.Popen[str]) -> list[int]:
    """The numbers of prompts that it told of, in order."""
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return [int(line) for line in out.split()]


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    every = list(range(WINDOW, PROMPTS + 1, WINDOW))
    generator = random.Random(0)
    killed = 0
    for number in range(KILLS):
        process = started(tmp_path / "killed")
        assert process.stdout is not None
        if number == 0:
            # While the folder is made, or the first window is under way.
            while process.poll() is None and not any((tmp_path / "killed").glob("*/*")):
                time.sleep(0.001)
            time.sleep(generator.uniform(0, 0.02))
        else:
            # Some windows are found and more are new, then it may be anywhere in the next ones.
            for _ in range(number * len(every) // (KILLS + 1) + 2):
                process.stdout.readline()
            time.sleep(generator.uniform(0, 0.05))
        process.kill()
        process.communicate()
        killed += process.returncode < 0
    assert killed == KILLS
    assert finished(started(tmp_path / "whole")) == every == finished(started(tmp_path / "killed"))
    (one,), (other,) = ((tmp_path / name).iterdir() for name in ("whole", "killed"))
    assert one.name == other.name
    assert content(other) == content(one)


def test_two_processes_at_once(tmp_path):
    first = started(tmp_path / "runs", "wait")
    assert first.stdout is not None
    first.stdout.readline()
    second = started(tmp_path / "runs")
    _, errors = second.communicate(timeout=300)
    # The end of its input is a line as well.
    finished(first)
    assert second.returncode == 1
    assert "in use by another process; wait for it" in errors
