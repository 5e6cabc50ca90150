"""The bench: its processes, its arithmetic, and the whole study among its cases."""

import dataclasses
import importlib.util
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from absl import flags
from safetensors.numpy import load_file, save_file

import negjax
from experiments.bench import processes as bench_processes
from experiments.bench import program as bench
from experiments.bench import study as bench_study
from experiments.bench import table as bench_table
from experiments.bench.cases import CASES, COMPILING, Case, Goal, arithmetic, case_arrays, judged
from experiments.bench.processes import measure
from experiments.bench.study import STUDIES
from negjax.model.language_model import LanguageModel
from negjax.storage import store
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import tiny

NAMED = {case.name: case for case in CASES}


def arrays_of(case: Case, lm: LanguageModel) -> dict[str, np.ndarray]:
    """A case on a tiny model: prompts of seven tokens, of which five may be a common head."""
    generator = np.random.default_rng(0)
    tokens = generator.integers(2, 24, (case.prompts, 7))
    tokens[:, :5] = tokens[0, :5]
    neurons = negjax.random_neurons(lm.config, 6, 1, 0)[0]
    return {
        "tokens": tokens,
        "mask": np.ones_like(tokens, bool),
        # No prompt is asked for a token twice.
        "targets": np.asarray(
            [generator.permutation(np.arange(2, 24))[: case.targets] for _ in range(case.prompts)]
        ),
        "neurons": neurons,
        "shifts": negjax.paper_grid(1.0, 0.5) if case.neurons else np.ones(1),
    }


def lay_out(folder: Path, case: Case) -> tuple[LanguageModel, dict[str, np.ndarray]]:
    """The folder as bench makes it for its processes."""
    lm = tiny("gated")
    save_pretrained(lm, folder / "model")
    arrays = arrays_of(case, lm)
    save_file(arrays, folder / f"{case.name}.safetensors")
    return lm, arrays


def test_a_process_measures_what_negjax_answers(tmp_path: Path) -> None:
    case = NAMED["sweep_32"]
    lm, arrays = lay_out(tmp_path, case)
    found = measure(tmp_path, case, ["negjax"], 2)["negjax"]
    assert len(found["all_seconds"]) == len(found["rates"]) == 2
    assert 0 < found["seconds"] == min(found["all_seconds"]) < found["first"]
    assert min(found["rates"]) > 1e9 and 1e8 < found["peak_bytes"] < 8e9
    answer = load_file(tmp_path / "sweep_32_negjax.safetensors")["probability"]
    probes = negjax.encode(lm, ["w3"], ["w5"])
    probes = dataclasses.replace(
        probes,
        tokens=arrays["tokens"],
        mask=arrays["mask"],
        read=arrays["mask"].sum(1) - 1,
        target_ids=arrays["targets"][..., None],
    )
    expected = negjax.sweep(lm, probes, arrays["neurons"], arrays["shifts"]).probability[0]
    np.testing.assert_allclose(answer, expected, rtol=1e-5)


class Canned:
    """A process that answers without working."""

    def __init__(self, folder: Path, case: Case, tool: str, *_: object) -> None:
        self.seconds = {"serial": 9.0, "best": 1.0, "negjax": 0.5}[tool]

    def __enter__(self) -> "Canned":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> dict[str, float]:
        return {"first": 2 * self.seconds, "taken": 2 * self.seconds}

    def ask(self) -> dict[str, float]:
        return {"seconds": self.seconds, "taken": self.seconds, "rate": 1e9}

    def finish(self) -> dict[str, float]:
        return {"peak_bytes": 5}


@pytest.mark.parametrize(
    ("tools", "seconds", "rounds"),
    [
        # As many as asked for; until they have taken long enough, together; never more than that.
        (["negjax"], 0.0, {"negjax": 2}),
        (["best", "negjax"], 7.0, {"best": 5, "negjax": 5}),
        (["negjax"], 3600.0, {"negjax": bench_processes.MOST_ROUNDS}),
        # A baseline that takes long is measured once.
        (["serial", "negjax"], 12.0, {"serial": 1, "negjax": 6}),
    ],
)
def test_short_work_is_measured_more_often(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tools: list[str],
    seconds: float,
    rounds: dict[str, int],
) -> None:
    monkeypatch.setattr(bench_processes, "_Child", Canned)
    found = measure(tmp_path, NAMED["neurgrad_35_1"], tools, 2, seconds)
    assert {tool: len(run["all_seconds"]) for tool, run in found.items()} == rounds
    assert {tool: len(run["rates"]) for tool, run in found.items()} == rounds
    assert found["negjax"]["seconds"] == 0.5 and found["negjax"]["peak_bytes"] == 5


def test_what_failed_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"negjax on lpi_35 failed:[\s\S]*lpi_35.safetensors"):
        measure(tmp_path, NAMED["lpi_35"], ["negjax"], 1)


def test_inputs_are_as_long_as_said(smollm2: LanguageModel) -> None:
    for name in ("sweep_32", "features_440_4"):
        case = NAMED[name]
        arrays = case_arrays(smollm2, case)
        lengths = arrays["mask"].sum(1)
        assert len(lengths) == case.prompts and abs(np.median(lengths) - case.tokens) < 20
        assert arrays["targets"].shape == (case.prompts, case.targets)
    same = (arrays["tokens"] == arrays["tokens"][0]).all(0)
    assert abs(int(np.argmin(same)) - case.head) < 20


def test_arithmetic_counts_the_products() -> None:
    lm = tiny("gated")
    c = lm.config
    case = NAMED["sweep_32"]
    arrays = arrays_of(case, lm)
    rows, vocabulary = len(arrays["shifts"]), 2 * c.width * c.vocab_size
    # Nothing lies above the last layer but the vocabulary.
    arrays["neurons"] = np.array([[c.layers - 1, 0]])
    assert arithmetic(lm, case, arrays) == rows * vocabulary
    arrays["neurons"] = np.array([[c.layers - 2, 0]])
    weights = 2 * c.width * c.head_width * (c.heads + c.kv_heads) + 3 * c.width * c.neurons
    attention = 2 * c.heads * c.head_width * 7
    assert arithmetic(lm, case, arrays) == rows * (vocabulary + 2 * (weights + attention))
    lpi = 2 * c.layers * c.neurons * c.width * c.vocab_size
    assert arithmetic(lm, NAMED["lpi_35"], arrays) == lpi


@pytest.mark.parametrize(
    ("name", "serial_bytes", "ratio", "memory"),
    [
        ("neurgrad_35_4", 9e9, "4.0 (4)", "9.00 GB, 2.00 GB, 2.00 GB"),
        ("neurgrad_440_4", 1e10, "**4.0 (6.5)**", "10.00 GB, 2.00 GB, 2.00 GB; 5.0 × (5)"),
        ("neurgrad_440_4", 9e9, "**4.0 (6.5)**", "9.00 GB, 2.00 GB, 2.00 GB; **4.5 × (5)**"),
    ],
)
def test_the_table_says_ratios_and_what_was_wanted(
    name: str, serial_bytes: float, ratio: str, memory: str
) -> None:
    lm = tiny("gated")
    case = NAMED[name]
    run = {"rates": [1e11], "peak_bytes": 2e9}
    found = {
        "serial": run | {"seconds": 8.0, "peak_bytes": serial_bytes},
        "best": run | {"seconds": 1.5},
        "negjax": run | {"seconds": 2.0},
    }
    lines = bench_table.markdown_table(
        lm,
        [case],
        {case.name: arrays_of(case, lm)},
        {case.name: found},
        {case.name: {"serial": 2e-5, "best": 1e-5}},
        {"neurgrad": {"cold": 4.0, "cached": 1.0}},
        {},
    )
    row = next(line for line in lines if line.startswith(f"| {case.what}"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:4] == ["1 s", "0.188 s", "0.25 s"]
    assert cells[4:7] == [ratio, "0.75", "–"]
    assert cells[7:] == [memory, "2e-05, 1e-05"]
    told = "4.0 s (at most 10) in a first process, 1.0 s in a second"
    assert any(told in line for line in lines)


@pytest.mark.parametrize("reached", [True, False])
def test_every_goal_is_judged(reached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures far better than wanted, or far worse: what misses its goal is bold."""
    lm = tiny("gated")
    better = 1e3 if reached else 1e-3
    monkeypatch.setattr(bench_table, "arithmetic", lambda *given: 1e9)
    theirs = {"rates": [1e9], "peak_bytes": 1e9, "seconds": better}
    ours = {"rates": [1e9], "peak_bytes": 1e9 / better, "seconds": 1 / better, "beside": [1.0]}
    found: dict[str, dict[str, Any]] = {
        case.name: {tool: ours if tool == "negjax" else theirs for tool in case.tools}
        for case in CASES
    }
    lines = bench_table.markdown_table(
        lm,
        list(CASES),
        {case.name: arrays_of(case, lm) for case in CASES},
        found,
        {case.name: {} for case in CASES},
        {kind: {"cold": 10 / better, "cached": 1.0} for kind in COMPILING},
        {"median": 1e-3 / better, "95%": 1e-2 / better},
    )
    goals = [goal for case in CASES for goal in case.wanted] + list(COMPILING.values())
    told = [f"({'at most ' if goal.at_most else ''}{goal.value:g})" for goal in goals]
    figures = re.findall(r"(\((?:at most )?[\d.]+\))(\*\*)?", "\n".join(lines[2:]))
    assert [bold == "" for _, bold in figures] == [reached] * len(goals)
    assert Counter(text for text, _ in figures) == Counter(told)


def test_no_number_is_a_miss() -> None:
    for goal in (Goal("one", 1.0), Goal("two", 1.0, at_most=True)):
        assert judged(goal, 1.0, "x").startswith("x (") and judged(None, 0.0, "x") == "x"
        assert judged(goal, np.nan, "x").startswith("**x (")


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


def start(*given: str) -> None:
    flags.FLAGS(["bench", *given])
    bench.main()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--cases=sweep_32,sweep_33"], "--cases=sweep_32,sweep_33: expected some of"),
        (["--cases="], "--cases=: expected some of"),
        (["--cases=sweep_32", "--notes=NOTES"], "lacks the lines"),
        (["--dtype=float64"], "--dtype=float64 has no effect on bench, whose work is fixed"),
        (["--precision=default"], "--precision=default has no effect on bench"),
        (["--site=product"], "--site=product has no effect on bench"),
        (["--budget_mib=100"], "--budget_mib=100 has no effect on bench"),
        (["--seed=1"], "--seed=1 has no effect on bench"),
        (["--overwrite"], "--overwrite=True has no effect on bench"),
    ],
)
@pytest.mark.usefixtures("restored_flags")
def test_refused(tmp_path: Path, given: list[str], message: str) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("no marks\n")
    with pytest.raises(ValueError, match=message):
        start(*(flag.replace("NOTES", str(notes)) for flag in given))


@pytest.mark.usefixtures("restored_flags")
def test_no_rounds_are_refused() -> None:
    with pytest.raises(flags.Error, match="repeats"):
        start("--repeats=0")


@pytest.mark.usefixtures("restored_flags")
def test_without_pytorch_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = r"need PyTorch: pip install -e '\.\[torch\]'; or .* --cases=ig_35,lpi_35,joint_32$"
    output = tmp_path / "run"
    with pytest.raises(ValueError, match=message):
        start("--cases=ig_35,sweep_32", f"--output={output}")
    assert not output.exists()


@pytest.mark.usefixtures("restored_flags")
def test_models_that_the_baselines_cannot_be_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there")
    measured = mock.Mock()
    monkeypatch.setattr(bench, "measure", measured)
    others = [tiny("gpt2"), tiny("gated", qkv_bias=True), tiny("gated", activation="gelu")]
    for lm in others:
        monkeypatch.setattr(negjax, "load", lambda name, lm=lm, **_: lm)
        message = rf"--model=smollm2-135m-instruct is of family '{lm.config.family}', expected"
        with pytest.raises(ValueError, match=message):
            start("--cases=sweep_32", f"--output={tmp_path}")
    measured.assert_not_called()
    for family in ("llama", "mistral"):
        bench._need_llama(tiny("gated", family=family))


@pytest.mark.usefixtures("restored_flags")
def test_elsewhere_than_on_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA the baselines run too, without goals; on TPUs there are none."""
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "there")
    compared = mock.Mock(return_value=[])
    monkeypatch.setattr(bench, "_compare", compared)
    for backend, device in (("cpu", "cpu"), ("gpu", "cuda")):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        assert bench.device() == device
        start("--cases=sweep_32", f"--output={tmp_path / backend}")
        (case,) = compared.call_args.args[0]
        assert bool(case.wanted) == (backend == "cpu")
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    with pytest.raises(ValueError, match=r"run on CPUs and CUDA, not on 'tpu'; or measure negjax"):
        start("--cases=ig_35,sweep_32", f"--output={tmp_path / 'tpu'}")
    start("--cases=ig_35", f"--output={tmp_path / 'tpu'}")
