"""How the study of MCEval8K's overlaps is shown: printed table, summary, report, docs page."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from experiments.reporting import page_parts, report
from experiments.reporting.escaping import for_markdown
from experiments.reporting.report import Bullets, Facts, Paragraph, Section, Table
from experiments.running import documents, provenance
from negjax.storage import store
from negjax.storage.store import RunFolder

TITLE = "How much of MCEval8K's test a probe has already seen"
SHOWN = (("test", "train"), ("test", "valid"), ("valid", "train"))
"""Pairs of parts that the tables show."""
PARTS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True)
class Overlap:
    """How many items of one part stand in another."""

    split: str
    """original: the published files; disjoint: ours."""
    part: str
    other: str
    level: str
    """item: all that a prompt shows of it is the same; text: one of its texts is; normalised."""
    items: int
    """Of `part`."""
    shared: int
    """Of these, how many stand in `other`."""


@dataclasses.dataclass(frozen=True)
class Leaks:
    """One task's overlaps."""

    name: str
    genre: str
    sizes: Mapping[str, Mapping[str, int]]
    """Items by split and part."""
    overlaps: tuple[Overlap, ...]
    notes: tuple[str, ...]
    """On the disjoint parts."""
    key: str
    """Of the disjoint task."""

    def shared(self, split: str, part: str, other: str, level: str) -> Overlap | None:
        """One overlap; None where a part is not published."""
        asked = (split, part, other, level)
        return next(
            (o for o in self.overlaps if (o.split, o.part, o.other, o.level) == asked), None
        )

    def most(self, split: str) -> int:
        """The largest overlap of any two parts, at any level."""
        return max(o.shared for o in self.overlaps if o.split == split)


HEAD = (
    "task",
    "published: train, valid, test",
    *(f"{part} in {other}" for part, other in SHOWN),
    "demonstrations in test",
    "ours: train, valid, test",
    "shared",
)


def cells(leaks: Leaks) -> list[str]:
    """A row under `HEAD`; overlaps by exact and by normalised text."""
    return [
        leaks.name,
        _sizes(leaks.sizes["original"]),
        *(_pair(leaks, part, other) for part, other in SHOWN),
        _pair(leaks, "test", "demonstrations"),
        _sizes(leaks.sizes["disjoint"]),
        str(leaks.most("disjoint")),
    ]


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{sizes[part]:,}" if part in sizes else "–" for part in PARTS)


def _pair(leaks: Leaks, part: str, other: str) -> str:
    exact, wide = (leaks.shared("original", part, other, level) for level in ("text", "normalised"))
    if exact is None or wide is None:
        return "–"
    return (
        f"{exact.shared:,}" if exact.shared == wide.shared else f"{exact.shared:,}–{wide.shared:,}"
    )


def wholly_leaked(leaks: Sequence[Leaks], part: str, other: str) -> list[str]:
    """Tasks of which every published item of a part stands in another."""
    found = {t.name: t.shared("original", part, other, "text") for t in leaks}
    return [name for name, o in found.items() if o is not None and o.shared == o.items]


def write(folder: RunFolder, leaks: Sequence[Leaks], seconds: float) -> None:
    """Writes table, summary and report into the run's folder."""
    table = pa.Table.from_pylist(
        [
            {"task": task.name, "genre": task.genre, **dataclasses.asdict(overlap)}
            for task in leaks
            for overlap in task.overlaps
        ]
    )
    summary = {
        "complete": True,
        "command": provenance.command(),
        "flags": provenance.flag_values(),
        "environment": provenance.environment(),
        "seconds": seconds,
        "test_is_training": wholly_leaked(leaks, "test", "train"),
        "test_is_valid": wholly_leaked(leaks, "test", "valid"),
        "valid_is_training": wholly_leaked(leaks, "valid", "train"),
        "largest_overlap": {
            split: max(task.most(split) for task in leaks) for split in ("original", "disjoint")
        },
        "tasks": [dataclasses.asdict(task) for task in leaks],
    }
    documents.write(folder, {store.OVERLAPS: table}, summary, lambda: _document(leaks, summary))


def printed(folder: RunFolder, leaks: Sequence[Leaks]) -> str:
    """The table for the terminal, and where the report lies."""
    rows = [list(HEAD), *map(cells, leaks)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, "", *_finding(leaks), "", f"report: {folder.path / store.REPORT}"])


def _finding(leaks: Sequence[Leaks]) -> list[str]:
    def told(what: str, part: str, other: str) -> str:
        names = wholly_leaked(leaks, part, other)
        listed = f" ({', '.join(names)})" if names else ""
        return f"{what}: {len(names)} of {len(leaks)} tasks{listed}."

    return [
        told("Every published test item is a training item", "test", "train"),
        told("Every published test item is a validation item", "test", "valid"),
        told("Every published validation item is a training item", "valid", "train"),
        "Largest overlap of any two parts, demonstrations included, of negjax's disjoint split: "
        f"{max(task.most('disjoint') for task in leaks)}.",
    ]


CAPTION = (
    "Items of one published part of which an input text stands in another; a range: by exact text "
    "and by normalised text; –: a file that is absent. Demonstrations are drawn from train, one a "
    "label. “Shared”: the largest overlap of any two of our parts, demonstrations included, by "
    "either."
)


def _document(leaks: Sequence[Leaks], summary: Mapping[str, Any]) -> report.Document:
    machine = summary["environment"]
    sections = [
        Section("Result", [Table(CAPTION, HEAD, [cells(task) for task in leaks])]),
        Section("What counts as the same", [Bullets(METHOD)]),
        Section("How our parts are made", [Bullets(PARTS_MADE)]),
        Section(
            "What was left out",
            [Facts([(t.name, "; ".join(t.notes)) for t in leaks if t.notes])],
        ),
        Section("What is not ruled out", [Bullets(LIMITS)]),
        Section(
            "Versions",
            [
                Paragraph(
                    f"negjax {machine['negjax']}, Python {machine['python']}, "
                    f"{summary['seconds']:.0f} s on {machine['cpus']} CPUs."
                )
            ],
        ),
        page_parts.reproduce(summary),
    ]
    return report.Document(TITLE, " ".join(_finding(leaks)), sections)


METHOD = (
    "An item stands in another part if one of its input texts does: the sentence, both sentences "
    "of a pair each for itself, premise and hypothesis, knowledge, dialogue and response. So the "
    "same sentence with another target word counts, and a premise with another hypothesis.",
    "Exact: the same characters, white space collapsed. Normalised: the same letters and digits, "
    "whatever their case and form (Unicode NFKC), and whatever punctuation and white space.",
    "Options, targets and answers are not compared.",
)
PARTS_MADE = (
    "Records that share a normalised text are one family, and so are translations of one item "
    "where the files tell (mlama, xnli). A family goes into one part as a whole.",
    "Each item is kept once; an item published with several answers is left out.",
    "Families published in one part only stay in it. Those of several parts go to test, up to its "
    "published size or two fifths of the task's items; then to valid, up to an eighth; then to "
    "train. Labels (and languages) get equal numbers where the families allow it. A valid that "
    "falls short takes from train.",
    "Where train.json is absent, a slice of valid takes its place.",
    "Demonstrations are taken out of train, with their families.",
)
LIMITS = (
    "Paraphrases: two wordings of one fact are two texts (myriadlama, fever, templama).",
    "Translations that no field tells: m-pos holds the same sentences in several languages, lti "
    "the same verses.",
    "What a model has read before: the benchmark's sources are public.",
)


def markdown(leaks: Sequence[Leaks]) -> str:
    """The finding as a page of the documentation."""
    lines = [
        f"# {TITLE}",
        "",
        "Skill-neuron probes are trained on one part of a task, their number of neurons is chosen "
        "on a second and they are tested on a third. In MCEval8K as it is published these parts "
        "overlap:",
        "",
        *(f"- {for_markdown(line)}" for line in _finding(leaks)[:-1]),
        "",
        "A random forest that remembers its training items is then right on the test items "
        "without any skill neuron. `negjax.mceval8k.load` therefore makes parts of its own by "
        'default (`split="disjoint"`), of which no two share a text; `split="original"` gives the '
        "published ones, to compare.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|---" + "|---:" * (len(HEAD) - 1) + "|",
        *("| " + " | ".join(map(for_markdown, cells(task))) + " |" for task in leaks),
        "",
        CAPTION,
    ]
    for heading, items in (
        ("What counts as the same", METHOD),
        ("How our parts are made", PARTS_MADE),
        ("What is not ruled out", LIMITS),
    ):
        lines += ["", f"## {heading}", "", *(f"- {item}" for item in items)]
    noted = [task for task in leaks if task.notes]
    lines += ["", "## What was left out, task by task", ""]
    lines += [f"- {for_markdown(f'{task.name}: ' + '; '.join(task.notes))}" for task in noted]
    lines += [
        "",
        "## To count again",
        "",
        "    python -m experiments.mceval8k_leaks --root=DIRECTORY --page=docs/mceval8k_leaks.md",
        "",
    ]
    return "\n".join(lines)
