"""`negjax.mceval8k.load`: a task's items as prompts, in parts that share no text."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from negjax.checks import one_of, whole_number
from negjax.errors import Argument, ArgumentError
from negjax.mceval8k import demonstrating, splitting
from negjax.mceval8k.catalogue import PARTS, TASKS, task_name
from negjax.mceval8k.files import Row, published
from negjax.mceval8k.wording import GAP, read_template
from negjax.records import readable

Split = Literal["disjoint", "original"]


@readable
@dataclasses.dataclass(frozen=True)
class Item:
    """A question with a few possible answers."""

    row: Row
    """The published record: texts, target, options, and in which file it stands."""
    head: str
    """What precedes the question: instruction and demonstrations, the same string for all items of
    a task and language."""
    question: str
    """The item's own part, up to the header of the answer."""

    @property
    def text(self) -> str:
        """The input alone, a line a field: neither headers nor options."""
        return "\n".join([*self.row.texts, *([self.row.target] if self.row.target else [])])

    @property
    def prompt(self) -> str:
        """What a model reads. A label follows it without a blank."""
        return self.head + GAP + self.question

    @property
    def label(self) -> int:
        """Index of the answer among the task's labels."""
        return self.row.label

    @property
    def language(self) -> str | None:
        """In which it is asked, as a code of two letters; None in tasks that ask all in English."""
        return self.row.language


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A task of MCEval8K, ready to be asked."""

    name: str
    genre: str
    """linguistic, classification, fact, nli, self-reflection or multilingual."""
    labels: tuple[str, ...]
    """K answers, as appended to a prompt."""
    train: tuple[Item, ...]
    valid: tuple[Item, ...]
    test: tuple[Item, ...]
    demonstrations: tuple[Item, ...]
    """Those in the heads, language by language in the order they stand there. Their own heads are
    the instruction alone."""
    template: str
    """Version of the wording, for results to record."""
    split: Split
    shots: int
    """Demonstrations a label."""
    seed: int
    notes: tuple[str, ...]
    """What is to be said of the parts: what was left out, what a missing file was replaced by."""
    key: str
    """SHA-256 of the labels and of all prompts with their answers, part by part."""

    @property
    def sizes(self) -> dict[str, int]:
        """Items of each part and of the demonstrations."""
        return {part: len(getattr(self, part)) for part in (*PARTS, "demonstrations")}


def load(
    name: str,
    root: str | Path | None = None,
    split: Split = "disjoint",
    shots: int | None = None,
    template: int = 0,
    seed: int | None = None,
) -> Task:
    """A task of MCEval8K.

    The parts of a split do not depend on template and shots, but for the demonstrations, which
    `disjoint` takes out of train. Items stand in an order that the seed shuffled: the first n of a
    part are a sample of it.

    Args:
        name: of the task (`negjax.mceval8k.names()`), in any case, or its published folder.
        root: a directory in the published layout. Default: the one that the environment variable
            NEGJAX_MCEVAL8K names, or else the hub's, of which the task's files are fetched.
        split: `disjoint`: no item, by any of its input texts, letter case, punctuation and white
            space aside, is in two of train, valid, test and the demonstrations, and none twice in
            one. As many items are kept as can be, balanced over the labels (`Task.sizes`).
            `original`: the published parts as they are, which overlap, demonstrations in train.
        shots: demonstrations a label, in the order of the labels; by default 1.
        template: number of the wording.
        seed: orders the items and decides on parts and demonstrations; by default the task's own.

    Raises:
        FileNotFoundError: the directory or a file is missing, or the hub does not give it.
        ValueError: an argument is wrong, or a file is not what it should be: the message names
            task, file and row.
    """
    name = task_name(name)
    spec = TASKS[name]
    wording = read_template(name, template)
    one_of(split, "split", get_args(Split))
    shots = 1 if shots is None else whole_number(shots, "shots", 0)
    seed = spec.seed if seed is None else whole_number(seed, "seed", 0)
    found = published(name, root)
    if split == "disjoint":
        parts, notes = splitting.disjoint(spec, found, seed)
    else:
        parts, notes = splitting.original(found, seed)
    chosen, rest = demonstrating.choose(spec, parts["train"], shots)
    if split == "disjoint":
        for label, text in enumerate(spec.labels):
            if all(row.label != label for row in rest):
                raise ArgumentError(
                    Argument("shots"),
                    f"={shots}: no item of label {text!r} would be left in train; pass fewer shots",
                )
        relatives = len(parts["train"]) - len(rest) - sum(map(len, chosen.values()))
        if relatives:
            notes.append(
                f"{relatives:,} items of train share a text with a demonstration and are left out"
            )
        parts = {**parts, "train": rest}

    def items(rows: Iterable[Row], heads: Mapping[str | None, str]) -> tuple[Item, ...]:
        return tuple(Item(row, heads[row.language], wording.question(spec, row)) for row in rows)

    languages = {row.language for rows in parts.values() for row in rows}
    instructions = {language: wording.instruction(language) for language in languages}
    heads = {
        language: GAP.join(
            [text, *(wording.demonstration(spec, row) for row in chosen.get(language, ()))]
        )
        for language, text in instructions.items()
    }
    asked = {part: items(rows, heads) for part, rows in parts.items()}
    shown = items((row for rows in chosen.values() for row in rows), instructions)
    return Task(
        name=name,
        genre=spec.genre,
        labels=wording.labels,
        train=asked["train"],
        valid=asked["valid"],
        test=asked["test"],
        demonstrations=shown,
        template=wording.version,
        split=split,
        shots=shots,
        seed=seed,
        notes=tuple(notes),
        key=_key([name, wording.version, *wording.labels], {**asked, "demonstrations": shown}),
    )


def _key(asked: Sequence[str], parts: Mapping[str, Sequence[Item]]) -> str:
    found = hashlib.sha256(json.dumps(asked).encode())
    for part, items in parts.items():
        found.update(json.dumps([part, len(items)]).encode())
        for item in items:
            found.update(json.dumps([item.prompt, item.label, item.language]).encode())
    return found.hexdigest()
