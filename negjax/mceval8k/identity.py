"""When two items are the same, and how much of one part stands in another."""

import re
import unicodedata
from collections.abc import Callable, Hashable, Mapping, Sequence

from negjax.mceval8k.files import Row

Keys = Callable[[Row], tuple[Hashable, ...]]
"""What an item is known by; items that share a key are the same."""


def normalised(text: str) -> str:
    """The letters and digits of a text, in lower case and Unicode's NFKC form.

    Punctuation and white space do not count: tokenised texts differ from plain ones by them alone.
    A text of nothing else is itself.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", "", folded) or folded


def item_keys(row: Row) -> tuple[Hashable, ...]:
    """All that a prompt shows of an item, apart from the order of its options."""
    return ((row.texts, row.target, tuple(sorted(row.options))),)


def text_keys(row: Row) -> tuple[Hashable, ...]:
    """Each of its input texts."""
    return row.texts


def normalised_keys(row: Row) -> tuple[Hashable, ...]:
    """Each of its input texts, normalised."""
    return tuple(normalised(text) for text in row.texts)


LEVELS: Mapping[str, Keys] = {
    "item": item_keys,
    "text": text_keys,
    "normalised": normalised_keys,
}
"""From the narrowest meaning of "the same item" to the widest."""


def overlap(rows: Sequence[Row], others: Sequence[Row], keys: Keys) -> int:
    """How many of the rows share a key with one of the others."""
    known = {key for row in others for key in keys(row)}
    return sum(not known.isdisjoint(keys(row)) for row in rows)


def kindred(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that must stay together: those that share a normalised text or are translations.

    Families are the connected components: if a shares a text with b, and b another one with c, all
    three are one family. Order is that of the rows.
    """
    parents = list(range(len(rows)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    first: dict[Hashable, int] = {}
    for number, row in enumerate(rows):
        keys = normalised_keys(row)
        if row.translation is not None:
            keys = (*keys, (row.part, row.translation))
        for key in keys:
            parents[root(number)] = root(first.setdefault(key, number))
    found: dict[int, list[Row]] = {}
    for number, row in enumerate(rows):
        found.setdefault(root(number), []).append(row)
    return list(found.values())
