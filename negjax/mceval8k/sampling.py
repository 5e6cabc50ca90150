"""Samples of items with as many of each label as of any other.

Items come in an order that the task's seed shuffled, and nothing is drawn here: the same items give
the same sample in every process.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from negjax.checks import is_whole, listed, one_of, shown, texts
from negjax.mceval8k.benchmark import Item

Sampling = Literal["none", "up", "down"]


def first(items: Sequence[Item], count: int, labels: Sequence[str]) -> tuple[Item, ...]:
    """The first items of each label, as equal in number as there are items, in their order.

    Within a label the languages take turns, where there are several.

    Args:
        items: of one task.
        count: how many in all.
        labels: the task's, K strings; a sample may be too small to hold all of them.

    Raises:
        ValueError: `count` is not between 1 and the number of items.
    """
    items, labels = check_items(items), check_labels(labels)
    if not is_whole(count) or not 1 <= count <= len(items):
        raise ValueError(
            f"count={shown(count)}: there are {len(items)} items; pass 1 to {len(items)}"
        )
    by_label = [
        list(_in_turn([[n for n in numbers if items[n].language == x] for x in _languages(items)]))
        for numbers in _by_label(items, labels)
    ]
    taken = [n for n, _ in zip(_in_turn(by_label), range(count), strict=False)]
    return tuple(items[n] for n in sorted(taken))


def in_turns(items: Sequence[Item], labels: Sequence[str]) -> tuple[Item, ...]:
    """The items so ordered that labels take turns: the first n, of any n, are balanced.

    Labels of which there is nothing left are passed over.

    Raises:
        ValueError: what are no items, or no labels.
    """
    items, labels = check_items(items), check_labels(labels)
    return tuple(items[n] for n in _in_turn(_by_label(items, labels)))


def resample(items: Sequence[Item], labels: Sequence[str], sampling: Sampling) -> tuple[Item, ...]:
    """Items with as many of each label as of any other.

    Args:
        items: of one task.
        labels: the task's, K strings.
        sampling: `none`: the items as they are; `down`: of every label as many as of the rarest,
            the first ones; `up`: as many as of the most frequent, where the items of the others
            follow again, from the first one on, behind all items.

    Raises:
        ValueError: `sampling` is none of these, or there is no item of a label.
    """
    one_of(sampling, "sampling", get_args(Sampling))
    items, labels = check_items(items), check_labels(labels)
    if sampling == "none":
        return tuple(items)
    by_label = _by_label(items, labels)
    for label, numbers in zip(labels, by_label, strict=True):
        if not numbers:
            raise ValueError(
                f"sampling {sampling!r}: no item of label {label!r} among {len(items)}; "
                "pass more items, or sampling='none'"
            )
    if sampling == "down":
        fewest = min(map(len, by_label))
        return tuple(items[n] for n in sorted(n for numbers in by_label for n in numbers[:fewest]))
    most = max(map(len, by_label))
    again = [numbers[n % len(numbers)] for numbers in by_label for n in range(len(numbers), most)]
    return (*items, *(items[n] for n in again))


def check_items(items: object) -> tuple[Item, ...]:
    """Items of a task.

    Raises:
        ValueError: what is no list of items.
    """
    found = listed(items, "items", "a list of a task's items: load(name).train")
    for number, item in enumerate(found):
        if not isinstance(item, Item):
            raise ValueError(
                f"items[{number}] is {shown(item)}, expected an item of a task: load(name).train"
            )
    return tuple(item for item in found if isinstance(item, Item))


def check_labels(labels: object) -> tuple[str, ...]:
    """A task's labels.

    Raises:
        ValueError: what is no list of texts, or an empty one.
    """
    found = texts(labels, "labels")
    if not found:
        raise ValueError("labels is empty, expected the task's: load(name).labels")
    return found


def _by_label(items: Sequence[Item], labels: Sequence[str]) -> list[list[int]]:
    """Numbers of the items of each label, in order."""
    return [[n for n, item in enumerate(items) if item.label == k] for k in range(len(labels))]


def _languages(items: Sequence[Item]) -> list[str | None]:
    return sorted({item.language for item in items}, key=str)


def _in_turn(lists: Sequence[Sequence[int]]) -> Iterator[int]:
    """The first of each list, the second of each, and so on."""
    for place in range(max(map(len, lists), default=0)):
        yield from (numbers[place] for numbers in lists if place < len(numbers))
