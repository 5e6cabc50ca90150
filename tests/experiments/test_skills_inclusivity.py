"""The study of inclusivity: its pairs against scores in memory, what it says, flags to folder."""

import dataclasses
import gc
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from pyarrow import parquet

from experiments.inputs import benchmark_flags
from experiments.reporting import skill_figures
from experiments.running import study
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies.accuracies import RULES
from experiments.skill_studies.jobs import Row, TaskResult
from experiments.skills_inclusivity import program as skills_inclusivity
from experiments.skills_inclusivity.results import (
    RANDOM,
    compared,
    kinship_of,
    knowledge_of,
    overlap_of,
    shared_of,
)
from negjax import mceval8k, skills
from negjax.skills.features.feature_files import RuleName
from negjax.storage import store
from negjax.weights.saving import save_pretrained
from tests.support.block_shapes import precision, tiny
from tests.support.made_up_mceval8k import write_task
from tests.support.pages import Page
from tests.support.places import FLAGFILES
from tests.support.tasks_in_memory import encode_as_tokens, made_up
from tests.support.tiny_runs import undraw

pytestmark = pytest.mark.usefixtures("well_drawn")

NAMES = ("mnli", "stereoset", "xnli")
K = 9
PROBES = {"polar": skills.PolarProbe, "magn": skills.MagnProbe}
SUMS: Mapping[RuleName, Callable[..., object]] = {
    "polar": skills.polar_votes,
    "magn": skills.magn_votes,
}


@pytest.fixture(autouse=True)
def restored_flags() -> Iterator[None]:
    with flagsaver.flagsaver():
        flags.FLAGS(["experiment"])
        yield


# ---- Against scores in memory.


def test_pairs_against_scores_in_memory(tmp_path):
    with precision("float64"):
        lm = tiny("gated", "float64")
        made = {name: made_up(tmp_path, lm, name, n) for n, name in enumerate(NAMES)}
        known, found = {}, {}
        rows: list[Row] = []
        for name, (measured, _) in made.items():
            votes = {rule: measured.parts["train"].votes(rule) for rule in SUMS}
            known[name] = measured, votes
            found[name] = skills_inclusivity.pairs_of(known, name, K)
            rows += found[name].rows
        assert len(rows) == len({(r.probe, r.source, r.target) for r in rows}) == 2 * (9 + 3)
        sums: dict[tuple[str, str], np.ndarray] = {
            (rule, name): np.asarray(votes(memory["train"].scores, memory["train"].gold))
            for rule, votes in SUMS.items()
            for name, (_, memory) in made.items()
        }
        for row in rows:
            test, own = made[row.task][1]["test"], sums[row.probe, row.task]
            if row.source == RANDOM:
                assert row.number == skills_probes.SEEDS
                sets = [skills.random_ranking(own, s, K).neurons for s in range(row.number)]
            else:
                sets = [skills.rank_neurons(sums[row.probe, str(row.source)], count=K).neurons]
            right = []
            for neurons in sets:
                polarity = np.sign(own[neurons]).astype(np.int8)
                probe = PROBES[row.probe](
                    neurons=neurons, polarity=polarity, labels=3, total=len(own)
                )
                right.append((probe.predict(test.scores) == test.gold).mean())
            assert row.accuracy == pytest.approx(np.mean(right), abs=1e-12), row
            assert (row.task, row.neurons, row.trained, row.tested) == (row.target, K, 24, 24)
        for rule in SUMS:
            matrix = shared_of(found, rule)
            best = [set(skills.rank_neurons(sums[rule, n], count=K).neurons) for n in NAMES]
            for i, j in itertools.permutations(range(3), 2):
                assert matrix[i, j] == len(best[i] & best[j]) / len(best[i] | best[j])
            for i, name in enumerate(NAMES):
                train = made[name][1]["train"]
                halves = [
                    set(skills.rank_neurons(np.asarray(SUMS[rule](*half)), count=K).neurons)
                    for half in (
                        (train.scores[:8], train.gold[:8]),
                        (train.scores[8:], train.gold[8:]),
                    )
                ]
                assert matrix[i, i] == len(halves[0] & halves[1]) / len(halves[0] | halves[1])


def test_more_neurons_than_there_are_are_all(tmp_path):
    measured, _ = made_up(tmp_path, tiny("gated"))
    votes = {rule: measured.parts["train"].votes(rule) for rule in SUMS}
    found = skills_inclusivity.pairs_of({"mnli": (measured, votes)}, "mnli", 10**6)
    assert found.more["k"] == found.more["total"] == 60
    assert found.more["halves"] == {"polar": 1, "magn": 1}


# ---- What it amounts to.


def found_of(
    neurons: list[list[int]], accuracy: np.ndarray, random: float
) -> dict[str, TaskResult]:
    """Three tasks with these neurons, and accuracies by source and target."""
    found = {}

    def row(source: str, target: str, share: float) -> Row:
        return Row(
            task=target,
            split="disjoint",
            probe="polar",
            part="test",
            tested=100,
            accuracy=share,
            low=share - 0.03,
            high=share + 0.03,
            source=source,
            target=target,
        )

    for n, name in enumerate(NAMES):
        rows = [row(s, name, accuracy[i, n]) for i, s in enumerate(NAMES)]
        rows.append(row(RANDOM, name, random))
        more = {"neurons": {"polar": neurons[n]}, "halves": {"polar": 0.5}, "k": 4, "total": 1000}
        found[name] = TaskResult(rows=rows, more=more)
    return found


def test_overlap_and_knowledge():
    accuracy = np.full((3, 3), 0.6)
    np.fill_diagonal(accuracy, 0.8)
    found = found_of([[1, 2, 3, 4], [3, 4, 5, 6], [9, 8, 7, 10]], accuracy, random=0.4)
    overlap = overlap_of(found, "polar")
    assert (overlap.pairs, overlap.above, overlap.halves) == (3, 1, 0.5)
    assert overlap.mean == pytest.approx((2 / 6 + 0 + 0) / 3)
    assert overlap.chance == skills.chance_jaccard(4, 1000)
    assert overlap.verdict.startswith("some tasks share")
    every = dataclasses.replace(overlap, above=3)
    assert every.verdict.startswith("tasks share")
    assert dataclasses.replace(overlap, above=0).verdict.startswith("no more than chance")
    # One pair does not speak for tasks in general.
    pair = dataclasses.replace(overlap, pairs=1, above=1)
    assert pair.verdict.startswith("the two tasks share more")
    assert dataclasses.replace(pair, above=0).verdict.startswith("the two tasks share no more")
    knowledge = knowledge_of(found, "polar")
    assert knowledge.kept == pytest.approx(0.5)
    assert knowledge.noise == pytest.approx(0.03 * 2**0.5 / 3**0.5)
    blunt = knowledge_of(found_of([[1, 2, 3, 4]] * 3, accuracy, random=0.79), "polar")
    assert blunt.kept is None
    assert compared({"mnli": found["mnli"]}) == []


def test_kinship():
    groups = ["x", "x", "y", "y", "y", "z"]
    same = np.equal.outer(groups, groups)
    matrix = np.where(same, 0.5, 0.1)
    found = kinship_of(matrix, groups, seed=0)
    assert found is not None
    assert found.pairs == 4 and (found.mean, found.others) == pytest.approx((0.5, 0.1))
    # 60 ways to deal six tasks to groups of two, three and one: this one alone does as well.
    assert found.chance == pytest.approx(1 / 60, abs=0.005)
    flat = kinship_of(np.full((6, 6), 0.2), groups, seed=0)
    assert flat is not None and flat.chance == 1
    assert kinship_of(matrix, ["x"] * 6, seed=0) is None
    assert kinship_of(matrix, list("abcdef"), seed=0) is None


# ---- From flags to folder.


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("benchmark")
    for name in NAMES:
        write_task(root, name, 8)
    save_pretrained(tiny("gated"), root / "model")
    return root


def parse(benchmark: Path, output: Path, *more: str) -> None:
    given = [f"--root={benchmark}", f"--model={benchmark / 'model'}", f"--output={output}"]
    given += [
        f"--features={benchmark / 'features'}",
        "--compilation_cache=none",
        "--best_neurons=6",
    ]
    # In another order than the benchmark's, which pairs and maps follow.
    sizes = ["--train=12", "--test=6", "--tasks=xnli,mnli,stereoset"]
    flags.FLAGS(["experiment", *given, *sizes, *more])


def test_a_run_is_interrupted_shown_and_goes_on(benchmark, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mceval8k, "encode_items", encode_as_tokens)
    undraw(monkeypatch)
    measure, asked = skills_inputs.measure, []

    def stopping(lm, task, *more):
        asked.append(task.name)
        if asked == ["mnli", "stereoset", "xnli"]:
            raise KeyboardInterrupt
        return measure(lm, task, *more)

    monkeypatch.setattr(skills_inputs, "measure", stopping)
    output = tmp_path / "run"
    parse(benchmark, output)
    assert study.run(skills_inclusivity.prepare) == 130
    assert "2 of 3 tasks are saved" in capsys.readouterr().err
    summary = json.loads((output / store.SUMMARY).read_text("utf-8"))
    assert summary["tasks"] == ["mnli", "stereoset"]
    assert summary["overlap"]["polar"]["pairs"] == 1
    # Only the last task's own job is left; the others' features are read again.
    parse(benchmark, output)
    assert study.run(skills_inclusivity.prepare) == 0
    assert asked[3:] == ["mnli", "stereoset", "xnli"]
    told = capsys.readouterr().out
    assert "Polar" in told and str(output / store.REPORT) in told
    summary = json.loads((output / store.SUMMARY).read_text("utf-8"))
    assert summary["tasks"] == list(NAMES) and summary["overlap"]["magn"]["pairs"] == 3
    assert np.shape(summary["shared"]["polar"]) == (3, 3)
    rows = parquet.read_table(output / store.ACCURACIES).to_pylist()
    assert len(rows) == 2 * (9 + 3)
    assert all(row["source"] in (*NAMES, RANDOM) for row in rows)
    page = (output / store.REPORT).read_text("utf-8")
    for text in (*RULES.values(), "What another task", "Where they lie", "by luck"):
        assert text in page
    assert Page(page).text


def test_pairs_with_a_task_that_failed_are_measured_when_it_is(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(mceval8k, "encode_items", encode_as_tokens)
    undraw(monkeypatch)
    measure, held = skills_inputs.measure, []

    def failing(lm, task, *more):
        gc.collect()
        tasks = [one for one in gc.get_objects() if type(one) is mceval8k.Task]
        held.append([one.name for one in tasks if one.train])
        if task.name == "mnli":
            raise ValueError("prompt 0 is 3528 tokens")
        return measure(lm, task, *more)

    output = tmp_path / "run"
    parse(benchmark, output)
    with monkeypatch.context() as patch:
        patch.setattr(skills_inputs, "measure", failing)
        assert study.run(skills_inclusivity.prepare) == 1
    # Items of one task at a time.
    assert held == [[name] for name in NAMES]
    summary = json.loads((output / store.SUMMARY).read_text("utf-8"))
    assert summary["failed"] == {"mnli": "prompt 0 is 3528 tokens"}
    assert summary["tasks"] == ["stereoset", "xnli"]
    assert summary["overlap"]["polar"]["pairs"] == 1
    assert study.run(skills_inclusivity.prepare) == 0
    summary = json.loads((output / store.SUMMARY).read_text("utf-8"))
    assert summary["failed"] == {} and summary["overlap"]["polar"]["pairs"] == 3
    rows = parquet.read_table(output / store.ACCURACIES).to_pylist()
    assert len(rows) == 2 * (9 + 3)
    [stereoset] = summary["asked"]["stereoset"]
    assert stereoset["prompts"] == {"train": 12, "test": 6} and stereoset["sizes"]["train"] >= 12


def test_one_task_alone_is_shown(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(mceval8k, "encode_items", encode_as_tokens)
    undraw(monkeypatch)
    parse(benchmark, tmp_path / "run", "--tasks=mnli")
    assert study.run(skills_inclusivity.prepare) == 0
    page = (tmp_path / "run" / store.REPORT).read_text("utf-8")
    assert "for 1 task of MCEval8K: nothing to compare." in page


def test_a_line_parts_genres():
    matrix = np.random.default_rng(0).uniform(size=(3, 3))
    maps = [
        skill_figures.matrix_figure(
            [("", matrix)], NAMES, NAMES, "Jaccard index", breaks=edges, form=".3f"
        )
        for edges in ([], [2], [2, 3])
    ]
    assert all(picture.png[:4] == b"\x89PNG" for picture in maps)
    # Behind the last task there is nothing to part.
    assert maps[0].svg != maps[1].svg == maps[2].svg


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--tasks=sudoku", "--tasks=sudoku: expected some of ged"),
        ("--tasks=mnli,mnli", "--tasks=mnli,mnli: expected"),
        ("--valid=7", "--valid=7 has no effect on skills_inclusivity, which chooses nothing"),
    ],
)
def test_bad_flags(benchmark, tmp_path, flag, message):
    parse(benchmark, tmp_path / "run", flag)
    with pytest.raises(ValueError, match=message):
        study.run(skills_inclusivity.prepare)


def test_no_neurons(benchmark, tmp_path):
    with pytest.raises(flags.IllegalFlagValueError, match="flag --best_neurons=0"):
        parse(benchmark, tmp_path / "run", "--best_neurons=0")


@pytest.mark.parametrize("name", ["quick", "full"])
def test_flag_files(name):
    file = FLAGFILES / f"skills_inclusivity_{name}.flags"
    flags.FLAGS(["experiment", f"--flagfile={file}"])
    assert benchmark_flags.tasks() == (
        ["ner", "agnews"] if name == "quick" else [*mceval8k.names()]
    )
