"""What the study of interdependency shows: tables, figures, numbers of its report's template."""

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.skill_studies import accuracies as acc
from experiments.skill_studies.jobs import Results
from experiments.skill_studies.study import Shown
from experiments.skills_interdependency.results import COMPARISONS, forests_of, verdict_of

SHOWN = {
    "lm_prob": "LM-Prob",
    "polar": "Polar",
    "shallow": "shallowest trees",
    "single": "fewest trees",
    "all_trees": "all trees",
    "chosen": "chosen forest",
}
"""Of the fields of `Forests`."""


def findings(results: Results) -> Shown:
    """Tables, figures and summary of the finished tasks."""
    rows = acc.select(next(iter(results.values())).rows, probe="tree", part="test")
    depths = list(dict.fromkeys(row.depth for row in rows))
    counts = list(dict.fromkeys(row.trees or 0 for row in rows))
    forests = {task: forests_of(result, depths, counts) for task, result in results.items()}
    found = {n: [getattr(forest, n) for forest in forests.values()] for n in SHOWN}
    gains = [
        f"{c.words} {acc.signed(acc.mean_gain(forest.pair(c) for forest in forests.values()))}"
        for c in COMPARISONS
    ]

    def matrices() -> Picture:
        return skill_figures.matrix_figure(
            [(f"{task} ({f.polar.accuracy:.0%})", f.matrix) for task, f in forests.items()],
            ["∞" if depth is None else str(depth) for depth in depths],
            list(map(str, counts)),
            "test accuracy",
            form=".0f",
            percent=True,
            axes_names=("depth", "trees"),
        )

    def dots() -> Picture:
        probes = {name: name if name in acc.PROBES else "tree" for name in SHOWN}
        series = [
            acc.series_of(some, range(len(some)), probe=probes[name], label=SHOWN[name])
            for name, some in found.items()
            if name != "all_trees"
        ]
        return skill_figures.dots_figure(list(forests), series, [*map(acc.chance, forests)])

    return Shown(
        values={"gains": "; ".join(gains)},
        tables={
            "forests": acc.table_of(
                "task; probe; depth; trees; accuracy; guess|.1%",
                [
                    (
                        *(task, SHOWN[name], row.trees and (row.depth or "unlimited"), row.trees),
                        *(acc.interval(row), acc.chance(task)),
                    )
                    for task, *several in zip(forests, *found.values(), strict=True)
                    for name, row in zip(SHOWN, several, strict=True)
                ],
            )
        },
        figures={"matrices": matrices, "gains": dots},
        printed="forests",
        summary={"chosen": {task: forest.summary for task, forest in forests.items()}},
        verdicts=[verdict_of(comparison, forests) for comparison in COMPARISONS],
    )
