"""How accuracies of forests by depth and number of trees are shown."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.page_parts import aligned, percent
from experiments.reporting.report import Bullets, Drawing, Figure, Section, Table, drawings
from experiments.skill_studies import by_task as skills_by_task
from experiments.skill_studies.by_task import Verdict
from experiments.skill_studies.jobs import Found, Row
from experiments.skill_studies.page import PROBES, chance, interval, notes_of, select, series_of
from experiments.skill_studies.study import Shown
from negjax.model.language_model import LanguageModel

TITLE = "Do neurons depend on each other?"


class Forests(NamedTuple):
    """Of a task: test accuracies."""

    chosen: Row
    """Of the depth and number of trees that do best on valid."""
    shallow: Row
    """The shallowest trees, as many as there are."""
    deep: Row
    """The deeper trees, as many as there are, of the depth that does best on valid."""
    single: Row
    """The fewest trees, one by default, of the depth chosen."""
    all_trees: Row
    """As many as there are of the depth chosen."""
    polar: Row
    """Neurons that vote alone."""
    lm_prob: Row
    matrix: np.ndarray
    """[depths, numbers of trees]."""


def show(found: Mapping[str, Found], lm: LanguageModel) -> Shown:
    """Tables, figures and the printed table."""
    some = select(next(iter(found.values())).rows, probe="tree", part="test")
    depths = list(dict.fromkeys(row.depth for row in some))
    counts = list(dict.fromkeys(row.trees or 0 for row in some))
    forests = {task: _forests(one, depths, counts) for task, one in found.items()}
    verdicts = _verdicts(forests)
    pictures = drawings(
        {
            "matrices": lambda: _matrices(forests, depths, counts),
            "gains": lambda: _dots(forests),
        }
    )
    sections = [
        skills_by_task.reading(verdicts, _gains(forests)),
        Section("Depth and number of trees", [*_figures(pictures), _table(forests)]),
        Section("To keep in mind", [Bullets(_notes(found))]),
    ]
    summary = {
        "chosen": {task: _as_json(own) for task, own in forests.items()},
        "verdicts": skills_by_task.as_json(verdicts),
    }
    lead = (
        f"{len(found)} tasks of MCEval8K, answered by forests over {lm.name}'s neurons. "
        + " ".join(f"{one.claim}: {skills_by_task.counted(one)}." for one in verdicts)
    )
    return Shown(lead, sections, _printed(forests), summary)


def _forests(one: Found, depths: Sequence[int | None], counts: Sequence[int]) -> Forests:
    def forest(part: str, depth: int | None, trees: int) -> Row:
        [row] = select(one.rows, probe="tree", part=part, depth=depth, trees=trees)
        return row

    def best(rows: Sequence[Row]) -> Row:
        """The test row of the one that does best on valid; of ties, the simplest."""
        row = skills_by_task.highest(rows)
        return forest("test", row.depth, row.trees or 0)

    few, most = counts[0], counts[-1]
    chosen = best([forest("valid", depth, trees) for depth in depths for trees in counts])
    [polar], [lm_prob] = (
        select(one.rows, probe=probe, part="test") for probe in ("polar", "lm_prob")
    )
    return Forests(
        chosen,
        forest("test", depths[0], most),
        best([forest("valid", depth, most) for depth in depths[1:] or depths]),
        forest("test", chosen.depth, few),
        forest("test", chosen.depth, most),
        polar,
        lm_prob,
        np.asarray(
            [[forest("test", depth, trees).accuracy for trees in counts] for depth in depths]
        ),
    )


# ---- What they say.


def _verdicts(forests: Mapping[str, Forests]) -> list[Verdict]:
    def says(better: Sequence[Row], worse: Sequence[Row]) -> dict[str, bool | None]:
        return {
            task: None
            if skills_by_task.guessed(high) and skills_by_task.guessed(low)
            else high.accuracy > low.high
            for task, high, low in zip(forests, better, worse, strict=True)
        }

    every = forests.values()
    return [
        skills_by_task.verdict(
            "Depth matters",
            "deeper trees, of the depth chosen on valid, are above the interval of as many of the "
            "shallowest",
            says([own.deep for own in every], [own.shallow for own in every]),
        ),
        skills_by_task.verdict(
            "The number of trees matters",
            "all trees of the depth chosen are above the interval of the fewest",
            says([own.all_trees for own in every], [own.single for own in every]),
        ),
        skills_by_task.verdict(
            "Neurons know more together than alone",
            "the forest chosen on valid is above the interval of Polar, whose number of neurons "
            "was chosen there, too",
            says([own.chosen for own in every], [own.polar for own in every]),
        ),
    ]


def _gains(forests: Mapping[str, Forests]) -> list[str]:
    every = forests.values()
    return [
        _range(
            "Deeper trees less the shallowest",
            [o.deep.accuracy - o.shallow.accuracy for o in every],
        ),
        _range(
            "All trees less the fewest", [o.all_trees.accuracy - o.single.accuracy for o in every]
        ),
        _range(
            "The chosen forest less Polar", [o.chosen.accuracy - o.polar.accuracy for o in every]
        ),
    ]


def _range(name: str, gains: Sequence[float]) -> str:
    """That of gains over the tasks."""
    return (
        f"{name}: mean gain {statistics.fmean(gains):+.1%}, from {min(gains):+.1%} to "
        f"{max(gains):+.1%} over the tasks."
    )


# ---- How it is shown.


def depth_name(depth: int | None) -> str:
    """For readers."""
    return "unlimited" if depth is None else str(depth)


def _matrices(
    forests: Mapping[str, Forests], depths: Sequence[int | None], counts: Sequence[int]
) -> Picture:
    every = np.stack([own.matrix for own in forests.values()])
    return skill_figures.matrix_figure(
        [(f"{task} (Polar {own.polar.accuracy:.0%})", own.matrix) for task, own in forests.items()],
        [depth_name(depth).replace("unlimited", "∞") for depth in depths],
        list(map(str, counts)),
        "test accuracy",
        limits=(float(every.min()), float(every.max())),
    )


def _dots(forests: Mapping[str, Forests]) -> Picture:
    shown = {
        PROBES["lm_prob"]: [own.lm_prob for own in forests.values()],
        PROBES["polar"]: [own.polar for own in forests.values()],
        "shallowest trees": [own.shallow for own in forests.values()],
        "fewest trees": [own.single for own in forests.values()],
        "chosen forest": [own.chosen for own in forests.values()],
    }
    places = range(len(forests))
    return skill_figures.dots_figure(
        list(forests),
        [series_of(name, rows, places) for name, rows in shown.items()],
        [chance(task) for task in forests],
    )


def _figures(pictures: Mapping[str, Drawing]) -> list[Figure]:
    return [
        Figure(
            pictures["matrices"],
            "Test accuracies of forests, a panel a task: depth of the trees from top to bottom (∞: "
            "not limited), number of trees from left to right. In parentheses Polar's, whose "
            "neurons vote alone. Colours are the same in all panels.",
            "Matrices of accuracy by depth and number of trees.",
        ),
        Figure(
            pictures["gains"],
            "Test accuracies with 95% bootstrap intervals over test prompts, a line a task. "
            "Shallowest trees: as many as there are. Fewest trees: of the depth chosen. Dashed: a "
            "guess.",
            "Dots of some forests, Polar and the model's own answer for each task.",
        ),
    ]


def _table(forests: Mapping[str, Forests]) -> Table:
    body = [
        [
            *(task, percent(chance(task)), interval(own.lm_prob), interval(own.polar)),
            *(interval(own.shallow), interval(own.single), interval(own.all_trees)),
            *(depth_name(own.chosen.depth), str(own.chosen.trees), interval(own.chosen)),
        ]
        for task, own in forests.items()
    ]
    caption = (
        "Test accuracies with 95% bootstrap intervals. Depth and number of trees, and Polar's "
        "number of neurons, were chosen on valid; of ties, the simplest."
    )
    head = ["task", "guess", "LM-Prob", "Polar", "shallowest trees", "fewest trees", "all trees"]
    return Table(caption, [*head, "depth chosen", "trees", "chosen forest"], body)


def _printed(forests: Mapping[str, Forests]) -> list[str]:
    names = ["", "LM-Prob", "Polar", "depth", "trees", "forest", "shallowest", "fewest"]
    head = [[name] for name in names]
    lines = [
        [
            *(task, percent(own.lm_prob.accuracy), percent(own.polar.accuracy)),
            *(depth_name(own.chosen.depth), str(own.chosen.trees), percent(own.chosen.accuracy)),
            *(percent(own.shallow.accuracy), percent(own.single.accuracy)),
        ]
        for task, own in forests.items()
    ]
    return aligned(head, lines)


def _as_json(own: Forests) -> dict[str, Any]:
    return {
        "depth": own.chosen.depth,
        "trees": own.chosen.trees,
        "accuracy": own.chosen.accuracy,
        "polar": own.polar.accuracy,
        "lm_prob": own.lm_prob.accuracy,
        "gain_of_depth": own.deep.accuracy - own.shallow.accuracy,
        "gain_of_trees": own.all_trees.accuracy - own.single.accuracy,
        "gain_over_polar": own.chosen.accuracy - own.polar.accuracy,
    }


def _notes(found: Mapping[str, Found]) -> list[str]:
    return [
        "A forest asks thousands of neurons, Polar the number chosen on valid: what a forest has "
        "more may come of neurons it asks, not of how they depend on each other. Trees of the "
        "least depth are the comparison without dependence.",
        "Two probes are asked the same prompts, of which no use is made: whether one accuracy lies "
        "in the other's interval is a rough test of their difference.",
        *notes_of(found),
    ]
