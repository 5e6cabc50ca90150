"""A text's own tokens: without a second BOS, nothing of it dropped, no id without an embedding."""

from collections.abc import Iterable
from typing import NamedTuple

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.model.language_model import LanguageModel


class PromptTokens(NamedTuple):
    """What a model reads of a text."""

    ids: list[int]
    spans: list[tuple[int, int]]
    """Characters of the text that each token covers; (0, 0): the tokenizer put it there."""
    doubled: str | None = None
    """Special tokens that the text held already where the tokenizer adds them: they stand once."""
    ended: str | None = None
    """Special tokens that the tokenizer would put after a prompt that is to be continued: they are
    left out."""


def framed_tokens(lm: LanguageModel, what: str, text: str) -> PromptTokens:
    """Tokens of a text, which may be unknown.

    A tokenizer may put special tokens around a text. Those that the text itself begins or ends
    with are not put there a second time, and a causal LM's prompt ends with its own last token,
    which is where the model predicts.

    Raises:
        ValueError: the text holds half of a surrogate pair.
    """
    encoding = _encoding(lm, what, text, special=True)
    ids, spans, added = encoding.ids, encoding.offsets, encoding.special_tokens_mask
    start = next((i for i, put in enumerate(added) if not put), len(ids))
    end = len(ids) - next((i for i, put in enumerate(reversed(added)) if not put), 0)
    end = max(start, end)
    before, own, after = ids[:start], ids[start:end], ids[end:]
    first, last = 0, len(ids)
    doubled: list[int] = []
    if before and own[: len(before)] == before:
        first, doubled = start, before
    ended = after if lm.config.causal else []
    if ended:
        last = end
    elif after and own[-len(after) :] == after:
        last, doubled = end, [*doubled, *after]
    kept = slice(first, last)
    # What was typed in stands for what would have been added: it is a frame, too.
    return PromptTokens(
        ids=ids[kept], spans=spans[kept], doubled=_spelled(lm, doubled), ended=_spelled(lm, ended)
    )


def bare_tokens(lm: LanguageModel, what: str, text: str) -> PromptTokens:
    """Tokens of a text alone, without anything around it; they may be unknown.

    Raises:
        ValueError: as `framed_tokens`.
    """
    encoding = _encoding(lm, what, text, special=False)
    return PromptTokens(ids=encoding.ids, spans=encoding.offsets)


def plain_tokens(lm: LanguageModel, what: str, text: str) -> list[int]:
    """Tokens of a text alone, without anything around it.

    Raises:
        ValueError: the text holds what the vocabulary does not know, or a token that the model has
            no embedding for.
    """
    found = bare_tokens(lm, what, text)
    check_known(lm, what, text, found.ids, found.spans)
    return list(found.ids)


def check_known(
    lm: LanguageModel,
    what: str,
    text: str,
    ids: list[int],
    spans: list[tuple[int, int]],
) -> None:
    """Refuses text that the vocabulary does not know, and tokens that the model does not have.

    Unknown is text: what a token for unknown text covers, unless that token is what the text says,
    and what no token covers although the tokenizer's normalizer keeps it.

    Args:
        ids, spans: tokens, and the characters that each covers.

    Raises:
        ValueError: naming the text or the token.
    """
    tokenizer = lm.tokenizer
    backend = tokenizer.backend_tokenizer
    unknown = getattr(backend.model, "unk_token", None) or tokenizer.unk_token
    unknown_id = None if unknown is None else backend.token_to_id(str(unknown))
    covered = [False] * len(text)
    for index, (begin, end) in zip(ids, spans, strict=True):
        covered[begin:end] = [True] * (end - begin)
        piece = text[begin:end]
        if piece and index == unknown_id and piece.strip() != str(unknown):
            raise ValueError(
                f"{what} holds text that the vocabulary does not know ({unknown}): {piece!r}"
            )
    normalizer = backend.normalizer
    for at, letter in enumerate(text):
        if covered[at] or letter.isspace():
            continue
        # What a normalizer takes away on purpose is no loss.
        if normalizer is None or normalizer.normalize_str(letter).strip("▁ "):
            raise ValueError(
                f"{what} holds text that the vocabulary does not know: {letter!r} at character "
                f"{at} has no token and would be dropped"
            )
    check_ids(lm, what, ids)


def check_ids(lm: LanguageModel, what: str, ids: Iterable[int]) -> None:
    """Refuses token ids that the model has no embedding for: a gather would take another one's.

    Raises:
        ValueError: naming the token.
    """
    size = lm.config.vocab_size
    for index in ids:
        if not 0 <= index < size:
            token = lm.tokenizer.convert_ids_to_tokens(int(index)) if index >= 0 else None
            named = "" if token is None else f" ({token!r})"
            raise ValueError(
                f"{what} holds token id {index}{named}, and the model embeds ids 0 to {size - 1}: "
                "the tokenizer has tokens that the weights were not resized for; use the weights "
                "that belong to it, or leave that token out"
            )


def check_given_ids(lm: LanguageModel, name: str, ids: Iterable[int]) -> None:
    """Refuses ids, given as such, that the model has no embedding for.

    Raises:
        ArgumentError: naming the argument and the id.
    """
    size = lm.config.vocab_size
    for index in ids:
        if not 0 <= index < size:
            raise ArgumentError(
                Argument(name),
                f" holds token id {index}, expected 0 to {size - 1}: those that {lm.name} embeds",
            )


class _Encoding(NamedTuple):
    ids: list[int]
    offsets: list[tuple[int, int]]
    special_tokens_mask: list[int]


def _encoding(lm: LanguageModel, what: str, text: str, *, special: bool) -> _Encoding:
    # Half a surrogate pair, which the tokenizers package would refuse without a name.
    checks.text(text, what)
    found = lm.tokenizer.backend_tokenizer.encode(text, add_special_tokens=special)
    return _Encoding(found.ids, found.offsets, found.special_tokens_mask)


def _spelled(lm: LanguageModel, ids: list[int]) -> str | None:
    return "".join(map(str, lm.tokenizer.convert_ids_to_tokens(ids))) if ids else None
