"""Runs beside each other and beside the paper: tiny runs of the experiments' own."""

import json
import re
import shutil
from pathlib import Path

import pytest
from absl.testing import flagsaver

from experiments import paper
from experiments.compare import program as compare
from experiments.linearity import program as linearity
from experiments.reporting.tables import written
from experiments.running import study
from negjax.storage import store
from tests.support.block_shapes import tiny
from tests.support.sharp_models import sharp
from tests.support.small_studies import STUDIES
from tests.support.tiny_runs import arguments, parse, summary, undraw, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags")

COMPARED = ("linearity", "estimators", "multi_neuron", "control")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: one of each experiment, of linearity one of a masked model as well."""
    inputs = tmp_path_factory.mktemp("inputs")
    write_inputs(inputs, gated=sharp("gated"), bert=tiny("bert"))
    output = tmp_path_factory.mktemp("runs")
    masked = [f"--model={inputs / 'bert'}", "--prompt_column=masked", "--range=1", "--prompts=3"]
    with flagsaver.flagsaver(), pytest.MonkeyPatch.context() as patch:
        undraw(patch)
        for name in COMPARED:
            run, more = STUDIES[name]
            parse(*arguments(inputs, output / name, "--prompts=2", *more))
            assert run() == 0
        parse(*arguments(inputs, output / "masked", *STUDIES["linearity"][1], *masked))
        assert study.run(linearity.prepare) == 0
    return output


def table(text: str) -> dict[str, list[str]]:
    """Cells of each row, by the name of the row; the heads under ''."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [line.strip("| ").split(" | ") for line in lines]
    names = [line.split(" | ")[0].strip("| ") for line in lines]
    return {name: row[-(len(rows[1]) - 1) :] for name, row in zip(names, rows, strict=True)}


def test_linearity_of_two_models(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parse(f"--output={tmp_path / 'table.md'}")
    assert compare.main([str(runs / "linearity"), str(runs / "masked")]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == printed
    first, second = summary(runs / "linearity"), summary(runs / "masked")
    found = table(printed)
    assert found[""] == ["gated, up", "bert, act", "the paper"]
    assert found["prompts"] == ["2", "3", "1,000"]
    assert found["NEG within"] == ["±2", "±1", "±2"]
    at_two, at_one = first["ranges"]["response"][-1], second["ranges"]["response"][-1]
    assert (at_two["radius"], at_one["radius"]) == (2, 1)
    share = f"{at_two['every']['linear']:.1%}"
    # The masked model was not swept so far.
    assert found["\\|r\\| ≥ 0.95, within ±2"] == [share, "—", "over 90%"]
    assert found["\\|r\\| ≥ 0.95, within ±1"][2] == "—"
    told = [written(at["predictions"]["computed"]["pearson"], ".4f") for at in (at_two, at_one)]
    assert found["CG, r"] == [*told, "−0.891 (BERT-base), 0.302 (Llama2-7B)"]
    assert all(len(row) == 3 for row in found.values())
    for run in (first, second):
        assert run["command"] in printed


def test_estimators_under_both_conventions(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parse()
    assert compare.main([str(runs / "estimators")]) == 0
    found, about = table(capsys.readouterr().out), summary(runs / "estimators")
    for convention in ("signed", "additive"):
        [told] = [e for e in about["agreement"][convention] if e["radius"] == 2]
        for name, label in (("cg", "CG"), ("neurgrad", "NeurGrad")):
            here, there = found[f"{label}, r, {convention}"]
            assert here == written(told["estimates"][name]["pearson"], ".4f")
            reported = paper.told(paper.ESTIMATORS[name].pearson)
            assert there == (reported if convention == "signed" else "—")
    assert found["CG, seconds a prompt"][1] == "0.149"
    assert found["NeurGrad, MAE, signed"][1] == "2.6e−05 (BERT-base)"
    [dose] = about["dosed"]["doses"]
    shown = f"{dose['hidden']} ({dose['by_chance']:.1f})"
    assert found["hidden controllers at ±1 (by chance)"] == [shown, "—"]
    assert not any(name.startswith("IG") for name in found)


def test_sets_by_choice_and_size(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside a copy, which only its folder tells apart, and which went to the paper's size."""
    shutil.copytree(runs / "multi_neuron", tmp_path / "copy")
    about = summary(runs / "multi_neuron")
    for told in about["additivity"]:
        told["size"] = paper.TOGETHER if told["size"] == 4 else told["size"]
    (tmp_path / "copy" / store.SUMMARY).write_text(json.dumps(about))
    parse()
    assert compare.main([str(runs / "multi_neuron"), str(tmp_path / "copy")]) == 0
    found = table(capsys.readouterr().out)
    assert found[""][:2] == [
        f"gated, up, {runs / 'multi_neuron'}",
        f"gated, up, {tmp_path / 'copy'}",
    ]
    [told] = [
        a["predictions"]["neg"]
        for a in summary(runs / "multi_neuron")["additivity"]
        if (a["choice"], a["variant"], a["size"], a["magnitude"]) == ("top", "added", 4, None)
    ]
    shown = f"{written(told['pearson'], '.3f')} ({written(told['explained'], '.3g')})"
    assert found["top: 4"] == [shown, "—", "—"]
    assert found["top: 4,096"] == ["—", shown, "≥ 0.7"]
    assert found["top: 4,096, each by ±2"][2] == "—"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"no runs: pass folders of finished runs, of one of linearity, estimators, multi"),
        (["nowhere"], r"nowhere is no folder of a run: it has no settings.json"),
        (["control"], r"control is a run of control, expected one of linearity, estimators"),
        (
            ["linearity", "estimators"],
            r"estimators is a run of estimators, .*linearity one of linearity; pass runs of one",
        ),
        (["linearity", "masked", "linearity"], r"linearity is named twice; pass each run once"),
        (["linearity", "begun"], r"begun is not finished; .*: it has no summary.json"),
        (
            ["interrupted"],
            r"interrupted is not finished; the command that began the run continues it",
        ),
        (["damaged"], r"damaged/summary.json is damaged: "),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(
    runs: Path, tmp_path: Path, names: list[str], message: str
) -> None:
    for name in {*names} & {"begun", "interrupted", "damaged"}:
        shutil.copytree(runs / "linearity", tmp_path / name)
        file = tmp_path / name / store.SUMMARY
        if name == "begun":
            file.unlink()
        elif name == "damaged":
            file.write_text("{")
        else:
            file.write_text(json.dumps(summary(runs / "linearity") | {"complete": False}))
    folders = [str(base / n) for n in names for base in (tmp_path, runs) if (base / n).exists()]
    parse(f"--output={tmp_path / 'table.md'}")
    with pytest.raises(ValueError, match=message):
        compare.main(folders or names)
    assert not (tmp_path / "table.md").exists()


def test_the_paper_has_one_place() -> None:
    """Its figures stand in no other file of the experiments."""
    own = Path(paper.__file__)
    for file in own.parent.glob("*.py"):
        if file != own:
            text = re.sub(r'"""(?s:.*?)"""', "", file.read_text(encoding="utf-8"))
            for figure in ("0.891", "0.9998", "0.814", "2.6e-05", "19.3", "over 90%"):
                assert figure not in text, (file.name, figure)
