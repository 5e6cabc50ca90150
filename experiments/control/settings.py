"""What the study of control can be asked: its settings, and the names that they are chosen from."""

from dataclasses import dataclass

from experiments.running.settings import setting
from negjax.control import TURNS

PARTS = ("turning", "steering", "editing")
DIRECTIONS = ("enhance", "suppress")
LINES = ("P", "log P", "log-odds")
"""What a shift may be taken to move linearly."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How an edit is made."""

    meaning: str
    paraphrases: int = 0
    """Taught beside the prompt."""
    turned: bool = True
    """Whether the shift is made as short as it can be."""
    upper: bool = False
    """Only the upper third of the layers is shifted."""
    preserving: bool = False
    """The answers of unrelated facts are preserved to first order."""


WAYS = {
    "smallest": Way(meaning="the smallest shift for the prompt"),
    "straight": Way(meaning="the shift for the prompt along the first gradient", turned=False),
    "reworded": Way(meaning="the smallest shift for the prompt and a paraphrase", paraphrases=1),
    "upper": Way(meaning="the smallest shift of the upper third of the layers", upper=True),
    "preserving": Way(meaning="the smallest shift that keeps unrelated answers", preserving=True),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is asked of this study alone."""

    parts: list[str] = setting(PARTS, f"What to measure: {', '.join(PARTS)}.", choices=PARTS)
    counts: list[int] = setting(
        [1, 4, 16, 64, 256, 1024], "Neurons of each polarity turned together."
    )
    volumes: list[float] = setting(
        [0.25, 0.5, 1.0], "Amounts by which neurons are turned, units of the activation.", above=0
    )
    ratios: list[float] = setting(
        [0.5, 1.0, 2.0],
        "Amounts by which neurons are turned, multiples of the activation.",
        above=0,
    )
    wanted: list[float] = setting(
        [0.01, 0.1, 0.5, 0.9, 0.99],
        "Probabilities of the answer to steer to.",
        above=0,
        below=1,
    )
    turns: int = setting(TURNS, "Most directions tried to make a shift shorter.", least=0)
    unrelated: str | None = setting(
        None,
        "Table of prompts (masked LMs: column masked) and answers to which shifts are applied to "
        "see what else they do. Default: shipped facts of other relations.",
    )
    edits: int = setting(20, "Facts to edit, the table's first; 0: all.", least=0)
    edit_table: str | None = setting(
        None,
        "Table of edits, with columns fact, kind, prompt (masked LMs: masked), answer and new. "
        "Default: 20 shipped facts.",
    )
    edit_probability: float = setting(
        0.9, "P(new answer) that an edit is to reach.", above=0, below=1
    )
    ways: list[str] = setting(list(WAYS), f"Ways to edit: {', '.join(WAYS)}.", choices=WAYS)

    @property
    def amounts(self) -> list[tuple[str, float]]:
        """By what neurons are turned: volumes, then ratios."""
        return [("volume", v) for v in self.volumes] + [("ratio", r) for r in self.ratios]
