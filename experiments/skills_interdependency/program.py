"""The program: its flags, and what it measures of a task."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.running.settings import define, setting
from experiments.running.study import Study
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import rows as skills_rows
from experiments.skill_studies import study as skills_study
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import TaskResult
from experiments.skill_studies.rows import LOOKED_AT
from experiments.skills_interdependency import report as skills_interdependency_report
from negjax.skills import ForestProbe


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of this study alone."""

    depths: list[int] = setting([1, 2, 4, 8, 16], "Depths of the trees.")
    unlimited: bool = setting(True, "Grow trees of no limited depth as well.")
    tree_counts: list[int] = setting([1, 2, 5, 10, 25, 50, 100], "Numbers of trees of a forest.")

    @property
    def every_depth(self) -> list[int | None]:
        """Ascending; None: not limited."""
        return [*self.depths, *([None] if self.unlimited else [])]


FLAGS = define(Settings)


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    settings = FLAGS.read()
    depths, counts = settings.every_depth, settings.tree_counts
    return skills_study.by_task(
        "skills_interdependency",
        {"depths": depths, "tree_counts": counts},
        functools.partial(measure, depths=depths, counts=counts),
        skills_interdependency_report.findings,
    )


def measure(measured: Measured, depths: Sequence[int | None], counts: Sequence[int]) -> TaskResult:
    """A row a depth and number of trees, and Polar's.

    Args:
        depths: ascending; None: not limited.
        counts: numbers of trees, ascending.
    """
    polar = skills_probes.voting_answers(measured, "polar")
    rows = [
        *skills_rows.lm_prob(measured),
        *(
            skills_rows.row(
                measured, part, polar.predicted[part], probe="polar", neurons=polar.neurons
            )
            for part in LOOKED_AT
        ),
    ]
    features, gold = skills_probes.tree_features(measured.parts["train"])
    for depth in depths:
        kind = skills_probes.forest_of(counts[-1], depth)
        probe = kind.fit_features(features, gold, measured.labels)
        for part in LOOKED_AT:
            predict = functools.partial(_of_first_trees, probe, counts)
            predicted = skills_probes.over_windows(measured.parts[part], predict)
            rows += [
                skills_rows.row(measured, part, labels, probe="tree", depth=depth, trees=trees)
                for trees, labels in zip(counts, predicted, strict=True)
            ]
    return TaskResult(rows=rows, about=[measured.about])


def _of_first_trees(probe: ForestProbe, counts: Sequence[int], codes: np.ndarray) -> np.ndarray:
    """The labels [G, b] that the first trees of a forest predict."""
    return np.stack([probe.predict_codes(codes, trees) for trees in counts])
