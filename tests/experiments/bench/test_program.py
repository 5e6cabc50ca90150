"""What the bench refuses, and where it runs."""

import importlib.util
from pathlib import Path
from unittest import mock

import jax
import pytest
from absl import flags

import negjax
from experiments.bench import program as bench
from tests.support.block_shapes import tiny


def start(*given: str) -> None:
    flags.FLAGS(["bench", *given])
    bench.main()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--cases=sweep_32,sweep_33"], "--cases=sweep_32,sweep_33: expected some of"),
        (["--cases="], "--cases=: expected some of"),
        (["--cases=sweep_32", "--page=PAGE"], "--page=.*lacks the lines <!-- bench: start -->"),
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
    page = tmp_path / "page.md"
    page.write_text("no marks\n")
    with pytest.raises(ValueError, match=message):
        start(*(flag.replace("PAGE", str(page)) for flag in given))


@pytest.mark.usefixtures("restored_flags")
def test_no_rounds_are_refused() -> None:
    with pytest.raises(flags.Error, match="repeats"):
        start("--repeats=0")


@pytest.mark.usefixtures("restored_flags")
def test_without_pytorch_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = (
        r"need PyTorch: pip install -e '\.\[torch\]'; or .* --cases=neg_32,ig_35,lpi_35,joint_32$"
    )
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
