"""How accuracies by number of neurons and of training prompts are shown."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.page_parts import aligned, percent
from experiments.reporting.report import Bullets, Drawing, Figure, Paragraph, Section, Table
from experiments.skill_studies import by_task as skills_by_task
from experiments.skill_studies.by_task import Verdict
from experiments.skill_studies.jobs import Found, Row
from experiments.skill_studies.page import PROBES, chance, interval, notes_of, select, series_of
from experiments.skill_studies.study import Shown
from negjax.model.language_model import LanguageModel

TITLE = "How few neurons and training prompts do?"
FEW_NEURONS = 256
"""That suffice, as the paper reports."""
FEW_PROMPTS = 4
"""One in so many training prompts is called few."""
MEANING = (
    "Polar and Magn: the first k neurons of their rankings. Act: the first k of each of its nodes. "
    "Random: k random neurons with Polar's votes, mean of several draws. LM-Prob: the model's own "
    "answer."
)


class Curve(NamedTuple):
    """Test accuracies of a probe along an axis."""

    rows: Sequence[Row]
    fair: Row
    """With all training prompts, and the number of neurons that does best on valid: chosen without
    a look at test."""

    @property
    def smallest(self) -> Row | None:
        """The first within the interval of the best; None, where the probe only guesses."""
        return skills_by_task.smallest(self.rows, self.fair)


Curves = Mapping[str, Mapping[str, Curve]]
"""By task and probe."""


class Axis(NamedTuple):
    """What accuracies are looked at by."""

    name: str
    probes: Sequence[str]
    label: str
    """In figures."""
    caption: str
    at: Callable[[Row], int | None]
    """Where a row lies."""


NEURONS = Axis(
    "neurons",
    ("polar", "magn", "random", "act"),
    "neurons",
    "Test accuracies by number of neurons, of probes fitted to all training prompts; bands are 95% "
    "bootstrap intervals over test prompts. Dashed: the model's own answer, and, in grey, a guess.",
    lambda row: row.neurons,
)
PROMPTS = Axis(
    "prompts",
    ("polar", "magn", "act", "tree", "linear"),
    "training prompts",
    "Test accuracies by number of training prompts; bands are 95% bootstrap intervals over test "
    "prompts, and do not tell what other training prompts would give. Polar, Magn and Act ask the "
    "number of neurons that did best on valid with all training prompts. Dashed: the model's own "
    "answer, and, in grey, a guess.",
    lambda row: row.trained,
)


def show(found: Mapping[str, Found], lm: LanguageModel) -> Shown:
    """Tables, figures and the printed table."""
    curves = {
        axis: {task: _curves(axis, one) for task, one in found.items()}
        for axis in (NEURONS, PROMPTS)
    }
    verdicts = [
        *(_few_neurons(curves[NEURONS], probe) for probe in ("polar", "magn")),
        _ranked(curves[NEURONS]),
        *(
            _few_prompts(curves[PROMPTS], probe)
            for probe in ("polar", "magn")
            if any(probe in own for own in curves[PROMPTS].values())
        ),
    ]
    sections = [
        skills_by_task.reading(verdicts, [_medians(axis, curves[axis]) for axis in curves]),
        *(_section(axis, curves[axis], found) for axis in curves),
        Section("To keep in mind", [Bullets(_notes(found))]),
    ]
    summary = {
        "smallest": {axis.name: _smallest_by_probe(axis, curves[axis]) for axis in curves},
        "chosen": {task: one.more["chosen"] for task, one in found.items()},
        "mean_accuracy": {axis.name: _means(axis, curves[axis]) for axis in curves},
        "verdicts": skills_by_task.as_json(verdicts),
    }
    lead = (
        f"{len(found)} tasks of MCEval8K, answered by few of {lm.name}'s neurons, and by probes "
        "fitted to few prompts. "
        + " ".join(f"{one.claim}: {skills_by_task.counted(one)}." for one in verdicts)
    )
    return Shown(lead, sections, _printed(curves), summary)


def _curves(axis: Axis, one: Found) -> dict[str, Curve]:
    rows = select(one.rows, part="test")
    every = max(row.trained or 0 for row in rows)
    found = {}
    for probe in axis.probes:
        own = fitted = select(rows, probe=probe)
        if probe in one.more["chosen"]:
            fitted = select(own, neurons=one.more["chosen"][probe])
        along = select(own, trained=every) if axis is NEURONS else fitted
        along.sort(key=lambda row: axis.at(row) or 0)
        # A probe that was fitted to all training prompts alone has no curve.
        if axis is NEURONS or len(along) > 1:
            [fair] = select(fitted, trained=every)
            found[probe] = Curve(along, fair)
    return found


# ---- What they say.


def _few_neurons(curves: Curves, probe: str) -> Verdict:
    return skills_by_task.verdict(
        f"{PROBES[probe]} needs few neurons",
        f"with {FEW_NEURONS} neurons or fewer {PROBES[probe]} comes within the interval of the "
        "best number of neurons",
        {
            task: None if at is None else at <= FEW_NEURONS
            for task, at in _smallest(NEURONS, curves, probe).items()
        },
    )


def _ranked(curves: Curves) -> Verdict:
    says: dict[str, bool | None] = {}
    for task, own in curves.items():
        first, random = (
            [row for row in own[probe].rows if (row.neurons or 0) <= FEW_NEURONS][-1]
            for probe in ("polar", "random")
        )
        guessed = skills_by_task.guessed(first) and skills_by_task.guessed(random)
        says[task] = None if guessed else first.accuracy > random.high
    return skills_by_task.verdict(
        "It matters which neurons",
        f"Polar's first {FEW_NEURONS} neurons are above the interval of as many random ones",
        says,
    )


def _few_prompts(curves: Curves, probe: str) -> Verdict:
    says = {
        task: None if at is None else FEW_PROMPTS * at <= (curves[task][probe].fair.trained or 0)
        for task, at in _smallest(PROMPTS, curves, probe).items()
    }
    return skills_by_task.verdict(
        f"{PROBES[probe]} needs few training prompts",
        f"with one in {FEW_PROMPTS} of the training prompts or fewer {PROBES[probe]} comes within "
        "the interval of the best number of training prompts",
        says,
    )


def _smallest(axis: Axis, curves: Curves, probe: str) -> dict[str, int | None]:
    """By task, the smallest number that comes within the interval of the best."""
    found = {}
    for task, own in curves.items():
        if probe in own:
            row = own[probe].smallest
            found[task] = None if row is None else axis.at(row)
    return found


def _smallest_by_probe(axis: Axis, curves: Curves) -> dict[str, dict[str, int | None]]:
    return {probe: _smallest(axis, curves, probe) for probe in _present(axis, curves)}


def _present(axis: Axis, curves: Curves) -> list[str]:
    return [probe for probe in axis.probes if any(probe in own for own in curves.values())]


def _medians(axis: Axis, curves: Curves) -> str:
    told = []
    for probe, found in _smallest_by_probe(axis, curves).items():
        numbers = [at for at in found.values() if at is not None]
        told.append(f"{PROBES[probe]} {skills_by_task.median(numbers)} ({len(numbers)} tasks)")
    return (
        f"Smallest number of {axis.label} within the interval of the best, median of the tasks in "
        f"which the probe is better than a guess: {', '.join(told) or '—'}."
    )


def _means(axis: Axis, curves: Curves) -> dict[str, dict[int, float]]:
    """Mean accuracies over the tasks, by probe and number, where all tasks have that number."""
    means = {}
    for probe in _present(axis, curves):
        of_tasks = [
            {axis.at(row): row.accuracy for row in own[probe].rows} if probe in own else {}
            for own in curves.values()
        ]
        shared = sorted(set.intersection(*map(set, of_tasks)), key=lambda at: at or 0)
        means[probe] = {
            at: statistics.fmean(own[at] for own in of_tasks) for at in shared if at is not None
        }
    return means


# ---- How it is shown.


def _draw(axis: Axis, curves: Curves, found: Mapping[str, Found]) -> Picture:
    panels = []
    for task, own in curves.items():
        series = [
            series_of(PROBES[probe], curve.rows, [axis.at(row) or 0 for row in curve.rows])
            for probe, curve in own.items()
        ]
        places = sorted({at for one in series for at in one.at}) or [1]
        [own_answer] = select(found[task].rows, probe="lm_prob", part="test")
        series.append(skills_by_task.level(PROBES["lm_prob"], own_answer, places))
        panels.append((task, series, chance(task)))
    return skill_figures.curves_figure(panels, axis.label)


def _section(axis: Axis, curves: Curves, found: Mapping[str, Found]) -> Section:
    figure = Figure(
        Drawing(axis.name, lambda: _draw(axis, curves, found)),
        axis.caption,
        f"Curves of accuracy by number of {axis.label}, a panel a task.",
    )
    tables = [_table(axis, curves, found), _mean_table(axis, curves)]
    meaning = [Paragraph(MEANING)] if axis is NEURONS else []
    return Section(f"By number of {axis.label}", [*meaning, figure, *tables])


def _table(axis: Axis, curves: Curves, found: Mapping[str, Found]) -> Table:
    probes = _present(axis, curves)
    body = []
    for task, own in curves.items():
        [own_answer] = select(found[task].rows, probe="lm_prob", part="test")
        told = [_at_least(axis, own[probe]) if probe in own else "—" for probe in probes]
        body.append([task, percent(chance(task)), interval(own_answer), *told])
    caption = (
        f"The smallest number of {axis.label} whose test accuracy is within the 95% interval of "
        "the best, with that accuracy, and the best. The best of a curve is a little lucky: the "
        "number is rather too large than too small. “no better than a guess”: with all "
        "training prompts and the number of neurons that did best on valid, whose accuracy this is."
    )
    return Table(caption, ["task", "guess", "LM-Prob", *(PROBES[p] for p in probes)], body)


def _at_least(axis: Axis, curve: Curve) -> str:
    best, first = skills_by_task.highest(curve.rows), curve.smallest
    if first is None:
        return f"no better than a guess: {interval(curve.fair)}"
    return f"{axis.at(first)}: {percent(first.accuracy)} (best {axis.at(best)}: {interval(best)})"


def _mean_table(axis: Axis, curves: Curves) -> Table:
    means = _means(axis, curves)
    numbers = sorted({at for of_probe in means.values() for at in of_probe})
    body = [
        [str(at), *(percent(of_probe.get(at)) for of_probe in means.values())] for at in numbers
    ]
    caption = f"Test accuracies by number of {axis.label}, mean of {len(curves)} tasks."
    return Table(caption, [axis.label, *(PROBES[probe] for probe in means)], body)


def _printed(curves: Mapping[Axis, Curves]) -> list[str]:
    columns = [(axis, probe) for axis in curves for probe in _present(axis, curves[axis])]
    smallest = {(axis, probe): _smallest(axis, curves[axis], probe) for axis, probe in columns}
    head = [["", ""], *([PROBES[probe], axis.name] for axis, probe in columns)]
    tasks: Iterable[str] = curves[NEURONS]
    lines = [
        [task, *(str(smallest[column].get(task) or "—") for column in columns)] for task in tasks
    ]
    return ["smallest number within the interval of the best", *aligned(head, lines)]


def _notes(found: Mapping[str, Found]) -> list[str]:
    return [
        "One order of training prompts was looked at, in which labels take turns: the first n are "
        "balanced. Others would give other curves at their lower ends.",
        *notes_of(found),
    ]
