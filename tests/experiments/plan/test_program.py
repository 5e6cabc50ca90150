"""From flags to a plan, and what is refused."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest
from absl import flags

from experiments.plan import chips, here, program, validation
from experiments.plan.counting import Count, Product
from experiments.plan.report import amount, duration
from negjax.process.notices import Notice
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import GATED, tiny
from tests.support.tiny_runs import parse

pytestmark = pytest.mark.usefixtures("restored_flags")

SIZES = (
    *("--prompt_count=6", "--prompt_tokens=9", "--neurons_a_prompt=7", "--shift_count=4"),
    *("--few_shot_tokens=20", "--shared_tokens=12"),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_pretrained(tiny("gated"), folder)
    return folder / "config.json"


def plan(config: Path, output: Path, *more: str) -> dict[str, Any]:
    parse(f"--model={config}", f"--output={output}", *SIZES, *more)
    assert program.main() == 0
    found = json.loads((output / "plan.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_a_plan(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- mine: start -->\n<!-- mine: stop -->\nafter\n")
    with pytest.warns(Notice, match=r"six products .* on this h100 \(precision x6\)"):
        found = plan(config, tmp_path / "run", "--chip=h100", "--part=mine", f"--page={page}")
    assert found["parameters"] == tiny("gated").parameter_count
    assert found["parameter_bytes"] == found["held_bytes"] == 4 * found["parameters"]
    names = [row["name"] for row in found["estimates"]]
    assert [name.partition(",")[0] for name in names] == [
        *("NeurGrad", "linearity", "the same through 12 nodes"),
        *("exact NEG of every neuron", "features of MCEval8K"),
    ]
    for row in found["estimates"]:
        assert row["operations"] > 0 and row["moved"] > 0 and row["program_bytes"] > 0
        assert row["collective_bytes"] == row["streamed_bytes"] == 0
        assert row["seconds"] == row["arithmetic_seconds"]
    largest = max(row["program_bytes"] for row in found["estimates"])
    assert found["peak_bytes"] == found["held_bytes"] + largest and found["fits"]
    printed = capsys.readouterr().out
    assert (
        "165 TFLOP/s (bfloat16, 6 passes a float32 product; precision BF16_BF16_F32_X6)" in printed
    )
    assert f"all figures: {tmp_path / 'run' / 'plan.json'}" in printed
    text = page.read_text()
    assert text.startswith("before\n<!-- mine: start -->") and text.endswith("after\n")
    assert all(f"| {name} |" in text for name in names) and "NVIDIA H100" in text
    assert "derived" not in printed


@pytest.mark.slow
def test_a_mesh_divides_work_and_weights(config: Path, tmp_path: Path) -> None:
    whole = plan(config, tmp_path / "one", "--chip=v5e")
    found = plan(config, tmp_path / "four", "--chip=v5e", "--mesh=data:2,model:2")
    for one, four in zip(whole["estimates"], found["estimates"], strict=True):
        assert four["operations"] < 0.5 * one["operations"]
        assert four["collective_bytes"] > 0
        assert four["seconds"] == four["arithmetic_seconds"] + four["collective_seconds"]
    assert found["parameters"] == whole["parameters"]
    assert found["parameter_bytes"] < whole["parameter_bytes"]


def test_that_a_mesh_is_derived_is_said(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(config, tmp_path, "--chip=v5e", "--mesh=model:2")
    assert "derived, not compiled on a mesh" in capsys.readouterr().out


def test_streamed_weights(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--chip=h100", "--dtype=bfloat16", "--precision=float32")
    resident = plan(config, tmp_path / "a", *options)
    found = plan(config, tmp_path / "b", *options, "--weights=streamed")
    # Two of three layers' buffers stay.
    assert found["held_bytes"] == resident["held_bytes"] - found["layer_bytes"]
    assert all(row["streaming_seconds"] > 0 for row in found["estimates"])
    # 2 bytes a weight over the link take as long as 2 operations a token: by hand.
    assert found["covering_tokens"] == pytest.approx(2 / 64e9 * 67e12 / 2)
    assert "1,047 tokens or rows, 117 prompts of 9" in capsys.readouterr().out


def test_this_machine_is_measured(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "SECONDS", 0.0)
    monkeypatch.setattr(here, "FILE_BYTES", 2**20)
    found = plan(config, tmp_path)
    assert found["device"] == "this machine" and found["chip"] is None
    assert found["product_rate"] > 1e6 and found["host_link"] > 1e5
    assert all(row["seconds"] > 0 for row in found["estimates"])


def test_times_of_this_machine_are_those_of_its_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that make up 99% are measured; others take their mean rate, or the memory's."""
    sizes = [
        Product(batch=1, m=m, k=1, n=1, moved=moved) for m, moved in ((991, 1), (8, 1), (1, 9))
    ]
    count = Count(products=dict.fromkeys(sizes, 1.0), elementwise=50.0, taken=40.0)
    asked: list[Product] = []

    def seconds(product: Product, precision: str, taking: float) -> float:
        assert taking == 8.0
        asked.append(product)
        return 99.1

    monkeypatch.setattr(here, "elementwise_rate", lambda *sizes: 25.0)
    monkeypatch.setattr(here, "taking_rate", lambda *sizes: 8.0)
    monkeypatch.setattr(here, "memory_bandwidth", lambda: 3.0)
    monkeypatch.setattr(here, "product_seconds", seconds)
    rates = here.Here("highest", 1, 1, 1)
    # 0.1 s a row of the first and second, 9 bytes of the third, elementwise operations, and
    # matrices that are taken out of stacks.
    assert rates.seconds(count) == pytest.approx(99.1 + 0.8 + 3 + 2 + 5)
    assert asked == sizes[:1]
    assert rates.product_rate()[0] == sizes[0].operations / 99.1


def test_measured_products_take_longer_where_they_are_larger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(here, "SECONDS", 0.0)
    small, large = (Product(batch=1, m=m, k=m, n=m, moved=1) for m in (16, 512))
    batched = Product(batch=64, m=64, k=64, n=64, moved=1)
    sizes = small, batched, large
    every = [here.product_seconds(product, "highest", 1e12) for product in sizes]
    assert 0 < every[0] < every[2] and every[1] > 0
    # What is taken out is counted apart, but never more than half.
    assert 0 < here.product_seconds(large, "highest", 1.0) < every[2]
    assert here.taking_rate(256, 1024) > 1e8
    assert here.memory_bandwidth() > 1e8


def test_a_run_that_is_timed_is_compiled_before() -> None:
    delays = iter([0.2, 0.02, 0.01, 0.03])
    assert 0.01 <= here.fastest(lambda: time.sleep(next(delays, 0.08))) < 0.02


@pytest.mark.slow
def test_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(here, "SECONDS", 0.0)
    monkeypatch.setattr(here, "MOST_SIZES", 2)
    monkeypatch.setattr(here, "COPIED_BYTES", 2**16)
    case = validation.Case(name="small", neurons=5, shifts=4, layers=(1, 2), config=GATED)
    monkeypatch.setattr(validation, "CASES", (case,))
    page = tmp_path / "page.md"
    parse("--validate", f"--output={tmp_path}", f"--page={page}")
    assert program.main() == 0
    rows = json.loads((tmp_path / "plan.json").read_text())["models"]
    assert [row["work"] for row in rows] == [
        "NeurGrad, 16 prompts of 32 tokens",
        "sweep, 5 neurons × 4 shifts",
        "NEG of 40 neurons, 2 layers",
    ]
    assert all(row["predicted"] > 0 and row["measured"] > 0 for row in rows)
    within = [abs(row["predicted"] / row["measured"] - 1) <= 0.25 for row in rows]
    assert f"{sum(within)} of 3 predictions within 25% of what was" in capsys.readouterr().out
    assert "| small | NEG of 40 neurons, 2 layers |" in page.read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--chip=h10"], "--chip=h10: no such chip; did you mean .*h100"),
        (["--mesh=8"], "--mesh=8: expected axes and their sizes"),
        (["--mesh=model:2"], "--mesh=model:2: this machine is one device; name a chip with --chip"),
        (["--chip=h100", "--mesh=model:3"], "--mesh.*: model:3 divides 4 heads and .* unevenly"),
        (["--model=llama-9"], "--model=llama-9: no directory, no config.json"),
        (["--model=/nowhere/config.json"], "--model=/nowhere/config.json: .*no such file"),
        (["--neurons_a_prompt=61"], "--neurons_a_prompt=61: the model has 60 neurons"),
        (["--prompt_tokens=33"], "--prompt_tokens=33: the model's context is 32 tokens"),
        (["--few_shot_tokens=33"], "--few_shot_tokens=33: the model's context is 32 tokens"),
        (["--shared_tokens=19"], "--shared_tokens=19: .*expected at most 18"),
        (["--dtype=float64"], "--dtype=float64: plans are of float32 and bfloat16 weights"),
        (["--precision=exact"], "precision is 'exact', expected one of auto, float32"),
        (["--precision=x3"], r"precision=.x3.: .* \(cpu\) does not compute three products"),
        (["--chip=v5e", "--precision=tf32"], "precision=.tf32.: .*v5e.* does not compute one prod"),
        (["--seed=1"], "--seed=1 has no effect on plan, which computes nothing of the model"),
        (["--site=up"], "--site=up has no effect on plan"),
        (["--overwrite"], "--overwrite=True has no effect on plan"),
        (["--page=/nowhere/page.md"], "--page=/nowhere/page.md: /nowhere is no folder"),
    ],
)
def test_refused(config: Path, tmp_path: Path, given: list[str], message: str) -> None:
    parse(f"--model={config}", f"--output={tmp_path / 'run'}", *SIZES, *given)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        program.main()
    assert not (tmp_path / "run").exists()


def test_validation_refuses_what_it_does_not_read(tmp_path: Path) -> None:
    for name in program.UNREAD_BY_VALIDATION:
        value = flags.FLAGS[name].value
        text = ",".join(value) if isinstance(value, list) else value
        parse("--validate", f"--{name}={text}", f"--output={tmp_path / 'run'}")
        with pytest.raises(ValueError, match=f"--{name}=.* has no effect on plan --validate"):
            program.main()
        flags.FLAGS[name].present = 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "given",
    [
        *("--prompt_count=0", "--prompt_tokens=1", "--neurons_a_prompt=0", "--shift_count=0"),
        *("--node_count=3", "--few_shot_tokens=1", "--shared_tokens=-1", "--weights=here"),
    ],
)
def test_out_of_bounds(given: str) -> None:
    with pytest.raises(flags.Error, match=given.strip("-").partition("=")[0]):
        parse(given)


def test_amounts_and_durations() -> None:
    assert amount(0, "B") == "–" and duration(0) == "–"
    assert amount(17.25e9, "B") == "17.2 GB" and amount(999, "B") == "999 B"
    assert amount(6.9e18, "FLOP") == "6.90 EFLOP"
    told = [duration(s) for s in (0.0123, 9.4, 119, 150, 7300, 4 * 86400)]
    assert told == ["12.3 ms", "9.4 s", "119 s", "2.5 min", "2.03 h", "4 days"]


def test_a_plan_that_does_not_fit_says_so(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = dataclasses.replace(chips.CHIPS["h100"], memory=chips.Figure(1000.0, "made up"))
    monkeypatch.setattr(chips, "CHIPS", {"small": small})
    assert not plan(config, tmp_path, "--chip=small", "--precision=float32")["fits"]
    assert "of 1.00 kB: does not fit" in capsys.readouterr().out
