"""The study of linearity, from flags to folder, on tiny models."""

from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.polynomial import chebyshev
from pyarrow import parquet

import negjax
from experiments.inputs import facts
from experiments.linearity import program as linearity
from experiments.running import study
from negjax.inputs.encoding import encode
from negjax.storage import store
from tests.support.block_shapes import tiny
from tests.support.pages import Page
from tests.support.places import FLAGFILES
from tests.support.tiny_runs import PROMPTS, arguments, columns, parse, summary, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and tables, as a user has them."""
    path = tmp_path_factory.mktemp("inputs")
    mixed = ["prompt,answer", "w3 w4,w5 w6", "w3 w5,w7", "w3 w6,unknown", "w9 w2,w8"]
    (path / "mixed.csv").write_text("\n".join(mixed))
    return write_inputs(path, gated=tiny("gated"), bert=tiny("bert"))


def test_linearity_agrees_with_the_library(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parse(*arguments(folder, tmp_path, "--prompts=4", "--neurons=5", "--measure=both", "--range=4"))
    assert study.run(linearity.prepare) == 0
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
    # What a reader points at is what was measured.
    [given] = page.data
    explored = {n: np.frombuffer(b64decode(t), "<f4") for n, t in given["arrays"].items()}
    for name, column in {"across": "neurgrad", "up": "neg_2", "layer": "layer"}.items():
        np.testing.assert_allclose(explored[name], found[column], rtol=1e-6)
    series = explored["coefficients"].reshape(20, -1).T
    np.testing.assert_allclose(
        chebyshev.chebval(np.asarray([-0.5, 0.25]), series).reshape(4, 5, 2),
        curve(np.asarray([-2.0, 1.0])),
        rtol=1e-4,
    )
    asked = [given["prompts"][int(at)]["text"] for at in explored["prompt"]]
    assert asked == [text for text in chosen["text"] for _ in range(5)]
    assert {p.stem for p in (tmp_path / store.FIGURES).iterdir()} == {
        "linearity",
        "layers",
        "predictions",
        "gallery",
        "noise",
    }
    tables = {p.name for p in (tmp_path / store.TABLES).iterdir()}
    assert tables == {
        f"{name}.{ending}"
        for name in ("ranges_response", "ranges_grid", "comparison", "paper")
        for ending in ("csv", "parquet")
    }
    # The page links to each of its files.
    files = [path for name in (store.TABLES, store.FIGURES) for path in (tmp_path / name).iterdir()]
    assert sorted(page.links) == sorted(str(path.relative_to(tmp_path)) for path in files)
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
    assert study.run(linearity.prepare) == 0
    found, about = columns(tmp_path), summary(tmp_path)
    assert len(found["layer"]) == 2 * 3 * 20
    assert (found["noise"] > 0).all()
    assert list(about["ranges"]) == ["grid"]
    assert (about["site"], about["convention"]) == ("product", "additive")
    assert Page((tmp_path / store.REPORT).read_text(encoding="utf-8")).data == []
    # For small shifts the additive slope is CG.
    told = about["ranges"]["grid"][0]["predictions"]
    assert told["computed"]["mae"] < told["neurgrad"]["mae"]
    group = zarr.open_group(tmp_path / store.ARRAYS, mode="r")
    assert set(group.array_keys()) >= {"probability", "unshifted", "shifts"}
    assert "coefficients" not in set(group.array_keys())


def test_a_masked_model_is_asked_at_its_mask(folder: Path, tmp_path: Path) -> None:
    parse(
        f"--flagfile={FLAGFILES / 'linearity_masked.flags'}",
        *arguments(folder, tmp_path, "--prompts=3", "--neurons=4", "--range=2"),
        f"--model={folder / 'bert'}",
    )
    assert study.run(linearity.prepare) == 0
    about = summary(tmp_path)
    assert (about["site"], about["model"]["family"]) == ("act", "bert")
    assert all(
        "[MASK]" in text
        for text in parquet.read_table(tmp_path / store.PROMPTS)["text"].to_pylist()
    )


def test_neurons_of_a_table_are_measured_at_every_prompt(folder: Path, tmp_path: Path) -> None:
    chosen = [[2, 7], [0, 3]]
    table = negjax.save_neurons(tmp_path / "chosen.csv", chosen, [0.5, float("nan")])
    more = ("--prompts=2", "--range=2", f"--neurons={table}")
    parse(*arguments(folder, tmp_path / "run", *more))
    assert study.run(linearity.prepare) == 0
    found = columns(tmp_path / "run")
    assert found["layer"].tolist() == [2, 0, 2, 0] and found["neuron"].tolist() == [7, 3, 7, 3]
    # What the table holds is a setting: another one is another run.
    negjax.save_neurons(table, [[2, 8], [0, 3]], [0.0, 0.0])
    parse(*arguments(folder, tmp_path / "run", *more))
    with pytest.raises(
        ValueError, match=r"holds a run with other settings \(neurons: not the same\)"
    ):
        study.run(linearity.prepare)
    negjax.save_neurons(table, [[9, 8]], [0.0])
    with pytest.raises(ValueError, match=r"--neurons=.*chosen.csv: .*layer 9"):
        study.run(linearity.prepare)


def test_text_between_prompt_and_answer_is_a_flag(folder: Path, tmp_path: Path) -> None:
    def asked(*more: str) -> facts.Inputs:
        parse(*arguments(folder, tmp_path, "--prompts=2", *more))
        return facts.load_inputs(1)

    usual, other = asked(), asked("--separator= w3 ", "--target_mode=all")
    prompts, answers = list(usual.probes.prompts), [targets[0] for targets in usual.probes.targets]
    expected = encode(usual.lm, prompts, answers, separator=" w3 ", target_mode="all")
    np.testing.assert_array_equal(other.probes.target_ids, expected.target_ids)
    assert other.probes.target_ids.shape != usual.probes.target_ids.shape


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[1]", r"^--template_options=\[1\]: expected a JSON object, such as"),
        ("{x", r"^--template_options=\{x: expected a JSON object: "),
        ('{"x": 1}', "template_options"),
    ],
)
def test_options_of_templates_are_json(
    folder: Path, tmp_path: Path, given: str, message: str
) -> None:
    parse(*arguments(folder, tmp_path, f"--template_options={given}"))
    with pytest.raises(ValueError, match=message):
        facts.load_inputs(1)


def test_unusable_prompts_are_left_out_and_named(folder: Path, tmp_path: Path) -> None:
    base = arguments(folder, tmp_path / "a", f"--probes={folder / 'mixed.csv'}", "--neurons=2")
    parse(*base, "--prompts=0")
    assert study.run(linearity.prepare) == 0
    about = summary(tmp_path / "a")
    assert about["prompts"]["asked"] == 2
    reasons = {entry["row"]: entry["reason"] for entry in about["prompts"]["left_out"]}
    assert "target 'w5 w6' of row 0 is 2 tokens" in reasons[0]
    assert "target 'unknown' of row 2" in reasons[2]
    report = (tmp_path / "a" / store.REPORT).read_text(encoding="utf-8")
    assert "Left out of the table: 2 prompts that" in report
    parse(*base, "--prompts=0", "--noskip_unusable", f"--output={tmp_path / 'b'}")
    with pytest.raises(ValueError, match=r"mixed.csv: target '.*' of row \d"):
        study.run(linearity.prepare)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--neurons=some"], r"--neurons=some: expected a number, all, or a table of neurons"),
        (["--neurons=61"], r"61 neurons a prompt: expected 1 to 60"),
        (["--step=3", "--range=2"], r"step is 3 and radius 2: expected 0 < step"),
        (["--range=inf"], r"--range=inf: expected a finite number"),
        (["--prompts=13"], r"--prompts=13: facts.csv has 12; pass 1 to 12, or 0 for all"),
        (
            ["--prompt_column=prompts"],
            r"no column 'prompts'; columns: .*; name yours with --prompt_column=prompt$",
        ),
        (["--probes=none.csv"], r"--probes=none.csv: path 'none.csv': no such file"),
        (["--site=act"], r"site 'act'"),
        (["--answer_column=masked"], r"none of the 12 prompts of facts.csv can be asked"),
        (["--model=BERT"], r"facts.csv can be asked .* \[MASK\].*; name their .*=masked, or other"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    masked = f"--model={folder / 'bert'}"
    parse(
        *arguments(folder, tmp_path / "run"),
        *(masked if flag == "--model=BERT" else flag for flag in more),
    )
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        study.run(linearity.prepare)
    assert not (tmp_path / "run").exists()
