"""`encode`: prompts and targets become token arrays, checked before anything is computed."""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import numpy as np

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.inputs.chats import Options
from negjax.inputs.probes import Probes, TargetMode
from negjax.inputs.prompt_forms import (
    MASK_MARK,
    Asked,
    Prompt,
    Target,
    asked_prompts,
    asked_targets,
    decoded,
)
from negjax.inputs.token_ids import PromptTokens, check_known, plain_tokens
from negjax.model.language_model import LanguageModel, check_model
from negjax.process.notices import say


def encode(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    targets: Sequence[Target | Sequence[Target]],
    *,
    target_mode: TargetMode = "single",
    separator: str | None = None,
    template_options: Options | None = None,
) -> Probes:
    """Tokenises prompts and, in their context, targets.

    A target is tokenised as the text that really follows: `prompt + separator + target` is encoded
    and what comes after the prompt's own tokens is the target; in a masked LM the target takes the
    place of `[MASK]`.

    Args:
        prompts: B of them, each a text, a list of token ids, or a list of chat messages
            (`{"role": "user", "content": "…"}`), which the model's own chat template renders with
            its generation prompt. Token ids and rendered chats are read as they stand: no BOS is
            put in front. For a masked LM each holds exactly one `[MASK]`.
        targets: one target, or K, per prompt; K is the same for all. A target is a text or a list
            of token ids, which are taken as they are.
        target_mode: `single`: a target must be one token. `first`: its first token counts. `all`:
            the joint probability of all its tokens. `alone`: one token, tokenised without context,
            as the original implementation did (for comparison).
        separator: text between prompt and target. Default: of a chat, what its template puts
            before an answer, if that is white space or nothing; otherwise a space, or nothing
            where the prompt ends, or the target begins, with white space.
        template_options: of chats: what the template reads beside the messages, as JSON values by
            name, such as `{"enable_thinking": False}`, `tools` or `documents`.

    Returns:
        Probes whose `prompts` and `targets` are texts: what was given, rendered or decoded.

    Raises:
        ValueError: naming the row: an empty prompt or target, a target of several tokens, no
            `[MASK]` or several, a prompt longer than the context, an unknown token, token ids that
            the model does not embed, a chat that the template does not render, or that the model
            has no template for; options that it does not read.
    """
    lm = check_model(lm)
    checks.one_of(target_mode, "target_mode", get_args(TargetMode))
    asked, many = asked_prompts(lm, prompts, template_options), asked_targets(lm, targets)
    if separator is not None:
        checks.text(separator, "separator")
    if not asked:
        raise ValueError("no prompts: expected at least one")
    if len(asked) != len(many):
        raise ValueError(f"{len(asked)} prompts but {len(many)} targets: expected one each")
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
        for number, (prompt, row) in enumerate(zip(asked, many, strict=True))
    ]
    say_frames([row.prompt for row in rows])
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
        prompts=tuple(prompt.text for prompt in asked),
        targets=tuple(tuple(_as_text(lm, target) for target in row) for row in many),
        tokens=tokens,
        mask=mask,
        read=np.asarray([row.read for row in rows], np.int32),
        target_ids=target_ids,
        target_mask=target_mask,
        target_mode=target_mode,
        spans=tuple(tuple((a, b) for a, b in row.prompt.spans) for row in rows),
        mask_id=None if lm.config.causal else lm.tokenizer.mask_token_id,
        template_options=None if template_options is None else dict(template_options),
    )


class _Row(NamedTuple):
    """One encoded prompt."""

    prompt: PromptTokens
    read: int
    targets: list[list[int]]


def _encode_row(
    lm: LanguageModel,
    number: int,
    prompt: Asked,
    targets: tuple[Target, ...],
    mode: TargetMode,
    separator: str | None,
) -> _Row:
    if prompt.ids is None and not prompt.text.strip():
        raise ValueError(f"prompt {number} is empty: {prompt.text!r}; expected text")
    tokens = prompt_tokens(lm, number, prompt)
    read = len(tokens.ids) - 1 if lm.config.causal else _only_mask(lm, number, prompt, tokens.ids)
    found = []
    for target in targets:
        shown = _as_text(lm, target)
        what = f"target {shown!r} of prompt {number}"
        if not isinstance(target, str):
            ids = list(target)
        elif not target.strip():
            raise ValueError(f"target {target!r} of prompt {number} is empty; expected text")
        elif mode == "alone":
            ids = plain_tokens(lm, what, target)
        else:
            _check_rereads(lm, number, prompt)
            if lm.config.causal:
                ids = _following(lm, number, prompt, tokens.ids, target, separator)
            else:
                ids = _filling(lm, number, prompt, tokens.ids, target)
        if not ids:
            raise ValueError(f"{what} has no token of its own there; expected text that adds one")
        if len(ids) > 1 and mode in ("single", "alone"):
            pieces = [lm.tokenizer.decode([i]) for i in ids]
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
    return _Row(tokens, read, found)


def _as_text(lm: LanguageModel, target: Target) -> str:
    return target if isinstance(target, str) else decoded(lm, list(target))


def prompt_tokens(lm: LanguageModel, number: int, prompt: Asked) -> PromptTokens:
    """Tokens of prompt `number`, all of them known.

    Raises:
        ValueError: naming the prompt: the vocabulary or the model does not know a part of it.
    """
    if prompt.ids is not None:
        read_again = prompt.tokens_of(lm, f"prompts[{number}]", prompt.text)
        known = read_again.ids == prompt.ids
        return PromptTokens(ids=prompt.ids, spans=read_again.spans if known else [])
    what = f"prompt {number} ({prompt.text!r})"
    tokens = prompt.tokens_of(lm, what, prompt.text)
    check_known(lm, what, prompt.text, tokens.ids, tokens.spans)
    return tokens


def _only_mask(lm: LanguageModel, number: int, prompt: Asked, ids: list[int]) -> int:
    """Where a masked LM's prompt has its one mask."""
    mask = lm.tokenizer.mask_token_id
    if mask is None:
        raise ValueError("the tokenizer has no mask token, but the model is a masked LM")
    count = ids.count(mask)
    if count != 1:
        raise ValueError(
            f"prompt {number} has {count} times {MASK_MARK}: {prompt.text!r}; a masked LM reads "
            "exactly one"
        )
    return ids.index(mask)


def _check_rereads(lm: LanguageModel, number: int, prompt: Asked) -> None:
    """Refuses ids whose text is other ids when it is read again: what would follow it there?"""
    if prompt.ids is None:
        return
    again = prompt.tokens_of(lm, f"prompts[{number}]", prompt.text).ids
    if again != prompt.ids:
        raise ArgumentError(
            Argument(f"prompts[{number}]"),
            f" is token ids that its text, {prompt.text!r}, is not tokenised as, so that no text "
            "follows them; pass its targets as token ids, too, or the prompt as text",
        )


def _following(
    lm: LanguageModel,
    row: int,
    prompt: Asked,
    tokens: list[int],
    target: str,
    separator: str | None,
) -> list[int]:
    if separator is None:
        usual = "" if prompt.text[-1].isspace() else " "
        gap = usual if prompt.separator is None else prompt.separator
        separator = "" if target[0].isspace() else gap
    what = f"target {target!r} of prompt {row}"
    text = prompt.text + separator + target
    joined, spans, *_ = prompt.tokens_of(lm, what, text)
    if joined[: len(tokens)] != tokens or len(joined) == len(tokens):
        raise ValueError(
            f"prompt {row} does not keep its last tokens when {separator + target!r} follows: "
            f"{lm.tokenizer.decode(tokens[-1:])!r} merges with it; end the prompt without white "
            "space or inside no word, or choose another separator"
        )
    check_known(lm, what, text, joined, spans)
    return joined[len(tokens) :]


def _filling(
    lm: LanguageModel, row: int, prompt: Asked, tokens: list[int], target: str
) -> list[int]:
    what = f"target {target!r} of prompt {row}"
    before, _, following = prompt.text.partition(str(lm.tokenizer.mask_token))
    text = before + target + following
    filled, spans, *_ = prompt.tokens_of(lm, what, text)
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


def say_frames(rows: Sequence[PromptTokens]) -> None:
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
