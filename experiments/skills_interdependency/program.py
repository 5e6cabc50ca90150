"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
from collections.abc import Sequence

import numpy as np
from absl import flags

from experiments.running import flag_lists
from experiments.skill_studies import by_task as skills_by_task
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import study as skills_study
from experiments.skill_studies.by_task import LOOKED_AT
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import Found
from experiments.skills_interdependency import page as skills_interdependency_page
from negjax.skills import ForestProbe

_DEPTHS = flags.DEFINE_list("depths", ["1", "2", "4", "8", "16"], "Depths of the trees.")
_UNLIMITED = flags.DEFINE_bool("unlimited", True, "Grow trees of no limited depth as well.")
_TREES = flags.DEFINE_list(
    "tree_counts", ["1", "2", "5", "10", "25", "50", "100"], "Numbers of trees."
)


def main() -> int:
    """Measures, fits, and writes accuracies, figures and report."""
    depths: list[int | None] = [*flag_lists.whole_numbers(_DEPTHS)]
    if _UNLIMITED.value:
        depths.append(None)
    counts = flag_lists.whole_numbers(_TREES)
    return skills_by_task.run(
        "skills_interdependency",
        skills_interdependency_page.TITLE,
        {"depths": depths, "tree_counts": counts},
        functools.partial(measure, depths=depths, counts=counts),
        skills_interdependency_page.show,
    )


def measure(measured: Measured, depths: Sequence[int | None], counts: Sequence[int]) -> Found:
    """A row a depth and number of trees, and Polar's.

    Args:
        depths: ascending; None: not limited.
        counts: numbers of trees, ascending.
    """
    polar = skills_probes.voting_answers(measured, "polar")
    rows = [
        *skills_by_task.lm_prob(measured),
        *(
            skills_study.row(
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
                skills_study.row(measured, part, labels, probe="tree", depth=depth, trees=trees)
                for trees, labels in zip(counts, predicted, strict=True)
            ]
    return Found(rows, asked=[measured.asked])


def _of_first_trees(probe: ForestProbe, counts: Sequence[int], codes: np.ndarray) -> np.ndarray:
    """The labels [G, b] that the first trees of a forest predict."""
    return np.stack([probe.predict_codes(codes, trees) for trees in counts])
