"""How many items of one part of a task stand in another, as published and in the disjoint parts."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from negjax import mceval8k
from negjax.mceval8k.files import Row, published
from negjax.mceval8k.identity import LEVELS, overlap

PAIRS = tuple(itertools.combinations(("test", "valid", "train", "demonstrations"), 2))
"""Of parts: how much of the first stands in the second."""


@dataclasses.dataclass(frozen=True, kw_only=True)
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


@dataclasses.dataclass(frozen=True, kw_only=True)
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

    def published(self, part: str, other: str, level: str) -> Overlap | None:
        """One overlap of published parts; None where a part is not published."""
        wanted = ("original", part, other, level)
        return next(
            (o for o in self.overlaps if (o.split, o.part, o.other, o.level) == wanted), None
        )

    def most(self, split: str) -> int:
        """The largest overlap of any two parts, at any level."""
        return max(o.shared for o in self.overlaps if o.split == split)


def measure(name: str, root: str | Path | None) -> Leaks:
    """The overlaps of one task's published files and of its disjoint parts."""
    files = published(name, root)
    original = mceval8k.load(name, root, split="original")
    ours = mceval8k.load(name, root)
    parts: dict[str, dict[str, tuple[Row, ...]]] = {
        "original": {**files.parts, "demonstrations": _rows(original.demonstrations)},
        "disjoint": {part: _rows(getattr(ours, part)) for part in ours.sizes},
    }
    overlaps = [
        Overlap(
            split=split,
            part=part,
            other=other,
            level=level,
            items=len(rows[part]),
            shared=overlap(rows[part], rows[other], keys),
        )
        for split, rows in parts.items()
        for part, other in PAIRS
        if part in rows and other in rows
        for level, keys in LEVELS.items()
    ]
    return Leaks(
        name=name,
        genre=ours.genre,
        sizes={
            split: {part: len(rows) for part, rows in of.items()} for split, of in parts.items()
        },
        overlaps=tuple(overlaps),
        notes=ours.notes,
        key=ours.key,
    )


def wholly_leaked(leaks: Sequence[Leaks], part: str, other: str) -> list[str]:
    """Tasks of which every published item of a part stands in another."""
    overlaps = {task.name: task.published(part, other, "text") for task in leaks}
    return [name for name, o in overlaps.items() if o is not None and o.shared == o.items]


def largest_overlap(leaks: Sequence[Leaks], split: str) -> int:
    """Of any two parts of a task, at any level."""
    return max(task.most(split) for task in leaks)


def overlap_table(leaks: Sequence[Leaks]) -> pa.Table:
    """One row a task, split, pair of parts and level."""
    return pa.Table.from_pylist(
        [
            {"task": task.name, "genre": task.genre, **dataclasses.asdict(shared)}
            for task in leaks
            for shared in task.overlaps
        ]
    )


def _rows(items: tuple[mceval8k.Item, ...]) -> tuple[Row, ...]:
    return tuple(item.row for item in items)
