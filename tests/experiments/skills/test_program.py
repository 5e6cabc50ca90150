"""The study of probes' accuracies, from flags to folder: numbers, resumption, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

import negjax
from experiments.inputs import benchmark_flags
from experiments.running import study
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies.accuracies import PROBES
from experiments.skills import program as experiment
from negjax import mceval8k, skills
from negjax.storage import store
from tests.support.pages import Page
from tests.support.places import FLAGFILES
from tests.support.skills_runs import TASKS, TEST, TRAIN, VALID, parse, rows_of, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags", "well_drawn")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "skills"
    with flagsaver.flagsaver():
        parse(inputs, output)
        assert study.run(experiment.prepare) == 0
    return output


def test_every_probe_is_asked_about_every_part(finished: Path) -> None:
    rows = rows_of(finished)
    asked = {(r["task"], r["split"], r["probe"], r["part"]) for r in rows}
    assert len(asked) == len(rows) == len(TASKS) * 2 * len(PROBES) * 3
    sizes = {"train": TRAIN, "valid": VALID, "test": TEST}
    for row in rows:
        assert row["tested"] == sizes[row["part"]] and row["trained"] == TRAIN
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1


def test_accuracies_are_those_of_scores_in_memory(inputs: Path, finished: Path) -> None:
    lm = negjax.load(inputs / "model")
    rows = {
        (r["task"], r["probe"], r["part"]): r for r in rows_of(finished) if r["split"] == "disjoint"
    }
    for name in TASKS:
        task = mceval8k.load(name, inputs / "benchmark")
        scores, probability, gold = {}, {}, {}
        for part, count in (("train", TRAIN), ("test", TEST)):
            items = mceval8k.first(getattr(task, part), count, task.labels)
            items = mceval8k.in_turns(items, task.labels)
            found = negjax.neurgrad(lm, mceval8k.encode_items(lm, items, task.labels))
            scores[part], probability[part] = found.neurgrad, found.probability
            gold[part] = np.asarray([item.label for item in items])
        for part in scores:
            right = (probability[part].argmax(1) == gold[part]).mean()
            assert rows[name, "lm_prob", part]["accuracy"] == right
            for probe, kind in (("polar", skills.Polar), ("magn", skills.Magn)):
                row = rows[name, probe, part]
                fitted = kind(row["neurons"]).fit(scores["train"], gold["train"])
                right = (fitted.predict(scores[part]) == gold[part]).mean()
                assert row["accuracy"] == right
            tree = skills.Tree(trees=3).fit(scores["train"], gold["train"])
            right = (tree.predict(scores[part]) == gold[part]).mean()
            assert rows[name, "tree", part]["accuracy"] == right


def test_probes_are_saved(finished: Path) -> None:
    saved = {file.name for file in (finished / store.SAVED_PROBES).iterdir()}
    kept = ("polar", "magn", "act", "tree", "linear")
    splits = ("disjoint", "original")
    assert saved == {f"{t}_{s}_{p}.safetensors" for t in TASKS for s in splits for p in kept}
    rows = rows_of(finished)
    for name in TASKS:
        probe = skills.load_probe(
            finished / store.SAVED_PROBES / f"{name}_original_polar.safetensors"
        )
        told = {
            r["neurons"]
            for r in rows
            if (r["task"], r["split"], r["probe"]) == (name, "original", "polar")
        }
        assert told == {len(probe.neurons)}


def test_the_report_shows_tables_and_figures(finished: Path) -> None:
    page = Page((finished / store.REPORT).read_text("utf-8"))
    headings = {"How much of a task do a model's neurons know?", "Accuracy", "Task by task", "leak"}
    assert headings <= set(page.text)
    summary = json.loads((finished / store.SUMMARY).read_text("utf-8"))
    assert summary["complete"] and summary["tasks"] == list(TASKS)
    assert summary["failed"] == {}
    assert any("Magn answers train by another rule" in text for text in page.text)
    means = summary["accuracy"]["disjoint"]["test"]
    rows = [r for r in rows_of(finished) if r["split"] == "disjoint" and r["part"] == "test"]
    for probe, mean in means.items():
        assert mean == pytest.approx(np.mean([r["accuracy"] for r in rows if r["probe"] == probe]))
    assert any(text.endswith("2 tasks: too few to say it of others.") for text in page.text)
    for name in ("accuracy", "layers"):
        assert (finished / store.FIGURES / f"{name}.svg").stat().st_size > 1000


def test_results_say_how_tasks_were_asked(inputs: Path, finished: Path) -> None:
    summary = json.loads((finished / store.SUMMARY).read_text("utf-8"))
    page = Page((finished / store.REPORT).read_text("utf-8"))
    prompts = {"train": TRAIN, "valid": VALID, "test": TEST}
    assert set(summary["asked"]) == set(TASKS)
    for name, (disjoint, original) in summary["asked"].items():
        for found, task in (
            (disjoint, mceval8k.load(name, inputs / "benchmark")),
            (original, mceval8k.load(name, inputs / "benchmark", split="original")),
        ):
            assert found == {
                "split": task.split,
                "template": task.template,
                "shots": 1,
                "seed": task.seed,
                "key": task.key,
                "language": None,
                "sizes": task.sizes,
                "prompts": prompts,
                "notes": list(task.notes),
            }
            for note in task.notes:
                assert f"{name}, {task.split} parts: {note}" in page.text
        assert disjoint["template"].startswith(name) and disjoint["notes"] != original["notes"]
        [file] = (finished / store.TASKS).glob(f"{name}-*.json")
        assert json.loads(file.read_text("utf-8"))["asked"] == [disjoint, original]


def test_a_second_run_measures_nothing(
    inputs: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of(finished)
    parse(inputs, finished)
    monkeypatch.setattr(skills_inputs, "measure", pytest.fail)
    assert study.run(experiment.prepare) == 0
    assert rows_of(finished) == before


def test_an_interrupted_run_goes_on(
    inputs: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse(inputs, tmp_path / "run")
    measure = skills_inputs.measure

    def interrupted(lm: Any, task: mceval8k.Task, *rest: Any) -> skills_inputs.Measured:
        if task.name == TASKS[1]:
            raise KeyboardInterrupt
        return measure(lm, task, *rest)

    monkeypatch.setattr(skills_inputs, "measure", interrupted)
    assert study.run(experiment.prepare) == 130
    assert {row["task"] for row in rows_of(tmp_path / "run")} == {TASKS[0]}
    assert "interrupted" in (tmp_path / "run" / store.REPORT).read_text("utf-8")
    monkeypatch.undo()
    assert study.run(experiment.prepare) == 0
    assert rows_of(tmp_path / "run") == rows_of(finished)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--tasks=ner,nothing", "--tasks=ner,nothing: expected some of"),
        ("--splits=both", "--splits=both: expected some of disjoint, original"),
        ("--fitted=polar,svm", "--fitted=polar,svm: expected some of majority, lm_prob"),
        ("--template=99", "template"),
    ],
)
def test_refused(inputs: Path, tmp_path: Path, flag: str, message: str) -> None:
    parse(inputs, tmp_path, flag)
    with pytest.raises(ValueError, match=message):
        study.run(experiment.prepare)


@pytest.mark.parametrize("name", ["skills_quick", "skills_full"])
def test_flag_files(name: str) -> None:
    file = FLAGFILES / f"{name}.flags"
    flags.FLAGS(["skills", f"--flagfile={file}"])
    assert flags.FLAGS["output"].value == f"runs/{name}"
    assert set(benchmark_flags.tasks()) <= set(mceval8k.names())
