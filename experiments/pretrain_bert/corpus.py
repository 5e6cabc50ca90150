"""Statements to train a masked LM on: facts with one gap and its answer, or plain text."""

import dataclasses
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from negjax import checks
from negjax.inputs.prompt_forms import MASK_MARK
from negjax.mceval8k.catalogue import HUB_ID
from negjax.mceval8k.files import ROOT_VARIABLE
from negjax.records import readable
from negjax.storage import given_files
from negjax.weights import hub

GAP = "[Y]"
"""Where the answer stands in a fact's text."""

MCEVAL8K_TASKS = ("fact/myriadlama", "multilingual/mlama")
SPLITS = ("train", "valid", "test")

# A word of fewer statements than this names what a fact is about; those of a template recur.
RARE = 10


@readable
@dataclasses.dataclass(frozen=True)
class Statement:
    """A sentence, whole or with a gap and what fills it."""

    text: str
    """Holds `GAP` once where there is an answer."""
    answer: str | None
    source: str
    """The task or file it is from."""

    @property
    def filled(self) -> str:
        """The sentence with its answer."""
        return self.text if self.answer is None else self.text.replace(GAP, self.answer)

    @property
    def masked(self) -> str:
        """The sentence as a masked LM is asked it: with `[MASK]` for the answer."""
        return self.text.replace(GAP, MASK_MARK)


def read_mceval8k(root: str | Path | None = None) -> list[Statement]:
    """English facts of MCEval8K's MyriadLAMA and mLAMA tasks, their three splits together.

    Args:
        root: the folder that holds `fact/myriadlama` and `multilingual/mlama`. Default: the one
            that the environment variable NEGJAX_MCEVAL8K names, or else the hub's, fetched where it
            is not in the local cache.

    Returns:
        each (text, answer) once, in the order of files; white space is one blank, and none stands
        before a sentence's closing mark.

    Raises:
        FileNotFoundError: a file is missing, or the hub does not give it.
        ValueError: a file is no JSON list, or an item has no text with one gap, no options, or a
            label that is none of theirs.

    Source: MCEval8K (Zhao, Jiang, Yoshinaga, ACL 2025), made of MyriadLAMA (arXiv 2406.12277) and
    mLAMA (arXiv 2102.00894).
    """
    root = root or os.environ.get(ROOT_VARIABLE) or None
    if root is None:
        files = [f"{task}/{split}.json" for task in MCEVAL8K_TASKS for split in SPLITS]
        root = hub.fetch(HUB_ID, files, "dataset")
    statements = []
    for task in MCEVAL8K_TASKS:
        for split in SPLITS:
            file = checks.path(root, "root") / task / f"{split}.json"
            if not file.is_file():
                raise FileNotFoundError(
                    f"{file}: no such file; expected MCEval8K's folder, as --corpus_dir or the "
                    f"environment variable {ROOT_VARIABLE} names it, to hold "
                    f"{' and '.join(MCEVAL8K_TASKS)}; --corpus names a file of your own"
                )
            items = given_files.parsed(given_files.decoded(file.read_bytes(), file), file)
            if not isinstance(items, list):
                raise ValueError(f"{file}: holds a JSON {type(items).__name__}, expected a list")
            numbered = ((f"{file}: item {number}", item) for number, item in enumerate(items))
            # mLAMA's items say their language; MyriadLAMA is English.
            statements += [
                _statement(item, where, task)
                for where, item in numbered
                if not isinstance(item, dict) or item.get("lang", "en") == "en"
            ]
    return distinct(statements)


def read_text(path: str | Path) -> list[Statement]:
    """Statements of a file of one's own.

    Args:
        path: `.txt`: a sentence a line. `.jsonl`: an object a line, with `text`, and for a fact a
            gap `[Y]` in it and either `answer`, or `options` and the number `label` of the right
            one. Blank lines are passed over.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another suffix, a file that is empty or not UTF-8, or a line not as above.
    """
    path = given_files.check_file(path, "path", "a .txt or .jsonl file")
    suffix = path.suffix.lower()
    if suffix not in (".txt", ".jsonl"):
        raise ValueError(f"{path}: unknown suffix {path.suffix!r}; known: .txt, .jsonl")
    lines = given_files.decoded(path.read_bytes(), path).split("\n")
    statements = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        if suffix == ".txt":
            statements.append(Statement(_tidy(line), None, path.name))
        else:
            statements.append(_statement(given_files.parsed(line, where), where, path.name))
    if not statements:
        raise ValueError(f"{path}: no text in it")
    return distinct(statements)


def distinct(statements: Iterable[Statement]) -> list[Statement]:
    """Each (text, answer) once: the first of its kind, in the order given."""
    kept: dict[tuple[str, str | None], Statement] = {}
    for statement in statements:
        kept.setdefault((statement.text, statement.answer), statement)
    return list(kept.values())


def paraphrases(statements: Sequence[Statement], rare: int = RARE) -> list[list[int]]:
    """Groups of statements that state one fact in different words, as numbers of statements.

    Two statements are taken for paraphrases where they have the same answer and the same rare words
    (at least one): words of fewer than `rare` statements, which name what the fact is about.
    """
    words = [frozenset(re.findall(r"\w+", s.text.replace(GAP, " "))) for s in statements]
    count = Counter(word for used in words for word in used)
    groups: dict[tuple[str, frozenset[str]], list[int]] = defaultdict(list)
    for number, (statement, used) in enumerate(zip(statements, words, strict=True)):
        subject = frozenset(word for word in used if count[word] < rare)
        if subject and statement.answer is not None:
            groups[statement.answer, subject].append(number)
    return [group for group in groups.values() if len(group) > 1]


def hold_out(
    statements: Sequence[Statement], count: int, seed: int
) -> tuple[list[Statement], list[Statement]]:
    """Statements to train on, and `count` paraphrases of them to be asked only.

    Of `count` random groups of paraphrases one random statement each is held out, so that its fact
    is trained on in other words.

    Raises:
        ValueError: there are fewer groups.
    """
    groups = paraphrases(statements)
    if count > len(groups):
        raise ValueError(
            f"{count} statements to hold out, but only {len(groups)} facts are stated in several "
            f"ways; expected 0 to {len(groups)}"
        )
    generator = np.random.default_rng([seed, 0])
    chosen = generator.choice(len(groups), size=count, replace=False)
    held = {int(generator.choice(groups[number])) for number in chosen}
    trained = [s for number, s in enumerate(statements) if number not in held]
    return trained, [statements[number] for number in sorted(held)]


def _statement(item: Any, where: str, source: str) -> Statement:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise ValueError(f"{where}: expected an object with a string `text`, found {item!r}")
    text = _tidy(item["text"])
    if "answer" not in item and "options" not in item:
        if GAP in text or not text:
            raise ValueError(f"{where}: {text!r} is no sentence, or has a gap without an answer")
        return Statement(text, None, source)
    answer = item["answer"] if "answer" in item else _gold(item, where)
    if not isinstance(answer, str) or not answer.strip():
        raise ValueError(f"{where}: the answer is {answer!r}, expected text")
    if text.count(GAP) != 1:
        raise ValueError(f"{where}: {text!r} has {text.count(GAP)} times {GAP}, expected one")
    return Statement(text, _tidy(answer), source)


def _gold(item: dict[str, Any], where: str) -> object:
    options, label = item["options"], item.get("label")
    if not isinstance(options, list) or not isinstance(label, int):
        raise ValueError(f"{where}: expected `options`, a list, and `label`, an integer")
    if not 0 <= label < len(options):
        raise ValueError(f"{where}: label {label} is none of {len(options)} options")
    return options[label]


def _tidy(text: str) -> str:
    return re.sub(r" ([.,;:!?])", r"\1", " ".join(text.split()))
