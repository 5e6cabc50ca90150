"""Tokens of the vocabulary as targets of every prompt, whatever targets it was encoded with."""

import dataclasses

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from negjax.checks import integers, is_whole, shown, whole_number
from negjax.errors import Argument, ArgumentError
from negjax.execution.asked_outputs import TARGET_OUTPUTS
from negjax.inputs.probes import Probes
from negjax.inputs.token_ids import check_given_ids
from negjax.measurements.answers import logits
from negjax.model.language_model import LanguageModel
from negjax.replay.outputs import AnyOutput

MOST_TOKENS = 256
"""An eighth of the logits that a row has at once anyway: budgets need not count them."""


def token_targets(
    lm: LanguageModel,
    probes: Probes,
    tokens: ArrayLike,
    *,
    output: AnyOutput,
    target: int | None,
    budget_bytes: int,
) -> Probes:
    """The same prompts with tokens as their targets.

    Args:
        tokens: ids [K], or [B, K] for each prompt its own; or a number K: each prompt's likeliest
            unperturbed, in that order, of equal ones the lower id first.
        output, target: what is asked of them.

    Raises:
        ArgumentError: no tokens, a token twice, one that the model does not have, more than
            `MOST_TOKENS`; an output that is not of each token, or a target beside them.
    """
    if target is not None:
        raise ArgumentError(
            *(Argument("target", target), " is one of the probes', in whose place "),
            *(Argument("tokens"), " are measured; leave it out"),
        )
    if not isinstance(output, str) or output not in TARGET_OUTPUTS:
        raise ArgumentError(
            *(Argument("output"), f" is {shown(output)}, and "),
            *(Argument("tokens"), f" have each {', '.join(TARGET_OUTPUTS)}; pass one of these"),
        )
    if is_whole(tokens):
        most = min(MOST_TOKENS, lm.config.vocab_size)
        count = whole_number(tokens, "tokens", 1, most)
        found = logits(lm, probes, budget_bytes=budget_bytes)
        ids = np.argsort(-found, axis=1, kind="stable")[:, :count]
    else:
        ids = _checked(lm, tokens, len(probes))
    names = [tuple(lm.tokenizer.decode([token]) for token in row) for row in ids.tolist()]
    return dataclasses.replace(
        probes,
        targets=tuple(names),
        target_ids=ids[..., None],
        target_mask=np.ones((*ids.shape, 1), bool),
        target_mode="single",
    )


def _checked(lm: LanguageModel, tokens: ArrayLike, prompts: int) -> Int[np.ndarray, "{prompts} K"]:
    expected = f"a number, or ids of 1 to {MOST_TOKENS} tokens, [K] or [{prompts}, K]"
    ids = integers(tokens, "tokens", expected)
    shape = (prompts, ids.shape[-1]) if ids.ndim == 2 else ids.shape
    if ids.ndim not in (1, 2) or ids.shape != shape or not 1 <= shape[-1] <= MOST_TOKENS:
        raise ArgumentError(Argument("tokens"), f" are {shown(tokens)}, expected {expected}")
    check_given_ids(lm, "tokens", ids.flat)
    ids = np.broadcast_to(ids, (prompts, shape[-1]))
    for row in ids:
        values, counts = np.unique(row, return_counts=True)
        if (counts > 1).any():
            raise ArgumentError(
                Argument("tokens"), f" hold {values[counts > 1][0]} more than once; name it once"
            )
    return ids
