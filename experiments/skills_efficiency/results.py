"""What the study of efficiency found: accuracies along an axis, and what they say of its claims."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from experiments.skill_studies.accuracies import PROBES, above, select, smallest
from experiments.skill_studies.jobs import Results, Row, TaskResult
from experiments.skill_studies.verdicts import Verdict, verdict

FEW_NEURONS = 256
"""That suffice, as the paper reports."""
FEW_PROMPTS = 4
"""One in so many training prompts is called few."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What accuracies are looked at by."""

    name: str
    probes: Sequence[str]
    label: str
    """For readers."""
    at: Callable[[Row], int | None]
    """Where a row lies."""


NEURONS = Axis(
    name="neurons",
    probes=("polar", "magn", "random", "act"),
    label="neurons",
    at=lambda row: row.neurons,
)
PROMPTS = Axis(
    name="prompts",
    probes=("polar", "magn", "act", "tree", "linear"),
    label="training prompts",
    at=lambda row: row.trained,
)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Test accuracies of a probe along an axis."""

    axis: Axis
    rows: Sequence[Row]
    fair: Row
    """With all training prompts, and the number of neurons that does best on valid: chosen without
    a look at test."""

    @property
    def places(self) -> list[int]:
        """Of the rows."""
        return [self.axis.at(row) or 0 for row in self.rows]

    @property
    def accuracies(self) -> dict[int, float]:
        """By place."""
        return dict(zip(self.places, (row.accuracy for row in self.rows), strict=True))

    @property
    def smallest(self) -> Row | None:
        """The first within the interval of the best; None, where the probe only guesses."""
        return smallest(self.rows, self.fair)


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Of all tasks, along an axis."""

    axis: Axis
    by_task: Mapping[str, Mapping[str, Curve]]
    """By task and probe."""

    @property
    def probes(self) -> list[str]:
        """Those that have a curve in any task."""
        return [p for p in self.axis.probes if any(p in some for some in self.by_task.values())]

    def smallest(self, probe: str) -> dict[str, int | None]:
        """By task, the smallest number that comes within the interval of the best."""
        rows = {t: some[probe].smallest for t, some in self.by_task.items() if probe in some}
        return {task: None if row is None else self.axis.at(row) for task, row in rows.items()}

    def means(self) -> dict[str, dict[int, float]]:
        """Mean accuracies over the tasks, by probe and number, where all tasks have that number."""
        means = {}
        for probe in self.probes:
            curves = [some.get(probe) for some in self.by_task.values()]
            accuracies = [curve.accuracies if curve is not None else {} for curve in curves]
            shared = sorted(set.intersection(*map(set, accuracies)))
            means[probe] = {at: statistics.fmean(some[at] for some in accuracies) for at in shared}
        return means


def curves_of(axis: Axis, results: Results) -> Curves:
    """The accuracies of all tasks along an axis."""
    by_task = {task: _of_task(axis, result) for task, result in results.items()}
    return Curves(axis=axis, by_task=by_task)


def _of_task(axis: Axis, result: TaskResult) -> dict[str, Curve]:
    rows = select(result.rows, part="test")
    every = max(row.trained or 0 for row in rows)
    curves = {}
    for probe in axis.probes:
        of_probe = fitted = select(rows, probe=probe)
        if probe in result.more["chosen"]:
            fitted = select(of_probe, neurons=result.more["chosen"][probe])
        along = select(of_probe, trained=every) if axis is NEURONS else fitted
        along.sort(key=lambda row: axis.at(row) or 0)
        # A probe that was fitted to all training prompts alone has no curve.
        if axis is NEURONS or len(along) > 1:
            [fair] = select(fitted, trained=every)
            curves[probe] = Curve(axis=axis, rows=along, fair=fair)
    return curves


def verdicts_of(by_neurons: Curves, by_prompts: Curves) -> list[Verdict]:
    """What the tasks say of the paper's claims."""
    fitted = [probe for probe in ("polar", "magn") if probe in by_prompts.probes]
    return [
        *(_few_neurons(by_neurons, probe) for probe in ("polar", "magn")),
        _ranked(by_neurons),
        *(_few_prompts(by_prompts, probe) for probe in fitted),
    ]


def _few_neurons(curves: Curves, probe: str) -> Verdict:
    return verdict(
        f"{PROBES[probe]} needs few neurons",
        f"with {FEW_NEURONS} neurons or fewer {PROBES[probe]} comes within the interval of the "
        "best number of neurons",
        {
            task: None if at is None else at <= FEW_NEURONS
            for task, at in curves.smallest(probe).items()
        },
    )


def _ranked(curves: Curves) -> Verdict:
    def few(curve: Curve) -> Row:
        return [row for row in curve.rows if (row.neurons or 0) <= FEW_NEURONS][-1]

    return verdict(
        "It matters which neurons",
        f"Polar's first {FEW_NEURONS} neurons are above the interval of as many random ones",
        {
            task: above(few(by_probe["polar"]), few(by_probe["random"]))
            for task, by_probe in curves.by_task.items()
        },
    )


def _few_prompts(curves: Curves, probe: str) -> Verdict:
    every = {task: curves.by_task[task][probe].fair.trained or 0 for task in curves.smallest(probe)}
    return verdict(
        f"{PROBES[probe]} needs few training prompts",
        f"with one in {FEW_PROMPTS} of the training prompts or fewer {PROBES[probe]} comes within "
        "the interval of the best number of training prompts",
        {
            task: None if at is None else FEW_PROMPTS * at <= every[task]
            for task, at in curves.smallest(probe).items()
        },
    )
