"""The processes of the bench, what they are given, and their arithmetic."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import negjax
from experiments.bench import processes as bench_processes
from experiments.bench.cases import Case, arithmetic, case_arrays
from experiments.bench.processes import measure
from negjax.model.language_model import LanguageModel
from tests.support.bench_cases import NAMED, arrays_of, lay_out
from tests.support.block_shapes import tiny


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
