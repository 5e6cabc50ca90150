"""What the study of robustness found: accuracies by source and target, and what they amount to."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.skill_studies.jobs import Found, Row
from experiments.skill_studies.page import RULES, chance, select
from negjax import skills

AXES: Mapping[str, str] = {
    "template": "From one template to another",
    "shots": "With other numbers of demonstrations",
    "language": "From one language to another",
}
PROBES: Mapping[str, str] = {
    "lm_prob": "LM-Prob",
    "polar": "Polar",
    "magn": "Magn",
    "act": "Act",
    "tree": "Tree",
}
HELD, LOST = 0.9, 0.5
"""Of a probe's lead over a guess: kept as much, it counts as robust; no more than this, as not."""


@dataclasses.dataclass(frozen=True)
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
        """What is left of the lead, as a share; None where there is none to be told from chance."""
        return 1 - self.loss / self.lead if self.lead > self.lead_noise else None

    @property
    def verdict(self) -> str:
        """What it says of the claim."""
        if self.kept is None:
            return "too close to a guess to say anything of the claim"
        if self.kept >= HELD:
            return "speaks for the claim"
        return "speaks against it" if self.kept <= LOST else "neither holds nor loses most of it"


def of_axis(found: Mapping[str, Found], axis: str) -> dict[str, Found]:
    """The tasks that were asked in several ways of an axis."""
    return {task: one for task, one in found.items() if axis in one.more["ways"]}


def cells_of(one: Found, axis: str, probe: str) -> list[Row]:
    """A task's accuracies along an axis."""
    names = one.more["ways"][axis]
    return [r for r in select(one.rows, probe=probe) if r.source in names and r.target in names]


def transfer_of(found: Mapping[str, Found], axis: str, probe: str) -> Transfer:
    """What a probe's accuracies along an axis amount to, over tasks."""
    own, other, leads, halves, noises, beyond = [], [], [], [], [], 0
    for task, one in found.items():
        cells = cells_of(one, axis, probe)
        best = {r.target: r for r in cells if r.source == r.target}
        others = [r for r in cells if r.source != r.target]
        own.append(statistics.fmean(r.accuracy for r in best.values()))
        other.append(statistics.fmean(r.accuracy for r in others))
        leads.append(own[-1] - chance(task))
        halves.append(statistics.fmean(r.half for r in best.values()))
        for row in others:
            noises.append(math.hypot(row.half, best[row.target].half))
            beyond += best[row.target].accuracy - row.accuracy > noises[-1]
    losses = [one.more["losses"][axis][probe] for one in found.values()]
    mean, low, high = _together(losses)
    lead_noise = math.hypot(*halves) / len(halves)
    return Transfer(
        len(found),
        statistics.fmean(own),
        statistics.fmean(other),
        statistics.fmean(leads),
        lead_noise,
        mean,
        low,
        high,
        len(noises),
        statistics.fmean(noises),
        beyond,
    )


def _together(losses: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """The mean of tasks' (mean, low, high), whose prompts have nothing to do with each other."""
    mean = statistics.fmean(m for m, _, _ in losses)
    below = math.hypot(*(m - low for m, low, _ in losses)) / len(losses)
    above = math.hypot(*(high - m for m, _, high in losses)) / len(losses)
    return mean, mean - below, mean + above


def mean_matrix(found: Mapping[str, Found], axis: str, probe: str, names: list[str]) -> np.ndarray:
    """Accuracies [source, target], NaN where none was measured; means over tasks."""
    every = np.full((len(found), len(names), len(names)), np.nan)
    for matrix, one in zip(every, found.values(), strict=True):
        for row in cells_of(one, axis, probe):
            if row.source in names and row.target in names:
                matrix[names.index(row.source), names.index(row.target)] = row.accuracy
    return every.mean(0)


def common_names(found: Mapping[str, Found], axis: str) -> list[str]:
    """Ways that all tasks were asked in."""
    first, *rest = [one.more["ways"][axis] for one in found.values()]
    return [name for name in first if all(name in other for other in rest)]


def half_matrix(one: Found, axis: str, rule: str, names: Sequence[str]) -> np.ndarray:
    """Jaccard indices between halves, of the ways with these names."""
    at = [one.more["ways"][axis].index(name) for name in names]
    return np.asarray(one.more["shared"][axis][rule]["halves"])[np.ix_(at, at)]


def shared_neurons(found: Mapping[str, Found], axis: str) -> dict[str, Any]:
    """Means over tasks of Jaccard indices, and what chance gives."""
    one = next(iter(found.values())).more
    kept = min(one["k"], one["total"])
    told: dict[str, Any] = {"k": kept, **skills.chance_jaccard(kept, one["total"])._asdict()}
    for rule in RULES:
        every = [task.more["shared"][axis][rule] for task in found.values()]
        told[rule] = {
            "other_way": statistics.fmean(_off(task["all"]) for task in every),
            "other_prompts": statistics.fmean(np.diag(task["halves"]).mean() for task in every),
            "both": statistics.fmean(_off(task["halves"]) for task in every),
        }
    return told


def _off(matrix: Sequence[Sequence[float]]) -> float:
    """The mean off the diagonal."""
    array = np.asarray(matrix)
    return float(array[~np.eye(len(array), dtype=bool)].mean())
