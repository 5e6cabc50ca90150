"""Who trains and who tests: the published parts as they are, or parts that share no text.

The published files overlap (`python -m experiments.mceval8k_leaks` counts how much), so parts are
made anew from all records of a task:

1. Records that share an input text, letter case, punctuation and white space aside, form a family,
   and so do translations of one item (`identity.kindred`). A family is never divided.
2. Of a family's records each item is kept once, in its test copy if it has one; an item that is
   published with several answers has none, and is left out.
3. Families that are published in one part stay in it. Those of several parts are contested: they
   fill test up to its share, then valid, then train. A valid that is short of its share takes from
   train; a train that is not published takes from valid. Which families move is decided by the
   seed, with as many items of each label (of each language) as of any other.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from negjax.mceval8k.catalogue import PARTS, TaskSpec
from negjax.mceval8k.files import Published, Row
from negjax.mceval8k.identity import item_keys, kindred

TEST_SHARE = 2 / 5
VALID_SHARE = 1 / 8
"""Of all items of a task: the most that test and valid take of contested families. Neither takes
more than its published size."""

KEPT_VALID = 1 / 4
"""Of a published valid, where the split is the original one and train is a slice of it."""

Parts = Mapping[str, tuple[Row, ...]]


@dataclasses.dataclass(frozen=True)
class _Family:
    rows: tuple[Row, ...]
    parts: frozenset[str]
    """Where its records are published."""

    @property
    def cells(self) -> Counter[tuple[str | None, int]]:
        """Items by language and label."""
        return Counter((row.language, row.label) for row in self.rows)


def digest(seed: int, row: Row) -> bytes:
    """A row's place in the order of a seed: the same in every process and on every machine."""
    text = f"{seed} {row.part} {row.number}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def in_order(rows: Iterable[Row], seed: int) -> tuple[Row, ...]:
    """Rows, shuffled by a seed. The files are sorted by label, so no use is made of their order."""
    return tuple(sorted(rows, key=lambda row: digest(seed, row)))


def original(found: Published, seed: int) -> tuple[Parts, list[str]]:
    """The published parts, each shuffled, and what is to be said of them."""
    parts = {part: in_order(rows, seed) for part, rows in found.parts.items()}
    notes = _null_notes(found)
    if "train" not in parts:
        records = len(parts["valid"])
        if records < 2:
            raise ValueError(
                f"train is absent and valid has {records} records: expected two or more, as train "
                "is a slice of them"
            )
        kept = max(1, round(KEPT_VALID * records))
        parts |= {"train": parts["valid"][kept:], "valid": parts["valid"][:kept]}
        notes.append(_slice_note(len(parts["train"])))
    return {part: parts[part] for part in PARTS}, notes


def disjoint(spec: TaskSpec, found: Published, seed: int) -> tuple[Parts, list[str]]:
    """Parts of which no two share a text, each shuffled, and what is to be said of them."""
    rows = [row for part in PARTS for row in found.parts.get(part, ())]
    pool, repeated, contradicted = [], 0, 0
    for family in kindred(rows):
        kept, copies, contradictions = _distinct(family)
        repeated, contradicted = repeated + copies, contradicted + contradictions
        if kept:
            pool.append(_Family(kept, frozenset(row.part for row in family)))
    pool.sort(key=lambda family: min(digest(seed, row) for row in family.rows))
    parts = _share_out(spec, found, pool)
    for part in PARTS:
        if not parts[part]:
            raise ValueError(
                f"split 'disjoint' leaves {part} empty: {len(rows)} records are {len(pool)} "
                "families that share a text; take more records, or pass split='original'"
            )
    notes = _null_notes(found)
    if repeated:
        notes.append(f"{repeated:,} of {len(rows):,} records repeat an item and are left out")
    if contradicted:
        notes.append(
            f"{contradicted:,} records left out: their items are published with several answers"
        )
    if "train" not in found.parts:
        notes.append(_slice_note(len(parts["train"])))
    return {part: in_order(parts[part], seed) for part in PARTS}, notes


def _distinct(family: Sequence[Row]) -> tuple[tuple[Row, ...], int, int]:
    """A family's items, each once; how many records were copies, and how many contradicted."""
    copies: dict[object, list[Row]] = {}
    for row in family:
        copies.setdefault(item_keys(row), []).append(row)
    kept, repeated, contradicted = [], 0, 0
    for rows in copies.values():
        if len({row.options[row.label] if row.options else row.label for row in rows}) > 1:
            contradicted += len(rows)
            continue
        kept.append(max(rows, key=lambda row: PARTS.index(row.part)))
        repeated += len(rows) - 1
    return tuple(kept), repeated, contradicted


def _share_out(spec: TaskSpec, found: Published, pool: Sequence[_Family]) -> dict[str, list[Row]]:
    """The rows of each part; `pool` is in the order of the seed."""
    items = sum(len(family.rows) for family in pool)
    # Where each family goes; None: not decided yet.
    places: list[str | None] = [
        min(family.parts) if len(family.parts) == 1 else None for family in pool
    ]
    if "train" not in found.parts:
        places = [None if place == "valid" else place for place in places]

    def fill(part: str, share: float, candidates: Sequence[int]) -> None:
        limit = max(1, int(min(len(found.parts[part]), share * items)))
        own = [family for family, place in zip(pool, places, strict=True) if place == part]
        for number in _balanced(spec, own, {n: pool[n] for n in candidates}, limit):
            places[number] = part

    undecided = [n for n, place in enumerate(places) if place is None]
    fill("test", TEST_SHARE, [n for n in undecided if "test" in pool[n].parts])
    movable = [n for n, place in enumerate(places) if place in (None, "train")]
    movable.sort(key=lambda n: (places[n] is not None, "valid" not in pool[n].parts))
    fill("valid", VALID_SHARE, movable)
    parts: dict[str, list[Row]] = {part: [] for part in PARTS}
    for family, place in zip(pool, places, strict=True):
        parts[place or "train"] += family.rows
    return parts


def _balanced(
    spec: TaskSpec, own: Sequence[_Family], others: Mapping[int, _Family], limit: int
) -> list[int]:
    """Which others join a part of that size at most, alike of each language and label."""
    held: Counter[tuple[str | None, int]] = Counter()
    for family in own:
        held.update(family.cells)
    languages = {row.language for family in (*own, *others.values()) for row in family.rows}
    quota = -(-limit // max(1, len(languages) * len(spec.labels)))
    taken = []
    for number, family in others.items():
        cells = family.cells
        if held.total() + cells.total() <= limit and all(
            held[cell] + count <= quota for cell, count in cells.items()
        ):
            held.update(cells)
            taken.append(number)
    if not own and not taken and others:  # Each is too large; but no part is to be empty.
        taken.append(min(others, key=lambda number: len(others[number].rows)))
    return taken


def _null_notes(found: Published) -> list[str]:
    return [
        f"{count} records of {part}.json lack a text (null) and are left out"
        for part, count in found.nulls.items()
    ]


def _slice_note(count: int) -> str:
    return f"train.json is absent: train is a slice of valid, {count:,} items"
