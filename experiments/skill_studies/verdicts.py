"""What tasks say of a claim of the paper: for it, against it, or nothing."""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments.reporting.report import Facts
from experiments.skill_studies.accuracies import PROBES, tasks_in_words

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


def lead_of(verdicts: Sequence[Verdict]) -> str:
    """In how many tasks each claim holds, and of how many claims none says anything."""
    heard = [verdict for verdict in verdicts if verdict.heard]
    mute = len(verdicts) - len(heard)
    told = "; ".join(
        f"{_inner(v.claim)} in {len(v.for_it)} of {tasks_in_words(v.heard)}" for v in heard
    )
    lead = [f"{told[0].upper()}{told[1:]}."] if told else []
    if any(verdict.heard < FEW for verdict in heard):
        lead.append(f"Fewer than {FEW} tasks are too few to say it of others.")
    if mute:
        claims = "claim" if mute == 1 else f"{mute} claims"
        lead.append(f"No task says anything of the {'other ' if told else ''}{claims}.")
    return " ".join(lead)


def _inner(claim: str) -> str:
    """A claim within a sentence."""
    named = claim.startswith(tuple(PROBES.values()))
    return claim if named else claim[0].lower() + claim[1:]


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


def facts_of(verdicts: Sequence[Verdict]) -> Facts:
    """Which tasks say what of each claim, and by what test."""
    return Facts(
        [
            (
                v.claim,
                f"for: {_named(v.for_it)}; against: {_named(v.against)}; silent: "
                f"{_named(v.silent)}. A task is for it if {v.test}.",
            )
            for v in verdicts
        ]
    )


def _named(tasks: Sequence[str]) -> str:
    return f"{len(tasks)} ({', '.join(tasks)})" if tasks else "none"
