"""WordPiece from the metadata of a GGUF file: the tokenizer of BERT and its relatives.

llama.cpp's converter spells words with U+2581 in front and their continuations without `##`;
control tokens stay as they are, and so does, in files of early converters, whatever stands in
brackets. It leaves the template around a text out: that of BERT stands here, as in llama.cpp.
Sources: llama.cpp (conversion/bert.py, src/llama-vocab.cpp); BERT (arXiv 1810.04805) and its
published `tokenizer.json`.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from negjax.process.notices import say
from negjax.weights.formats.gguf_vocabulary import (
    CONTROL,
    NORMAL,
    SPACE,
    Vocabulary,
    error,
    field,
    read_vocabulary,
)

_CONTINUES = "##"
_LONGEST_WORD = 100
"""Characters beyond which BERT takes a word for unknown."""

_ROLES = {
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
    "mask_token": "mask_token_id",
    "cls_token": "cls_token_id",
    "sep_token": "seperator_token_id",  # The specification's spelling.
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
}
# Converters name BERT's first and last token by the roles that they have in other tokenizers.
_ELSE = {"cls_token": "bos_token", "sep_token": "eos_token"}
_SPELLINGS = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
}
_NEEDED = ("unk_token", "cls_token", "sep_token")


def wordpiece(metadata: Mapping[str, Any]) -> tuple[Tokenizer, dict[str, str]]:
    """The tokenizer that a file of the kind "bert" describes, and its special tokens by role.

    Whether it lower-cases and strips accents, the file says or its words show: BERT does both,
    unless the vocabulary has words that could then never be found.

    Raises:
        ValueError: metadata are missing or contradict themselves.
    """
    vocabulary = read_vocabulary(metadata, _ROLES, _spelled)
    roles = _roles(vocabulary)
    unknown, first, last = (roles[role] for role in _NEEDED)
    tokenizer = Tokenizer(
        WordPiece(
            vocabulary.ids,
            unk_token=unknown,
            continuing_subword_prefix=_CONTINUES,
            max_input_chars_per_word=_LONGEST_WORD,
        )
    )
    lower, strip = _case(metadata, vocabulary)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=strip, lowercase=lower
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=_CONTINUES, cleanup=True)
    tokenizer.add_special_tokens(vocabulary.special)
    tokenizer.add_tokens(vocabulary.user_defined)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(token, vocabulary.ids[token]) for token in dict.fromkeys((first, last))],
    )
    return tokenizer, roles


def _spelled(token: str, kind: int) -> str:
    """A token as BERT spells it. U+2581 alone is a continuation: a word has some character."""
    if kind == CONTROL or (token.startswith("[") and token.endswith("]") and len(token) > 2):
        return token
    if token.startswith(SPACE) and token != SPACE:
        return token.removeprefix(SPACE)
    return f"{_CONTINUES}{token}"


def _roles(vocabulary: Vocabulary) -> dict[str, str]:
    special = {token.content for token in vocabulary.special}
    roles = {}
    for role, spelling in _SPELLINGS.items():
        named = vocabulary.roles.get(role) or vocabulary.roles.get(_ELSE.get(role, ""))
        if named is not None:
            roles[role] = named
        elif spelling in special:
            roles[role] = spelling
        elif role in _NEEDED:
            expected = f"an id, or a control token {spelling!r} among the tokens"
            raise error(_ROLES[role], "is missing", expected)
    return roles


def _case(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> tuple[bool, bool]:
    """Whether text is lower-cased, and whether its accents are stripped."""
    lower = field(metadata, "normalizer.lowercase", bool, None)
    strip = field(metadata, "normalizer.strip_accents", bool, None)
    if lower is None:
        capital = next((word for word in _words(vocabulary) if any(map(_is_capital, word))), None)
        lower = capital is None
        _say_if("lowercase", capital, "keeps its case")
    if strip is None:
        accented = next((word for word in _words(vocabulary) if any(map(_has_accent, word))), None)
        strip = lower and accented is None
        _say_if("strip_accents", accented if lower else None, "keeps its accents")
    return lower, strip


def _words(vocabulary: Vocabulary) -> Iterator[str]:
    """What text is cut into; not what stands in brackets, such as [unused7]."""
    for token, kind in zip(vocabulary.ids, vocabulary.types, strict=True):
        if kind == NORMAL and not token.startswith("["):
            yield token


def _is_capital(character: str) -> bool:
    return "A" <= character <= "Z"


def _has_accent(character: str) -> bool:
    """Whether it is a Latin letter with a mark; others decompose without being accented."""
    parts = unicodedata.normalize("NFD", character)
    return len(parts) > 1 and parts[0].isascii() and unicodedata.category(parts[1]) == "Mn"


def _say_if(name: str, word: str | None, what: str) -> None:
    if word is not None:
        say(
            f"tokenizer.ggml.normalizer.{name} is missing, and the vocabulary has {word!r}: text "
            f"{what}"
        )
