"""What the study of robustness found: accuracies by source and target, and what they amount to."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.skill_studies.accuracies import RULES, Mean, chance, mean_of, select
from experiments.skill_studies.jobs import Results, Row, TaskResult
from negjax import skills

AXES = ("template", "shots", "language")
"""In what ways of asking differ."""
FITTED = ("lm_prob", "polar", "magn", "act", "tree")
"""Probes of this study."""
HELD, LOST = 0.9, 0.5
"""Of a probe's lead over a guess: kept as much, it counts as robust; no more than this, as not."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """How a probe does in the ways that it was not taught, over tasks."""

    tasks: int
    own: float
    """Accuracy where source and target are the same."""
    other: float
    """Where they differ."""
    lead: float
    """Of `own` over a guess."""
    lead_noise: float
    """Half the lead's 95% interval."""
    loss: float
    """`own` less `other`."""
    low: float
    high: float
    cells: int
    """Pairs of source and another target."""
    noise: float
    """Half the interval of one pair's loss, of its two accuracies' intervals; the mean of them."""
    beyond: int
    """Pairs that lose more than theirs."""

    @property
    def kept(self) -> float | None:
        """What is left of the lead, as a share; None where that lead may be chance."""
        return 1 - self.loss / self.lead if self.lead > self.lead_noise else None

    @property
    def by_luck(self) -> float:
        """Pairs that would lose more than theirs without any effect, at most, on average."""
        return 0.025 * self.cells

    @property
    def change(self) -> Mean:
        """The loss with its interval."""
        return Mean(self.loss, self.low, self.high)

    @property
    def verdict(self) -> str:
        """What it says of the claim."""
        if self.kept is None:
            return "too close to a guess to say anything of the claim"
        if self.kept >= HELD:
            return "speaks for the claim"
        return "speaks against it" if self.kept <= LOST else "neither holds nor loses most of it"


def of_axis(results: Results, axis: str) -> Results:
    """The tasks that were asked in several ways of an axis."""
    return {task: result for task, result in results.items() if axis in result.more["ways"]}


def cells_of(result: TaskResult, axis: str, probe: str) -> list[Row]:
    """A task's accuracies along an axis."""
    names = result.more["ways"][axis]
    rows = select(result.rows, probe=probe)
    return [row for row in rows if row.source in names and row.target in names]


def accuracy_of(result: TaskResult, axis: str, probe: str, own: bool = True) -> float:
    """A task's mean accuracy where source and target are the same, or where they differ."""
    cells = cells_of(result, axis, probe)
    return statistics.fmean(r.accuracy for r in cells if (r.source == r.target) == own)


def transfer_of(results: Results, axis: str, probe: str) -> Transfer:
    """What a probe's accuracies along an axis amount to, over tasks."""
    taught = {task: accuracy_of(result, axis, probe) for task, result in results.items()}
    halves, noises, beyond = [], [], 0
    for result in results.values():
        cells = cells_of(result, axis, probe)
        best = {row.target: row for row in cells if row.source == row.target}
        halves.append(statistics.fmean(row.half for row in best.values()))
        for row in cells:
            if row.source != row.target:
                noises.append(math.hypot(row.half, best[row.target].half))
                beyond += best[row.target].accuracy - row.accuracy > noises[-1]
    loss = mean_of([Mean(*r.more["losses"][axis][probe]) for r in results.values()])
    return Transfer(
        tasks=len(results),
        own=statistics.fmean(taught.values()),
        other=statistics.fmean(accuracy_of(r, axis, probe, own=False) for r in results.values()),
        lead=statistics.fmean(accuracy - chance(task) for task, accuracy in taught.items()),
        lead_noise=math.hypot(*halves) / len(halves),
        loss=loss.accuracy,
        low=loss.low,
        high=loss.high,
        cells=len(noises),
        noise=statistics.fmean(noises),
        beyond=beyond,
    )


def mean_matrix(results: Results, axis: str, probe: str, names: Sequence[str]) -> np.ndarray:
    """Accuracies [source, target], NaN where none was measured; means over tasks."""
    every = np.full((len(results), len(names), len(names)), np.nan)
    place = {name: number for number, name in enumerate(names)}
    for matrix, result in zip(every, results.values(), strict=True):
        for row in cells_of(result, axis, probe):
            if row.source in place and row.target in place:
                matrix[place[row.source], place[row.target]] = row.accuracy
    return every.mean(0)


def common_names(results: Results, axis: str) -> list[str]:
    """Ways that all tasks were asked in."""
    first, *rest = [result.more["ways"][axis] for result in results.values()]
    return [name for name in first if all(name in other for other in rest)]


def half_matrix(result: TaskResult, axis: str, rule: str, names: Sequence[str]) -> np.ndarray:
    """Jaccard indices between halves, of the ways with these names."""
    at = [result.more["ways"][axis].index(name) for name in names]
    return np.asarray(result.more["shared"][axis][rule]["halves"])[np.ix_(at, at)]


def shared_neurons(results: Results, axis: str) -> dict[str, Any]:
    """Means over tasks of Jaccard indices, and what chance gives."""
    more = next(iter(results.values())).more
    k = min(more["k"], more["total"])
    shared: dict[str, Any] = {"k": k, **skills.chance_jaccard(k, more["total"])._asdict()}
    for rule in RULES:
        every = [result.more["shared"][axis][rule] for result in results.values()]
        shared[rule] = {
            "other_way": statistics.fmean(_off(task["all"]) for task in every),
            "other_prompts": statistics.fmean(np.diag(task["halves"]).mean() for task in every),
            "both": statistics.fmean(_off(task["halves"]) for task in every),
        }
    return shared


def _off(matrix: Sequence[Sequence[float]]) -> float:
    """The mean off the diagonal."""
    array = np.asarray(matrix)
    return float(array[~np.eye(len(array), dtype=bool)].mean())
