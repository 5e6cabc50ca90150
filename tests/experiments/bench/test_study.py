"""The whole study among the cases of the bench."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.bench import study as bench_study
from experiments.bench.study import STUDIES
from negjax.storage import store


def test_a_study_is_measured_as_its_users_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def ran(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        [run] = [Path(c.removeprefix("--output=")) for c in command if c.startswith("--output=")]
        run.mkdir()
        (run / store.SUMMARY).write_text(json.dumps({"peak_memory_bytes": 2_500_000_000}))
        rows = [("train", 300, "tree", 1.0), ("valid", 100, "tree", 0.6), ("test", 90, "tree", 0.5)]
        names = ("part", "tested", "probe", "accuracy")
        pq.write_table(
            pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), run / store.ACCURACIES
        )
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", ran)
    found = bench_study.measure(STUDIES[0], "some-model")
    assert {"--model=some-model", "--tasks=agnews", "--train=300"} <= set(commands[0])
    assert not any("assume" in part for part in commands[0])
    bench_study.measure(STUDIES[0], "some-model", ["quirk", "other"])
    assert "--assume_harmless=quirk,other" in commands[1]
    assert found["prompts"] == 490 and found["accuracy"] == {"tree": 0.5}
    line = bench_study.line(STUDIES[1], found)
    assert "490 prompts" in line and "peak memory 2.50 GB (at most 3)" in line
    assert " minutes (at most 40)" in line and "*" not in line
    slow = found | {"seconds": 2401.0, "peak_bytes": 3.1e9}
    line = bench_study.line(STUDIES[1], slow)
    assert "**40.0 minutes (at most 40)**" in line
    assert "**peak memory 3.10 GB (at most 3)**" in line


def test_a_study_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGJAX_MCEVAL8K", "no-such-folder")
    with pytest.raises(ValueError, match=r"agnews_500 failed:[\s\S]*no-such-folder"):
        bench_study.measure(STUDIES[0], "smollm2-135m-instruct")
