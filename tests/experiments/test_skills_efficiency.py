"""Accuracies by number of neurons and of prompts: of probes fitted one by one, and in words."""

from collections.abc import Iterator

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments.reporting.tables import Table
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies.accuracies import select
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import Row, TaskResult
from experiments.skills_efficiency import program as skills_efficiency
from experiments.skills_efficiency import report as skills_efficiency_report
from negjax import skills
from tests.support.skills_runs import shown
from tests.support.tasks_in_memory import SIZES, Memory, measured_task

Task = tuple[Measured, dict[str, Memory]]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return measured_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def efficiency(task: Task) -> TaskResult:
    return skills_efficiency.measure(task[0], ["polar", "magn", "act", "tree"])


@pytest.fixture(scope="module", autouse=True)
def parsed_flags() -> Iterator[None]:
    with flagsaver.flagsaver():
        flags.FLAGS(["experiment"])
        yield


def share(predicted: np.ndarray, gold: np.ndarray) -> float:
    return float((predicted == gold).mean())


def one(rows: list[Row], **wanted: object) -> Row:
    [row] = select(rows, **wanted)
    return row


# ---- What is measured.


@pytest.mark.parametrize("part", ["valid", "test"])
def test_fewer_neurons_are_probes_of_fewer_neurons(
    task: Task, efficiency: TaskResult, part: str
) -> None:
    train, asked = (task[1][name] for name in ("train", part))
    every = select(efficiency.rows, part=part, trained=SIZES["train"])
    assert {row.tested for row in every} == {SIZES[part]}
    for probe, kind in (("polar", skills.Polar), ("magn", skills.Magn)):
        rows = select(every, probe=probe)
        assert [row.neurons for row in rows] == [1, 2, 4, 8, 16, 32]
        for row in rows:
            fitted = kind(row.neurons or 0).fit(train.scores, train.gold)
            assert row.accuracy == share(fitted.predict(asked.scores), asked.gold)
            assert row.low <= row.accuracy <= row.high
    for row in select(every, probe="act"):
        act = skills.Act(row.neurons or 0).fit(train.activation, train.gold, 3)
        assert row.accuracy == share(act.predict(asked.activation), asked.gold)
    for row in select(every, probe="random"):
        drawn = [
            skills.Random(row.neurons or 0, seed=seed).fit(train.scores, train.gold)
            for seed in range(row.number or 0)
        ]
        shares = [share(probe.predict(asked.scores), asked.gold) for probe in drawn]
        assert len(drawn) == 10
        assert row.accuracy == pytest.approx(np.mean(shares))
    own = one(every, probe="lm_prob")
    assert own.accuracy == share(asked.probability.argmax(1), asked.gold)


def test_fewer_prompts_are_probes_of_fewer_prompts(task: Task, efficiency: TaskResult) -> None:
    train, asked = task[1]["train"], task[1]["test"]
    rows, chosen = select(efficiency.rows, part="test"), efficiency.more["chosen"]
    kinds = {
        "polar": lambda n: skills.Polar(chosen["polar"]).fit(train.scores[:n], train.gold[:n]),
        "magn": lambda n: skills.Magn(chosen["magn"]).fit(train.scores[:n], train.gold[:n]),
        "tree": lambda n: skills.Tree().fit(train.scores[:n], train.gold[:n]),
    }
    for probe, fit in kinds.items():
        own = [r for r in select(rows, probe=probe) if r.neurons == chosen.get(probe, r.neurons)]
        assert sorted(row.trained or 0 for row in own) == [8, 16, 32, 48]
        for row in own:
            predicted = fit(row.trained).predict(asked.scores)
            assert row.accuracy == share(predicted, asked.gold), (probe, row.trained)
    for n in (8, 16, 32, 48):
        act = skills.Act(chosen["act"]).fit(train.activation[:n], train.gold[:n], 3)
        row = one(rows, probe="act", trained=n, neurons=chosen["act"])
        assert row.accuracy == share(act.predict(asked.activation), asked.gold)


def test_linear_by_prompts_is_chosen_on_valid(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skills_inputs, "training_counts", lambda most: (16, most))
    found = skills_efficiency.measure(task[0], ["linear"])
    train, valid, asked = (task[1][part] for part in ("train", "valid", "test"))
    linear = select(found.rows, probe="linear", part="test")
    assert [row.trained for row in linear] == [16, SIZES["train"]]
    for row in linear:
        some = train.scores[: row.trained], train.gold[: row.trained]
        fitted = skills.Linear().fit(*some, (valid.scores, valid.gold))
        assert row.accuracy == share(fitted.predict(asked.scores), asked.gold)


def test_the_number_of_neurons_is_chosen_on_valid(efficiency: TaskResult) -> None:
    for probe, neurons in efficiency.more["chosen"].items():
        rows = select(efficiency.rows, part="valid", probe=probe, trained=SIZES["train"])
        best = max(row.accuracy for row in rows)
        assert one(rows, neurons=neurons).accuracy == best
        assert all(row.accuracy < best for row in rows if (row.neurons or 0) < neurons)


# ---- What is made of it.


def test_efficiency_without_some_probes(task: Task) -> None:
    found = skills_efficiency.measure(task[0], ["tree"])
    assert {row.probe for row in found.rows if row.trained == 8} == {"tree"}
    summary, _ = shown(skills_efficiency_report, {"stereoset": found})
    assert set(summary["smallest"]["prompts"]) == {"tree"}
    assert not any("training prompts" in v["claim"] for v in summary["verdicts"])


def test_efficiency_is_read_from_rows() -> None:
    """Three tasks made by hand: few neurons suffice, many are needed, nothing is known."""
    found = {
        "mnli": made_up("mnli", polar=[0.5, 0.82, 0.9, 0.9], prompts=[0.5, 0.6, 0.9]),
        "agnews": made_up("agnews", polar=[0.3, 0.4, 0.5, 0.9], prompts=[0.85, 0.9, 0.9]),
        "imdb": made_up("imdb", polar=[0.5, 0.5, 0.52, 0.5], prompts=[0.5, 0.5, 0.5]),
    }
    summary, page = shown(skills_efficiency_report, found)
    smallest = summary["smallest"]
    assert smallest["neurons"]["polar"] == {"mnli": 64, "agnews": 512, "imdb": None}
    assert smallest["prompts"]["polar"] == {"mnli": 40, "agnews": 8, "imdb": None}
    verdicts = {v["claim"]: v for v in summary["verdicts"]}
    assert sorted(verdicts) == [
        "It matters which neurons",
        "Magn needs few neurons",
        "Polar needs few neurons",
        "Polar needs few training prompts",
    ]
    for claim, for_it, against in (
        ("Polar needs few neurons", ["mnli"], ["agnews"]),
        ("Polar needs few training prompts", ["agnews"], ["mnli"]),
        ("It matters which neurons", ["mnli", "agnews"], []),
    ):
        assert verdicts[claim]["for_it"] == for_it, claim
        assert verdicts[claim]["against"] == against, claim
        assert verdicts[claim]["silent"] == ["imdb"], claim
    assert summary["mean_accuracy"]["neurons"]["polar"][16] == pytest.approx(1.3 / 3)
    # A median of 64 and 512; of prompts, of 40 and 8.
    assert "of neurons Polar 288 (2 tasks)" in page.lead
    assert "of training prompts Polar 24 (2 tasks)" in page.lead
    assert "Polar needs few neurons in 1 of 2 tasks; " in page.lead
    tables = [b for s in page.sections for b in s.blocks if isinstance(b, Table)]
    [table] = [table for table in tables if table.name == "smallest"]
    first = {(task, of, probe): number for task, of, probe, number, *_ in table.cells}
    assert first["agnews", "neurons", "Polar"] == "512"
    assert first["imdb", "training prompts", "Polar"] == "—"


def made_up(task: str, polar: list[float], prompts: list[float]) -> TaskResult:
    """Accuracies with intervals of ±0.1, at 16, 64, 256, 512 neurons and 8, 16, 40 prompts."""
    neurons = (16, 64, 256, 512)

    def row(probe: str, share: float, neurons: int | None = None, trained: int = 40) -> Row:
        return Row(
            task=task,
            split="disjoint",
            probe=probe,
            part="test",
            tested=100,
            accuracy=share,
            low=share - 0.1,
            high=share + 0.1,
            neurons=neurons,
            trained=trained,
        )

    rows = [row("lm_prob", 0.4)]
    for probe, shares in (("polar", polar), ("magn", polar), ("random", [0.3] * 4), ("act", polar)):
        rows += [row(probe, x, neurons=k) for k, x in zip(neurons, shares, strict=True)]
    rows += [
        row("polar", x, neurons=512, trained=n) for n, x in zip((8, 16), prompts[:-1], strict=True)
    ]
    chosen = dict.fromkeys(("polar", "magn", "random", "act"), 512)
    return TaskResult(rows=rows, more={"chosen": chosen})
