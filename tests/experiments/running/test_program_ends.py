"""How experiments end that do not end well: out of memory, interrupted, without a home folder."""

import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from absl import flags

import negjax
from experiments.inputs import facts
from experiments.reporting import page_parts, report
from experiments.running import common, measuring, program_cache, provenance
from negjax.inputs.probes import probes_key
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import tiny
from tests.support.places import ROOT
from tests.support.processes import ended, failing
from tests.support.tiny_runs import parse


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."),
    ],
)
def test_out_of_memory_says_what_to_do(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(failing(error)) == 1
    said = capsys.readouterr().err
    assert (
        "out of memory; pass a smaller --budget_mib (now 2048)" in said and "Traceback" not in said
    )


def test_another_error_of_the_runtime_is_not_taken_for_it() -> None:
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        ended(failing(jax.errors.JaxRuntimeError("INTERNAL: broken")))


def test_unknown_settings_of_a_model_are_ignored_by_a_flag_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], restored_flags: None
) -> None:
    save_pretrained(tiny("gated"), tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quirk": 1, "other": 2}))

    def load(*flags: str) -> LanguageModel:
        parse(f"--model={file.parent}", *flags)
        return common.load_model()

    for given, message in {
        (): "settings .* computes: other = 2, quirk = 1; .* pass --assume_harmless=other,quirk",
        ("--assume_harmless=other",): ".*: quirk = 1; .* pass --assume_harmless=other,quirk",
        ("--assume_harmless=qirk",): "--assume_harmless names 'qirk': .* has no such setting",
        ("--assume_harmless=hidden_size",): "--assume_harmless names 'hidden_size': negjax reads",
    }.items():

        def program(_: Sequence[str], flags: tuple[str, ...] = given) -> int:
            load(*flags)
            return 0

        assert ended(program) == 2
        told = capsys.readouterr().err
        assert re.match(f"error: .*{message}", told.splitlines()[-1])
        assert "assume_harmless=[" not in told
    lm = load("--assume_harmless=quirk,other")
    recorded = {"assume_harmless": ["other", "quirk"]}
    plain = dataclasses.replace(lm, assumed_harmless=())
    assert common.model_settings(lm) == common.model_settings(plain) | recorded
    with store.open_to_measure(tmp_path / "run", {}, {}, attributes={}) as folder:
        summary = provenance.about_program(lm, folder, complete=True, loading=1.0)
        without = provenance.about_program(plain, folder, complete=True, loading=1.0)
    assert summary["model"] == without["model"] | recorded
    shown, plainly = (
        report.html_page(report.Document("", "", [page_parts.run_section(told, [])]), {})
        for told in (summary, without)
    )
    assert "other, quirk: settings of the model" in shown
    assert "Assumed harmless" not in plainly


def test_a_precision_is_refused_by_its_flag_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], restored_flags: None
) -> None:
    save_pretrained(tiny("gated"), tmp_path / "model")

    def load(*flags: str) -> LanguageModel:
        parse(f"--model={tmp_path / 'model'}", *flags)
        return common.load_model()

    for given, message in {
        "high": "--precision is 'high', expected one of auto, float32, x6, tf32_x3, x3, tf32, bf",
        "x3": r"--precision=x3: this device \(cpu\) does not compute .*; pass --precision=float32",
        "bfloat16": r"--precision=bfloat16: this device \(cpu\) does not compute one product in bf",
    }.items():

        def program(_: Sequence[str], given: str = given) -> int:
            load(f"--precision={given}")
            return 0

        assert ended(program) == 2
        assert re.match(f"error: {message}", capsys.readouterr().err)
    for requested in ("auto", "float32"):
        lm = load(f"--precision={requested}")
        # What decides the numbers: a run goes on, however the same products were asked for.
        assert common.model_settings(lm)["precision"] == "highest"
        with store.open_to_measure(tmp_path / requested, {}, {}, attributes={}) as folder:
            model = provenance.about_program(lm, folder, complete=True, loading=1.0)["model"]
        assert (model["precision"], model["requested_precision"]) == ("highest", requested)


def test_an_interruption_outside_the_measurements_loses_nothing_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(failing(KeyboardInterrupt())) == 130
    assert "the same command goes on from what was measured and saved" in capsys.readouterr().err


def test_an_interruption_at_the_progress_bar_is_one_of_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = {"x": store.ArraySpec(shape=(2,), dtype="float64", axes=("item",), meaning="a number")}

    def measured(item: int) -> common.Values:
        return (slice(item, item + 1),), {"x": np.ones(1)}

    work = [common.Work(str(i), 1, functools.partial(measured, i)) for i in range(2)]

    def interrupted(progress: measuring.Measuring, **_: Any) -> None:
        if progress.done:
            raise KeyboardInterrupt

    monkeypatch.setattr(measuring.Measuring, "draw", interrupted)
    with store.open_to_measure(tmp_path, {}, specs, attributes={}) as folder:
        assert not common.measure_all(folder, work, "item")
        assert list(folder.finished) == ["0"]


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ValueError, match="set XDG_CACHE_HOME, or pass --compilation_cache"):
        program_cache.own_folder()


def test_processors_are_counted_where_affinities_are_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert provenance.cpus() == os.cpu_count()


def settings(lm: LanguageModel, prompt: str = "w3 w4") -> dict[str, Any]:
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["test"])
    probes = negjax.encode(lm, [prompt], ["w5"])
    inputs = facts.Inputs(
        lm=lm,
        probes=probes,
        rows=(0,),
        source="typed",
        source_sha256="",
        skipped=(),
        seconds=0.0,
    )
    return facts.input_settings(inputs)


def test_a_run_is_known_by_all_that_decides_what_is_computed() -> None:
    lm = tiny("gated")
    same = settings(lm)
    assert same == settings(tiny("gated"))
    assert same != settings(lm, "w4 w3")
    other = dataclasses.replace(lm.config, norm_eps=2 * lm.config.norm_eps)
    # The weights are the same, what they compute is not.
    assert same != settings(dataclasses.replace(lm, config=other))
    probes = negjax.encode(lm, ["w3 w4"], ["w5"])
    longer = dataclasses.replace(
        probes,
        tokens=np.insert(probes.tokens, 0, 1, axis=1),
        mask=np.insert(probes.mask, 0, True, axis=1),
        read=probes.read + 1,
    )
    # As from a tokenizer that begins every text with a token of its own: the text is the same.
    assert probes_key(probes) != probes_key(longer)


@pytest.mark.parametrize(("ci", "left_out"), [("", True), ("1", False)])
def test_tests_of_delivered_references_are_left_out_only_outside_ci(
    tmp_path: Path, ci: str, left_out: bool
) -> None:
    clone = tmp_path / "clone"
    for name in ("tests/__init__.py", "tests/support/__init__.py", "tests/support/shared_data.py"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text((ROOT / name).read_text(encoding="utf-8"))
    code = "from tests.support import shared_data; print(shared_data.EXPECTED)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=clone,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(not left_out)
    assert "export CI=1" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
