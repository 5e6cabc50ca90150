"""What the study of inclusivity found: overlaps of tasks' neurons, what others' neurons know."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.skill_studies.accuracies import RULES, chance
from experiments.skill_studies.jobs import Results, Row
from negjax import skills
from negjax.skills import Chance

OWN, RANDOM = "own neurons", "random neurons"
SHUFFLES = 10_000
UNLIKELY = 0.05


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Neurons that tasks share, over all pairs of tasks."""

    pairs: int
    mean: float
    """Jaccard index."""
    chance: Chance
    above: int
    """Pairs above the band of random pairs."""
    halves: float
    """Mean of the tasks' own: by one half of the training prompts, and by the other."""

    @property
    def by_luck(self) -> float:
        """How many pairs of random sets would lie above the band, at most, on average."""
        return 0.025 * self.pairs

    @property
    def verdict(self) -> str:
        """What it says of neurons that tasks share."""
        if self.pairs == 1:
            if self.above:
                return "the two tasks share more neurons than 39 of 40 random pairs would"
            return "the two tasks share no more neurons than chance explains"
        if self.above > self.pairs / 2:
            return "tasks share skill neurons, most of them with each other"
        if self.above > self.by_luck + 2 * math.sqrt(self.by_luck):
            return "some tasks share skill neurons, most pairs do not"
        return "no more than chance explains, which speaks against shared skill neurons"


@dataclass(frozen=True, kw_only=True)
class Kinship:
    """Whether pairs of a kind share more than other pairs."""

    pairs: int
    """Of the kind."""
    mean: float
    others: float
    """Mean of the other pairs."""
    chance: float
    """Share of random assignments of the tasks to groups, of the same sizes, with a difference as
    large or larger."""

    @property
    def verdict(self) -> str:
        """Whether it may be chance."""
        return f"{'no more' if self.chance >= UNLIKELY else 'more'} than chance explains"


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """How well tasks are answered by neurons of their own, of others, and by random ones."""

    tasks: int
    guess: float
    own: float
    others: float
    """Mean over all pairs of tasks."""
    random: float
    noise: float
    """Half the 95% interval of the difference of two of these means, as test prompts allow it."""

    @property
    def kept(self) -> float | None:
        """What others' neurons keep of the lead of own ones over random ones; None where that lead
        may be chance."""
        lead = self.own - self.random
        return (self.others - self.random) / lead if lead > self.noise else None

    @property
    def verdict(self) -> str:
        """What it says of what neurons know."""
        if self.own - self.guess <= self.noise:
            return "own neurons are too close to a guess for others' to be compared with them"
        if self.kept is None:
            return (
                "own neurons cannot be distinguished from random ones with the same task's "
                "polarities: how neurons are made to vote matters, not which they are"
            )
        if self.others - self.random > self.noise:
            return (
                "other tasks' keep more than chance explains: tasks share what their neurons know"
            )
        return (
            "other tasks' keep no more than chance explains: tasks do not visibly share what their "
            "neurons know"
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Of tasks, two or more, by one rule."""

    rule: str
    overlap: Overlap
    knowledge: Knowledge


def compared(results: Results) -> list[Comparison]:
    """By rule; nothing with one task."""
    if len(results) < 2:
        return []
    return [
        Comparison(rule=r, overlap=overlap_of(results, r), knowledge=knowledge_of(results, r))
        for r in RULES
    ]


def shared_of(results: Results, rule: str) -> np.ndarray:
    """Jaccard indices [tasks, tasks]; on the diagonal those of each task's halves."""
    best = [result.more["neurons"][rule] for result in results.values()]
    matrix = np.diag([result.more["halves"][rule] for result in results.values()])
    for i, j in itertools.combinations(range(len(best)), 2):
        matrix[i, j] = matrix[j, i] = skills.jaccard(best[i], best[j])
    return matrix


def by_chance(results: Results) -> Chance:
    """What random neurons, as many, give."""
    more = next(iter(results.values())).more
    return skills.chance_jaccard(more["k"], more["total"])


def overlap_of(results: Results, rule: str) -> Overlap:
    """All pairs of tasks, two or more, beside chance."""
    matrix, random = shared_of(results, rule), by_chance(results)
    pairs = matrix[np.triu_indices(len(matrix), 1)]
    above = int((pairs > random.high).sum())
    return Overlap(
        pairs=pairs.size,
        mean=pairs.mean().item(),
        chance=random,
        above=above,
        halves=np.diag(matrix).mean().item(),
    )


def kinships_of(results: Results, rule: str, seed: int) -> dict[str, Kinship | None]:
    """Pairs of tasks that are alike in something, by what that is.

    Args:
        seed: of assignments of tasks to groups.
    """
    groups: Mapping[str, Sequence[object]] = {
        "genre": [result.more["genre"] for result in results.values()],
        "labels": [tuple(result.more["labels"]) for result in results.values()],
        "number of labels": [len(result.more["labels"]) for result in results.values()],
    }
    matrix = shared_of(results, rule)
    return {name: kinship_of(matrix, group, seed) for name, group in groups.items()}


def kinship_of(matrix: np.ndarray, groups: Sequence[object], seed: int) -> Kinship | None:
    """Pairs of tasks of one group, beside pairs of two; None where there are none of either.

    Args:
        matrix: [tasks, tasks], symmetric; its diagonal is not looked at.
        groups: of each task.
        seed: of the assignments of tasks to groups.
    """
    first, second = np.triu_indices(len(groups), 1)
    number = np.asarray([list(groups).index(group) for group in groups])
    values = matrix[first, second]

    def means(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        same = numbers[:, first] == numbers[:, second]
        count = same.sum(1)
        within = same @ values
        return within / count, (values.sum() - within) / (len(values) - count)

    same = number[first] == number[second]
    if same.all() or not same.any():
        return None
    [mean], [others] = means(number[None])
    drawn = np.random.default_rng(seed).permuted(np.tile(number, (SHUFFLES, 1)), axis=1)
    within, between = means(drawn)
    # Rounding of sums in another order is no difference.
    as_large = within - between >= mean - others - 1e-12
    # The groups as they are count as one of their own shuffles: no p is zero.
    chance = (1 + as_large.sum()) / (1 + SHUFFLES)
    return Kinship(
        pairs=int(same.sum()), mean=float(mean), others=float(others), chance=float(chance)
    )


def cells_of(results: Results, rule: str) -> dict[tuple[str, str], Row]:
    """Accuracies by source and target."""
    rows = [row for result in results.values() for row in result.rows if row.probe == rule]
    return {(str(row.source), row.task): row for row in rows}


def knowledge_of(results: Results, rule: str) -> Knowledge:
    """Own, others' and random neurons, over tasks, two or more."""
    cells, tasks = cells_of(results, rule), list(results)
    own_rows = [cells[task, task] for task in tasks]
    others = [[cells[s, t] for s in tasks if s != t] for t in tasks]
    random = [cells[RANDOM, task] for task in tasks]
    # Others' neurons are asked the same prompts: their mean is as sure as one of them.
    halves = [[row.half for row in row_of] for row_of in (own_rows, random)]
    halves.append([statistics.fmean(row.half for row in several) for several in others])
    largest = math.sqrt(2) * max(math.hypot(*half) for half in halves) / len(tasks)
    return Knowledge(
        tasks=len(tasks),
        guess=statistics.fmean(map(chance, tasks)),
        own=statistics.fmean(row.accuracy for row in own_rows),
        others=statistics.fmean(row.accuracy for several in others for row in several),
        random=statistics.fmean(row.accuracy for row in random),
        noise=largest,
    )
