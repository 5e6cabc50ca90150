"""Runs of a study of skills: what another run's folder refuses, what fails, what was damaged."""

import dataclasses
import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from absl.testing import flagsaver

from experiments.running import common, provenance, study, terminal
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import probes as skills_probes
from experiments.skills import program as experiment
from negjax import mceval8k
from negjax.storage import run_settings, store
from tests.support.hostile_text import ALL_OF_THEM, unseen
from tests.support.made_up_mceval8k import write_task
from tests.support.pages import Page
from tests.support.skills_runs import TASKS, parse, rows_of, write_inputs
from tests.support.tiny_runs import undraw

FEW = ("--splits=disjoint", "--fitted=majority,polar")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(autouse=True)
def restored_flags(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    undraw(monkeypatch)
    with flagsaver.flagsaver():
        yield


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "finished"
    with flagsaver.flagsaver(), pytest.MonkeyPatch.context() as patch:
        undraw(patch)
        parse(inputs, output, *FEW)
        assert study.run(experiment.prepare) == 0
    return output


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tasks that are measured, as they are."""
    names: list[str] = []
    measure = skills_inputs.measure

    def noted(lm: Any, task: mceval8k.Task, *rest: Any) -> skills_inputs.Measured:
        names.append(task.name)
        return measure(lm, task, *rest)

    monkeypatch.setattr(skills_inputs, "measure", noted)
    return names


def summary_of(output: Path) -> dict[str, Any]:
    found = json.loads((output / store.SUMMARY).read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def task_file(output: Path, name: str) -> Path:
    [file] = (output / store.TASKS).glob(f"{name}-*.json")
    return file


def lengthen(root: Path, name: str) -> None:
    """Makes a task's texts longer than the model's context."""
    for file in (root / mceval8k.TASKS[name].folder).iterdir():
        told = file.read_text("utf-8")
        file.write_text(told.replace("number", "number" * 500), "utf-8")


# ---- Another run's folder.


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--template=1", "template was 0, now 1"), ("--shots=2", "shots was 1, now 2")],
)
def test_another_wording_is_another_run(inputs: Path, run: Path, flag: str, message: str) -> None:
    probes = {file: file.read_bytes() for file in (run / store.SAVED_PROBES).iterdir()}
    parse(inputs, run, *FEW, flag)
    with pytest.raises(ValueError, match=f"{run} holds a run with other settings .{message}"):
        study.run(experiment.prepare)
    assert {file: file.read_bytes() for file in probes} == probes


def test_other_prompts_of_a_task_are_another_run(inputs: Path, run: Path, tmp_path: Path) -> None:
    for name, count in zip(TASKS, (8, 9), strict=True):
        write_task(tmp_path / "other", name, count)
    parse(inputs, run, *FEW, f"--root={tmp_path / 'other'}")
    with pytest.raises(ValueError, match=r"other settings \(the prompts of mnli are not the same"):
        study.run(experiment.prepare)


def test_tasks_may_be_added(inputs: Path, tmp_path: Path, measured: list[str]) -> None:
    parse(inputs, tmp_path, *FEW, "--tasks=mnli")
    assert study.run(experiment.prepare) == 0
    parse(inputs, tmp_path, *FEW)
    assert study.run(experiment.prepare) == 0
    assert measured == ["mnli", "ner"]
    assert summary_of(tmp_path)["tasks"] == list(TASKS)


# ---- What fails.


def test_a_task_that_fails_is_told_of_and_the_others_go_on(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(inputs / "benchmark", tmp_path / "benchmark")
    lengthen(tmp_path / "benchmark", "ner")
    parse(inputs, tmp_path / "run", *FEW, f"--root={tmp_path / 'benchmark'}")
    assert study.run(experiment.prepare) == 1
    summary = summary_of(tmp_path / "run")
    assert summary["tasks"] == ["mnli"] and not summary["complete"]
    assert list(summary["failed"]) == ["ner"]
    told = summary["failed"]["ner"]
    assert told.startswith("ner, train of the disjoint parts, ner-0-v")
    assert ", shots=1: prompt 0 is " in told and "the model's context holds 2048" in told
    err = capsys.readouterr().err
    assert f"ner could not be measured: {told}" in err
    assert "1 of 2 tasks could not be measured: ner" in err
    page = Page((tmp_path / "run" / store.REPORT).read_text("utf-8"))
    assert told in page.text and "Tasks that failed" in page.text
    assert {row["task"] for row in rows_of(tmp_path / "run")} == {"mnli"}


def test_a_study_of_which_all_fails_says_so(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "benchmark", tmp_path / "benchmark")
    lengthen(tmp_path / "benchmark", "ner")
    parse(inputs, tmp_path / "run", *FEW, "--tasks=ner", f"--root={tmp_path / 'benchmark'}")
    assert study.run(experiment.prepare) == 1
    assert list(summary_of(tmp_path / "run")["failed"]) == ["ner"]
    page = Page((tmp_path / "run" / store.REPORT).read_text("utf-8"))
    assert "No task could be measured." in page.text
    assert rows_of(tmp_path / "run") == []


# ---- What is damaged, or in use.


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def change(file: Path) -> None:
    value = json.loads(file.read_text("utf-8"))
    value["rows"][0]["accuracy"] = 0.75
    file.write_text(json.dumps(value), "utf-8")


def exchange(file: Path) -> None:
    shutil.copy(next(other for other in file.parent.iterdir() if other != file), file)


@pytest.mark.parametrize("damage", [cut_short, change, exchange, Path.unlink])
def test_damaged_results_are_measured_again(
    inputs: Path,
    run: Path,
    measured: list[str],
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
) -> None:
    before, file = rows_of(run), task_file(run, "mnli")
    text = file.read_bytes()
    damage(file)
    parse(inputs, run, *FEW)
    assert study.run(experiment.prepare) == 0
    assert measured == ["mnli"]
    told = f"{file} is missing or damaged: mnli is measured again"
    assert capsys.readouterr().err.count(told) == 1
    assert rows_of(run) == before and file.read_bytes() == text


def test_a_folder_of_features_in_use(inputs: Path, tmp_path: Path) -> None:
    features = f"--features={tmp_path / 'features'}"
    parse(inputs, tmp_path / "first", *FEW, "--tasks=mnli", features)
    assert study.run(experiment.prepare) == 0
    used = sorted((tmp_path / "features").iterdir())[0]
    settings = json.loads((used / run_settings.SETTINGS).read_text("utf-8"))["settings"]
    parse(inputs, tmp_path / "second", *FEW, features)
    with store.open_to_measure(used, settings, {}, attributes={}):
        assert study.run(experiment.prepare) == 1
    summary = summary_of(tmp_path / "second")
    assert summary["tasks"] == ["ner"]
    assert summary["failed"]["mnli"].endswith(
        f"{used} is in use by another process; wait until it has ended, or pass another --features"
    )
    assert study.run(experiment.prepare) == 0
    assert summary_of(tmp_path / "second")["tasks"] == list(TASKS)


def test_damaged_features_can_be_got_out_of(inputs: Path, tmp_path: Path) -> None:
    features = f"--features={tmp_path / 'features'}"
    parse(inputs, tmp_path / "first", *FEW, "--tasks=ner", features)
    assert study.run(experiment.prepare) == 0
    damaged = sorted((tmp_path / "features").iterdir())[0]
    (damaged / run_settings.SETTINGS).write_text("{")
    parse(inputs, tmp_path / "second", *FEW, "--tasks=ner", features)
    assert study.run(experiment.prepare) == 1
    [told] = summary_of(tmp_path / "second")["failed"].values()
    assert told.endswith(
        f"{damaged / run_settings.SETTINGS} is missing or damaged; delete {damaged}, and its "
        "prompts are measured again"
    )
    shutil.rmtree(damaged)
    assert study.run(experiment.prepare) == 0
    assert rows_of(tmp_path / "second") == rows_of(tmp_path / "first")


# ---- The machine.


def test_items_of_one_task_are_held_at_a_time(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    def failing(lm: Any, task: mceval8k.Task, *rest: Any) -> skills_inputs.Measured:
        gc.collect()
        tasks = [one for one in gc.get_objects() if type(one) is mceval8k.Task]
        held.append([one.name for one in tasks if one.train])
        raise ValueError("measured elsewhere")

    monkeypatch.setattr(skills_inputs, "measure", failing)
    parse(inputs, tmp_path, *FEW)
    assert study.run(experiment.prepare) == 1
    assert held == [[name] for name in TASKS]


def test_forests_grow_where_nobody_tells_a_process_its_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert provenance.cpus() == provenance.environment()["cpus"] == os.cpu_count()
    assert skills_probes.forest_of(1).jobs == os.cpu_count()


def test_a_study_shows_names_and_errors_of_any_kind_as_text(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load, measure = common.load_model, skills_inputs.measure

    def measured(lm: Any, task: mceval8k.Task, *rest: Any) -> skills_inputs.Measured:
        if task.name == "ner":
            raise ValueError(ALL_OF_THEM)
        return measure(lm, task, *rest)

    monkeypatch.setattr(skills_inputs, "measure", measured)
    monkeypatch.setattr(common, "load_model", lambda: dataclasses.replace(load(), name=ALL_OF_THEM))
    parse(inputs, tmp_path / "run", *FEW)
    assert study.run(experiment.prepare) == 1
    about = summary_of(tmp_path / "run")
    assert about["failed"] == {"ner": ALL_OF_THEM} and about["model"]["name"] == ALL_OF_THEM
    text = (tmp_path / "run" / store.REPORT).read_text("utf-8")
    assert not unseen(text) - {"\n", "\t"} and "<script" not in text
    assert any("<script>" in part for part in Page(text).text)
    out, err = capsys.readouterr()
    [said] = [line for line in err.splitlines() if line.startswith("ner could not be measured")]
    assert not unseen(said) and not unseen(out) - {"\n"} and len(said) <= terminal.LONGEST_LINE
