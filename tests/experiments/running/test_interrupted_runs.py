"""Experiments in processes of their own: interrupted, killed, continued, refused in one line."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import negjax
from experiments.linearity import program as linearity
from experiments.running import study
from negjax.storage import progress, store
from tests.support.block_shapes import tiny
from tests.support.places import ROOT
from tests.support.processes import command, started
from tests.support.tiny_runs import arguments, columns, parse, summary, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a table, as a user has them."""
    path = tmp_path_factory.mktemp("inputs")
    return write_inputs(path, gated=tiny("gated"))


@pytest.mark.usefixtures("undrawn")
def test_finished_groups_are_not_measured_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--prompts=4", "--neurons=3", "--group=2", "--range=2")
    parse(*arguments(folder, tmp_path / "whole", *more))
    assert study.run(linearity.prepare) == 0
    asked: list[int] = []
    measure = negjax.response

    def interrupted_response(*args: Any, **options: Any) -> negjax.Response:
        asked.append(len(args[1]))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return measure(*args, **options)

    parse(*arguments(folder, tmp_path / "broken", *more))
    monkeypatch.setattr(negjax, "response", interrupted_response)
    assert study.run(linearity.prepare) == 130
    partial = summary(tmp_path / "broken")
    assert (partial["complete"], partial["prompts_measured"]) == (False, 2)
    assert "was interrupted" in (tmp_path / "broken" / store.REPORT).read_text(encoding="utf-8")
    assert study.run(linearity.prepare) == 0
    assert asked == [2, 2, 2]
    whole, broken = columns(tmp_path / "whole"), columns(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(broken[name], values, err_msg=name)
    parse(*arguments(folder, tmp_path / "broken", *more), "--seed=1")
    with pytest.raises(
        ValueError, match=r"other settings \(.*seed was 0, now 1\); pass another folder"
    ):
        study.run(linearity.prepare)


def many_groups(folder: Path, output: Path) -> subprocess.Popen[str]:
    """A run of many groups in a process of its own, some of them finished."""
    more = ("--prompts=12", "--neurons=30", "--group=1")
    # A shell's background jobs, and what they start, ignore SIGINT.
    heeding = "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    wrapper = [sys.executable, "-c", f"import os, signal, sys; {heeding}"]
    return started(
        [*wrapper, *command("linearity", *arguments(folder, output, *more))], output, groups=3
    )


@pytest.mark.usefixtures("undrawn")
def test_a_killed_run_is_continued(folder: Path, tmp_path: Path) -> None:
    process = many_groups(folder, tmp_path / "killed")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finished = json.loads((tmp_path / "killed" / progress.PROGRESS).read_text())["seconds"]
    assert 3 <= len(finished) < 13
    assert not (tmp_path / "killed" / store.SUMMARY).exists()
    more = ("--prompts=12", "--neurons=30", "--group=1")
    for name in ("killed", "whole"):
        parse(*arguments(folder, tmp_path / name, *more))
        assert study.run(linearity.prepare) == 0
    kept = summary(tmp_path / "killed")["seconds"]["measure"]
    assert {name: kept[name] for name in finished} == finished
    killed, whole = columns(tmp_path / "killed"), columns(tmp_path / "whole")
    for name, values in whole.items():
        np.testing.assert_array_equal(killed[name], values, err_msg=name)


def test_an_interrupted_run_reports_what_it_has(folder: Path, tmp_path: Path) -> None:
    process = many_groups(folder, tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    saved = re.search(r"interrupted: (\d+) of 13 groups are saved in .*goes on from there", err)
    assert saved is not None
    assert summary(tmp_path)["prompts_measured"] == int(saved[1]) - 1
    assert "report: " in out
    assert "Traceback" not in err


@pytest.mark.slow
def test_float64_has_less_noise_and_bad_input_is_one_line(folder: Path, tmp_path: Path) -> None:
    more = ("--prompts=2", "--neurons=3", "--range=2", "--dtype=float64", "--output=run")
    cache = f"--compilation_cache={tmp_path / 'cache'}"
    found = subprocess.run(
        command("linearity", *arguments(folder, tmp_path, *more), cache),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert summary(tmp_path / "run")["noise"]["0.95"] < 1e-14
    assert found.stdout.endswith("report: run/report.html\n")
    refused = subprocess.run(
        command("linearity", "--model=nowhere", "--output=other"),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    *stages, error = refused.stderr.splitlines()
    assert error.startswith("error: --model=nowhere: source 'nowhere' is no directory, no")
    assert len(stages) == 2 and stages[1].endswith("  load nowhere")
    assert not (tmp_path / "other").exists()
