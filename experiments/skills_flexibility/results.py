"""What the study of flexibility found: accuracies of sets, and what they say of its claims."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.skill_studies.accuracies import PROBES, guessed, select, tested
from experiments.skill_studies.jobs import Row, TaskResult
from experiments.skill_studies.verdicts import Verdict, verdict

NEXT = 7
"""Sets after the first whose mean accuracy is compared with it."""
BEST_RANDOM = 0.975
"""Share of random sets that a set has to be above to be better than them."""


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Of a task and a rule: test accuracies."""

    task: str
    probe: str
    ranked: Sequence[Row]
    """By set, the best ranked first."""
    random: Row
    """Mean of random sets."""
    drawn: Sequence[float]
    """Each random set's, ascending."""

    @property
    def first(self) -> Row:
        """The best ranked set."""
        return self.ranked[0]

    @property
    def in_a_row(self) -> int:
        """Sets from the first on until one falls below the first one's interval."""
        below = (n for n, row in enumerate(self.ranked) if row.accuracy < self.first.low)
        return next(below, len(self.ranked))

    @property
    def as_good(self) -> float:
        """Share of the sets after the first that are not below its interval."""
        others = self.ranked[1:]
        return sum(row.accuracy >= self.first.low for row in others) / max(1, len(others))

    @property
    def next_mean(self) -> float:
        """Mean accuracy of the `NEXT` sets after the first."""
        return statistics.fmean(row.accuracy for row in self.ranked[1 : NEXT + 1])

    @property
    def high_random(self) -> float:
        """What `BEST_RANDOM` of the random sets are at or below."""
        return self.drawn[min(int(BEST_RANDOM * len(self.drawn)), len(self.drawn) - 1)]

    def at(self, place: int) -> float | None:
        """Accuracy of a set, by its place from 1; None beyond the last."""
        return self.ranked[place - 1].accuracy if place <= len(self.ranked) else None

    @property
    def summary(self) -> dict[str, float | int]:
        """For summary.json."""
        return {
            "first": self.first.accuracy,
            "in_a_row": self.in_a_row,
            "as_good": self.as_good,
            "last": self.ranked[-1].accuracy,
            "sets": len(self.ranked),
            "random": self.random.accuracy,
            "random_high": self.high_random,
        }


def sets_of(result: TaskResult, rule: str) -> Sets:
    """Of one task."""
    ranked = select(result.rows, part="test", probe=rule)
    return Sets(
        task=ranked[0].task,
        probe=rule,
        ranked=sorted(ranked, key=lambda row: row.number or 0),
        random=tested(result, f"random_{rule}"),
        drawn=result.more["random"][rule],
    )


def verdicts_of(rule: str, sets: Sequence[Sets]) -> list[Verdict]:
    """What the tasks say of the paper's claims."""
    name = PROBES[rule]

    def says(test: Callable[[Sets], bool], least: int = 1) -> dict[str, bool | None]:
        mute = {s.task for s in sets if guessed(s.first) or len(s.ranked) < least}
        return {s.task: None if s.task in mute else test(s) for s in sets}

    below = "not below the first one's interval"
    return [
        verdict(
            f"{name}'s second set does as well as its first",
            f"the second set's accuracy is {below}",
            says(lambda s: s.ranked[1].accuracy >= s.first.low, least=2),
        ),
        verdict(
            f"{name}'s next {NEXT} sets do as well as its first",
            f"the mean accuracy of sets 2 to {NEXT + 1} is {below}",
            says(lambda s: s.next_mean >= s.first.low, least=2),
        ),
        verdict(
            f"{name}'s first set is better than random ones",
            f"its accuracy is above that of {BEST_RANDOM:.1%} of the random sets",
            says(lambda s: s.first.accuracy > s.high_random),
        ),
    ]
