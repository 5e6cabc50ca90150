"""What may be asked: a prompt is text, token ids or chat messages, a target text or token ids."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.inputs.chats import (
    Message,
    Options,
    check_messages,
    check_options,
    gap_before_answer,
    rendered,
)
from negjax.inputs.token_ids import PromptTokens, bare_tokens, check_given_ids, framed_tokens
from negjax.model.language_model import LanguageModel

Prompt = str | Sequence[int] | Sequence[Message]
Target = str | Sequence[int]

MASK_MARK = "[MASK]"
"""How prompts for a masked LM write the mask, whatever the tokenizer's own mask token is."""

PROMPT = "text, token ids or chat messages"
TARGET = "text or token ids"


class Asked(NamedTuple):
    """A prompt whose form and values are checked."""

    form: Literal["text", "ids", "chat"]
    text: str
    """As given; of token ids as decoded; of chat messages as the model's template renders them."""
    ids: list[int] | None = None
    """Of a prompt given as ids."""
    separator: str | None = None
    """What the chat template puts between the prompt and an answer; None: it does not say."""

    def tokens_of(self, lm: LanguageModel, what: str, text: str) -> PromptTokens:
        """Tokens of the prompt's text, or of it with more, which may be unknown.

        A plain text gets the frame that the tokenizer puts around texts. What a template rendered,
        and what token ids say, is read as it stands.
        """
        return (framed_tokens if self.form == "text" else bare_tokens)(lm, what, text)


def asked_prompts(
    lm: LanguageModel, prompts: object, template_options: Options | None = None
) -> list[Asked]:
    """Prompts of any form.

    Args:
        template_options: of chats, not checked yet.

    Raises:
        ArgumentError: no list; a member of another kind, without content, with ids that the model
            does not embed, or a chat that the model's template does not render; options that the
            template does not read, or without a chat; by name.
    """
    members = checks.listed(prompts, "prompts", "a list of prompts (one is [prompt])")
    options = check_options(lm, template_options)
    found = [
        asked_prompt(lm, member, f"prompts[{number}]", options)
        for number, member in enumerate(members)
    ]
    if options and not any(prompt.form == "chat" for prompt in found):
        raise ArgumentError(
            Argument("template_options"),
            " are of chats, and no prompt is one; leave them out, or pass chat messages",
        )
    return found


def asked_prompt(lm: LanguageModel, value: object, name: str, options: Options) -> Asked:
    """One prompt of any form.

    Args:
        options: of a chat, as `check_options` returns them.

    Raises:
        ArgumentError: as `asked_prompts`, by this name.
    """
    if isinstance(value, str | bytes | bytearray):
        return Asked("text", _marked(lm, checks.text(value, name)))
    if isinstance(value, Mapping) or checks.is_whole(value):
        raise ArgumentError(
            Argument(name), f" is {checks.shown(value)}, expected {PROMPT}; one prompt is [prompt]"
        )
    members = checks.listed(value, name, PROMPT)
    if any(isinstance(member, Mapping) for member in members):
        messages = check_messages(members, name)
        text = rendered(lm, name, messages, options)
        gap = gap_before_answer(lm, messages, text, options)
        return Asked("chat", _marked(lm, text), separator=gap)
    ids = _checked_ids(lm, value, name, PROMPT)
    return Asked("ids", decoded(lm, ids), ids)


def _marked(lm: LanguageModel, text: str) -> str:
    mask = None if lm.config.causal else lm.tokenizer.mask_token
    return text if mask is None else text.replace(MASK_MARK, str(mask))


def asked_targets(lm: LanguageModel, targets: object) -> list[tuple[Target, ...]]:
    """Each prompt's targets, of which one may stand alone.

    Raises:
        ArgumentError: no list; a member of another kind, or with ids that the model does not
            embed; by name.
    """
    expected = "a list of texts, of token ids, or of lists of these: one of one prompt is [target]"
    rows = checks.listed(targets, "targets", expected)
    return [asked_target(lm, row, f"targets[{number}]") for number, row in enumerate(rows)]


def asked_target(lm: LanguageModel, row: object, name: str) -> tuple[Target, ...]:
    """One prompt's targets, of which one may stand alone.

    Raises:
        ArgumentError: as `asked_targets`, by this name.
    """
    if isinstance(row, str | bytes | bytearray):
        return (checks.text(row, name),)
    members = checks.listed(row, name, TARGET)
    if members and all(map(checks.is_whole, members)):
        return (_checked_ids(lm, row, name, TARGET),)
    return tuple(
        checks.text(member, f"{name}[{k}]")
        if isinstance(member, str | bytes | bytearray)
        else _checked_ids(lm, member, f"{name}[{k}]", TARGET)
        for k, member in enumerate(members)
    )


def _checked_ids(lm: LanguageModel, value: object, name: str, expected: str) -> list[int]:
    """Token ids that the model embeds, one or more.

    Raises:
        ArgumentError: anything else: floats, truth values, nested lists, nothing, ids out of range.
    """
    ids = checks.as_array(value)
    if ids.ndim != 1 or not ids.size or not np.issubdtype(ids.dtype, np.integer):
        raise ArgumentError(Argument(name), f" is {checks.shown(value)}, expected {expected}")
    found: list[int] = ids.tolist()
    check_given_ids(lm, name, found)
    return found


def decoded(lm: LanguageModel, ids: list[int]) -> str:
    """The text of token ids, special tokens included."""
    text: Any = lm.tokenizer.decode(
        ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return str(text)
