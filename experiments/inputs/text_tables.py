"""Texts that several studies read, each with the label of its group."""

import collections
import csv
import itertools
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import NamedTuple

import negjax
from negjax.inputs.table_files import read_columns, suffix_of
from negjax.storage.given_files import check_file


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


def shipped_relations() -> list[str]:
    """Of each row of the shipped facts, what kind of fact it is."""
    return [row["relation"] for row in _shipped_rows("facts.csv")]


def shipped_texts() -> Texts:
    """Statements of the shipped facts by relation, and the shipped sentences as one more group."""
    found = negjax.read_facts()
    pairs = zip(found.prompts, found.answers, strict=True)
    facts = [f"{prompt} {answer}" for prompt, answer in pairs]
    sentences = [row["text"] for row in _shipped_rows("sentences.csv")]
    labels = [*shipped_relations(), *["sentences"] * len(sentences)]
    return Texts([*facts, *sentences], labels, "negjax facts and sentences")


def texts_of_table(path: str, text_column: str, group_column: str, expected: str) -> Texts:
    """A user's table.

    Args:
        expected: what may be named, for errors.

    Raises:
        ValueError, OSError: it cannot be read, or lacks a column.
    """
    file = check_file(path, "texts", expected)
    data = file.read_bytes()
    wanted = {"text_column": text_column, "group_column": group_column}
    texts, labels = read_columns(data, suffix_of(file, data), wanted, str(file))
    return Texts([str(text) for text in texts], [str(label) for label in labels], str(file))


def _shipped_rows(name: str) -> Iterator[dict[str, str]]:
    file = resources.files("negjax") / "data" / name
    return csv.DictReader(file.read_text(encoding="utf-8").splitlines())
