"""The study of many neurons at once, from flags to folder, on tiny models."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

import negjax
from experiments.multi_neuron import program as multi_neuron
from experiments.multi_neuron.sets import CHOICES
from experiments.reporting import statistics
from experiments.running import study
from negjax.storage import store
from tests.support import tiny_runs
from tests.support.block_shapes import tiny
from tests.support.pages import Page
from tests.support.places import FLAGFILES
from tests.support.tiny_runs import arguments, columns, summary, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and a table, as a user has them."""
    path = tmp_path_factory.mktemp("inputs")
    return write_inputs(path, 6, gated=tiny("gated"), bert=tiny("bert"))


def parse(folder: Path, output: Path, *more: str) -> None:
    few = ("--prompts=2", "--largest=8", "--magnitudes=1,2")
    tiny_runs.parse(*arguments(folder, output, *few, *more))


def test_the_study_agrees_with_the_library(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parse(folder, tmp_path)
    assert study.run(multi_neuron.prepare) == 0
    sets, neurons, about = columns(tmp_path, store.SETS), columns(tmp_path), summary(tmp_path)
    chosen = parquet.read_table(tmp_path / store.PROMPTS).to_pydict()
    lm = negjax.load(folder / "gated")
    for number in range(2):
        probes = negjax.encode(lm, [chosen["text"][number]], [chosen["answer"][number]])
        gradients = negjax.neurgrad(lm, probes)
        for choice in CHOICES:
            mine = (neurons["prompt"] == number) & (neurons["choice"] == choice)
            own = np.stack([neurons["layer"][mine], neurons["neuron"][mine]], axis=-1)
            at = tuple(own.T)
            neg = negjax.neg(lm, probes, own, 2.0, 0.2).slope[0]
            np.testing.assert_allclose(neurons["neg"][mine], neg, rtol=1e-4, atol=1e-8)
            gradient = gradients.neurgrad[0, 0][at]
            np.testing.assert_allclose(neurons["gradient"][mine], gradient, rtol=1e-4, atol=1e-9)
            # Of a draw, the first neurons; with one sign, all of them by the same shift.
            some = (sets["prompt"] == number) & (sets["choice"] == choice)
            some &= (sets["draw"] == 0) & (sets["signs"] == "same")
            asked = list(zip(sets["size"][some], sets["shift"][some], strict=True))
            made = negjax.neuron_sets(lm.config, [(own[:n], x) for n, x in asked])
            expected = {
                "predicted_neg": [neg[:n].sum() * x for n, x in asked],
                "predicted_gradient": [gradient[:n].sum() * x for n, x in asked],
            }
            added = negjax.joint(lm, probes, made, spread=True)
            assert added.kl is not None and added.entropy is not None
            expected |= {"change_added": added.change()[0], "kl_added": added.kl[0]}
            expected |= {"entropy_added": added.entropy[0]}
            activation = gradients.activation[0][at]
            s = np.where(activation > 0, 1, -1)
            held = negjax.neuron_sets(
                lm.config, [(own[:n], activation[:n] + s[:n] * x) for n, x in asked]
            )
            clamped = negjax.joint(lm, probes, held, clamp=True)
            expected |= {"change_clamped": clamped.change()[0]}
            for name, values in expected.items():
                found = sets[name][some]
                scale = np.abs(values).max()
                assert np.abs(found - values).max() < 2e-5 * scale, (name, choice)
    assert about["sets_measured"] == len(sets["size"])
    assert about["neurons_measured"] == len(neurons["neg"]) == 2 * (3 * 8 + 2 * 8)
    told = {
        (a["choice"], a["variant"], a["size"]): a
        for a in about["additivity"]
        if a["magnitude"] is None
    }
    some = (sets["choice"] == "top") & (sets["size"] == 8)
    r = statistics.correlation(sets["predicted_neg"][some], sets["change_clamped"][some])
    assert told["top", "clamped", 8]["predictions"]["neg"]["pearson"] == pytest.approx(r)
    assert told["top", "clamped", 8]["sets"] == some.sum()
    page = Page((tmp_path / store.REPORT).read_text(encoding="utf-8"))
    assert len(page.images) == 4
    assert {p.stem for p in (tmp_path / store.FIGURES).iterdir()} == {
        "additivity",
        "magnitudes",
        "effects",
        "sums",
    }
    tables = {p.stem for p in (tmp_path / store.TABLES).iterdir()}
    assert tables == {"paper", "by_signs", "additivity"}
    printed = capsys.readouterr().out
    assert re.search(r"^layer +1 +\d+ ", printed, re.MULTILINE)
    assert printed.endswith(f"report: {tmp_path / store.REPORT}\n")


@pytest.mark.usefixtures("undrawn")
def test_small_shifts_add_up_and_one_layer_has_no_upstairs(folder: Path, tmp_path: Path) -> None:
    small = ("--magnitudes=0.025,0.05", "--neg_radius=0.05", "--neg_step=0.025")
    parse(folder, tmp_path, *small)
    assert study.run(multi_neuron.prepare) == 0
    for found in summary(tmp_path)["additivity"]:
        if found["variant"] == "added":
            for told in found["predictions"].values():
                assert told["explained"] > 0.99, found
                assert told["slope"] == pytest.approx(1, abs=0.05), found
    sets = columns(tmp_path, store.SETS)
    layer = sets["choice"] == "layer"
    difference = np.abs(sets["change_added"] - sets["change_clamped"])
    assert difference[layer].max() < 2e-7
    assert difference[~layer].max() > 1e-4


@pytest.mark.usefixtures("undrawn")
def test_a_masked_model_additively(folder: Path, tmp_path: Path) -> None:
    parse(
        folder,
        tmp_path,
        f"--model={folder / 'bert'}",
        "--prompt_column=masked",
        "--convention=additive",
        "--choices=top,layer",
        "--signs=random",
        "--draws=1",
    )
    assert study.run(multi_neuron.prepare) == 0
    sets, neurons, about = columns(tmp_path, store.SETS), columns(tmp_path), summary(tmp_path)
    assert (about["site"], about["convention"]) == ("act", "additive")
    assert set(sets["choice"]) == {"top", "layer"} and set(sets["signs"]) == {"random"}
    lm = negjax.load(folder / "bert")
    chosen = parquet.read_table(tmp_path / store.PROMPTS).to_pydict()
    probes = negjax.encode(lm, chosen["text"], chosen["answer"])
    at = neurons["prompt"], neurons["layer"], neurons["neuron"]
    computed = negjax.neurgrad(lm, probes).computed[:, 0][at]
    np.testing.assert_allclose(neurons["gradient"], computed, rtol=1e-4, atol=1e-9)


@pytest.mark.usefixtures("undrawn")
def test_finished_groups_are_not_measured_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--choices=random,top", "--largest=4", "--signs=same", "--draws=1")
    parse(folder, tmp_path / "whole", *more)
    assert study.run(multi_neuron.prepare) == 0
    calls: list[int] = []
    measure = negjax.joint

    def interrupted_joint(*args: Any, **options: Any) -> negjax.Joint:
        calls.append(len(args[2]))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure(*args, **options)

    parse(folder, tmp_path / "broken", *more)
    monkeypatch.setattr(negjax, "joint", interrupted_joint)
    assert study.run(multi_neuron.prepare) == 130
    partial = summary(tmp_path / "broken")
    assert (partial["complete"], partial["prompts_measured"]) == (False, 1)
    assert {a["choice"] for a in partial["additivity"]} == {"random"}
    assert "was interrupted" in (tmp_path / "broken" / store.REPORT).read_text(encoding="utf-8")
    assert study.run(multi_neuron.prepare) == 0
    # Each of the four groups calls it twice, the broken one began anew.
    assert len(calls) == 4 + 2 * 3
    for name in (store.SETS, store.NEURONS):
        whole, broken = columns(tmp_path / "whole", name), columns(tmp_path / "broken", name)
        assert whole.keys() == broken.keys()
        for column, values in whole.items():
            np.testing.assert_array_equal(broken[column], values, err_msg=column)
    parse(folder, tmp_path / "broken", *more, "--largest=8")
    with pytest.raises(ValueError, match=r"other settings \(largest was 4, now 8\); pass another"):
        study.run(multi_neuron.prepare)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--largest=61", r"--largest=61: .*gated has 60 neurons"),
        ("--choices=top,best", r"--choices=top,best: expected some of random, even, layer, top, e"),
        ("--choices=top,top", r"--choices=top,top: expected some of .*, each once"),
        ("--choices=", r"--choices=: expected some of"),
        ("--signs=plus", r"--signs=plus: expected some of same, random, each once"),
        ("--magnitudes=1,-2", r"--magnitudes=1,-2: expected numbers above 0"),
        ("--magnitudes=", r"--magnitudes=: expected 1 or more different numbers, none 0"),
        ("--magnitudes=1,x", r"--magnitudes=1,x: could not convert"),
        ("--neg_radius=0", r"--neg_radius=0.*: expected a number above 0"),
        ("--neg_step=3", r"step is 3 and .*radius 2: expected 0 < step ≤ radius"),
        ("--neg_pairs=11", r"pairs=11: the grid has 10"),
        ("--site=act", r"site 'act'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, more: str, message: str
) -> None:
    parse(folder, tmp_path / "run", more)
    with pytest.raises(ValueError, match=message):
        study.run(multi_neuron.prepare)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name", ["multi_neuron_quick", "multi_neuron_paper", "multi_neuron_facts_bert"]
)
def test_flag_files_go_as_far_as_the_paper(name: str) -> None:
    tiny_runs.parse(f"--flagfile={FLAGFILES / name}.flags")
    assert multi_neuron.FLAGS.read().largest == 4096
