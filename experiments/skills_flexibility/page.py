"""How accuracies of disjoint sets of neurons are shown."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.page_parts import aligned, percent
from experiments.reporting.report import Bullets, Drawing, Figure, Section, Table
from experiments.reporting.skill_figures import Series
from experiments.skill_studies import by_task as skills_by_task
from experiments.skill_studies.by_task import Verdict
from experiments.skill_studies.jobs import Found, Row
from experiments.skill_studies.page import PROBES, chance, interval, notes_of, select
from experiments.skill_studies.study import Shown
from negjax.model.language_model import LanguageModel

TITLE = "Do other neurons do as well?"
RULES = ("polar", "magn")
NEXT = 7
"""Sets after the first whose mean accuracy is compared with it."""
ALONE = 8
"""Sets that figures show one by one."""
BEST_RANDOM = 0.975
"""Share of random sets that a set has to be above to be better than them."""


class Sets(NamedTuple):
    """Of a task and a rule: test accuracies."""

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
    def high_random(self) -> float:
        """What `BEST_RANDOM` of the random sets are at or below."""
        return self.drawn[min(int(BEST_RANDOM * len(self.drawn)), len(self.drawn) - 1)]

    @property
    def silent(self) -> bool:
        """Whether the first set is no better than a guess."""
        return skills_by_task.guessed(self.first)


def show(found: Mapping[str, Found], lm: LanguageModel) -> Shown:
    """Tables, figures and the printed table."""
    sets = {rule: {task: _sets(one, rule) for task, one in found.items()} for rule in RULES}
    verdicts = [one for rule in RULES for one in _verdicts(rule, sets[rule])]
    size = sets["polar"][next(iter(found))].first.neurons
    figure = Figure(
        Drawing("sets", lambda: _draw(found, sets)),
        f"Test accuracies of disjoint sets of {size} neurons, by their place in the ranking: of "
        f"the first {ALONE} one by one, then means of {ALONE} sets, of {2 * ALONE}, and so on; "
        "bands are 95% bootstrap intervals over test prompts, of means mean intervals. Dashed: the "
        "mean of random sets, the model's own answer, and, in grey, a guess.",
        "Curves of accuracy by a set's place in the ranking, a panel a task.",
    )
    sections = [
        skills_by_task.reading(verdicts, [_medians(rule, sets[rule]) for rule in RULES]),
        Section("Set by set", [figure, *(_table(rule, sets[rule], found) for rule in RULES)]),
        Section("To keep in mind", [Bullets(_notes(found))]),
    ]
    summary = {
        "set_size": size,
        "sets": {rule: {t: _as_json(own) for t, own in of.items()} for rule, of in sets.items()},
        "verdicts": skills_by_task.as_json(verdicts),
    }
    lead = (
        f"{len(found)} tasks of MCEval8K, answered by one set of {size} of {lm.name}'s neurons "
        "after the other, no neuron in two of them. "
        + " ".join(f"{one.claim}: {skills_by_task.counted(one)}." for one in verdicts)
    )
    return Shown(lead, sections, _printed(sets), summary)


def _sets(one: Found, rule: str) -> Sets:
    rows = select(one.rows, part="test")
    ranked = sorted(select(rows, probe=rule), key=lambda row: row.number or 0)
    [random] = select(rows, probe=f"random_{rule}")
    return Sets(ranked, random, one.more["random"][rule])


# ---- What they say.


def _verdicts(rule: str, sets: Mapping[str, Sets]) -> list[Verdict]:
    name = PROBES[rule]
    several = {task: own for task, own in sets.items() if len(own.ranked) > 1}
    silent = [task for task in sets if task not in several]

    def says(test: Mapping[str, bool]) -> dict[str, bool | None]:
        return {task: None if sets[task].silent else speaks for task, speaks in test.items()}

    return [
        skills_by_task.verdict(
            f"{name}'s second set does as well as its first",
            "the second set's accuracy is not below the first one's interval",
            says({t: own.ranked[1].accuracy >= own.first.low for t, own in several.items()}),
            silent,
        ),
        skills_by_task.verdict(
            f"{name}'s next {NEXT} sets do as well as its first",
            f"the mean accuracy of sets 2 to {NEXT + 1} is not below the first one's interval",
            says({t: _next(own) >= own.first.low for t, own in several.items()}),
            silent,
        ),
        skills_by_task.verdict(
            f"{name}'s first set is better than random ones",
            f"its accuracy is above that of {BEST_RANDOM:.1%} of the random sets",
            says({t: own.first.accuracy > own.high_random for t, own in sets.items()}),
        ),
    ]


def _next(own: Sets) -> float:
    return statistics.fmean(row.accuracy for row in own.ranked[1 : NEXT + 1])


def _medians(rule: str, sets: Mapping[str, Sets]) -> str:
    heard = [own for own in sets.values() if not own.silent]
    in_a_row = skills_by_task.median([own.in_a_row for own in heard])
    share = statistics.fmean(own.as_good for own in heard) if heard else None
    return (
        f"{PROBES[rule]}: sets in a row that are not below the interval of the first, median of "
        f"the {len(heard)} tasks in which the first is above a guess: {in_a_row}; of all later "
        f"sets {percent(share)} are not below it."
    )


def _as_json(own: Sets) -> dict[str, float | int]:
    return {
        "first": own.first.accuracy,
        "in_a_row": own.in_a_row,
        "as_good": own.as_good,
        "last": own.ranked[-1].accuracy,
        "sets": len(own.ranked),
        "random": own.random.accuracy,
        "random_high": own.high_random,
    }


# ---- How it is shown.


def _draw(found: Mapping[str, Found], sets: Mapping[str, Mapping[str, Sets]]) -> Picture:
    panels = []
    for task, one in found.items():
        series: list[Series] = []
        for rule in RULES:
            ranked = sets[rule][task].ranked
            series.append(_curve(PROBES[rule], ranked))
        ends = [1, max(len(own[task].ranked) for own in sets.values())]
        for rule in RULES:
            label = f"random, {PROBES[rule]}'s votes"
            series.append(skills_by_task.level(label, sets[rule][task].random, ends))
        [own_answer] = select(one.rows, probe="lm_prob", part="test")
        series.append(skills_by_task.level(PROBES["lm_prob"], own_answer, ends))
        panels.append((task, series, chance(task)))
    return skill_figures.curves_figure(panels, "place of the set in the ranking")


def _curve(label: str, ranked: Sequence[Row]) -> Series:
    """The first sets one by one, the further ones as means of ever more."""
    alone = range(min(ALONE, len(ranked)))
    spans = [(n, n + 1) for n in alone]
    while spans[-1][1] < len(ranked):
        start = spans[-1][1]
        spans.append((start, min(2 * start, len(ranked))))
    numbers = np.asarray([(row.accuracy, row.low, row.high) for row in ranked])
    accuracy, low, high = np.stack([numbers[a:b].mean(0) for a, b in spans], axis=-1).tolist()
    return Series(label, [math.sqrt((a + 1) * b) for a, b in spans], accuracy, low, high)


def _table(rule: str, sets: Mapping[str, Sets], found: Mapping[str, Found]) -> Table:
    most = max(len(own.ranked) for own in sets.values())
    places = [2**n for n in range(most.bit_length()) if 2**n <= most]
    body = []
    for task, own in sets.items():
        [own_answer] = select(found[task].rows, probe="lm_prob", part="test")
        told = [interval(own.first)]
        told += [
            percent(own.ranked[n - 1].accuracy) if n <= len(own.ranked) else "—" for n in places[1:]
        ]
        random = f"{percent(own.random.accuracy)} (97.5% at or below {percent(own.high_random)})"
        row = f"{own.in_a_row} of {len(own.ranked)}"
        others = [row, percent(own.as_good), random, percent(own_answer.accuracy)]
        body.append([task, percent(chance(task)), *told, *others])
    caption = (
        f"{PROBES[rule]}: test accuracies of some sets by their place, of the first with its 95% "
        "interval; sets in a row, from the first, until one is below that interval; share of the "
        "later sets that are not; the mean of random sets, and what the model itself answers."
    )
    head = ["task", "guess", *(f"set {n}" for n in places), "in a row", "as good", "random"]
    return Table(caption, [*head, "LM-Prob"], body)


def _printed(sets: Mapping[str, Mapping[str, Sets]]) -> list[str]:
    columns = ["set 1", "set 2", "last", "in a row", "random"]
    head = [["", ""], *([PROBES[rule], name] for rule in RULES for name in columns)]
    lines = []
    for task in sets[RULES[0]]:
        line = [task]
        for rule in RULES:
            own = sets[rule][task]
            shares = [own.first.accuracy, *(row.accuracy for row in own.ranked[1:2])]
            told = [*map(percent, shares), *(["—"] if len(shares) < 2 else [])]
            line += [*told, percent(own.ranked[-1].accuracy), str(own.in_a_row)]
            line.append(percent(own.random.accuracy))
        lines.append(line)
    return aligned(head, lines)


def _notes(found: Mapping[str, Found]) -> list[str]:
    return [
        "Sets of one task are asked the same prompts: what they get right is not independent.",
        "Of equal sets some fall below the first one's interval by chance (one in twelve, if what "
        "they get right were independent), which ends a row too early.",
        *notes_of(found),
    ]
