"""Accuracies of probes: chosen among others, beside a guess, and as readers see them."""

import functools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from experiments.reporting.skill_figures import Series
from experiments.reporting.tables import Column, written
from experiments.skill_studies.jobs import Results, Row, TaskResult
from negjax import mceval8k
from negjax.skills.features import feature_files

PROBES: Mapping[str, str] = {
    "majority": "Majority",
    "lm_prob": "LM-Prob",
    "random": "Random",
    "polar": "Polar",
    "magn": "Magn",
    "act": "Act",
    "tree": "Tree",
    "linear": "Linear",
}
RULES: Mapping[str, str] = {name: PROBES[name] for name in feature_files.RULES}
"""Probes whose neurons vote."""


def select(rows: Iterable[Row], **wanted: object) -> list[Row]:
    """The rows whose fields have these values."""
    return [r for r in rows if all(getattr(r, name) == value for name, value in wanted.items())]


def tested(result: TaskResult, probe: str) -> Row:
    """The test row of a probe that has one."""
    [row] = select(result.rows, probe=probe, part="test")
    return row


def chance(task: str) -> float:
    """Accuracy of a guess: parts have as many items of each label."""
    return 1 / len(mceval8k.TASKS[task].labels)


def guessed(row: Row) -> bool:
    """Whether an accuracy's interval holds that of a guess, or lies below it."""
    return row.low <= chance(row.task)


def above(row: Row, other: Row) -> bool | None:
    """Whether an accuracy is above another one's interval; None where both probes only guess."""
    return None if guessed(row) and guessed(other) else row.accuracy > other.high


def highest(rows: Sequence[Row]) -> Row:
    """The row of the largest accuracy; of ties, the first."""
    return max(rows, key=lambda row: row.accuracy)


def smallest(rows: Sequence[Row], fair: Row) -> Row | None:
    """The first of rows that comes within the interval of the best of them.

    Args:
        rows: of a probe, along an axis.
        fair: the one that was chosen without a look at these accuracies, of which the best is above
            a guess by luck alone where there are many; if it is no better than a guess: None.
    """
    if guessed(fair):
        return None
    best = highest(rows)
    return next(row for row in rows if row.accuracy >= best.low)


# ---- As readers see them.


def percent(share: float | None) -> str:
    """A share."""
    return written(share, ".1%")


def tasks_in_words(count: int) -> str:
    """How many tasks: "1 task", "22 tasks"."""
    return f"{count} task{'' if count == 1 else 's'}"


def interval(row: Row) -> str:
    """An accuracy with its interval."""
    return f"{row.accuracy:.1%} ({row.low:.1%}–{row.high:.1%})"


TASK = (Column("task", str), Column("guess", chance, ".1%"))
"""Of tables whose rows are names of tasks."""


def by_probe(probes: Iterable[str], value: Callable[..., object], form: str = "") -> list[Column]:
    """A column a probe.

    Args:
        value: of a row, and of the `probe` by its name.
    """
    return [Column(PROBES[probe], functools.partial(value, probe=probe), form) for probe in probes]


def median(values: Sequence[int]) -> str:
    """The median of numbers, a dash of none."""
    return written(statistics.median(values) if values else None, "g")


def series_of(label: str, rows: Sequence[Row], at: Sequence[float], dashed: bool = False) -> Series:
    """Rows as a curve, or as dots, at these places."""
    return Series(
        label=label,
        at=at,
        accuracy=[row.accuracy for row in rows],
        low=[row.low for row in rows],
        high=[row.high for row in rows],
        dashed=dashed,
    )


def level(label: str, row: Row, at: Sequence[float]) -> Series:
    """An accuracy that does not depend on what a figure's axis shows, from its first to last."""
    return series_of(label, [row, row], [at[0], at[-1]], dashed=True)


def notes(results: Results) -> list[str]:
    """Remarks on the tasks' parts, each once."""
    remarks = []
    for task, result in results.items():
        several = len({way["split"] for way in result.about}) > 1
        for way in result.about:
            where = f"{task}, {way['split']} parts" if several else task
            remarks += [f"{where}: {note}" for note in way["notes"]]
    return list(dict.fromkeys(remarks))
