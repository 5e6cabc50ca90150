"""Where the texts of the study come from, each with the label of its group."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from experiments.inputs import benchmark_flags
from experiments.inputs.text_tables import Texts, shipped_texts, texts_of_table
from negjax import mceval8k

SHIPPED, MCEVAL8K = "shipped", "mceval8k"
"""What may be named in a table's place."""
LANGUAGE_TASKS = tuple(name for name in mceval8k.names() if mceval8k.TASKS[name].language)
"""Tasks of MCEval8K whose texts are of several languages."""


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


def named(source: str, text_column: str, group_column: str) -> Texts:
    """The texts that the flags name."""
    if source == SHIPPED:
        return shipped_texts()
    if source == MCEVAL8K:
        return languages(benchmark_flags.tasks(), benchmark_flags.root())
    expected = f"a table, {SHIPPED} or {MCEVAL8K}"
    return texts_of_table(source, text_column, group_column, expected)
