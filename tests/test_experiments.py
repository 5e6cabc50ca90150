"""The experiments, from flags to folder, on tiny models: numbers, resumption, refusals."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from absl import flags
from absl.testing import flagsaver
from pyarrow import parquet

import negjax
from experiments import common, linearity, neg_map
from negjax import store
from negjax.export import save_pretrained
from negjax.probes import encode
from tests.block_shapes import tiny
from tests.test_report import Page

ROOT = Path(__file__).parents[1]
FLAGFILES = (
    "quickstart",
    "linearity_quick",
    "linearity_paper",
    "linearity_masked",
    "linearity_facts_bert",
    "neg_map_quick",
    "neg_map_paper",
)
PROMPTS = [f"w{i} w{i + 1} w{i + 2}" for i in range(2, 14)]
ANSWERS = [f"w{i}" for i in range(5, 17)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and tables, as a user has them."""
    path = tmp_path_factory.mktemp("inputs")
    for shape in ("gated", "bert"):
        save_pretrained(tiny(shape), path / shape)
    lines = [f"{p},{a},{p} [MASK] w2" for p, a in zip(PROMPTS, ANSWERS, strict=True)]
    (path / "facts.csv").write_text("\n".join(["prompt,answer,masked", *lines]))
    mixed = ["prompt,answer", "w3 w4,w5 w6", "w3 w5,w7", "w3 w6,unknown", "w9 w2,w8"]
    (path / "mixed.csv").write_text("\n".join(mixed))
    return path


@pytest.fixture(autouse=True)
def restored_flags() -> Iterator[None]:
    with flagsaver.flagsaver():
        yield


def arguments(folder: Path, output: Path, *more: str) -> list[str]:
    return [
        f"--model={folder / 'gated'}",
        f"--probes={folder / 'facts.csv'}",
        f"--output={output}",
        "--compilation_cache=none",
        *more,
    ]


def parse(*arguments: str) -> None:
    flags.FLAGS(["experiment", *arguments])


def summary(output: Path) -> dict[str, Any]:
    found = json.loads((output / store.SUMMARY).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"experiments.{name}", *arguments]


def columns(output: Path) -> dict[str, np.ndarray]:
    table = parquet.read_table(output / store.NEURONS)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def test_linearity_agrees_with_the_library(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parse(*arguments(folder, tmp_path, "--prompts=4", "--neurons=5", "--measure=both", "--range=4"))
    assert linearity.main() == 0
    found, about = columns(tmp_path), summary(tmp_path)
    chosen = parquet.read_table(tmp_path / store.PROMPTS).to_pydict()
    assert chosen["text"] == [PROMPTS[row] for row in chosen["table_row"]]
    lm = negjax.load(folder / "gated")
    probes = encode(lm, chosen["text"], chosen["answer"])
    neurons = np.stack([found["layer"], found["neuron"]], axis=-1).reshape(4, 5, 2)
    curve = negjax.response(lm, probes, neurons, 4.0)
    swept = negjax.sweep(lm, probes, neurons, negjax.paper_grid(4.0, 0.2))
    gradients = negjax.neurgrad(lm, probes)
    for name, fit in (
        ("", negjax.linear_fit(curve, negjax.paper_grid(2.0, 0.2))),
        ("grid_", negjax.linear_fit(swept, within=2.0)),
    ):
        np.testing.assert_allclose(found[f"{name}neg_2"], fit.slope.ravel(), rtol=1e-3, atol=1e-8)
        np.testing.assert_allclose(found[f"{name}pearson_2"], fit.pearson.ravel(), atol=1e-3)
    rows = np.arange(4)[:, None]
    expected = gradients.neurgrad[rows, 0, neurons[..., 0], neurons[..., 1]]
    np.testing.assert_allclose(found["neurgrad"], expected.ravel(), rtol=1e-5, atol=1e-9)
    assert [s["radius"] for s in about["ranges"]["response"]] == [0.2, 0.5, 1, 2, 4]
    assert about["ranges"]["grid"][0]["every"]["linear"] is None
    assert about["series_against_grid"]["neurons"] == about["neurons_measured"] == 20
    assert about["model"]["fingerprint"] == lm.fingerprint
    assert about["complete"] is True
    page = Page((tmp_path / store.REPORT).read_text(encoding="utf-8"))
    assert len(page.images) == 5
    assert {p.stem for p in (tmp_path / store.FIGURES).iterdir()} == {
        "linearity",
        "layers",
        "predictions",
        "gallery",
        "noise",
    }
    printed = capsys.readouterr().out
    assert "±2      20" in printed
    assert printed.endswith(f"report: {tmp_path / store.REPORT}\n")


def test_the_grid_alone_has_its_noise_measured_too(folder: Path, tmp_path: Path) -> None:
    parse(
        *arguments(folder, tmp_path, "--prompts=2", "--neurons=all", "--measure=grid"),
        "--range=1",
        "--step=0.5",
        "--convention=additive",
        "--site=product",
    )
    assert linearity.main() == 0
    found, about = columns(tmp_path), summary(tmp_path)
    assert len(found["layer"]) == 2 * 3 * 20
    assert (found["noise"] > 0).all()
    assert list(about["ranges"]) == ["grid"]
    assert (about["site"], about["convention"]) == ("product", "additive")
    # For small shifts the additive slope is CG.
    told = about["ranges"]["grid"][0]["predictions"]
    assert told["computed"]["mae"] < told["neurgrad"]["mae"]
    group = zarr.open_group(tmp_path / store.ARRAYS, mode="r")
    assert set(group.array_keys()) >= {"probability", "unshifted", "shifts"}
    assert "coefficients" not in set(group.array_keys())


def test_a_masked_model_is_asked_at_its_mask(folder: Path, tmp_path: Path) -> None:
    parse(
        f"--flagfile={ROOT / 'experiments/flagfiles/linearity_masked.flags'}",
        *arguments(folder, tmp_path, "--prompts=3", "--neurons=4", "--range=2"),
        f"--model={folder / 'bert'}",
    )
    assert linearity.main() == 0
    about = summary(tmp_path)
    assert (about["site"], about["model"]["family"]) == ("act", "bert")
    assert all(
        "[MASK]" in text
        for text in parquet.read_table(tmp_path / store.PROMPTS)["text"].to_pylist()
    )


def test_every_neuron_is_mapped(folder: Path, tmp_path: Path) -> None:
    parse(*arguments(folder, tmp_path, "--prompt=w3 w4", "--answer=w5"))
    assert neg_map.main() == 0
    found, about = columns(tmp_path), summary(tmp_path)
    lm = negjax.load(folder / "gated")
    probes = encode(lm, ["w3 w4"], ["w5"])
    swept = negjax.sweep(lm, probes, negjax.all_neurons(lm.config), np.asarray([-2.0, -1, 1, 2]))
    np.testing.assert_allclose(
        found["neg"], negjax.linear_fit(swept).slope[0], rtol=1e-4, atol=1e-8
    )
    assert about["maps"][0]["layers"] == [0, 1, 2]
    top = about["maps"][0]["strongest"][0]
    at = np.argmax(np.abs(found["neg"]))
    assert (top["layer"], top["neuron"]) == (found["layer"][at], found["neuron"][at])
    assert len(Page((tmp_path / store.REPORT).read_text(encoding="utf-8")).images) == 2


def test_some_layers_of_some_prompts_are_mapped(folder: Path, tmp_path: Path) -> None:
    parse(*arguments(folder, tmp_path, "--prompts=2", "--every=2", "--shifts=1,-1"))
    assert neg_map.main() == 0
    found = columns(tmp_path)
    assert sorted(set(found["layer"])) == [0, 2]
    assert len(found["layer"]) == 2 * 2 * 20
    assert summary(tmp_path)["shifts"] == [-1, 1]


def test_unusable_prompts_are_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    base = arguments(folder, tmp_path / "a", f"--probes={folder / 'mixed.csv'}", "--neurons=2")
    parse(*base, "--prompts=0")
    assert linearity.main() == 0
    about = summary(tmp_path / "a")
    assert about["prompts"]["asked"] == 2
    reasons = {entry["row"]: entry["reason"] for entry in about["prompts"]["left_out"]}
    assert "target 'w5 w6' of row 0 is 2 tokens" in reasons[0]
    assert "target 'unknown' of row 2" in reasons[2]
    report = (tmp_path / "a" / store.REPORT).read_text(encoding="utf-8")
    assert "2 prompts of the table were left out" in report
    parse(*base, "--prompts=0", "--noskip_unusable", f"--output={tmp_path / 'b'}")
    with pytest.raises(ValueError, match=r"mixed.csv: target '.*' of row \d"):
        linearity.main()
    assert not (tmp_path / "b").exists()


def test_finished_groups_are_not_measured_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--prompts=4", "--neurons=3", "--group=2", "--range=2")
    parse(*arguments(folder, tmp_path / "whole", *more))
    assert linearity.main() == 0
    asked: list[int] = []
    measure = negjax.response

    def interrupted_response(*args: Any, **options: Any) -> negjax.Response:
        asked.append(len(args[1]))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return measure(*args, **options)

    parse(*arguments(folder, tmp_path / "broken", *more))
    monkeypatch.setattr(negjax, "response", interrupted_response)
    assert linearity.main() == 130
    partial = summary(tmp_path / "broken")
    assert (partial["complete"], partial["prompts_measured"]) == (False, 2)
    assert "was interrupted" in (tmp_path / "broken" / store.REPORT).read_text(encoding="utf-8")
    assert linearity.main() == 0
    assert asked == [2, 2, 2]
    whole, broken = columns(tmp_path / "whole"), columns(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(broken[name], values, err_msg=name)
    parse(*arguments(folder, tmp_path / "broken", *more), "--seed=1")
    with pytest.raises(
        ValueError, match=r"other settings \(.*seed was 0, now 1\); pass another --"
    ):
        linearity.main()


def started(folder: Path, output: Path) -> subprocess.Popen[str]:
    """A run of many groups in a process of its own, some of them finished."""
    more = ("--prompts=12", "--neurons=30", "--group=1")
    # A shell's background jobs, and what they start, ignore SIGINT.
    heeding = "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    wrapper = [sys.executable, "-c", f"import os, signal, sys; {heeding}"]
    process = subprocess.Popen(
        [*wrapper, *command("linearity", *arguments(folder, output, *more))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        progress = output / store.PROGRESS
        if progress.exists() and len(json.loads(progress.read_text())["seconds"]) >= 3:
            break
        time.sleep(0.01)
    return process


def test_a_killed_run_is_continued(folder: Path, tmp_path: Path) -> None:
    process = started(folder, tmp_path / "killed")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    finished = json.loads((tmp_path / "killed" / store.PROGRESS).read_text())["seconds"]
    assert 3 <= len(finished) < 13
    assert not (tmp_path / "killed" / store.SUMMARY).exists()
    more = ("--prompts=12", "--neurons=30", "--group=1")
    for name in ("killed", "whole"):
        parse(*arguments(folder, tmp_path / name, *more))
        assert linearity.main() == 0
    kept = summary(tmp_path / "killed")["seconds"]["measure"]
    assert {name: kept[name] for name in finished} == finished
    killed, whole = columns(tmp_path / "killed"), columns(tmp_path / "whole")
    for name, values in whole.items():
        np.testing.assert_array_equal(killed[name], values, err_msg=name)


def test_an_interrupted_run_reports_what_it_has(folder: Path, tmp_path: Path) -> None:
    process = started(folder, tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    saved = re.search(r"interrupted: (\d+) of 13 groups are saved in .*goes on from there", err)
    assert saved is not None
    assert summary(tmp_path)["prompts_measured"] == int(saved[1]) - 1
    assert "report: " in out
    assert "Traceback" not in err


def test_float64_has_less_noise_and_bad_input_is_one_line(folder: Path, tmp_path: Path) -> None:
    more = ("--prompts=2", "--neurons=3", "--range=2", "--dtype=float64", "--output=run")
    cache = f"--compilation_cache={tmp_path / 'cache'}"
    found = subprocess.run(
        command("linearity", *arguments(folder, tmp_path, *more), cache),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
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
    assert refused.stderr.startswith("error: 'nowhere' is no directory, no file")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--neurons=some"], r"--neurons=some: expected a number, or all"),
        (["--neurons=61"], r"61 neurons a prompt: expected 1 to 60"),
        (["--step=3", "--range=2"], r"shift step 3.0 and range 2.0: expected 0 < step"),
        (["--range=inf"], r"--range=inf: expected a finite number"),
        (["--prompts=13"], r"--prompts=13: facts.csv has 12; pass 1 to 12, or 0 for all"),
        (["--prompt_column=text"], r"facts.csv: no column 'text'"),
        (["--probes=none.csv"], r"none.csv: no such file"),
        (["--site=act"], r"site 'act'"),
        (["--answer_column=masked"], r"none of the 12 prompts of facts.csv can be asked"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    parse(*arguments(folder, tmp_path / "run"), *more)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        linearity.main()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--shifts=1,two"], r"--shifts=1,two: could not convert"),
        (["--shifts=1,0"], r"--shifts=1,0: expected 2 or more different numbers, none 0"),
        (["--shifts=1,1,2"], r"--shifts=1,1,2: a number is named twice"),
        (["--prompt=w3"], r"--prompt and --answer belong together"),
        (["--prompt=w3", "--answer=w4 w5"], r"target 'w4 w5' of row 0 is 2 tokens"),
    ],
)
def test_bad_maps_are_refused(folder: Path, tmp_path: Path, more: list[str], message: str) -> None:
    parse(*arguments(folder, tmp_path / "run"), *more)
    with pytest.raises(ValueError, match=message):
        neg_map.main()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--range=-1", "range"),
        ("--nodes=3", "nodes"),
        ("--measure=both,grid", "measure"),
        ("--budget_mib=0", "budget_mib"),
        ("--seed=-1", "seed"),
        ("--dtype=float16", "dtype"),
        ("--neuron=3", "neuron"),
    ],
)
def test_impossible_flags_are_refused_by_name(flag: str, message: str) -> None:
    with pytest.raises(flags.Error, match=message):
        parse(flag)


def test_every_flag_says_what_it_is() -> None:
    text = flags.FLAGS.get_help()
    for name in common_and_own_flags():
        described = re.search(rf"--(\[no\])?{name}: (.*)", text)
        assert described is not None, name
        assert len(described[2]) > 10, name


def common_and_own_flags() -> list[str]:
    defined = flags.FLAGS.flags_by_module_dict()
    modules = (
        "experiments.common",
        "experiments.curves",
        "experiments.linearity",
        "experiments.neg_map",
    )
    return [flag.name for module in modules for flag in defined[module]]


@pytest.mark.parametrize("name", FLAGFILES)
def test_every_flag_file_is_understood(name: str) -> None:
    parse(f"--flagfile={ROOT / 'experiments' / 'flagfiles' / name}.flags")
    assert common.output_folder("x") == Path("runs") / name
