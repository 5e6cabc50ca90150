"""The program: its flags, what it measures, how it goes on after an interruption."""

import itertools
import time
from pathlib import Path

from absl import flags
from tqdm import tqdm

import negjax
from experiments.inputs import benchmark_flags
from experiments.mceval8k_leaks import page as mceval8k_leaks_page
from experiments.mceval8k_leaks.page import Leaks, Overlap
from experiments.running import common, messages, terminal
from negjax import mceval8k
from negjax.mceval8k.files import Row, published
from negjax.mceval8k.identity import LEVELS, overlap
from negjax.storage.whole_files import write_whole

_PAGE = flags.DEFINE_string("page", None, "Markdown file to write the finding to.")

PAIRS = tuple(itertools.combinations(("test", "valid", "train", "demonstrations"), 2))
"""Of parts: how much of the first stands in the second."""


def main() -> int:
    """Measures, prints the table and writes summary, overlaps and report."""
    start = time.perf_counter()
    names = benchmark_flags.tasks()
    leaks = [
        measure(name, benchmark_flags.root()) for name in tqdm(names, unit="task", disable=None)
    ]
    settings = {
        "experiment": "mceval8k_leaks",
        "negjax": negjax.__version__,
        "tasks": {found.name: found.key for found in leaks},
    }
    with common.open_folder("mceval8k_leaks", settings, {}, {}) as folder:
        mceval8k_leaks_page.write(folder, leaks, time.perf_counter() - start)
    if _PAGE.value is not None:
        page = mceval8k_leaks_page.markdown(leaks)
        with messages.of_flag(_PAGE):
            write_whole(messages.path(_PAGE), lambda file: file.write(page.encode()))
    terminal.say(mceval8k_leaks_page.printed(folder, leaks))
    return 0


def measure(name: str, root: str | Path | None) -> Leaks:
    """The overlaps of one task's published files and of its disjoint parts."""
    found = published(name, root)
    original = mceval8k.load(name, root, split="original")
    ours = mceval8k.load(name, root)
    parts: dict[str, dict[str, tuple[Row, ...]]] = {
        "original": {**found.parts, "demonstrations": _rows(original.demonstrations)},
        "disjoint": {part: _rows(getattr(ours, part)) for part in ours.sizes},
    }
    overlaps = [
        Overlap(split, part, other, level, len(rows[part]), overlap(rows[part], rows[other], keys))
        for split, rows in parts.items()
        for part, other in PAIRS
        if part in rows and other in rows
        for level, keys in LEVELS.items()
    ]
    return Leaks(
        name,
        ours.genre,
        {split: {part: len(rows) for part, rows in of.items()} for split, of in parts.items()},
        tuple(overlaps),
        ours.notes,
        ours.key,
    )


def _rows(items: tuple[mceval8k.Item, ...]) -> tuple[Row, ...]:
    return tuple(item.row for item in items)
