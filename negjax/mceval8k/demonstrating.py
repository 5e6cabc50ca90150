"""Which items of train show how a task is answered."""

import itertools
import statistics
from collections.abc import Mapping, Sequence

from negjax.errors import Argument, ArgumentError
from negjax.mceval8k.catalogue import TaskSpec
from negjax.mceval8k.files import Row
from negjax.mceval8k.identity import kindred


def choose(
    spec: TaskSpec, train: Sequence[Row], shots: int
) -> tuple[Mapping[str | None, tuple[Row, ...]], tuple[Row, ...]]:
    """Demonstrations by language, and the items of train that share no text with any of them.

    A demonstration is among the shorter half of its language's items, since it is read with every
    prompt, and shares no text with another one of its language. Of those that are left, one goes
    first that translates a demonstration, then one of a small family: few items leave train.
    Between equals the order of train decides, so that the demonstrations of fewer shots are among
    those of more.

    Args:
        spec: the task.
        train: in the order of the seed.
        shots: demonstrations a label.

    Raises:
        ValueError: train has not so many items of a label.
    """
    if shots == 0:
        return {}, tuple(train)
    families = kindred(train)
    family_of = {row: number for number, family in enumerate(families) for row in family}
    own = {
        language: [row for row in train if row.language == language]
        for language in sorted({row.language for row in train}, key=str)
    }
    half = {x: statistics.median_low(map(_length, rows)) for x, rows in own.items()}
    chosen: dict[str | None, list[Row]] = {language: [] for language in own}
    used: set[int] = set()

    def cost(row: Row) -> tuple[bool, int]:
        number = family_of[row]
        new = 0 if number in used else len(families[number])
        return _length(row) > half[row.language], new

    for _, language, label in itertools.product(range(shots), own, range(len(spec.labels))):
        taken = {family_of[row] for row in chosen[language]}
        candidates = [r for r in own[language] if r.label == label and family_of[r] not in taken]
        if not candidates:
            raise ArgumentError(
                Argument("shots"),
                f"={shots}: train has not so many items of label {spec.labels[label]!r} "
                f"{'' if language is None else f'in {language} '}that share no text; "
                "pass fewer shots",
            )
        best = min(candidates, key=cost)
        chosen[language].append(best)
        used.add(family_of[best])
    rest = tuple(row for row in train if family_of[row] not in used)
    return {language: tuple(rows) for language, rows in chosen.items()}, rest


def _length(row: Row) -> int:
    """Characters of an item, whatever the template."""
    return sum(map(len, (*row.texts, *row.options)))
