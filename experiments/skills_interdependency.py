"""Whether neurons depend on each other: accuracies of forests by depth and number of trees.

    python -m experiments.skills_interdependency --root=DIRECTORY \\
        --flagfile=experiments/flagfiles/skills_interdependency_quick.flags

Time on 2 cores with the embedded model: about 0.12 s a prompt for features that no other study has
measured, then 25 s a task; skills_interdependency_quick.flags (one task) under 3 minutes,
skills_interdependency_full.flags (22 tasks) an hour and a half, of which six minutes are the
study's own. Expected: many trees do better, deeper ones in few tasks. Source: Zhao, Jiang,
Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.

A tree of depth 1 asks one neuron, a deeper one asks a neuron by what another has answered; Polar's
neurons vote alone. A forest's first n trees are the forest of n trees: one fit a depth.
"""

import functools
from collections.abc import Sequence

import numpy as np
from absl import flags

from experiments import (
    common,
    flag_lists,
    skills_by_task,
    skills_interdependency_page,
    skills_probes,
    skills_study,
)
from experiments.skills_by_task import LOOKED_AT
from experiments.skills_inputs import Measured
from experiments.skills_jobs import Found
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


if __name__ == "__main__":
    common.run(main)
