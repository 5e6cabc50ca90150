"""What tasks say of a claim of the paper: for it, against it, or nothing."""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments.reporting.tables import Column, Table


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
    def in_short(self) -> str:
        """The claim, and how many tasks speak for it."""
        heard = len(self.for_it) + len(self.against)
        if not heard:
            return f"{self.claim}: no task says anything."
        if heard == 1:
            speak = f"1 task speaks {'for' if self.for_it else 'against'} it"
        else:
            speak = f"{len(self.for_it)} of {heard} tasks speak for it"
        return f"{self.claim}: {speak}, {len(self.silent)} say nothing."


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
