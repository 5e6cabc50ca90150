"""Counterfactual edits to try: prompts, paraphrases, neighbours, answers; and plain texts."""

import dataclasses
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

import negjax
from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel

KINDS = ("edit", "paraphrase", "neighbour")
"""The prompt that is edited; the same question in other words; questions about other subjects."""
SHIPPED = "data/edits.csv"
TEXTS = "data/sentences.csv"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditedFact:
    """A fact, the answer that it shall have, and the prompts by which an edit is judged."""

    name: str
    new: str
    """The counterfactual answer."""
    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    """The true answer of each prompt; of the edited prompt and its paraphrases, the old one."""
    kinds: tuple[str, ...]
    """`KINDS`, the edited prompt first, then its paraphrases."""

    def probes(self, lm: LanguageModel) -> Probes:
        """All prompts, with the targets (new, own answer)."""
        return encode(lm, self.prompts, [(self.new, answer) for answer in self.answers])

    def taught(self, lm: LanguageModel, paraphrases: int) -> Probes:
        """The edited prompt and so many paraphrases, with the new answer as target."""
        prompts = self.prompts[: 1 + paraphrases]
        return encode(lm, prompts, [self.new] * len(prompts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditTable:
    """The edits that a model can be asked to make."""

    facts: tuple[EditedFact, ...]
    source: str
    sha256: str
    skipped: tuple[tuple[str, str], ...]
    """(name, reason) of the facts left out."""

    @property
    def most_prompts(self) -> int:
        """Of a fact."""
        return max(len(fact.prompts) for fact in self.facts)


def read_edits(lm: LanguageModel, path: str | None, count: int) -> EditTable:
    """The first `count` edits of a table (0: all) that this model can be asked to make.

    Args:
        path: a table with the columns fact, kind, prompt (masked LMs: masked), answer and new; None
            for the one shipped.

    Raises:
        ValueError: an unknown kind, a fact without one prompt to edit, a paraphrase and a
            neighbour, or with several new answers; fewer usable facts than asked for.
    """
    file = str(path or resources.files("negjax").joinpath(SHIPPED))
    prompt_column = "prompt" if lm.config.causal else "masked"
    columns = {
        name: negjax.read_facts(file, prompt_column=prompt_column, answer_column=name)
        for name in ("answer", "fact", "kind", "new")
    }
    table = columns["answer"]
    names = np.asarray(columns["fact"].answers)
    usable: list[EditedFact] = []
    skipped: list[tuple[str, str]] = []
    for name in dict.fromkeys(names.tolist()):
        rows = np.flatnonzero(names == name).tolist()
        fact = _fact(
            table.source,
            name,
            kinds=[columns["kind"].answers[row] for row in rows],
            prompts=[table.prompts[row] for row in rows],
            answers=[table.answers[row] for row in rows],
            new={columns["new"].answers[row] for row in rows},
        )
        if count and len(usable) == count:
            break
        try:
            fact.probes(lm)
        except ValueError as error:
            skipped.append((name, str(error)))
        else:
            usable.append(fact)
    if not usable or len(usable) < count:
        raise ValueError(
            f"--edits={count}: {table.source} has {len(usable)} facts that this model can be asked"
            + (f"; the first it cannot: {skipped[0][0]}, {skipped[0][1]}" if skipped else "")
        )
    return EditTable(
        facts=tuple(usable), source=table.source, sha256=table.sha256, skipped=tuple(skipped)
    )


def _fact(
    source: str,
    name: str,
    *,
    kinds: Sequence[str],
    prompts: Sequence[str],
    answers: Sequence[str],
    new: set[str],
) -> EditedFact:
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"{source}: fact {name!r} has kind {unknown[0]!r}, expected {KINDS}")
    counts = [kinds.count(kind) for kind in KINDS]
    if counts[0] != 1 or 0 in counts or len(new) != 1:
        raise ValueError(
            f"{source}: fact {name!r} has {counts[0]} edits, {counts[1]} paraphrases, {counts[2]} "
            f"neighbours and {len(new)} new answers; expected 1, some, some and 1"
        )
    order = sorted(range(len(kinds)), key=lambda row: KINDS.index(kinds[row]))
    return EditedFact(
        name=name,
        new=new.pop(),
        prompts=tuple(prompts[i] for i in order),
        answers=tuple(answers[i] for i in order),
        kinds=tuple(kinds[i] for i in order),
    )


def plain_texts() -> tuple[str, ...]:
    """Sentences of our own writing that say nothing of any fact here, to measure fluency on."""
    file = Path(str(resources.files("negjax").joinpath(TEXTS)))
    return negjax.read_facts(file, prompt_column="text", answer_column="topic").prompts
