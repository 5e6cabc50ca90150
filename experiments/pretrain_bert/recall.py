"""What a masked LM recalls of facts: the probability of each answer in its gap, and its rank."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.pretrain_bert.corpus import Statement
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes
from negjax.measurements.answers import plain_answers
from negjax.model.language_model import LanguageModel
from negjax.records import readable

# Probability above which a fact counts as recalled: no other answer can be as likely.
RECALLED = 0.5


@readable
@dataclasses.dataclass(frozen=True)
class Recall:
    """Of B facts."""

    probability: np.ndarray
    """[B], of the answer."""
    first: np.ndarray
    """[B], True where no token is more likely."""

    @property
    def summary(self) -> dict[str, float | int]:
        """How many facts, the share with P above 0.5, mean P, and the share whose answer is first.

        Raises:
            ValueError: there are no facts.
        """
        if not len(self.probability):
            raise ValueError("no facts to summarise")
        return {
            "facts": len(self.probability),
            "above_half": float((self.probability > RECALLED).mean()),
            "mean_probability": float(self.probability.mean()),
            "first": float(self.first.mean()),
        }


def single_token_facts(lm: LanguageModel, statements: Sequence[Statement]) -> list[Statement]:
    """Statements with an answer that is one token."""
    facts = [s for s in statements if s.answer is not None]
    if not facts:
        return []
    ids = lm.tokenizer([s.answer for s in facts], add_special_tokens=False)["input_ids"]
    return [fact for fact, tokens in zip(facts, ids, strict=True) if len(tokens) == 1]


def fact_probes(lm: LanguageModel, facts: Sequence[Statement]) -> Probes:
    """The facts as prompts with `[MASK]` for the answer, the answer as target."""
    return encode(lm, [s.masked for s in facts], [str(s.answer) for s in facts])


def recall_of(
    lm: LanguageModel, probes: Probes, *, budget_bytes: int = DEFAULT_BUDGET_BYTES
) -> Recall:
    """Probability of each prompt's first target, and whether no token of the vocabulary beats it.

    Args:
        probes: of a masked LM, with one-token targets.
        budget_bytes: memory for one batch, besides the weights.
    """
    answers = plain_answers(lm, probes.select_target(0), budget_bytes=budget_bytes)
    return Recall(answers.probability[:, 0], answers.first[:, 0])
