"""What the studies of skills have in common that look at each task by itself, in disjoint parts."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.inputs import benchmark_flags
from experiments.reporting.report import Bullets, Section, Table
from experiments.reporting.skill_figures import Series
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import page as skills_page
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import study as skills_study
from experiments.skill_studies.inputs import Measured, Progress
from experiments.skill_studies.jobs import Found, Job, Row
from experiments.skill_studies.study import Shown
from negjax.model.language_model import LanguageModel
from negjax.storage.store import RunFolder

LOOKED_AT = ("valid", "test")
"""Parts whose accuracies are kept: valid chooses, test is reported."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What each task says of a claim, by one test of it."""

    claim: str
    test: str
    """What speaks for the claim; what does not speaks against it."""
    for_it: Sequence[str]
    """Tasks."""
    against: Sequence[str]
    silent: Sequence[str]
    """Tasks in which the probes are no better than a guess, or there is nothing to compare."""


def run(
    name: str,
    title: str,
    settings: Mapping[str, Any],
    measure: Callable[[Measured], Found],
    show: Callable[[Mapping[str, Found], LanguageModel], Shown],
) -> int:
    """Runs a study that measures one task after the other; the exit status of the program."""

    def jobs() -> list[Job]:
        return [_job(task, measure) for task in benchmark_flags.tasks()]

    return skills_study.run(name, title, settings, jobs, show)


def _job(name: str, measure: Callable[[Measured], Found]) -> Job:
    def measured(lm: LanguageModel, folder: RunFolder, progress: Progress) -> Found:
        return measure(skills_inputs.measure(lm, skills_inputs.load(name), progress))

    task = skills_inputs.load(name)
    return Job(name, task.key, skills_inputs.prompts_of(task), measured)


def lm_prob(measured: Measured) -> list[Row]:
    """The model's own answers."""
    predicted = skills_probes.lm_prob_answers(measured).predicted
    return [
        skills_study.row(measured, part, predicted[part], probe="lm_prob") for part in LOOKED_AT
    ]


# ---- What rows say.


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


def highest(rows: Sequence[Row]) -> Row:
    """The row of the largest accuracy; of ties, the first."""
    return max(rows, key=lambda row: row.accuracy)


def guessed(row: Row) -> bool:
    """Whether an accuracy's interval holds that of a guess, or lies below it."""
    return row.low <= skills_page.chance(row.task)


def verdict(
    claim: str, test: str, tasks: Mapping[str, bool | None], silent: Sequence[str] = ()
) -> Verdict:
    """Tasks sorted by what they say: True for the claim, False against it, None nothing."""
    return Verdict(
        claim,
        test,
        [task for task, says in tasks.items() if says],
        [task for task, says in tasks.items() if says is False],
        [*silent, *(task for task, says in tasks.items() if says is None)],
    )


def reading(verdicts: Sequence[Verdict], more: Sequence[str]) -> Section:
    """The section that says what the results mean for the paper's claims."""
    rows = [
        [one.claim, one.test, *map(_told, (one.for_it, one.against, one.silent))]
        for one in verdicts
    ]
    caption = (
        "Which tasks speak for a claim and which against it, by test accuracies and their 95% "
        "intervals. Of many comparisons of equals some end outside an interval by chance."
    )
    head = ["claim", "a task speaks for it if", "for", "against", "says nothing"]
    return Section(
        "What this says of the paper's claim", [Bullets(more), Table(caption, head, rows)]
    )


def counted(one: Verdict) -> str:
    """A verdict in a few words."""
    heard = len(one.for_it) + len(one.against)
    if not heard:
        return "no task says anything"
    return f"{len(one.for_it)} of {heard} tasks speak for it, {len(one.silent)} say nothing"


def as_json(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """For summary.json."""
    return [dataclasses.asdict(one) for one in verdicts]


def level(label: str, one: Row, at: Sequence[float]) -> Series:
    """An accuracy that does not depend on what a figure's axis shows, from its first to last."""
    ends = [at[0], at[-1]]
    return skills_page.series_of(label, [one, one], ends, dashed=True)


def median(values: Sequence[int]) -> str:
    """For readers."""
    return f"{statistics.median(values):g}" if values else "—"


def _told(tasks: Sequence[str]) -> str:
    return f"{len(tasks)}: {', '.join(tasks)}" if tasks else "none"
