"""What the study of efficiency found: accuracies along an axis, and what they say of its claims."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from experiments.skill_studies.accuracies import PROBES, RULES, above, highest, select, smallest
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
    at: Callable[[Row], int]
    """Where a row lies."""


NEURONS = Axis(
    name="neurons",
    probes=("polar", "magn", "random", "act"),
    label="neurons",
    at=lambda row: row.neurons or 0,
)
PROMPTS = Axis(
    name="prompts",
    probes=("polar", "magn", "act", "tree", "linear"),
    label="training prompts",
    at=lambda row: row.trained or 0,
)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Test accuracies of a task's probe along an axis."""

    axis: Axis
    rows: Sequence[Row]
    fair: Row
    """With all training prompts, and the number of neurons that does best on valid: chosen without
    a look at test."""

    @property
    def places(self) -> list[int]:
        """Of the rows."""
        return [self.axis.at(row) for row in self.rows]

    @property
    def best(self) -> Row:
        """The row of the largest accuracy."""
        return highest(self.rows)

    @property
    def smallest(self) -> Row | None:
        """The first within the interval of the best; None, where the probe only guesses."""
        return smallest(self.rows, self.fair)

    @property
    def enough(self) -> int | None:
        """Where that lies."""
        return None if self.smallest is None else self.axis.at(self.smallest)


Curves = dict[str, dict[str, Curve]]
"""By probe and task."""
AXES = (NEURONS, PROMPTS)


def curves_of(axis: Axis, results: Results) -> Curves:
    """The accuracies of all tasks along an axis, of the probes that have any."""
    found = {
        probe: {t: c for t, result in results.items() if (c := _curve(axis, probe, result))}
        for probe in axis.probes
    }
    return {probe: some for probe, some in found.items() if some}


def means_of(curves: Curves, tasks: int) -> dict[str, dict[int, float]]:
    """Mean accuracies by probe and number, where all of so many tasks have that number."""
    means = {}
    for probe, some in curves.items():
        rows = [(at, row) for c in some.values() for at, row in zip(c.places, c.rows, strict=True)]
        several = {at: [row.accuracy for n, row in rows if n == at] for at in sorted(dict(rows))}
        means[probe] = {at: statistics.fmean(x) for at, x in several.items() if len(x) == tasks}
    return means


def _curve(axis: Axis, probe: str, result: TaskResult) -> Curve | None:
    rows = select(result.rows, part="test")
    every = max(row.trained or 0 for row in rows)
    of_probe = fitted = select(rows, probe=probe)
    if probe in result.more["chosen"]:
        fitted = select(of_probe, neurons=result.more["chosen"][probe])
    along = select(of_probe, trained=every) if axis is NEURONS else fitted
    # A probe that was fitted to all training prompts alone has no curve.
    if axis is PROMPTS and len(along) < 2:
        return None
    [fair] = select(fitted, trained=every)
    return Curve(axis=axis, rows=sorted(along, key=axis.at), fair=fair)


def verdicts_of(by_neurons: Curves, by_prompts: Curves) -> list[Verdict]:
    """What the tasks say of the paper's claims."""

    def few(curve: Curve) -> Row:
        return [row for row in curve.rows if curve.axis.at(row) <= FEW_NEURONS][-1]

    ranked, random = by_neurons["polar"], by_neurons["random"]
    which = verdict(
        "It matters which neurons",
        f"Polar's first {FEW_NEURONS} neurons are above the interval of as many random ones",
        {task: above(few(ranked[task]), few(random[task])) for task in ranked},
    )
    prompts = [_few_prompts(p, by_prompts[p]) for p in RULES if p in by_prompts]
    return [*(_few_neurons(p, by_neurons[p]) for p in RULES), which, *prompts]


def _few_neurons(probe: str, curves: Mapping[str, Curve]) -> Verdict:
    name = PROBES[probe]
    return verdict(
        f"{name} needs few neurons",
        f"with {FEW_NEURONS} neurons or fewer {name} comes within the interval of the best number "
        "of neurons",
        {t: None if c.enough is None else c.enough <= FEW_NEURONS for t, c in curves.items()},
    )


def _few_prompts(probe: str, curves: Mapping[str, Curve]) -> Verdict:
    name, few = PROBES[probe], {t: (c.fair.trained or 0) / FEW_PROMPTS for t, c in curves.items()}
    return verdict(
        f"{name} needs few training prompts",
        f"with one in {FEW_PROMPTS} of the training prompts or fewer {name} comes within the "
        "interval of the best number of training prompts",
        {t: None if c.enough is None else c.enough <= few[t] for t, c in curves.items()},
    )
