"""The study of estimators from flags to folder: whole runs on tiny models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl.testing import flagsaver
from pyarrow import parquet

import negjax
from experiments.estimators import program as estimators
from experiments.running import study
from negjax.estimators import ESTIMATORS
from negjax.execution.conventions import sign
from negjax.inputs.encoding import encode
from negjax.measurements.linearity import paper_grid
from negjax.measurements.writes import write_norms
from negjax.storage import store
from tests.support import tiny_runs
from tests.support.block_shapes import error, tiny
from tests.support.pages import Page
from tests.support.tiny_runs import arguments, columns, summary, write_inputs

# All runs have groups of one shape, and what they are compared with is computed prompt by prompt:
# shapes that come again are not compiled again.
SHAPE = ("--prompts=2", "--group=1", "--neurons=8", "--doses=1,0.5")
SHORT = (*SHAPE, "--methods=cg,neurgrad,ablation", "--range=2", "--top=3")
WHOLE = (*SHAPE, "--range=4", "--dosed_prompts=2")


pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and a table, as a user has them."""
    path = tmp_path_factory.mktemp("inputs")
    return write_inputs(path, gated=tiny("gated"), bert=tiny("bert"))


def parse(folder: Path, output: Path, *more: str) -> None:
    tiny_runs.parse(*arguments(folder, output, *more))


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all estimators, 2 prompts × 8 neurons, all neurons of both prompts dosed."""
    output = tmp_path_factory.mktemp("whole")
    with flagsaver.flagsaver():
        parse(folder, output, *WHOLE, "--top=3", "--small_quantile=0.5")
        assert study.run(estimators.prepare) == 0
    return output


def of_the_run(folder: Path, output: Path) -> tuple[Any, Any, np.ndarray, dict[str, np.ndarray]]:
    chosen = parquet.read_table(output / store.PROMPTS).to_pydict()
    lm = negjax.load(folder / "gated")
    found = columns(output, store.NEURONS)
    neurons = np.stack([found["layer"], found["neuron"]], axis=-1).reshape(2, 8, 2)
    return lm, encode(lm, chosen["text"], chosen["answer"]), neurons, found


def test_sampled_neurons_agree_with_the_library(folder, whole):
    lm, probes, neurons, table = of_the_run(folder, whole)
    for number in range(2):
        one, own = probes.select([number]), neurons[number]
        found = {name: values[8 * number : 8 * number + 8] for name, values in table.items()}
        fit = negjax.linear_fit(negjax.response(lm, one, own, 4.0), paper_grid(2.0, 0.2))
        np.testing.assert_allclose(found["neg_2"], fit.slope[0], rtol=1e-3, atol=1e-8)
        for method in ESTIMATORS:
            every = negjax.estimate(lm, one, method)[0, 0][tuple(own.T)]
            assert error(found[f"estimate_{method}"], every) < 2e-5, method
        bend = negjax.curvature(lm, one, own)
        predicted = negjax.linear_range(bend.first, bend.second, 0.05)[0]
        np.testing.assert_allclose(found["predicted_range"], predicted, rtol=1e-3)
        np.testing.assert_allclose(found["computed"], bend.first[0], rtol=1e-5)
    assert (table["measured_range"] <= 4).all() and (table["measured_range"] > 0).any()


def test_the_summary_is_of_the_table(whole):
    about, found = summary(whole), columns(whole, store.NEURONS)
    assert [entry["radius"] for entry in about["agreement"]["signed"]] == [0.2, 0.5, 1, 2, 4]
    told = {c: about["agreement"][c][3]["estimates"] for c in ("signed", "additive")}
    slope, direction = found["neg_2"], sign(found["activation"])
    for name, value in (("cg", found["estimate_cg"]), ("neurgrad", found["estimate_neurgrad"])):
        for convention, own in (("signed", slope), ("additive", slope * direction)):
            one = told[convention][name]
            assert one["pearson"] == pytest.approx(np.corrcoef(value, own)[0, 1])
            assert one["mae"] == pytest.approx(np.abs(value - own).mean())
            assert one["same_sign"] == pytest.approx(np.mean(np.sign(value) == np.sign(own)))
    # The correction is the convention: each is the other under the other convention.
    assert told["signed"]["neurgrad"]["mae"] == pytest.approx(told["additive"]["cg"]["mae"])
    assert told["signed"]["cg"]["mae"] > 3 * told["signed"]["neurgrad"]["mae"]
    assert {name for name, one in told["signed"].items() if one["mae"] is None} == {
        *("ig", "lpi", "lpi_per_unit", "relp", "cgxa", "ablation"),
    }
    assert set(about["seconds_a_prompt"]) == set(ESTIMATORS)
    assert all(value > 0 for value in about["seconds_a_prompt"].values())
    assert about["thirds"]["most bent"]["cg"]["neurons"] == 5
    assert about["complete"] is True


def test_every_dosed_neuron_is_in_the_table(folder, whole):
    lm, probes, _, _ = of_the_run(folder, whole)
    found = columns(whole, store.DOSES)
    assert len(found["layer"]) == 2 * 60
    row = 60 + 27
    assert (found["prompt"][row], found["layer"][row], found["neuron"][row]) == (1, 1, 7)
    one = probes.select([1])
    norms = write_norms(lm, one)
    unit = norms.residual[0, 1] / norms.write[0, 1, 7]
    assert found["dose_unit"][row] == pytest.approx(unit, rel=1e-6)
    shifts = unit * np.asarray([-1.0, -0.5, 0.5, 1.0])
    swept = negjax.sweep(lm, one, np.asarray([[1, 7]]), shifts, spread=True)
    assert swept.kl is not None and swept.entropy is not None and swept.top_token is not None
    for name, values, limit in (
        ("change", swept.change(), 1e-6),
        ("kl", swept.kl, 1e-5),
        ("entropy", swept.entropy, 1e-5),
        ("top_token", swept.top_token, 0),
    ):
        own = [found[f"{name}_{dose}"][row] for dose in ("-1", "-0.5", "+0.5", "+1")]
        np.testing.assert_allclose(own, values[0, 0], atol=limit, err_msg=name)
    for method in ESTIMATORS:
        each = [negjax.estimate(lm, probes.select([b]), method)[0, 0] for b in range(2)]
        every = np.stack(each).ravel()
        assert error(found[f"estimate_{method}"], every) < 2e-5, method
    doses = summary(whole)["dosed"]["doses"]
    assert [entry["dose"] for entry in doses] == [0.5, 1]
    for entry in doses:
        hidden = found[f"hidden_{entry['dose']:g}"]
        assert entry["hidden"] == hidden.sum()
        assert entry["large_effect"] == 2


def test_the_report_and_the_printed_tables(folder, whole, capsys):
    page = Page((whole / store.REPORT).read_text(encoding="utf-8"))
    assert len(page.images) == 5
    text = "".join(page.text)
    names = {p.stem for p in (whole / store.FIGURES).iterdir()}
    assert names == {"estimates", "agreement", "ranges", "tangents", "doses"}
    # Everything is finished: the same command measures nothing and prints the tables again.
    before = summary(whole)["seconds"]["measure"]
    parse(folder, whole, *WHOLE, "--top=3", "--small_quantile=0.5")
    assert study.run(estimators.prepare) == 0
    assert summary(whole)["seconds"]["measure"] == before
    printed = capsys.readouterr().out
    for said in (
        "NeurGrad's correction is the signed convention",
        "of the 3 largest of 8 neurons; by chance 37.5%",
    ):
        assert said in text
    for reported in ("−0.891", "0.9998", "2.6e−05", "0.647", "19.3"):
        assert reported in text
    headline, _, lead, *_ = printed.splitlines()
    assert ": 2 prompts, 16 neurons" in headline and lead.rstrip() in " ".join(text.split())
    assert "in units of P, LPI in units of log" in text
    tables = {p.stem for p in (whole / store.TABLES).iterdir()}
    # Nothing is hidden here, and a table without rows is not shown.
    assert tables == {"agreement", "paper", "ranges", "check", "thirds", "doses", "ranks"}
    assert printed.endswith(f"report: {whole / store.REPORT}\n")


@pytest.mark.usefixtures("undrawn")
def test_thresholds_are_read_without_measuring_anew(folder, whole):
    before = summary(whole)
    parse(folder, whole, *WHOLE, "--top=5", "--large_quantile=0.5")
    assert study.run(estimators.prepare) == 0
    after = summary(whole)
    assert after["seconds"]["measure"] == before["seconds"]["measure"]
    assert [d["large_divergence"] for d in after["dosed"]["doses"]] == [60, 60]
    assert after["top"] == 5


@pytest.mark.usefixtures("undrawn")
def test_a_run_under_the_other_convention_gives_the_same_tables(folder, tmp_path):
    for convention in ("signed", "additive"):
        output = tmp_path / convention
        parse(folder, output, *SHORT, f"--convention={convention}")
        assert study.run(estimators.prepare) == 0
    first, second = summary(tmp_path / "signed"), summary(tmp_path / "additive")
    for convention in ("signed", "additive"):
        for one, other in zip(
            first["agreement"][convention], second["agreement"][convention], strict=True
        ):
            for name, told in one["estimates"].items():
                assert other["estimates"][name]["pearson"] == pytest.approx(
                    told["pearson"], abs=1e-3
                )
    signed, additive = (columns(tmp_path / c, store.DOSES) for c in ("signed", "additive"))
    negative = signed["activation"] <= 0
    np.testing.assert_allclose(
        np.where(negative, signed["kl_-1"], signed["kl_+1"]), additive["kl_+1"], rtol=1e-3
    )


@pytest.mark.usefixtures("undrawn")
def test_a_masked_model(folder, tmp_path):
    more = ("--prompt_column=masked", "--dosed_every=2")
    parse(folder, tmp_path, *SHORT, *more, f"--model={folder / 'bert'}")
    assert study.run(estimators.prepare) == 0
    about, found = summary(tmp_path), columns(tmp_path, store.DOSES)
    assert (about["site"], about["model"]["family"]) == ("act", "bert")
    assert sorted(set(found["layer"])) == [1]
    told = about["agreement"]["signed"][0]["estimates"]
    assert told["neurgrad"]["pearson"] > 0.999 > told["cg"]["pearson"]


@pytest.mark.usefixtures("undrawn")
def test_an_interrupted_run_goes_on(folder, tmp_path, monkeypatch):
    parse(folder, tmp_path / "whole", *SHORT)
    assert study.run(estimators.prepare) == 0
    asked: list[str] = []
    estimate = negjax.estimate

    def interrupted(*args: Any, **options: Any) -> np.ndarray:
        asked.append(args[2])
        if len(asked) == 6:
            raise KeyboardInterrupt
        return estimate(*args, **options)

    monkeypatch.setattr(negjax, "estimate", interrupted)
    parse(folder, tmp_path / "broken", *SHORT)
    assert study.run(estimators.prepare) == 130
    partial = summary(tmp_path / "broken")
    assert (partial["complete"], partial["prompts_measured"]) == (False, 1)
    assert partial["dosed"]["doses"] == []
    page = (tmp_path / "broken" / store.REPORT).read_text(encoding="utf-8")
    assert "was interrupted" in page and "No layer was dosed" in page
    assert not (tmp_path / "broken" / store.DOSES).exists()
    assert study.run(estimators.prepare) == 0
    # The first group's methods are called twice, to be timed; what was cut off is called again.
    assert asked == ["cg", "cg", "neurgrad", "neurgrad", "cg", "neurgrad", "neurgrad"]
    for name in (store.NEURONS, store.DOSES):
        once, again = columns(tmp_path / "whole", name), columns(tmp_path / "broken", name)
        assert once.keys() == again.keys()
        for column, values in once.items():
            np.testing.assert_array_equal(again[column], values, err_msg=column)


def test_nothing_finished_is_nothing_reported(folder, tmp_path, monkeypatch):
    def interrupted(*args: Any, **options: Any) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr(negjax, "curvature", interrupted)
    parse(folder, tmp_path, *SHORT)
    assert study.run(estimators.prepare) == 130
    assert not (tmp_path / store.SUMMARY).exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--methods=neurgrad,shap"],
            r"--methods=neurgrad,shap: expected some of cg, neurgrad, ig",
        ),
        (["--methods=cg,ig"], r"--methods=cg,ig: neurgrad must be among them"),
        (["--methods=neurgrad,neurgrad"], r"--methods=neurgrad,neurgrad: .*, each once"),
        (["--doses=1,-1"], r"--doses=1,-1: expected numbers above 0"),
        (["--doses=1,two"], r"--doses=1,two: could not convert"),
        (["--doses=1,1"], r"--doses=1,1: a number is named twice"),
        (["--doses=inf"], r"--doses=inf: expected 1 or more different numbers, none 0"),
        (["--tolerance=0"], r"--tolerance=0.0: expected a number above 0"),
        (["--prompts=2", "--dosed_prompts=3"], r"--dosed_prompts=3: the run has 2 prompts; pass 1"),
        (["--neurons=some"], r"--neurons=some: expected a number, all, or a table of neurons"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(folder, tmp_path, more, message):
    parse(folder, tmp_path / "run", *more)
    with pytest.raises(ValueError, match=message):
        study.run(estimators.prepare)
    assert not (tmp_path / "run").exists()


def test_lpi_of_several_tokens_is_refused_by_flag(folder, tmp_path):
    (tmp_path / "joint.csv").write_text("prompt,answer\nw3 w4,w5 w6\nw4 w5,w7 w2")
    parse(folder, tmp_path / "run", "--target_mode=all", f"--probes={tmp_path / 'joint.csv'}")
    with pytest.raises(ValueError, match=r"--target_mode=first, or --methods=cg,neurgrad,ig,relp"):
        study.run(estimators.prepare)
