"""How the accuracies of probes are shown: table, figures and what they mean."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from experiments.reporting import report, skill_figures
from experiments.reporting.figures import Picture
from experiments.reporting.page_parts import aligned, percent
from experiments.reporting.report import (
    Bullets,
    Drawing,
    Figure,
    Paragraph,
    Section,
    Table,
    drawings,
)
from experiments.reporting.skill_figures import Series
from experiments.skill_studies.jobs import Found, Row
from experiments.skill_studies.study import Shown
from negjax import mceval8k
from negjax.model.language_model import LanguageModel
from negjax.skills.features import feature_files

TITLE = "How much of a task do a model's neurons know?"
PROBES: Mapping[str, str] = {
    "majority": "Majority",
    "lm_prob": "LM-Prob",
    "random": "Random",
    "polar": "Polar",
    "magn": "Magn",
    "act": "Act",
    "tree": "Tree",
    "linear": "Linear",
}
RULES: Mapping[str, str] = {name: PROBES[name] for name in feature_files.RULES}
"""Probes whose neurons vote."""
MEANING = (
    "Majority: the most frequent label of the training prompts. LM-Prob: the label that the model "
    "itself gives the largest probability, among the labels' tokens. Random: as many random "
    "neurons as Polar has, with Polar's votes, mean of several draws. Polar, Magn, Act, Tree: the "
    "paper's probes; Magn answers train by the same votes as test, not by the paper's rule of "
    "training time (argmax of the summed signed gradients). Linear: multinomial regression on the "
    "signs of all neurons' scores."
)
PAPER: Mapping[str, tuple[float, float, float, float]] = {
    "ner": (0.361, 0.453, 0.498, 0.740),
    "agnews": (0.588, 0.849, 0.702, 0.872),
    "paws": (0.524, 0.825, 0.815, 0.888),
    "csqa": (0.610, 0.613, 0.639, 0.773),
    "halueval": (0.520, 0.788, 0.783, 0.818),
    "mlama": (0.608, 0.622, 0.637, 0.724),
}
"""Reported for Llama2-7B by Zhao, Jiang and Yoshinaga (ACL 2025): LM-Prob, Act, Magn, Tree."""
PAPER_PROBES = ("lm_prob", "act", "magn", "tree")


def show(found: Mapping[str, Found], lm: LanguageModel) -> Shown:
    """Tables, figures and the printed table."""
    rows = [row for one in found.values() for row in one.rows]
    splits = list(dict.fromkeys(row.split for row in rows))
    probes = [name for name in PROBES if any(row.probe == name for row in rows)]
    tested = select(rows, split=splits[0], part="test")
    pictures = drawings(
        {"accuracy": lambda: _dots(list(found), probes, tested)}
        | ({"layers": lambda: _layers(found)} if _with_layers(found) else {})
    )
    tables = [_table(found, probes, rows, splits), *_beside_paper(found, tested)]
    head, lines = ["", *(PROBES[name] for name in probes)], _lines(found, probes, tested)
    lead = (
        f"{len(found)} tasks of MCEval8K, answered by {lm.name}'s neurons: on average over the "
        f"tasks, of the test prompts of the {splits[0]} parts, "
        + ", ".join(f"{PROBES[p]} {percent(_mean(tested, p))}" for p in probes)
        + "."
    )
    sections = [
        Section("Accuracy", [Paragraph(MEANING), *tables, *_figures(pictures)]),
        *_between_splits(found, probes, rows, splits),
        Section("To keep in mind", [Bullets(_notes(found))]),
    ]
    summary = {
        "accuracy": {
            split: {
                part: {p: _mean(select(rows, split=split, part=part), p) for p in probes}
                for part in ("train", "valid", "test")
            }
            for split in splits
        }
    }
    printed = aligned([[name] for name in head], lines)
    return Shown(lead, sections, printed, summary)


def select(rows: Iterable[Row], **wanted: object) -> list[Row]:
    """The rows whose fields have these values."""
    return [r for r in rows if all(getattr(r, name) == value for name, value in wanted.items())]


def chance(task: str) -> float:
    """Accuracy of a guess: parts have as many items of each label."""
    return 1 / len(mceval8k.TASKS[task].labels)


def series_of(label: str, rows: Sequence[Row], at: Sequence[float], dashed: bool = False) -> Series:
    """Rows as a curve, or as dots, at these places."""
    return Series(
        label,
        at,
        [row.accuracy for row in rows],
        [row.low for row in rows],
        [row.high for row in rows],
        dashed,
    )


def interval(row: Row) -> str:
    """An accuracy with its interval."""
    return f"{row.accuracy:.1%} ({row.low:.1%}–{row.high:.1%})"


def notes_of(found: Mapping[str, Found]) -> list[str]:
    """What is to be said of the tasks' parts, each once."""
    told = []
    for task, one in found.items():
        several = len({way["split"] for way in one.asked}) > 1
        for way in one.asked:
            where = f"{task}, {way['split']} parts" if several else task
            told += [f"{where}: {note}" for note in way["notes"]]
    return list(dict.fromkeys(told))


def _mean(rows: Sequence[Row], probe: str) -> float | None:
    found = [row.accuracy for row in rows if row.probe == probe]
    return statistics.fmean(found) if found else None


def _lines(
    found: Mapping[str, Found], probes: Sequence[str], rows: Sequence[Row]
) -> list[list[str]]:
    lines = []
    for task in found:
        own = {row.probe: row for row in rows if row.task == task}
        lines.append([task, *(percent(own[p].accuracy if p in own else None) for p in probes)])
    return [*lines, ["mean", *(percent(_mean(rows, p)) for p in probes)]]


def _table(
    found: Mapping[str, Found], probes: Sequence[str], rows: Sequence[Row], splits: Sequence[str]
) -> Table:
    body = []
    for task, one in found.items():
        for split in splits:
            for part in ("train", "valid", "test"):
                own = {r.probe: r for r in select(rows, task=task, split=split, part=part)}
                told = [interval(own[p]) if p in own else "—" for p in probes]
                tested = next(iter(own.values())).tested
                body.append([task, str(one.more["genre"]), split, f"{part}, {tested}", *told])
    caption = (
        "Accuracies with 95% bootstrap intervals over prompts, by part and number of prompts. "
        "Numbers of neurons and strengths of penalties were chosen on valid: its accuracies, and "
        "train's, are not what to expect of new prompts. Random: mean of accuracies and of the "
        "intervals' ends."
    )
    return Table(caption, ["task", "genre", "split", "part", *(PROBES[p] for p in probes)], body)


def _beside_paper(found: Mapping[str, Found], tested: Sequence[Row]) -> list[Table]:
    body = []
    for task in found:
        own = {row.probe: row.accuracy for row in tested if row.task == task}
        if task in PAPER and set(PAPER_PROBES) <= own.keys():
            reported = zip(PAPER_PROBES, PAPER[task], strict=True)
            body.append([task, *(f"{percent(own[p])} | {share:.1%}" for p, share in reported)])
    if not body:
        return []
    caption = (
        "Test accuracies here | as reported for Llama2-7B by Zhao, Jiang and Yoshinaga (ACL 2025), "
        "whose parts overlap. The models differ in size by a factor of 50: what can be compared is "
        "whether probes are above the model's own answer, and their order."
    )
    return [Table(caption, ["task", *(PROBES[p] for p in PAPER_PROBES)], body)]


def _between_splits(
    found: Mapping[str, Found], probes: Sequence[str], rows: Sequence[Row], splits: Sequence[str]
) -> list[Section]:
    if len(splits) < 2:
        return []
    body = []
    for task in found:
        pair = [
            {r.probe: r.accuracy for r in select(rows, task=task, split=split, part="test")}
            for split in ("disjoint", "original")
        ]
        told = [
            f"{pair[1][p] - pair[0][p]:+.1%}" if p in pair[0] and p in pair[1] else "—"
            for p in probes
        ]
        body.append([task, *told])
    caption = (
        "Test accuracy of the original parts minus that of the disjoint ones. What leaks shows as "
        "a gain of the probes that memorise most; differences below the intervals above are none."
    )
    table = Table(caption, ["task", *(PROBES[p] for p in probes)], body)
    return [Section("What leaks", [table])]


def _dots(tasks: Sequence[str], probes: Sequence[str], rows: Sequence[Row]) -> Picture:
    series = []
    for probe in probes:
        own = [row for row in rows if row.probe == probe]
        series.append(series_of(PROBES[probe], own, [tasks.index(row.task) for row in own]))
    return skill_figures.dots_figure(tasks, series, [chance(task) for task in tasks])


def _with_layers(found: Mapping[str, Found]) -> list[str]:
    """Tasks whose probes have neurons."""
    return [task for task, one in found.items() if one.more["layers"]]


def _layers(found: Mapping[str, Found]) -> Picture:
    tasks = _with_layers(found)
    names = list(found[tasks[0]].more["layers"])
    return skill_figures.layers_figure(
        [
            (PROBES[name], tasks, [found[task].more["layers"].get(name, []) for task in tasks])
            for name in names
        ]
    )


def _figures(pictures: Mapping[str, Drawing]) -> list[report.Block]:
    told = {
        "accuracy": (
            "Test accuracies with their 95% intervals, a line a task. Dashed: a guess.",
            "Dots of every probe for each task.",
        ),
        "layers": (
            "Where the neurons of the chosen probes lie: share of them by layer, a line a task.",
            "Rows of coloured squares, a column a layer.",
        ),
    }
    return [Figure(pictures[name], *told[name]) for name in told if name in pictures]


def _notes(found: Mapping[str, Found]) -> list[str]:
    return [
        "Intervals are over test prompts: what other training prompts would give is not in them.",
        "Some of many differences between tasks and probes are large by chance.",
        *notes_of(found),
    ]
