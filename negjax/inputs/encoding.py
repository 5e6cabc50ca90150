"""`encode`: prompts and targets become token arrays, checked before anything is computed."""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.inputs.probes import Probes, TargetMode
from negjax.inputs.token_ids import (
    PromptTokens,
    check_known,
    framed_tokens,
    plain_tokens,
    prompt_tokens,
)
from negjax.model.language_model import LanguageModel, check_model
from negjax.process.notices import say
from negjax.process.quiet import transformers

MASK_MARK = "[MASK]"
"""How prompts for a masked LM write the mask, whatever the tokenizer's own mask token is."""


def encode(
    lm: LanguageModel,
    prompts: Sequence[str],
    targets: Sequence[str | Sequence[str]],
    *,
    target_mode: TargetMode = "single",
    separator: str | None = None,
) -> Probes:
    """Tokenises prompts and, in their context, targets.

    A target is tokenised as the text that really follows: `prompt + separator + target` is encoded
    and what comes after the prompt's own tokens is the target; in a masked LM the target takes the
    place of `[MASK]`.

    Args:
        prompts: B texts; for a masked LM each holds exactly one `[MASK]`.
        targets: one string, or K strings, per prompt; K is the same for all.
        target_mode: `single`: a target must be one token. `first`: its first token counts. `all`:
            the joint probability of all its tokens. `alone`: one token, tokenised without context,
            as the original implementation did (for comparison).
        separator: text between prompt and target. Default: a space, or nothing where the prompt
            ends, or the target begins, with white space.

    Raises:
        ValueError: naming the row: an empty prompt or target, a target of several tokens, no
            `[MASK]` or several, a prompt longer than the context, an unknown token.
    """
    lm = check_model(lm)
    checks.one_of(target_mode, "target_mode", get_args(TargetMode))
    prompts, many = checks.texts(prompts, "prompts"), _target_rows(targets)
    if separator is not None:
        checks.text(separator, "separator")
    if len(prompts) == 0:
        raise ValueError("no prompts: expected at least one")
    if len(prompts) != len(many):
        raise ValueError(f"{len(prompts)} prompts but {len(many)} targets: expected one each")
    if target_mode == "all" and not lm.config.causal:
        raise ArgumentError(
            'target_mode "all" needs a causal LM, since one [MASK] holds one token; pass ',
            Argument("target_mode", "first"),
        )
    counts = {len(t) for t in many}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(f"targets a prompt: {sorted(counts)}; expected the same number, 1 or more")
    rows = [
        _encode_row(lm, number, prompt, row, target_mode, separator)
        for number, (prompt, row) in enumerate(zip(prompts, many, strict=True))
    ]
    _say_frames([row.prompt for row in rows])
    length = max(len(row.prompt.ids) for row in rows)
    tokens = np.zeros((len(rows), length), np.int32)
    mask = np.zeros((len(rows), length), bool)
    longest = max(len(ids) for row in rows for ids in row.targets)
    target_ids = np.zeros((len(rows), counts.pop(), longest), np.int32)
    target_mask = np.zeros(target_ids.shape, bool)
    for b, row in enumerate(rows):
        real = len(row.prompt.ids)
        tokens[b, :real], mask[b, :real] = row.prompt.ids, True
        for k, ids in enumerate(row.targets):
            target_ids[b, k, : len(ids)], target_mask[b, k, : len(ids)] = ids, True
    return Probes(
        prompts=prompts,
        targets=many,
        tokens=tokens,
        mask=mask,
        read=np.asarray([row.read for row in rows], np.int32),
        target_ids=target_ids,
        target_mask=target_mask,
        target_mode=target_mode,
        mask_id=None if lm.config.causal else lm.tokenizer.mask_token_id,
    )


def _target_rows(targets: object) -> tuple[tuple[str, ...], ...]:
    """Each prompt's targets, of which one may stand alone."""
    expected = "a list of texts, or of lists of texts: one of one prompt is [target]"
    rows = checks.listed(targets, "targets", expected)
    return tuple(
        (checks.text(row, f"targets[{number}]"),)
        if isinstance(row, str | bytes) or not hasattr(row, "__iter__")
        else checks.texts(row, f"targets[{number}]")
        for number, row in enumerate(rows)
    )


class _Row(NamedTuple):
    """One encoded prompt."""

    prompt: PromptTokens
    read: int
    targets: list[list[int]]


def _encode_row(
    lm: LanguageModel,
    number: int,
    prompt: str,
    targets: tuple[str, ...],
    mode: TargetMode,
    separator: str | None,
) -> _Row:
    if not prompt.strip():
        raise ValueError(f"prompt {number} is empty: {prompt!r}; expected text")
    tokenizer = lm.tokenizer
    if not lm.config.causal:
        prompt = _with_mask_token(tokenizer, number, prompt)
    tokens = prompt_tokens(lm, f"prompt {number} ({prompt!r})", prompt)
    found = []
    for target in targets:
        if not target.strip():
            raise ValueError(f"target {target!r} of prompt {number} is empty; expected text")
        what = f"target {target!r} of prompt {number}"
        if mode == "alone":
            ids = plain_tokens(lm, what, target)
        elif lm.config.causal:
            ids = _following(lm, number, prompt, tokens.ids, target, separator)
        else:
            ids = _filling(lm, number, prompt, tokens.ids, target)
        if not ids:
            raise ValueError(f"{what} has no token of its own there; expected text that adds one")
        if len(ids) > 1 and mode in ("single", "alone"):
            pieces = [tokenizer.decode([i]) for i in ids]
            raise ArgumentError(
                f"{what} is {len(ids)} tokens {pieces}; pass ",
                Argument("target_mode", "first", "all"),
                ", or leave the prompt out",
            )
        found.append(ids[:1] if mode == "first" else ids)
    used = len(tokens.ids) + max(map(len, found)) - 1 if lm.config.causal else len(tokens.ids)
    if used > lm.config.context_length:
        raise ValueError(
            f"prompt {number} is {used} tokens with its target, the model's context holds "
            f"{lm.config.context_length}; shorten it"
        )
    read = len(tokens.ids) - 1 if lm.config.causal else tokens.ids.index(tokenizer.mask_token_id)
    return _Row(tokens, read, found)


def _following(
    lm: LanguageModel,
    row: int,
    prompt: str,
    tokens: list[int],
    target: str,
    separator: str | None,
) -> list[int]:
    if separator is None:
        separator = "" if prompt[-1].isspace() or target[0].isspace() else " "
    what = f"target {target!r} of prompt {row}"
    text = prompt + separator + target
    joined, spans, *_ = framed_tokens(lm, what, text)
    if joined[: len(tokens)] != tokens or len(joined) == len(tokens):
        raise ValueError(
            f"prompt {row} does not keep its last tokens when {separator + target!r} follows: "
            f"{lm.tokenizer.decode(tokens[-1:])!r} merges with it; end the prompt without white "
            "space or inside no word, or choose another separator"
        )
    check_known(lm, what, text, joined, spans)
    return joined[len(tokens) :]


def _filling(lm: LanguageModel, row: int, prompt: str, tokens: list[int], target: str) -> list[int]:
    what = f"target {target!r} of prompt {row}"
    before, _, following = prompt.partition(str(lm.tokenizer.mask_token))
    text = before + target + following
    filled, spans, *_ = framed_tokens(lm, what, text)
    at = tokens.index(lm.tokenizer.mask_token_id)
    start, stop = len(before), len(before) + len(target)
    covering = (at + i for i, (a, b) in enumerate(spans[at:]) if a < stop and b > start)
    end = max(covering, default=at - 1) + 1
    # Some tokenizers begin a new word after a mask token, where none begins after a word.
    apart = filled[end:] == tokens[at + 1 :] or not following[:1].isalnum()
    if filled[:at] != tokens[:at] or not apart or any(b > stop for _, b in spans[at:end]):
        raise ValueError(f"{what} merges with the words beside [MASK]; set [MASK] apart by blanks")
    check_known(lm, what, text, filled, spans)
    return filled[at:end]


def _with_mask_token(tokenizer: transformers.PreTrainedTokenizerBase, row: int, prompt: str) -> str:
    if tokenizer.mask_token is None:
        raise ValueError("the tokenizer has no mask token, but the model is a masked LM")
    prompt = prompt.replace(MASK_MARK, str(tokenizer.mask_token))
    count = prompt.count(str(tokenizer.mask_token))
    if count != 1:
        raise ValueError(
            f"prompt {row} has {count} times {MASK_MARK}: {prompt!r}; a masked LM reads exactly one"
        )
    return prompt


def _say_frames(rows: Sequence[PromptTokens]) -> None:
    """Says which special tokens a tokenizer would have put there and did not."""
    for doubled in sorted({row.doubled for row in rows if row.doubled}):
        say(
            f"prompts hold {doubled!r} themselves, which the tokenizer puts around every text: it "
            "stands there once"
        )
    for ended in sorted({row.ended for row in rows if row.ended}):
        say(
            f"the tokenizer puts {ended!r} after every text; negjax leaves it out, since a prompt "
            "is read at its own last token"
        )
