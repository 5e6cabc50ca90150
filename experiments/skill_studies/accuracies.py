"""Accuracies of probes: chosen among others, beside a guess, and as readers see them."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    YELLOW,
    Picture,
)
from experiments.reporting.skill_figures import Series
from experiments.reporting.tables import Table, columns, written
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
MEANINGS: Mapping[str, str] = {
    "majority": "the most frequent label of the training prompts",
    "lm_prob": "the model's own answer, the label to whose token it gives the largest probability",
    "random": "neurons drawn at random, with Polar's votes; mean of several draws",
    "polar": "the neurons whose score has one sign for the right label most often, and another "
    "for others; each votes by the sign",
    "magn": "the neurons whose score is largest for the right label most often; each votes for "
    "the label of its largest score, in training as in test",
    "act": "the neurons whose activation, above or below its mean, goes with the label best",
    "tree": "a random forest, which asks of all neurons for which label their score is the largest",
    "linear": "multinomial regression on the signs of all neurons' scores",
}
COLORS = dict(zip(PROBES, (SKY, BLACK, GREY, BLUE, ORANGE, GREEN, PURPLE, YELLOW), strict=True))
"""A probe's, in every figure of every study."""
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


class Mean(NamedTuple):
    """An accuracy, or a difference of two, with its 95% interval."""

    accuracy: float
    low: float
    high: float


def mean_of(several: Sequence[Row | Mean]) -> Mean:
    """Of tasks, whose prompts have nothing to do with each other: errors are independent."""
    mean = statistics.fmean(one.accuracy for one in several)
    below = math.hypot(*(one.accuracy - one.low for one in several)) / len(several)
    above = math.hypot(*(one.high - one.accuracy for one in several)) / len(several)
    return Mean(mean, mean - below, mean + above)


def mean_gain(pairs: Iterable[tuple[Row, Row]]) -> Mean:
    """What the first of two has more, mean over tasks; errors count as independent."""
    gains = []
    for row, other in pairs:
        gain = row.accuracy - other.accuracy
        below = math.hypot(row.accuracy - row.low, other.high - other.accuracy)
        above = math.hypot(row.high - row.accuracy, other.accuracy - other.low)
        gains.append(Mean(gain, gain - below, gain + above))
    return mean_of(gains)


# ---- As readers see them.


def tasks_in_words(count: int) -> str:
    """How many tasks: "1 task", "22 tasks"."""
    return f"{count} task{'' if count == 1 else 's'}"


def interval(found: Row | Mean) -> str:
    """An accuracy with its interval."""
    return f"{found.accuracy:.1%} ({found.low:.1%}–{found.high:.1%})"


def signed(found: Mean) -> str:
    """A difference with its interval."""
    text = f"{found.accuracy:+.1%} ({found.low:+.1%} to {found.high:+.1%})"
    return text.replace("-", "−")


def table_of(heads: str, rows: Iterable[Sequence[object]]) -> Table:
    """A table of rows of values.

    Args:
        heads: of its columns, semicolons between them; a head's format and its second line, if it
            has any, follow it with a bar before each.
    """
    every = [(*head.split("|"), "", "") for head in heads.split("; ")]
    return Table(columns=columns(*((head[0], head[1], head[2]) for head in every)), rows=[*rows])


def median(values: Sequence[int]) -> str:
    """The median of numbers, a dash of none."""
    return written(statistics.median(values) if values else None, "g")


def series_of(
    rows: Sequence[Row | Mean],
    at: Sequence[float],
    *,
    probe: str,
    label: str = "",
    dashed: bool = False,
) -> Series:
    """Rows as a curve, or as dots, at these places, in the probe's colour and under its name."""
    return Series(
        label=label or PROBES[probe],
        color=COLORS[probe],
        at=at,
        accuracy=[row.accuracy for row in rows],
        low=[row.low for row in rows],
        high=[row.high for row in rows],
        dashed=dashed,
    )


def level(row: Row, ends: Sequence[float], *, probe: str, label: str = "") -> Series:
    """An accuracy that does not depend on what a figure's axis shows, from end to end."""
    return series_of([row, row], [ends[0], ends[-1]], probe=probe, label=label, dashed=True)


def layers_figure(tasks: Sequence[str], counts: Mapping[str, Sequence[Sequence[int]]]) -> Picture:
    """Which shares of a task's neurons lie in a layer; counts by probe, and [tasks, L]."""
    panels = []
    for probe, of_probe in counts.items():
        numbers = np.asarray(of_probe, float)
        panels.append((PROBES[probe], numbers / np.maximum(numbers.sum(1, keepdims=True), 1)))
    layers = [str(layer) for layer in range(panels[0][1].shape[1])]
    return skill_figures.matrix_figure(
        *(panels, tasks, layers, "share of neurons"),
        axes_names=("", "layer"),
        percent=True,
    )


def notes(results: Results) -> list[str]:
    """Remarks on the tasks' parts, each once."""
    remarks = []
    for task, result in results.items():
        several = len({way["split"] for way in result.about}) > 1
        for way in result.about:
            where = f"{task}, {way['split']} parts" if several else task
            remarks += [f"{where}: {note}" for note in way["notes"]]
    return list(dict.fromkeys(remarks))
