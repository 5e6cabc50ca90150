"""Accuracies of disjoint sets and of forests: those of probes made by hand, and in words."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments.reporting import skill_figures
from experiments.skill_studies.accuracies import select
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import Row, TaskResult
from experiments.skills_flexibility import program as skills_flexibility
from experiments.skills_flexibility import report as skills_flexibility_report
from experiments.skills_interdependency import program as skills_interdependency
from experiments.skills_interdependency import report as skills_interdependency_report
from negjax import skills
from tests.support.skills_runs import shown
from tests.support.tasks_in_memory import SIZES, Memory, measured_task

Task = tuple[Measured, dict[str, Memory]]
DEPTHS: tuple[int | None, ...] = (1, 3, None)
TREES = (1, 2, 7)


@pytest.fixture(scope="module", autouse=True)
def parsed_flags() -> Iterator[None]:
    with flagsaver.flagsaver():
        flags.FLAGS(["experiment"])
        yield


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return measured_task(tmp_path_factory.mktemp("task"))


def share(predicted: np.ndarray, gold: np.ndarray) -> float:
    return float((predicted == gold).mean())


def row(task: str, probe: str, accuracy: float, part: str = "test", **what: Any) -> Row:
    """With an interval of ±0.1."""
    return Row(
        task=task,
        split="disjoint",
        probe=probe,
        part=part,
        tested=100,
        accuracy=accuracy,
        low=accuracy - 0.1,
        high=accuracy + 0.1,
        **what,
    )


# ---- Disjoint sets.


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("rule", ["polar", "magn"])
def test_sets_are_those_down_the_ranking(task: Task, rule: str, part: str) -> None:
    train, asked = task[1]["train"], task[1][part]
    found = skills_flexibility.measure(task[0], 7, 0)
    rows = select(found.rows, part=part, probe=rule)
    assert [row.number for row in rows] == list(range(8))  # 60 neurons: 4 are left over
    assert {row.neurons for row in rows} == {7}
    find = skills.polar_votes if rule == "polar" else skills.magn_votes
    votes = np.asarray(find(train.scores, train.gold))
    order = np.argsort(-np.abs(votes), kind="stable")
    for n, one in enumerate(rows):
        neurons = order[7 * n : 7 * n + 7]
        signed = asked.scores[..., neurons] * np.sign(votes[neurons])
        if rule == "polar":
            counts = np.sign(signed).sum(-1)
        else:
            best = signed == signed.max(1, keepdims=True)
            counts = (best & (votes[neurons] != 0)).sum(-1)
        assert one.accuracy == share(counts.argmax(1), asked.gold), n
    fewer = skills_flexibility.measure(task[0], 7, 3)
    assert select(fewer.rows, part=part, probe=rule) == rows[:3]


def test_random_sets(task: Task) -> None:
    train, asked = task[1]["train"], task[1]["test"]
    found = skills_flexibility.measure(task[0], 7, 5)
    [random] = select(found.rows, part="test", probe="random_polar")
    order = np.random.default_rng(0).permutation(60)
    votes = np.asarray(skills.polar_votes(train.scores, train.gold))
    shares = []
    for n in range(5):
        neurons = order[7 * n : 7 * n + 7]
        counts = np.sign(asked.scores[..., neurons] * np.sign(votes[neurons])).sum(-1)
        shares.append(share(counts.argmax(1), asked.gold))
    assert random.accuracy == pytest.approx(np.mean(shares)) and random.number == 5
    assert found.more["random"]["polar"] == pytest.approx(sorted(shares))


def test_more_sets_than_neurons_are_refused(task: Task) -> None:
    for size, sets, most in ((7, 9, 8), (61, 0, 0)):
        message = f"--disjoint_sets={sets} --set_size={size}: the model's 60 neurons make up {most}"
        with pytest.raises(ValueError, match=message):
            skills_flexibility.measure(task[0], size, sets)


def test_flexibility_is_read_from_rows() -> None:
    found = {
        "mnli": sets("mnli", [0.7, 0.65, 0.62, 0.5, 0.65], random=0.4),
        "agnews": sets("agnews", [0.7, 0.5, 0.4, 0.3, 0.65], random=0.7),
        "imdb": sets("imdb", [0.5, 0.5, 0.5, 0.5, 0.5], random=0.5),
    }
    summary, page = shown(skills_flexibility_report, found)
    polar = summary["sets"]["polar"]
    assert [polar[t]["in_a_row"] for t in found] == [3, 1, 5]
    assert [polar[t]["as_good"] for t in found] == [0.75, 0.25, 1.0]
    verdicts = {v["claim"]: v for v in summary["verdicts"]}
    assert len(verdicts) == 6
    for claim, for_it, against in (
        ("second set does as well as its first", ["mnli"], ["agnews"]),
        ("next 7 sets do as well as its first", ["mnli"], ["agnews"]),
        ("first set is better than random ones", ["mnli"], ["agnews"]),
    ):
        for rule in ("Polar", "Magn"):
            verdict = verdicts[f"{rule}'s {claim}"]
            assert (verdict["for_it"], verdict["against"]) == (for_it, against), claim
            assert verdict["silent"] == ["imdb"]
    # Errors of ±0.1 of two sets in two tasks, which count as independent.
    words = (
        "where Polar's first set is above a guess (2 tasks), the second differs by −12.5% (−22.5% "
    )
    assert (
        f"{words}to −2.5%), 2 in a row (median) are not below its interval, and 50.0%" in page.lead
    )


def sets(task: str, accuracies: Sequence[float], random: float) -> TaskResult:
    rows = [row(task, "lm_prob", 0.4)]
    for rule in ("polar", "magn"):
        rows += [row(task, rule, x, neurons=64, number=n) for n, x in enumerate(accuracies)]
        rows.append(row(task, f"random_{rule}", random, neurons=64, number=2))
    drawn = {rule: [random - 0.1, random + 0.1] for rule in ("polar", "magn")}
    return TaskResult(rows=rows, more={"random": drawn})


def test_one_set_alone_says_nothing_of_others(task: Task) -> None:
    found = skills_flexibility.measure(task[0], 7, 1)
    summary, _ = shown(skills_flexibility_report, {"stereoset": found})
    assert [v["silent"] for v in summary["verdicts"]][:2] == [["stereoset"]] * 2


def test_many_sets_are_drawn_as_means(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(skill_figures, "curves_figure", lambda panels, across: drawn.append(panels))
    accuracies = [*np.linspace(0.9, 0.5, 30)]
    _, page = shown(
        skills_flexibility_report,
        {"mnli": sets("mnli", accuracies, 0.4)},
    )
    [drawing] = page.drawings
    drawing.draw()
    [[(_, series, _)]] = drawn
    assert series[0].at == pytest.approx([*range(1, 9), np.sqrt(9 * 16), np.sqrt(17 * 30)])
    means = [*accuracies[:8], np.mean(accuracies[8:16]), np.mean(accuracies[16:])]
    assert series[0].accuracy == pytest.approx(means)


# ---- Forests.


@pytest.mark.parametrize("part", ["valid", "test"])
def test_forests_are_those_fitted_with_fewer_trees(task: Task, part: str) -> None:
    train, asked = task[1]["train"], task[1][part]
    found = skills_interdependency.measure(task[0], DEPTHS, TREES)
    rows = select(found.rows, part=part)
    assert [(r.depth, r.trees) for r in select(rows, probe="tree")] == [
        (depth, trees) for depth in DEPTHS for trees in TREES
    ]
    for depth in DEPTHS:
        for trees in TREES:
            forest = skills.Tree(trees=trees, depth=depth).fit(train.scores, train.gold)
            [one] = select(rows, probe="tree", depth=depth, trees=trees)
            assert one.accuracy == share(forest.predict(asked.scores), asked.gold), (depth, trees)
            assert one.trained == SIZES["train"]
    [polar] = select(rows, probe="polar")
    fitted = skills.Polar(polar.neurons or 0).fit(train.scores, train.gold)
    assert polar.accuracy == share(fitted.predict(asked.scores), asked.gold)


def test_interdependency_is_read_from_rows() -> None:
    found = {
        "mnli": forests("mnli", [[0.4, 0.45], [0.6, 0.8]], polar=0.6),
        "agnews": forests("agnews", [[0.6, 0.7], [0.7, 0.75]], polar=0.72),
        "imdb": forests("imdb", [[0.5, 0.5], [0.5, 0.5]], polar=0.5),
    }
    summary, page = shown(skills_interdependency_report, found)
    verdicts = summary["verdicts"]
    assert [v["claim"].split()[0] for v in verdicts] == ["Depth", "The", "Neurons"]
    for verdict in verdicts:
        assert (verdict["for_it"], verdict["against"]) == (["mnli"], ["agnews"])
        assert verdict["silent"] == ["imdb"]
    chosen = summary["chosen"]
    assert (chosen["mnli"]["depth"], chosen["mnli"]["trees"]) == (None, 100)
    # Of equals on valid the simplest.
    assert (chosen["imdb"]["depth"], chosen["imdb"]["trees"]) == (1, 1)
    assert chosen["mnli"]["gain_of_depth"] == pytest.approx(0.35)
    assert chosen["mnli"]["gain_of_trees"] == pytest.approx(0.2)
    assert chosen["mnli"]["gain_over_polar"] == pytest.approx(0.2)
    assert "deeper trees less the shallowest +13.3% (+5.2% to +21.5%)" in page.lead
    assert "Depth matters in 1 of 2 tasks; the number of trees matters in 1 of 2" in page.lead


def test_valid_chooses_and_test_is_reported() -> None:
    one = forests("mnli", [[0.4, 0.45], [0.6, 0.8]], polar=0.6)
    swapped = {0.4: 0.9, 0.45: 0.4, 0.6: 0.4, 0.8: 0.4}
    rows = [
        row(r.task, r.probe, swapped[r.accuracy], part="valid", depth=r.depth, trees=r.trees)
        if (r.probe, r.part) == ("tree", "valid")
        else r
        for r in one.rows
    ]
    summary, _ = shown(
        skills_interdependency_report,
        {"mnli": TaskResult(rows=rows, more=one.more)},
    )
    chosen = summary["chosen"]["mnli"]
    assert (chosen["depth"], chosen["trees"], chosen["accuracy"]) == (1, 1, 0.4)


def test_one_depth_and_number_can_be_shown(task: Task) -> None:
    found = skills_interdependency.measure(task[0], [2], [3])
    summary, _ = shown(skills_interdependency_report, {"stereoset": found})
    assert summary["chosen"]["stereoset"]["gain_of_depth"] == 0


def forests(task: str, matrix: Sequence[Sequence[float]], polar: float) -> TaskResult:
    """Depths 1 and unlimited, 1 and 100 trees; the same on valid and test."""
    rows = [row(task, "lm_prob", 0.4), row(task, "polar", polar)]
    for part in ("valid", "test"):
        for depth, shares in zip((1, None), matrix, strict=True):
            for trees, x in zip((1, 100), shares, strict=True):
                rows.append(row(task, "tree", x, part=part, depth=depth, trees=trees))
    return TaskResult(rows=rows)
