"""A small benchmark in the layout of MCEval8K, with records of our own making."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from negjax.mceval8k.catalogue import LANGUAGES, PARTS, TASKS

Record = dict[str, Any]


def records(name: str, first: int, count: int) -> list[Record]:
    """So many records of each label (and language), none of which shares a text with another.

    Args:
        name: of the task.
        first: number of the first one; others have other texts.
        count: of each label, in each language.
    """
    spec = TASKS[name]
    golds = spec.golds or tuple(range(len(spec.labels)))
    found = []
    for number in range(first, first + count):
        for language in LANGUAGES if spec.language else ("en",):
            for gold in golds:
                about = f"number {number} of {gold} in {language}"
                record: Record = {field: f"The {field}, {about}." for field in spec.texts}
                if spec.target is not None:
                    words = ["the", "target"] if spec.target == "target_chunk" else "target"
                    record[spec.target] = words
                if spec.options is not None:
                    record[spec.options] = [f"option {n}, {about}" for n in range(len(golds))]
                if spec.language is not None:
                    record[spec.language] = language
                if spec.translations is not None:
                    record[spec.translations] = f"{number} {gold}"
                found.append(record | {spec.gold: gold})
    return found


def write_part(root: Path, name: str, part: str, content: Sequence[object]) -> Path:
    """Writes a file of a task; returns its path."""
    file = root / TASKS[name].folder / f"{part}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    return file


def write_task(root: Path, name: str, count: int = 4) -> None:
    """A task whose valid is a piece of train and whose test overlaps both."""
    every = {
        "train": records(name, 0, 2 * count),
        "valid": records(name, 0, 2),
        "test": records(name, 1, 2) + records(name, 3 * count, 2),
    }
    for part in PARTS:
        write_part(root, name, part, every[part])


def write_benchmark(root: Path) -> Path:
    """All tasks; returns the root."""
    for name in TASKS:
        write_task(root, name)
    return root
