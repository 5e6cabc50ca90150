"""How robust probes are, shown: accuracies by source and target, losses, shared neurons."""

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
from experiments.reporting.skill_figures import Series
from experiments.skill_studies.jobs import Found
from experiments.skill_studies.page import RULES, chance, notes_of
from experiments.skill_studies.study import Shown
from experiments.skills_robustness.results import (
    AXES,
    HELD,
    LOST,
    PROBES,
    Transfer,
    cells_of,
    common_names,
    half_matrix,
    mean_matrix,
    of_axis,
    shared_neurons,
    transfer_of,
)
from negjax.model.language_model import LanguageModel

TITLE = "Are skill neurons robust?"


def show(found: Mapping[str, Found], lm: LanguageModel) -> Shown:
    """Matrices, losses and shared neurons, axis by axis."""
    rows = [row for one in found.values() for row in one.rows]
    axes = [axis for axis in AXES if any(axis in one.more["ways"] for one in found.values())]
    probes = [name for name in PROBES if any(row.probe == name for row in rows)]
    taught = [name for name in probes if name != "lm_prob"]
    transfers = {
        axis: {name: transfer_of(of_axis(found, axis), axis, name) for name in taught}
        for axis in axes
    }
    sections = []
    for axis in axes:
        own = of_axis(found, axis)
        blocks: list[Block] = [
            Bullets([_reading(PROBES[n], t) for n, t in transfers[axis].items()]),
            *_figures(_pictures(own, axis, probes), axis, len(own)),
            _table(own, axis, probes),
            _shared_table(own, axis),
        ]
        sections.append(Section(AXES[axis], blocks))
    sections.append(Section("To keep in mind", [Paragraph(MEANING), Bullets(_notes(found))]))
    lead = (
        f"Probes of {lm.name}'s neurons, fitted to {len(found)} tasks of MCEval8K in one way of "
        "asking and tested in others. The claim of the paper is that skill neurons are robust: "
        + "; ".join(
            f"{axis}: {PROBES[name]} loses {percent(t.loss)}"
            for axis, some in transfers.items()
            for name, t in list(some.items())[:1]
        )
        + " of accuracy."
    )
    head = ["axis", "probe", "own", "other", "loss", "95%", "kept"]
    lines = [
        [axis, PROBES[name], percent(t.own), percent(t.other), *_loss(t), percent(t.kept)]
        for axis, some in transfers.items()
        for name, t in some.items()
    ]
    summary = {
        "transfer": {
            axis: {
                name: dataclasses.asdict(t) | {"kept": t.kept, "verdict": t.verdict}
                for name, t in some.items()
            }
            for axis, some in transfers.items()
        },
        "shared": {axis: shared_neurons(of_axis(found, axis), axis) for axis in axes},
    }
    return Shown(lead, sections, aligned([[name] for name in head], lines), summary)


MEANING = (
    "Rows of the matrices: what a probe was fitted to, with its number of neurons chosen on valid "
    "prompts of the same kind. Columns: what it was tested with. The diagonal is the reference. "
    "LM-Prob is the model's own answer, to which nothing is taught. A loss is the accuracy of the "
    "target's own probe less that of another's on the same test prompts; its interval is a "
    "bootstrap over test prompts, with both probes' answers to a prompt kept together; "
    "what other training prompts would give is not in it."
)


def _loss(t: Transfer) -> list[str]:
    return [f"{t.loss:+.1%}", f"{t.low:+.1%} to {t.high:+.1%}"]


def _reading(name: str, t: Transfer) -> str:
    if t.low > 0:
        found = "more than the choice of test prompts explains"
    elif t.high < 0:
        found = "a gain that the choice of test prompts does not explain"
    else:
        found = "no loss that can be told from none"
    kept = "" if t.kept is None else f", and keeps {t.kept:.0%} of its lead over a guess"
    return (
        f"{name}, mean over {t.tasks} {'task' if t.tasks == 1 else 'tasks'}: {t.own:.1%} as it was "
        f"taught, {t.lead:+.1%} (± {t.lead_noise:.1%}) from a guess. Asked otherwise it loses "
        f"{' ('.join(_loss(t))}), {found}{kept}: {t.verdict}. The intervals of single accuracies "
        f"allow a pair to differ by ± {t.noise:.1%}: {t.beyond} of {t.cells} pairs lose more, "
        f"where at most {0.025 * t.cells:.1f} would without any effect."
    )


def _pictures(found: Mapping[str, Found], axis: str, probes: Sequence[str]) -> dict[str, Drawing]:
    names = common_names(found, axis)
    taught = [p for p in probes if p != "lm_prob"]
    panels = [(PROBES[p], mean_matrix(found, axis, p, names)) for p in taught]
    tasks = list(found)
    series = []
    for probe in taught:
        losses = np.asarray([one.more["losses"][axis][probe] for one in found.values()])
        series.append(Series(PROBES[probe], range(len(tasks)), *losses.T.tolist()))
    shared = [
        (title, np.mean([half_matrix(one, axis, rule, names) for one in found.values()], axis=0))
        for rule, title in RULES.items()
    ]
    draws: dict[str, Callable[[], Picture]] = {}
    if len(names) > 1:
        short = [name.partition(" ")[2] for name in names]
        for name, squares, label in (
            ("accuracy", panels, "accuracy"),
            ("shared", shared, "Jaccard index"),
        ):
            values = np.asarray([square for _, square in squares])
            draws[f"{name}_{axis}"] = functools.partial(
                skill_figures.matrix_figure,
                squares,
                short,
                short,
                label,
                limits=(float(values.min()), float(values.max())),
            )
    draws[f"losses_{axis}"] = lambda: skill_figures.dots_figure(
        tasks, series, [0.0] * len(tasks), across="loss of accuracy", limits=None
    )
    return drawings(draws)


def _figures(pictures: Mapping[str, Drawing], axis: str, tasks: int) -> list[Block]:
    mean = "" if tasks == 1 else f", mean over {tasks} tasks, of the ways that all were asked in"
    told = {
        f"accuracy_{axis}": (
            f"Test accuracy by {axis} that was taught (lines) and tested (columns){mean}.",
            "Squares of numbers, a panel a probe; the diagonal is the reference.",
        ),
        f"losses_{axis}": (
            "What a task loses off the diagonal, on average, with 95% intervals. Right of the "
            "dashed line: a loss.",
            "Dots of every probe for each task.",
        ),
        f"shared_{axis}": (
            "Neurons in common: Jaccard index of the best neurons by the first half of the "
            "training prompts, asked one way (lines), and by the other half, asked another way "
            f"(columns){mean}. The diagonal is what other prompts alone change.",
            "Squares of numbers, a panel a rule.",
        ),
    }
    return [Figure(pictures[name], *told[name]) for name in told if name in pictures]


def _table(found: Mapping[str, Found], axis: str, probes: Sequence[str]) -> Table:
    body = []
    for task, one in found.items():
        told = []
        for probe in probes:
            cells = cells_of(one, axis, probe)
            own = statistics.fmean(r.accuracy for r in cells if r.source == r.target)
            others = [r.accuracy for r in cells if r.source != r.target]
            loss = one.more["losses"][axis].get(probe)
            told += [percent(own)]
            if loss is not None:
                low, high = (f"{bound:+.1%}" for bound in loss[1:])
                told += [percent(statistics.fmean(others)), f"{loss[0]:+.1%} ({low} to {high})"]
        body.append([task, str(len(one.more["ways"][axis])), percent(chance(task)), *told])
    head = ["task", "ways", "guess"]
    for name in probes:
        other = ["other", "loss"] if name != "lm_prob" else []
        head += [PROBES[name], *other]
    caption = (
        "Test accuracies as taught, in other ways, and the loss with its 95% interval over test "
        "prompts; means over the task's ways. accuracies.parquet has each pair."
    )
    return Table(caption, head, body)


def _shared_table(found: Mapping[str, Found], axis: str) -> Table:
    shared = shared_neurons(found, axis)
    body = [
        [title, *(f"{shared[rule][name]:.3f}" for name in ("other_way", "other_prompts", "both"))]
        for rule, title in RULES.items()
    ]
    band = f"{shared['expected']:.4f} ({shared['low']:.4f} to {shared['high']:.4f})"
    caption = (
        f"Neurons in common: Jaccard index of the {shared['k']} best of two rankings, mean over "
        f"tasks. Random sets have {band}: expected value and 95% of the pairs. Other prompts, and "
        "both: rankings of halves of the training prompts, so that only these two can be compared "
        "with each other; where they are alike, the way of asking changes nothing."
    )
    head = ["", "other way, same prompts", "other prompts, same way", "both"]
    return Table(caption, head, body)


def _notes(found: Mapping[str, Found]) -> list[str]:
    notes = []
    for task, one in found.items():
        labels: dict[tuple[str, ...], list[str]] = {}
        for name, told in one.more["labels"].items():
            labels.setdefault(tuple(told), []).append(name)
        if len(labels) > 1:
            told = "; ".join(f"{', '.join(w)}: {', '.join(names)}" for w, names in labels.items())
            notes.append(f"{task} has labels of other words by template ({told}).")
    return [
        f"Counted as speaking for the claim: {HELD:.0%} or more of the lead over a guess is kept; "
        f"against it: {LOST:.0%} or less.",
        "Test prompts of all templates and numbers of demonstrations are the same items; those of "
        "languages are others, or translations of each other.",
        *notes,
        *notes_of(found),
    ]
