"""What the study of interdependency found: accuracies of forests, and what they say of claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.skill_studies.accuracies import above, highest, select, tested
from experiments.skill_studies.jobs import Row, TaskResult
from experiments.skill_studies.verdicts import Verdict, verdict


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A claim about forests: that one accuracy is above the interval of another."""

    better: str
    """Of the fields of `Forests`."""
    worse: str
    name: str
    """Of the difference, in summary.json."""
    words: str
    """For the difference."""
    claim: str
    test: str


COMPARISONS = (
    Comparison(
        better="deep",
        worse="shallow",
        name="gain_of_depth",
        words="deeper trees less the shallowest",
        claim="Depth matters",
        test="deeper trees, of the depth chosen on valid, are above the interval of as many of the "
        "shallowest",
    ),
    Comparison(
        better="all_trees",
        worse="single",
        name="gain_of_trees",
        words="all trees less the fewest",
        claim="The number of trees matters",
        test="all trees of the depth chosen are above the interval of the fewest",
    ),
    Comparison(
        better="chosen",
        worse="polar",
        name="gain_over_polar",
        words="the chosen forest less Polar",
        claim="Neurons know more together than alone",
        test="the forest chosen on valid is above the interval of Polar, whose number of neurons "
        "was chosen there, too",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Forests:
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

    def pair(self, comparison: Comparison) -> tuple[Row, Row]:
        """The two that are compared."""
        return getattr(self, comparison.better), getattr(self, comparison.worse)

    def gain(self, comparison: Comparison) -> float:
        """The difference of the two."""
        better, worse = self.pair(comparison)
        return better.accuracy - worse.accuracy

    @property
    def summary(self) -> dict[str, Any]:
        """For summary.json."""
        return {
            "depth": self.chosen.depth,
            "trees": self.chosen.trees,
            "accuracy": self.chosen.accuracy,
            "polar": self.polar.accuracy,
            "lm_prob": self.lm_prob.accuracy,
            **{comparison.name: self.gain(comparison) for comparison in COMPARISONS},
        }


def forests_of(result: TaskResult, depths: Sequence[int | None], counts: Sequence[int]) -> Forests:
    """Of one task, measured with these depths and numbers of trees."""
    rows = {(row.part, row.depth, row.trees or 0): row for row in select(result.rows, probe="tree")}

    def best(rows_of_valid: Sequence[Row]) -> Row:
        """The test row of the one that does best on valid; of ties, the simplest."""
        row = highest(rows_of_valid)
        return rows["test", row.depth, row.trees or 0]

    few, most = counts[0], counts[-1]
    chosen = best([rows["valid", depth, trees] for depth in depths for trees in counts])
    return Forests(
        chosen=chosen,
        shallow=rows["test", depths[0], most],
        deep=best([rows["valid", depth, most] for depth in depths[1:] or depths]),
        single=rows["test", chosen.depth, few],
        all_trees=rows["test", chosen.depth, most],
        polar=tested(result, "polar"),
        lm_prob=tested(result, "lm_prob"),
        matrix=np.asarray(
            [[rows["test", depth, trees].accuracy for trees in counts] for depth in depths]
        ),
    )


def verdict_of(comparison: Comparison, forests: Mapping[str, Forests]) -> Verdict:
    """What the tasks say of a claim."""
    says = {task: above(*forest.pair(comparison)) for task, forest in forests.items()}
    return verdict(comparison.claim, comparison.test, says)
