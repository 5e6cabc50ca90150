"""The atlas of every neuron, from flags to pages, on a tiny model."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.polynomial import chebyshev

import negjax
from experiments.atlas import measuring, site_files
from experiments.atlas import program as atlas
from experiments.running import study
from negjax.inputs.encoding import encode
from negjax.storage import store
from tests.support.block_shapes import tiny
from tests.support.pages import Page
from tests.support.processes import ended
from tests.support.tiny_runs import (
    ANSWERS,
    PROMPTS,
    arguments,
    columns,
    parse,
    summary,
    undraw,
    write_inputs,
)

pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")

TEXTS = [" ".join(f"w{3 + (i + 2 * j) % 20}" for j in range(5)) for i in range(6)]
ASKED = (
    *("--sample_facts=2", "--strong_neurons=7", "--strong_facts=3", "--curve_range=2"),
    *("--neg_radius=1", "--top_tokens=3", "--top_contexts=2", "--top_neighbours=4"),
    "--top_facts=4",
)
NEURONS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a table of facts and one of texts, as a user has them."""
    path = write_inputs(tmp_path_factory.mktemp("inputs"), gated=tiny("gated"))
    (path / "texts.csv").write_text("\n".join(["text,group", *(f"{text},a" for text in TEXTS)]))
    return path


def run(folder: Path, output: Path, *more: str) -> int:
    parse(*arguments(folder, output, f"--contexts={folder / 'texts.csv'}", *ASKED, *more))
    return study.run(atlas.prepare)


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    from absl.testing import flagsaver

    output = tmp_path_factory.mktemp("runs") / "atlas"
    with flagsaver.flagsaver(), pytest.MonkeyPatch.context() as patch:
        undraw(patch)
        assert run(folder, output) == 0
    return output


def data(output: Path, name: str) -> Any:
    """What a data file hands to the page."""
    text = (output / store.ATLAS / "data" / f"{name}.js").read_text("ascii")
    found = re.fullmatch(r"atlasData\((\".*?\"), (.*)\);\n", text, re.DOTALL)
    assert found is not None and json.loads(found[1]) == name
    return json.loads(found[2])


def numbers(packed: Any) -> np.ndarray:
    kind = np.dtype(packed["kind"]).newbyteorder("<")
    return np.frombuffer(base64.b64decode(packed["data"]), kind).reshape(packed["shape"])


def shares(rounded: Any) -> np.ndarray:
    kind = rounded["shares"]["kind"]
    full = site_files.FULL[kind]
    return numbers(rounded["shares"]) / full * numbers(rounded["largest"])[..., None]


def by_layer(output: Path, name: str) -> np.ndarray:
    return np.concatenate([numbers(data(output, f"layer_{layer}")[name]) for layer in range(3)])


def test_slopes_are_those_of_the_library(folder: Path, made: Path) -> None:
    lm = negjax.load(folder / "gated")
    gradients = negjax.neurgrad(lm, encode(lm, PROMPTS, ANSWERS))
    slope = gradients.neurgrad.reshape(12, NEURONS)
    table, facts = data(made, "table"), data(made, "facts")
    strongest = np.abs(slope).argmax(0)
    assert (numbers(table["fact"]) == strongest).all()
    told = {name: numbers(packed) for name, packed in table["columns"].items()}
    np.testing.assert_allclose(told["slope"], slope[strongest, range(NEURONS)], rtol=1e-5)
    np.testing.assert_allclose(told["size"], np.abs(slope).mean(0), rtol=1e-5)
    np.testing.assert_allclose(told["raises"], (slope > 0).mean(0), atol=1e-6)
    np.testing.assert_allclose(
        numbers(facts["probability"]), gradients.probability[:, 0], rtol=1e-5
    )
    assert (numbers(facts["neurons"])[:, 0, 0] == slope.argmax(1)).all()
    assert (numbers(facts["neurons"])[:, 1, 0] == slope.argmin(1)).all()
    ids = by_layer(made, "fact")
    assert (ids[:, 0, 0] == slope.argmax(0)).all() and (ids[:, 1, 0] == slope.argmin(0)).all()
    values = np.concatenate([shares(data(made, f"layer_{layer}")["slope"]) for layer in range(3)])
    expected = np.take_along_axis(slope.T, ids.reshape(NEURONS, -1), 1)
    # Half a step of the largest of each neuron, as `rounded` says.
    assert (np.abs(values - expected) <= np.abs(expected).max(1, keepdims=True) / 65_000).all()
    relations = [shares(data(made, f"layer_{layer}")["relations"]) for layer in range(3)]
    np.testing.assert_allclose(np.concatenate(relations)[:, 0], slope.mean(0), rtol=1e-5)
    unit = slope / np.linalg.norm(slope, axis=0)
    likeness = np.abs(unit.T @ unit) - np.eye(NEURONS)
    cosine = by_layer(made, "cosine")
    np.testing.assert_allclose(np.abs(cosine), -np.sort(-likeness, axis=1)[:, :4], atol=1e-5)
    pairs = by_layer(made, "neighbour")[:, 0]
    np.testing.assert_allclose((unit * unit[:, pairs]).sum(0), cosine[:, 0], atol=1e-5)


def test_curves_and_neg_are_those_of_the_library(folder: Path, made: Path) -> None:
    lm = negjax.load(folder / "gated")
    probes = encode(lm, PROMPTS, ANSWERS)
    facts = numbers(data(made, "facts")["probability"])
    grid, wide = negjax.paper_grid(1.0, 0.2), np.linspace(-2, 2, 41)
    of_neuron = []
    for layer in range(3):
        held = data(made, f"layer_{layer}")
        first = numbers(held["first"])
        begins, largest = (numbers(held[f"change_{name}"]) for name in ("first", "largest"))
        of_neuron += np.diff(first).tolist()
        told = {n: numbers(held[f"curve_{n}"]) for n in ("fact", "slope", "neg", "pearson")}
        # Of three neurons of each layer all curves.
        for index in (0, 7, 19):
            for curve in range(first[index], first[index + 1]):
                fact = int(told["fact"][curve])
                response = negjax.response(lm, probes.select([fact]), [(layer, index)], 2.0)
                own = slice(begins[curve], begins[curve + 1])
                series = numbers(held["change"])[own] / 32767 * largest[curve]
                shown = facts[fact] + chebyshev.chebval(wide / 2, series)
                exact = response(wide)[0, 0]
                allowed = largest[curve] * series.size / 65_000 + 1e-6
                np.testing.assert_allclose(shown, exact, rtol=0, atol=allowed)
                fit = negjax.linear_fit(response, grid)
                assert told["neg"][curve] == pytest.approx(fit.slope[0, 0], rel=1e-3, abs=1e-7)
                assert told["pearson"][curve] == pytest.approx(fit.pearson[0, 0], abs=1e-3)
    # Each neuron has one, the seven strongest three.
    assert sorted(of_neuron) == [1] * 53 + [3] * 7
    sample = data(made, "about")["sample"]
    neurons = negjax.all_neurons(lm.config)
    neg = negjax.neg(lm, probes.select(sample), neurons, 1.0, 0.2)
    np.testing.assert_allclose(by_layer(made, "sample_neg").T, neg.slope, rtol=1e-4, atol=1e-8)
    near = np.concatenate(
        [shares(data(made, f"layer_{layer}")["sample_near"]) for layer in range(3)]
    )
    shifts = np.linspace(-1, 1, 9)
    shown = np.einsum("nsm,xm->snx", near, chebyshev.chebvander(shifts, near.shape[-1] - 1))
    largest = np.abs(neg.curve(shifts)).max()
    np.testing.assert_allclose(shown, neg.curve(shifts), rtol=0, atol=largest / 10_000)


def test_tokens_and_contexts_are_those_of_the_library(folder: Path, made: Path) -> None:
    lm = negjax.load(folder / "gated")
    known = negjax.corpus_statistics(lm, TEXTS, extremes=2)
    told = {name: numbers(packed) for name, packed in data(made, "table")["columns"].items()}
    np.testing.assert_allclose(told["firing"], known.firing.ravel(), atol=1e-6)
    np.testing.assert_allclose(told["mean"], known.mean.ravel(), atol=1e-5)
    shown = data(made, "contexts")["contexts"]
    exact = negjax.corpus.contexts(lm, known, TEXTS, negjax.all_neurons(lm.config), around=10)
    for own, expected in zip(by_layer(made, "context").tolist(), exact, strict=True):
        assert [shown[at] for at in own] == [[c.before, c.at, c.after] for c in expected]
    tokens = data(made, "tokens")
    written = numbers(tokens["written"])
    assert written.shape == (NEURONS, 2, 3)
    assert [lm.tokenizer.decode([token]) for token in tokens["ids"]] == tokens["texts"]
    assert (written[:, 0, 0] != written[:, 1, 0]).all()


def test_the_report_says_where_the_atlas_lies(made: Path) -> None:
    about, found = summary(made), columns(made)
    files = [file for file in (made / store.ATLAS).rglob("*") if file.is_file()]
    assert about["site_bytes"] == sum(file.stat().st_size for file in files)
    assert (about["neurons"], about["curves"]) == (NEURONS, NEURONS + 14)
    assert len(found["slope"]) == NEURONS and found["straight"].max() <= 2
    page = Page((made / store.REPORT).read_text(encoding="utf-8"))
    assert "atlas/index.html" in " ".join(page.text)


def test_a_run_goes_on_where_it_was_cut_off(
    folder: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undraw(monkeypatch)

    def cut(*_: object) -> Any:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "_curves", cut)
        assert run(folder, tmp_path) == 130
    kept = json.loads((tmp_path / "progress.json").read_text())["seconds"]
    assert len(kept) > 4 and not (tmp_path / store.ATLAS).exists()
    assert run(folder, tmp_path) == 0
    after = json.loads((tmp_path / "progress.json").read_text())["seconds"]
    assert kept.items() < after.items()
    for file in (made / store.ATLAS).rglob("*.*"):
        again = tmp_path / store.ATLAS / file.relative_to(made / store.ATLAS)
        assert again.read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--sample_facts=13"], "--sample_facts=13: 12 facts are asked; pass fewer, or more --pr"),
        (["--strong_facts=13"], "--strong_facts=13: 12 facts are asked"),
        (["--own_facts=4"], "--strong_facts=3 is less than --own_facts=4, which every neuron"),
        (["--contexts=nowhere.csv"], "texts 'nowhere.csv': no such file; expected a table, or shi"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    folder: Path,
    tmp_path: Path,
    more: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(lambda _: run(folder, tmp_path / "run", *more)) in (1, 2)
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {message}")
