"""What the study of robustness shows: accuracies by source and target, losses, shared neurons."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Table
from experiments.reporting.templates import Contents
from experiments.skill_studies import accuracies as acc
from experiments.skill_studies.jobs import Results, TaskResult
from experiments.skill_studies.study import Shown
from experiments.skills_robustness.results import (
    AXES,
    FITTED,
    HELD,
    LOST,
    Transfer,
    accuracy_of,
    common_names,
    half_matrix,
    mean_matrix,
    of_axis,
    shared_neurons,
    transfer_of,
)

HEADINGS = {
    "template": "From one template to another",
    "shots": "With other numbers of demonstrations",
    "language": "From one language to another",
}
"""Of the axes' sections."""
WAYS = {"template": "template", "shots": "number of demonstrations", "language": "language"}
"""What differs along an axis."""
SHARED = ("other_way", "other_prompts", "both")
Transfers = Mapping[str, Transfer]
"""By probe."""


def findings(results: Results) -> Shown:
    """Tables, figures and summary of the finished tasks."""
    asked = {row.probe for result in results.values() for row in result.rows}
    fitted = [name for name in FITTED if name in asked]
    by_axis = {axis: tasks for axis in AXES if (tasks := of_axis(results, axis))}
    transfers = {
        axis: {probe: transfer_of(tasks, axis, probe) for probe in fitted if probe != "lm_prob"}
        for axis, tasks in by_axis.items()
    }
    says = [t.verdict for some in transfers.values() for t in some.values()]
    shared = {axis: shared_neurons(tasks, axis) for axis, tasks in by_axis.items()}
    return Shown(
        values={
            "finding": "; ".join(_finding(axis, some) for axis, some in transfers.items()),
            "losses": len(says),
            "for_it": says.count("speaks for the claim"),
            "against": says.count("speaks against it"),
            "kept": HELD,
            "lost": LOST,
            "shared": next(iter(shared.values())),
            "labels": _labels(results),
        },
        tables={
            "transfer": _transfer(transfers),
            "losses": _losses(by_axis, fitted),
            "common": acc.table_of(
                "other; by; other way, same prompts|.3f; other prompts, same way|.3f; both|.3f",
                [
                    (axis, name, *(of_axis[rule][kind] for kind in SHARED))
                    for axis, of_axis in shared.items()
                    for rule, name in acc.RULES.items()
                ],
            ),
        },
        figures={"means": lambda: _means(transfers)},
        parts={"axes": [_section(tasks, a, list(transfers[a])) for a, tasks in by_axis.items()]},
        printed="transfer",
        summary={
            "transfer": {
                axis: {
                    probe: dataclasses.asdict(t) | {"kept": t.kept, "verdict": t.verdict}
                    for probe, t in some.items()
                }
                for axis, some in transfers.items()
            },
            "shared": shared,
        },
    )


def _transfer(transfers: Mapping[str, Transfers]) -> Table:
    return acc.table_of(
        "other; probe; own|.1%; asked otherwise|.1%; loss; kept|.1%; from a guess; tasks; "
        "pairs|.1%|±; pairs||beyond; pairs|.1f|by luck; says",
        [
            (
                *(axis, acc.PROBES[probe], t.own, t.other, acc.signed(t.change), t.kept),
                *(f"{t.lead:+.1%} ± {t.lead_noise:.1%}", t.tasks, t.noise),
                *(f"{t.beyond} of {t.cells}", t.by_luck, t.verdict),
            )
            for axis, some in transfers.items()
            for probe, t in some.items()
        ],
    )


def _losses(by_axis: Mapping[str, Results], fitted: list[str]) -> Table:
    def row(task: str, result: TaskResult, axis: str, probe: str) -> tuple[object, ...]:
        own = accuracy_of(result, axis, probe)
        # Nothing is taught to the model's own answer: it has no other source.
        other = None if probe == "lm_prob" else accuracy_of(result, axis, probe, own=False)
        loss = result.more["losses"][axis].get(probe)
        change = loss and acc.signed(acc.Mean(*loss))
        ways = len(result.more["ways"][axis])
        return task, axis, acc.PROBES[probe], ways, own, other, change, acc.chance(task)

    return acc.table_of(
        "task; other; probe; ways; own|.1%; asked otherwise|.1%; loss; guess|.1%",
        [
            row(task, result, axis, probe)
            for axis, tasks in by_axis.items()
            for task, result in tasks.items()
            for probe in fitted
        ],
    )


def _finding(axis: str, transfers: Transfers) -> str:
    """The largest loss along an axis, of the probes that have something to lose."""
    leading = {probe: t for probe, t in transfers.items() if t.kept is not None}
    if not leading:
        return f"by another {WAYS[axis]} nothing can be lost, all probes are close to a guess"
    probe = max(leading, key=lambda name: leading[name].loss)
    t, tasks = leading[probe], acc.tasks_in_words(leading[probe].tasks)
    near = [acc.PROBES[name] for name in transfers if name not in leading]
    aside = f"; {', '.join(near)}: too close to a guess" if near else ""
    return (
        f"by another {WAYS[axis]} {acc.PROBES[probe]} loses most, {acc.signed(t.change)}, from "
        f"{t.own:.1%} to {t.other:.1%} ({tasks}{aside})"
    )


def _section(tasks: Results, axis: str, probes: list[str]) -> Contents:
    """What is shown of an axis."""
    names = common_names(tasks, axis)
    short = [name.partition(" ")[2] for name in names]
    squares = functools.partial(skill_figures.matrix_figure, rows=short, columns=short)

    def accuracy() -> Picture:
        panels = [(acc.PROBES[p], mean_matrix(tasks, axis, p, names)) for p in probes]
        ends = ("taught", "tested")
        return squares(panels, label="accuracy", form=".0f", percent=True, axes_names=ends)

    def shared() -> Picture:
        every = {r: [half_matrix(t, axis, r, names) for t in tasks.values()] for r in acc.RULES}
        panels = [(acc.RULES[rule], np.mean(some, axis=0)) for rule, some in every.items()]
        ends = ("asked of one half", "asked of the other")
        return squares(panels, label="Jaccard index", form=".2f", axes_names=ends)

    def losses() -> Picture:
        found = [task.more["losses"][axis] for task in tasks.values()]
        return _dots(list(tasks), {p: [acc.Mean(*of[p]) for of in found] for p in probes})

    several, mean = len(names) > 1, f", mean of {len(tasks)} tasks, of the ways common to all"
    figures: dict[str, Callable[[], Picture] | None] = {
        "accuracy": accuracy if several else None,
        "losses": losses if len(tasks) > 1 else None,
        "shared": shared if several else None,
    }
    heading, way = HEADINGS[axis], WAYS[axis]
    return Contents(
        values={"heading": heading, "way": way, "mean": mean if len(tasks) > 1 else ""},
        figures=figures,
        ending=f"_{axis}",
    )


def _means(transfers: Mapping[str, Transfers]) -> Picture:
    """Losses along each axis."""
    every = list(transfers.values())
    losses = {probe: [some[probe].change for some in every] for probe in every[0]}
    return _dots([f"other {axis}" for axis in transfers], losses)


def _dots(lines: list[str], losses: Mapping[str, list[acc.Mean]]) -> Picture:
    series = [acc.series_of(some, range(len(some)), probe=p) for p, some in losses.items()]
    none = [0.0] * len(lines)
    return skill_figures.dots_figure(lines, series, none, across="loss of accuracy", limits=None)


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
