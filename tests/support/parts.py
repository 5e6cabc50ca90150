"""Parts of a task that share nothing, checked by what texts say."""

import unicodedata
from itertools import combinations

from negjax.mceval8k.benchmark import Task
from negjax.mceval8k.catalogue import PARTS

PLACES = (*PARTS, "demonstrations")


def letters(text: str) -> str:
    """The letters and digits of a text, one by one."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded


def check_disjoint(task: Task) -> None:
    """Nothing that could tell a test item's answer stands in another part."""
    places: dict[str, set[str]] = {}
    shown: dict[str, set[str]] = {}
    translated: dict[str, set[tuple[str, str]]] = {}
    for place in PLACES:
        items = getattr(task, place)
        rows = [item.row for item in items]
        assert len({(row.part, row.number) for row in rows}) == len(rows)
        places[place] = {letters(text) for row in rows for text in row.texts}
        shown[place] = {item.text for item in items}
        translated[place] = {(r.part, r.translation) for r in rows if r.translation is not None}
    for one, other in combinations(PLACES, 2):
        assert places[one].isdisjoint(places[other]), (one, other)
        assert shown[one].isdisjoint(shown[other]), (one, other)
        assert translated[one].isdisjoint(translated[other]), (one, other)
