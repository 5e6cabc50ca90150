"""What tasks say of a claim of the paper: for it, against it, or nothing."""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments.reporting.tables import Column, Table
from experiments.skill_studies.accuracies import tasks_in_words

FEW = 3
"""Tasks, of which fewer say nothing of others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
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

    @property
    def heard(self) -> int:
        """Tasks that say something."""
        return len(self.for_it) + len(self.against)

    @property
    def in_short(self) -> str:
        """The claim, and how many of the tasks that say something speak for it."""
        speak = "speaks" if len(self.for_it) == 1 else "speak"
        silent = f", {len(self.silent)} say nothing" if self.silent else ""
        few = "; too few to say it of others" if self.heard < FEW else ""
        of_those = f"{len(self.for_it)} of {tasks_in_words(self.heard)}"
        return f"{self.claim}: {of_those} {speak} for it{silent}{few}."


def lead_of(verdicts: Sequence[Verdict]) -> str:
    """Claims of which tasks say something, one after the other, then those of which none does."""
    told = [verdict.in_short for verdict in verdicts if verdict.heard]
    mute = [verdict.claim for verdict in verdicts if not verdict.heard]
    if mute:
        told.append(f"No task says anything of: {'; '.join(mute)}.")
    return " ".join(told)


def verdict(
    claim: str, test: str, tasks: Mapping[str, bool | None], silent: Sequence[str] = ()
) -> Verdict:
    """Tasks sorted by what they say: True for the claim, False against it, None nothing."""
    said = {says: [task for task in tasks if tasks[task] is says] for says in (True, False, None)}
    return Verdict(
        claim=claim,
        test=test,
        for_it=said[True],
        against=said[False],
        silent=[*silent, *said[None]],
    )


def table_of(verdicts: Sequence[Verdict]) -> Table:
    """A row a verdict."""
    shown = [
        Column("claim", lambda v: v.claim),
        Column("a task speaks for it if", lambda v: v.test),
        Column("for", lambda v: _named(v.for_it)),
        Column("against", lambda v: _named(v.against)),
        Column("says nothing", lambda v: _named(v.silent)),
    ]
    caption = (
        "Which tasks speak for a claim and which against it, by test accuracies and their 95% "
        "intervals. Of many comparisons of equals some end outside an interval by chance."
    )
    return Table(columns=shown, rows=verdicts, caption=caption)


def _named(tasks: Sequence[str]) -> str:
    return f"{len(tasks)}: {', '.join(tasks)}" if tasks else "none"
