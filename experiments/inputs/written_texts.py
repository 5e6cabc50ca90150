"""Texts that a model writes in a study: how long, whether there is room, how a folder keeps them.

A folder keeps token ids, `NONE` after a text's end: an array of a fixed length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import negjax
from experiments.running.settings import define, setting
from negjax.generation.writing import added_text
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel

NONE = -1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much is written."""

    written: int | None = setting(
        None,
        "Tokens that a causal model writes after a prompt, as it is and as it is moved. Default: "
        "12, of windows 24; 0, but not of windows: none.",
        least=0,
    )


FLAGS = define(Settings)


def text_length(lm: LanguageModel, default: int, prompts: Sequence[Probes]) -> int:
    """Tokens to write after each of some prompts at most; 0 of a masked LM, which writes none.

    Raises:
        ValueError: a prompt leaves no room for them.
    """
    count = FLAGS.read().written
    count = default if count is None else count
    if not lm.config.causal or not count:
        return 0
    longest = max(int(probes.mask.sum(1).max()) for probes in prompts)
    # The last token written is not read.
    most = lm.config.context_length - longest + 1
    if count > most:
        raise ValueError(
            f"--{FLAGS['written'].name}={count}: a prompt is {longest} tokens long, and the "
            f"model's context holds {lm.config.context_length}; pass {most} at most"
        )
    return count


def prompt_ids(probes: Probes, row: int) -> list[int]:
    """Tokens of a prompt, as `negjax.generate` takes them."""
    ids: list[int] = probes.tokens[row, probes.mask[row]].tolist()
    return ids


def token_rows(written: negjax.Generated, length: int) -> np.ndarray:
    """Token ids [B, length] of texts, `NONE` where there are none."""
    return padded(np.where(written.mask, written.tokens, NONE), length, NONE)


def padded(values: np.ndarray, length: int, fill: float) -> np.ndarray:
    """Values [B, N] of written tokens, filled up to [B, length]."""
    return np.pad(values, ((0, 0), (0, length - values.shape[1])), constant_values=fill)


def text_of(lm: LanguageModel, probes: Probes, row: int, tokens: np.ndarray) -> str:
    """The text of one row of `token_rows`, as it follows its prompt."""
    return added_text(lm, prompt_ids(probes, row), tokens[tokens != NONE].tolist(), lm.end_tokens)
