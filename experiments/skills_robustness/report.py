"""What the study of robustness shows: accuracies by source and target, losses, shared neurons."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.skill_figures import Series
from experiments.reporting.tables import Column, Table
from experiments.reporting.templates import Contents
from experiments.running.study import Findings
from experiments.skill_studies.accuracies import PROBES, RULES, chance
from experiments.skill_studies.jobs import Results, TaskResult
from experiments.skill_studies.study import findings_of
from experiments.skills_robustness.results import (
    AXES,
    FITTED,
    HELD,
    LOST,
    Transfer,
    common_names,
    half_matrix,
    mean_matrix,
    of_axis,
    other_accuracy,
    own_accuracy,
    shared_neurons,
    transfer_of,
)
from negjax.model.language_model import LanguageModel

HEADINGS = {
    "template": "From one template to another",
    "shots": "With other numbers of demonstrations",
    "language": "From one language to another",
}
"""Of the axes' sections."""
WAYS = {"template": "template", "shots": "number of demonstrations", "language": "language"}
"""What differs along an axis."""
# Of a probe and its transfer.
TRANSFER = (
    Column("probe", lambda row: PROBES[row[0]]),
    Column("own", lambda row: row[1].own, ".1%"),
    Column("other", lambda row: row[1].other, ".1%"),
    Column("loss", lambda row: row[1].loss, "+.1%"),
    Column("95%", lambda row: f"{row[1].low:+.1%} to {row[1].high:+.1%}"),
    Column("kept", lambda row: row[1].kept, ".1%"),
)
TRANSFER_ALONE = (
    Column("tasks", lambda row: row[1].tasks),
    Column("from a guess", lambda row: f"{row[1].lead:+.1%} (± {row[1].lead_noise:.1%})"),
    Column("pairs", lambda row: row[1].noise, ".1%", under="±"),
    Column("pairs", lambda row: f"{row[1].beyond} of {row[1].cells}", under="beyond"),
    Column("pairs", lambda row: row[1].by_luck, ".1f", under="by luck"),
)


def findings(results: Results, lm: LanguageModel) -> Findings:
    """Tables, figures and summary of the finished tasks."""
    rows = [row for result in results.values() for row in result.rows]
    fitted = [name for name in FITTED if any(row.probe == name for row in rows)]
    by_axis = {axis: tasks for axis in AXES if (tasks := of_axis(results, axis))}
    transfers = {
        axis: {probe: transfer_of(tasks, axis, probe) for probe in fitted if probe != "lm_prob"}
        for axis, tasks in by_axis.items()
    }
    losses = [
        f"by {WAYS[axis]}, "
        + ", ".join(
            f"{PROBES[probe]} {t.loss:+.1%} ({t.low:+.1%} to {t.high:+.1%})"
            for probe, t in some.items()
        )
        for axis, some in transfers.items()
    ]
    sections = [_section(tasks, axis, fitted, transfers[axis]) for axis, tasks in by_axis.items()]
    return findings_of(
        results,
        lm,
        contents=Contents(
            values={
                "losses": "; ".join(losses),
                "kept": HELD,
                "lost": LOST,
                "labels": _labels(results),
            },
            parts={"axes": sections},
        ),
        printed=Table(
            columns=[Column("axis", lambda row: row[2]), *TRANSFER],
            rows=[(p, t, axis) for axis, some in transfers.items() for p, t in some.items()],
        ),
        summary={
            "transfer": {
                axis: {
                    probe: dataclasses.asdict(t) | {"kept": t.kept, "verdict": t.verdict}
                    for probe, t in some.items()
                }
                for axis, some in transfers.items()
            },
            "shared": {axis: shared_neurons(tasks, axis) for axis, tasks in by_axis.items()},
        },
    )


def _section(
    tasks: Results, axis: str, fitted: Sequence[str], transfers: Mapping[str, Transfer]
) -> Contents:
    """What is shown of an axis."""
    shared = shared_neurons(tasks, axis)
    return Contents(
        values={
            "heading": HEADINGS[axis],
            "way": WAYS[axis],
            "verdicts": [
                f"{PROBES[p]}: the loss is {t.explanation}; {t.verdict}."
                for p, t in transfers.items()
            ],
            "mean": f", mean over {len(tasks)} tasks, of the ways that all were asked in"
            if len(tasks) > 1
            else "",
            "shared": shared,
        },
        tables={
            "transfer": Table(columns=[*TRANSFER, *TRANSFER_ALONE], rows=list(transfers.items())),
            "losses": _losses(tasks, axis, fitted),
            "common": _common(shared),
        },
        figures=_figures(tasks, axis, list(transfers)),
        ending=f"_{axis}",
    )


def _losses(tasks: Results, axis: str, fitted: Sequence[str]) -> Table:
    def of_probe(probe: str) -> list[Column]:
        taught = Column(PROBES[probe], lambda t: own_accuracy(tasks[t], axis, probe), ".1%")
        if probe == "lm_prob":
            return [taught]
        return [
            taught,
            Column(
                PROBES[probe],
                lambda t: other_accuracy(tasks[t], axis, probe),
                ".1%",
                under="other",
            ),
            Column(PROBES[probe], lambda t: _loss(tasks[t], axis, probe), under="loss"),
        ]

    return Table(
        columns=[
            Column("task", str),
            Column("ways", lambda task: len(tasks[task].more["ways"][axis])),
            Column("guess", chance, ".1%"),
            *(column for probe in fitted for column in of_probe(probe)),
        ],
        rows=list(tasks),
    )


def _loss(result: TaskResult, axis: str, probe: str) -> str:
    mean, low, high = result.more["losses"][axis][probe]
    return f"{mean:+.1%} ({low:+.1%} to {high:+.1%})"


def _common(shared: Mapping[str, Any]) -> Table:
    heads = {
        "other_way": "other way, same prompts",
        "other_prompts": "other prompts, same way",
        "both": "both",
    }

    def column(name: str) -> Column:
        return Column(heads[name], lambda rule: shared[rule][name], ".3f")

    return Table(
        columns=[Column("", lambda rule: RULES[rule]), *map(column, heads)], rows=list(RULES)
    )


def _figures(
    tasks: Results, axis: str, probes: Sequence[str]
) -> dict[str, Callable[[], Picture] | None]:
    names = common_names(tasks, axis)

    def squares(panels: Sequence[tuple[str, np.ndarray]], label: str) -> Picture:
        values = np.asarray([square for _, square in panels])
        short = [name.partition(" ")[2] for name in names]
        limits = (float(values.min()), float(values.max()))
        return skill_figures.matrix_figure(panels, short, short, label, limits=limits)

    def accuracy() -> Picture:
        panels = [(PROBES[p], mean_matrix(tasks, axis, p, names)) for p in probes]
        return squares(panels, "accuracy")

    def shared() -> Picture:
        matrices = {
            rule: [half_matrix(result, axis, rule, names) for result in tasks.values()]
            for rule in RULES
        }
        panels = [(RULES[rule], np.mean(some, axis=0)) for rule, some in matrices.items()]
        return squares(panels, "Jaccard index")

    def losses() -> Picture:
        series = []
        for probe in probes:
            of_tasks = np.asarray([r.more["losses"][axis][probe] for r in tasks.values()])
            mean, low, high = of_tasks.T.tolist()
            at = range(len(tasks))
            series.append(Series(label=PROBES[probe], at=at, accuracy=mean, low=low, high=high))
        return skill_figures.dots_figure(
            list(tasks), series, [0.0] * len(tasks), across="loss of accuracy", limits=None
        )

    several = len(names) > 1
    return {
        "accuracy": accuracy if several else None,
        "losses": losses,
        "shared": shared if several else None,
    }


def _labels(results: Results) -> list[str]:
    """Tasks whose labels are other words in other templates."""
    remarks = []
    for task, result in results.items():
        ways: dict[tuple[str, ...], list[str]] = {}
        for name, labels in result.more["labels"].items():
            ways.setdefault(tuple(labels), []).append(name)
        if len(ways) > 1:
            words = "; ".join(f"{', '.join(w)}: {', '.join(names)}" for w, names in ways.items())
            remarks.append(f"{task} has labels of other words by template ({words}).")
    return remarks
