"""What the model writes after prompts that are steered and facts that are edited."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import negjax
from experiments.inputs.written_texts import prompt_ids, token_rows
from negjax.control import Steered
from negjax.inputs.neurons import sets_of_shifts
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel


@dataclass(frozen=True, kw_only=True)
class Written:
    """A text as it is without a shift, and with one."""

    part: str
    """Of the study: steering or editing."""
    what: str
    """Was done to the model."""
    prompt: str
    answer: str
    """Whose probability was moved."""
    before: str
    after: str


def steered_texts(
    lm: LanguageModel,
    probes: Probes,
    steered: Sequence[Steered],
    length: int,
    budget_bytes: int,
) -> dict[str, np.ndarray]:
    """What follows prompts, and what follows when they are steered: at all tokens written after.

    Args:
        probes: b prompts.
        steered: each of them to W probabilities, prompt by prompt.
        length: tokens at most; 0: nothing is written.
    """
    if not length:
        return {}
    prompts = [prompt_ids(probes, row) for row in range(len(probes))]
    each = len(steered) // len(prompts)
    shifts = np.stack([found.shift for found in steered]).astype(np.float64)
    plain = negjax.generate(lm, prompts, max_tokens=length, budget_bytes=budget_bytes)
    moved = negjax.generate(
        lm,
        [prompt for prompt in prompts for _ in range(each)],
        negjax.Intervention(sets_of_shifts(shifts), "additive"),
        when="generated",
        site=steered[0].site,
        max_tokens=length,
        budget_bytes=budget_bytes,
    )
    return {
        "plain_text": token_rows(plain, length),
        "steered_text": token_rows(moved, length).reshape(len(prompts), each, length),
    }


def fact_text(
    name: str, lm: LanguageModel, probes: Probes, length: int, budget_bytes: int
) -> dict[str, Any]:
    """What a model, edited or not, writes after the first prompt, under an array's name."""
    if not length:
        return {}
    found = negjax.generate(
        lm, [prompt_ids(probes, 0)], max_tokens=length, budget_bytes=budget_bytes
    )
    return {name: token_rows(found, length)[0]}
