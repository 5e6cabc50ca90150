"""The rungs of precision among the cases of the bench."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import flags

import negjax
from experiments.bench import precisions, program
from experiments.bench.cases import CASES, Case
from negjax.model.language_model import LanguageModel
from negjax.process.precisions import Hardware
from tests.support.block_shapes import GATED, tiny_of

LM = tiny_of(dataclasses.replace(GATED, vocab_size=24))


def arrays(lm: LanguageModel, case: Case) -> dict[str, np.ndarray]:
    """Stands for facts, whose words a tiny vocabulary does not hold."""
    return {
        "tokens": np.asarray([[2, 5, 9, 4]]),
        "mask": np.ones((1, 4), bool),
        "targets": np.asarray([[7]]),
        "neurons": np.asarray([[0, 3], [2, 1]]),
        "shifts": np.asarray([-1.0, 2.0]),
    }


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precisions, "case_arrays", arrays)
    monkeypatch.setattr(precisions, "PRODUCT", (8, 8, 8))


def test_every_rung_of_a_device_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a TPU, by names of JAX's that a processor takes for float32 in every version."""
    names = {"float32": "highest", "x6": "high", "x3": "default", "bfloat16": "bfloat16"}
    monkeypatch.setattr(precisions.precisions, "RUNGS", names)
    monkeypatch.setattr(
        precisions.precisions, "hardware_here", lambda: Hardware("tpu", "TPU v5 lite")
    )
    seen: list[str] = []
    sweep = negjax.sweep

    def watched(lm: LanguageModel, *arguments: Any) -> negjax.Sweep:
        seen.append(lm.precision)
        return sweep(lm, *arguments)

    monkeypatch.setattr(negjax, "sweep", watched)
    found = precisions.measure(LM, CASES[0], 1)
    assert [row.rung for row in found] == [*names]
    assert seen == [*names.values()] * 2
    assert found[0].difference == 0 and all(row.difference < 1e-6 for row in found)
    slow = dataclasses.replace(found[1], shifts=found[0].shifts / 4, operations=67e12)
    lines = precisions.table_lines([found[0], slow])
    assert len(lines) == 4 and "| x6 | 67 TFLOP/s |" in lines[3] and "| 0.25 |" in lines[3]


@pytest.mark.usefixtures("restored_flags")
def test_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {}

    def load(name: str, **arguments: object) -> LanguageModel:
        given.update(arguments)
        return LM

    monkeypatch.setattr(negjax, "load", load)
    flags.FLAGS(["bench", "--cases=precisions", "--repeats=1", f"--output={tmp_path}"])
    assert program.main() == 0
    assert given["precision"] == "float32"
    report = json.loads((tmp_path / "bench.json").read_text())
    assert [row["rung"] for row in report["precisions"]] == ["float32"]
    assert "| float32 |" in capsys.readouterr().out
