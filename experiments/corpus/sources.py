"""Where the texts of the study come from, each with the label of its group."""

import collections
import csv
import itertools
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import negjax
from experiments.inputs import benchmark_flags
from negjax import mceval8k
from negjax.inputs.table_files import read_columns, suffix_of
from negjax.storage.given_files import check_file

SHIPPED, MCEVAL8K = "shipped", "mceval8k"
"""What may be named in a table's place."""
LANGUAGE_TASKS = tuple(name for name in mceval8k.names() if mceval8k.TASKS[name].language)
"""Tasks of MCEval8K whose texts are of several languages."""


class Texts(NamedTuple):
    """Texts, the label of each, and where they are from."""

    texts: list[str]
    labels: list[str]
    source: str

    def half(self, number: int) -> "Texts":
        """Of each group every second text: the first and so on, or the second."""
        seen: dict[str, Iterator[int]] = {}
        kept = [
            at
            for at, label in enumerate(self.labels)
            if next(seen.setdefault(label, itertools.count())) % 2 == number
        ]
        return self._some(kept)

    def first(self, most: int | None) -> "Texts":
        """Of each group the first texts; None: all of them."""
        seen: dict[str, Iterator[int]] = {}
        kept = [
            at
            for at, label in enumerate(self.labels)
            if most is None or next(seen.setdefault(label, itertools.count())) < most
        ]
        return self._some(kept)

    def check_groups(self) -> None:
        """Refuses texts that cannot be divided.

        Raises:
            ValueError: fewer than two groups, or a group of one text.
        """
        counts = collections.Counter(self.labels)
        if len(counts) < 2:
            raise ValueError(f"{self.source}: {len(counts)} group of texts, expected 2 or more")
        label, fewest = min(counts.items(), key=lambda item: item[1])
        if fewest < 2:
            raise ValueError(
                f"{self.source}: group {label!r} has one text, expected 2 or more: one half "
                "chooses neurons, the other tests them"
            )

    def _some(self, kept: Sequence[int]) -> "Texts":
        return Texts([self.texts[at] for at in kept], [self.labels[at] for at in kept], self.source)


def shipped() -> Texts:
    """Statements of the shipped facts by relation, and the shipped sentences as one more group."""
    found = negjax.read_facts()
    file = resources.files("negjax") / "data" / "facts.csv"
    relations = [row["relation"] for row in _rows(file.read_text(encoding="utf-8"))]
    pairs = zip(found.prompts, found.answers, strict=True)
    facts = [f"{prompt} {answer}" for prompt, answer in pairs]
    file = resources.files("negjax") / "data" / "sentences.csv"
    sentences = [row["text"] for row in _rows(file.read_text(encoding="utf-8"))]
    labels = [*relations, *["sentences"] * len(sentences)]
    return Texts([*facts, *sentences], labels, "negjax facts and sentences")


def languages(names: Sequence[str], root: Path | None) -> Texts:
    """Training texts of MCEval8K's tasks by language.

    Raises:
        ValueError: a task without languages.
    """
    for name in names:
        if name not in LANGUAGE_TASKS:
            raise ValueError(
                f"--tasks={','.join(names)}: {name} is of one language; expected some of "
                f"{', '.join(LANGUAGE_TASKS)}"
            )
    tasks = [mceval8k.load(name, root).train for name in names]
    # In turns, so that the first texts of a language are of all tasks.
    items = (item for some in itertools.zip_longest(*tasks) for item in some if item is not None)
    rows = [(text, str(item.row.language)) for item in items for text in item.row.texts]
    return Texts([text for text, _ in rows], [label for _, label in rows], "MCEval8K")


def of_table(path: str, text_column: str, group_column: str) -> Texts:
    """A user's table.

    Raises:
        ValueError, OSError: it cannot be read, or lacks a column.
    """
    file = check_file(path, "texts", f"a table, {SHIPPED} or {MCEVAL8K}")
    data = file.read_bytes()
    wanted = {"text_column": text_column, "group_column": group_column}
    texts, labels = read_columns(data, suffix_of(file, data), wanted, str(file))
    return Texts([str(text) for text in texts], [str(label) for label in labels], str(file))


def named(source: str, text_column: str, group_column: str) -> Texts:
    """The texts that the flags name."""
    if source == SHIPPED:
        return shipped()
    if source == MCEVAL8K:
        return languages(benchmark_flags.tasks(), benchmark_flags.root())
    return of_table(source, text_column, group_column)


def _rows(text: str) -> Iterator[dict[str, str]]:
    return csv.DictReader(text.splitlines())
