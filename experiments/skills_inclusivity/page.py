"""Whether tasks share skill neurons, shown: the map of overlaps, layers, and what neurons know."""

import dataclasses
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.reporting import skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.page_parts import aligned, percent
from experiments.reporting.report import (
    Block,
    Bullets,
    Drawing,
    Figure,
    Paragraph,
    Section,
    Table,
    drawings,
)
from experiments.running import common
from experiments.skill_studies.jobs import Found
from experiments.skill_studies.page import RULES, chance, interval, notes_of
from experiments.skill_studies.study import Shown
from experiments.skills_inclusivity.results import (
    RANDOM,
    Kinship,
    Knowledge,
    Overlap,
    by_chance,
    kinship_of,
    knowledge_of,
    overlap_of,
    shared,
    tested,
)
from negjax.model.language_model import LanguageModel

TITLE = "Do tasks share skill neurons?"
UNLIKELY = 0.05


def show(found: Mapping[str, Found], lm: LanguageModel) -> Shown:
    """The map, the layers, and the accuracies of other tasks' neurons."""
    overlaps = {rule: overlap_of(found, rule) for rule in RULES}
    kin = {rule: _kin(found, rule) for rule in RULES}
    knowledge = {rule: knowledge_of(found, rule) for rule in RULES}
    pictures = _pictures(found)
    k = by_k(found)
    sections = [
        Section(
            "Neurons that tasks share",
            [
                Bullets([_shared_reading(RULES[r], overlaps[r], kin[r]) for r in RULES]),
                *_figures(pictures, "shared", by_chance(found).high),
                _kin_table(kin),
            ],
        ),
        Section("Where they lie", _figures(pictures, "layers")),
        Section(
            "What another task's neurons know",
            [
                Paragraph(MEANING),
                Bullets([_known_reading(RULES[r], knowledge[r]) for r in RULES]),
                *_figures(pictures, "known"),
                *(_known_table(found, rule) for rule in RULES),
            ],
        ),
        Section("To keep in mind", [Bullets(_notes(found))]),
    ]
    lead = (
        f"The {k} best neurons of {lm.name} for each of {len(found)} tasks of MCEval8K, compared "
        "pair by pair. The claim: tasks share skill neurons. "
        + " ".join(
            f"{RULES[rule]}: Jaccard index {o.mean:.3f} on average, {o.chance.expected:.3f} by "
            f"chance; {o.above} of {o.pairs} pairs above the band of random ones."
            for rule, o in overlaps.items()
            if o is not None
        )
    )
    summary = {
        "k": k,
        "chance": by_chance(found)._asdict(),
        "overlap": {r: o and dataclasses.asdict(o) for r, o in overlaps.items()},
        "kinship": {
            r: {name: one and dataclasses.asdict(one) for name, one in some.items()}
            for r, some in kin.items()
        },
        "knowledge": {
            r: one and dataclasses.asdict(one) | {"kept": one.kept} for r, one in knowledge.items()
        },
        "shared": {rule: shared(found, rule).tolist() for rule in RULES},
    }
    return Shown(lead, sections, _printed(overlaps, knowledge), summary)


MEANING = (
    "Neurons of the task in the line, each voting as the training prompts of the task in the "
    "column tell it to, on that task's test prompts: which neurons they are comes from one task, "
    "their polarity from the other. Random neurons: mean of several draws, with polarities as well."
)


def by_k(found: Mapping[str, Found]) -> int:
    """Neurons of each task."""
    return int(next(iter(found.values())).more["k"])


def _kin(found: Mapping[str, Found], rule: str) -> dict[str, Kinship | None]:
    matrix = shared(found, rule)
    groups: Mapping[str, Sequence[object]] = {
        "genre": [one.more["genre"] for one in found.values()],
        "labels": [tuple(one.more["labels"]) for one in found.values()],
        "number of labels": [len(one.more["labels"]) for one in found.values()],
    }
    return {name: kinship_of(matrix, group, common.seed()) for name, group in groups.items()}


def _shared_reading(name: str, o: Overlap | None, kin: Mapping[str, Kinship | None]) -> str:
    if o is None:
        return f"{name}: one task, nothing to compare."
    told = [
        f"{name}: a pair of tasks shares {o.mean:.3f} on average, {o.mean / o.chance.expected:.1f} "
        f"times what random neurons do ({o.chance.expected:.3f}, 95% of random pairs within "
        f"{o.chance.low:.3f} to {o.chance.high:.3f}). {o.above} of {o.pairs} pairs lie above that "
        f"band, at most {o.by_luck:.1f} would by chance: {o.verdict}. Two halves of one task's own "
        f"training prompts share {o.halves:.3f}."
    ]
    for group, one in kin.items():
        if one is not None:
            luck = one.chance >= UNLIKELY
            real = "no more than chance explains" if luck else "more than chance explains"
            told.append(
                f"Same {group}: {one.mean:.3f}, otherwise {one.others:.3f}, {real} "
                f"(p {_probability(one.chance)})."
            )
    return " ".join(told)


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _known_reading(name: str, one: Knowledge | None) -> str:
    if one is None:
        return f"{name}: one task, nothing to compare."
    told = (
        f"{name}, mean over {one.tasks} tasks: own neurons {one.own:.1%}, other tasks' "
        f"{one.others:.1%}, random ones {one.random:.1%}, a guess {one.guess:.1%}; differences "
        f"below {one.noise:.1%} may be the test prompts' chance. "
    )
    if one.own - one.guess <= one.noise:
        return told + "Own neurons are too close to a guess for others' to be compared with them."
    if one.kept is None:
        return told + (
            "A task's own neurons are not told from random ones with the same task's polarities: "
            "how neurons are told to vote matters, not which they are."
        )
    above = one.others - one.random > one.noise
    return told + (
        f"Other tasks' neurons keep {one.kept:.0%} of the lead of own ones over random ones, "
        f"{'more' if above else 'not more'} than chance explains: tasks "
        f"{'share' if above else 'do not visibly share'} what their neurons know."
    )


def _kin_table(kin: Mapping[str, Mapping[str, Kinship | None]]) -> Table:
    body = []
    for rule, some in kin.items():
        for group, one in some.items():
            if one is not None:
                shares = (f"{value:.3f}" for value in (one.mean, one.others))
                p = _probability(one.chance).removeprefix("= ")
                body.append([RULES[rule], group, str(one.pairs), *shares, p])
    caption = (
        "Jaccard index of pairs of tasks that are alike in something, and of all other pairs. p: "
        "how often tasks that are shuffled between the groups differ as much. Genres and labels go "
        "together in part: neurons that raise the probability of a letter serve every task that "
        "answers with it."
    )
    return Table(caption, ["", "same", "pairs", "alike", "others", "p"], body)


def _pictures(found: Mapping[str, Found]) -> dict[str, Drawing]:
    tasks = list(found)
    genres = [one.more["genre"] for one in found.values()]
    breaks = [n for n in range(1, len(tasks)) if genres[n] != genres[n - 1]]
    draws: dict[str, Callable[[], Picture]] = {}
    for rule, title in RULES.items():
        matrix, random = shared(found, rule), by_chance(found)
        pairs = matrix[~np.eye(len(tasks), dtype=bool)]
        draws[f"shared_{rule}"] = functools.partial(
            skill_figures.matrix_figure,
            [(title, matrix)],
            tasks,
            tasks,
            "Jaccard index",
            limits=(0, max(float(pairs.max(initial=0)), random.high)),
            breaks=breaks,
            decimals=3,
        )
        cells = tested(found, rule)
        lead = [[cells[s, t].accuracy - cells[RANDOM, t].accuracy for t in tasks] for s in tasks]
        known = np.asarray(lead)
        draws[f"known_{rule}"] = functools.partial(
            skill_figures.matrix_figure,
            [(title, known)],
            tasks,
            tasks,
            "accuracy less random neurons'",
            limits=(float(known.min()), float(known.max())),
            breaks=breaks,
        )
    layers = [
        (title, tasks, [one.more["layers"][rule] for one in found.values()])
        for rule, title in RULES.items()
    ]
    draws["layers"] = lambda: skill_figures.layers_figure(layers)
    return drawings(draws)


def _figures(pictures: Mapping[str, Drawing], which: str, band: float = 0.0) -> list[Block]:
    told = {
        "shared": (
            "Jaccard index of two tasks' best neurons by {0}, genres parted by lines. On the "
            "diagonal: of a task's own, by one half of its training prompts and by the other; with "
            "half the prompts each, what a perfect match could hardly surpass. Colours end at the "
            "largest pair of two tasks; random sets reach {1:.3f} in 39 of 40 pairs.",
            "A square of numbers, tasks by tasks.",
        ),
        "known": (
            "Test accuracy of the line's neurons on the column's task, less that of random "
            "neurons, by {0}. The diagonal, a task's own neurons, is the reference.",
            "A square of numbers, tasks by tasks.",
        ),
        "layers": (
            "Share of each task's best neurons by layer.",
            "Rows of coloured squares, a column a layer.",
        ),
    }
    caption, alternative = told[which]
    return [
        Figure(picture, caption.format(RULES.get(name.rpartition("_")[2]), band), alternative)
        for name, picture in pictures.items()
        if name.startswith(which)
    ]


def _known_table(found: Mapping[str, Found], rule: str) -> Table:
    cells, body = tested(found, rule), []
    for task, one in found.items():
        others = {s: cells[s, task].accuracy for s in found if s != task}
        best = max(others, key=others.__getitem__) if others else None
        body.append(
            [
                task,
                str(one.more["genre"]),
                percent(chance(task)),
                interval(cells[task, task]),
                percent(statistics.fmean(others.values()) if others else None),
                "—" if best is None else f"{percent(others[best])} ({best})",
                interval(cells[RANDOM, task]),
            ]
        )
    caption = (
        f"{RULES[rule]}, {by_k(found)} neurons: test accuracies with 95% bootstrap intervals over "
        "prompts. The best of many others is better by luck as well."
    )
    head = ["task", "genre", "guess", "own", "others, mean", "best other", "random"]
    return Table(caption, head, body)


def _printed(
    overlaps: Mapping[str, Overlap | None], knowledge: Mapping[str, Knowledge | None]
) -> list[str]:
    lines = []
    for rule, title in RULES.items():
        o, known = overlaps[rule], knowledge[rule]
        if o is not None and known is not None:
            shares = (known.own, known.others, known.random, known.guess)
            lines.append(
                [title, f"{o.mean:.3f}", f"{o.chance.expected:.3f}", f"{o.above}/{o.pairs}"]
                + [percent(share) for share in shares]
            )
    head = ["", "Jaccard", "chance", "above", "own", "others", "random", "guess"]
    return aligned([[name] for name in head], lines)


def _notes(found: Mapping[str, Found]) -> list[str]:
    return [
        "The band is that of one random pair: of many pairs, one in forty lies above it by chance.",
        "All tasks have as many neurons here, whatever number serves each best.",
        "Nothing is chosen on valid here, and its prompts are not asked.",
        "What other training prompts would give is not in the intervals of accuracies; the "
        "diagonal of the maps says how far it moves the choice of neurons.",
        *notes_of(found),
    ]
