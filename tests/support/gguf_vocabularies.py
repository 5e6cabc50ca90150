"""Small GGUF vocabularies by hand, and what tokenizers make of texts."""

import functools
from collections.abc import Collection
from typing import Any

from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from negjax.weights.formats.gguf_tokenizer import tokenizer_from_gguf

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def byte_level(pre: str = "gpt-2", **changes: Any) -> dict[str, Any]:
    """256 byte symbols (ids 0 to 255), three added tokens, two merges; a change to None drops."""
    fields = {
        "model": "gpt2",
        "pre": pre,
        "tokens": [*ALPHABET, "<|bos|>", "<|eos|>", "<think>", "ab", "Ġab", "cd"],
        "token_type": [NORMAL] * 256 + [CONTROL, CONTROL, USER_DEFINED] + [NORMAL] * 3,
        "merges": ["a b", "Ġ ab"],
        "bos_token_id": 256,
        "eos_token_id": 257,
    }
    return finish(fields, changes)


def sentencepiece(**changes: Any) -> dict[str, Any]:
    """Ids: 0 to 2 special, 3 to 258 bytes, then the pieces, best score first."""
    pieces = ["bc", "▁a", "ab", "▁abc", "▁", "a", "b", "c"]
    fields = {
        "model": "llama",
        "tokens": ["<unk>", "<s>", "</s>", *BYTES, *pieces],
        "token_type": [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(pieces),
        "scores": [0.0] * 259 + [-float(rank) for rank in range(len(pieces))],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }
    return finish(fields, changes)


def wordpiece(**changes: Any) -> dict[str, Any]:
    """As llama.cpp's converter spells them: words begin with ▁, continuations with nothing."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = ["▁play", "ing", "ed", "▁un", "able", "▁a", "a", "▁!", "▁東", "▁e", "e", "▁[unused0]"]
    fields = {
        "model": "bert",
        "tokens": [*special, *words],
        "token_type": [CONTROL] * len(special) + [NORMAL] * len(words),
        "padding_token_id": 0,
        "unknown_token_id": 1,
        "cls_token_id": 2,
        "seperator_token_id": 3,
        "mask_token_id": 4,
    }
    return finish(fields, changes)


def converted_wordpiece(words: list[str], special: Collection[str]) -> dict[str, Any]:
    """What llama.cpp's converter makes of BERT's vocabulary."""

    def spelled(word: str) -> str:
        return word.removeprefix("##") if word.startswith("##") else f"▁{word}"

    fields: dict[str, Any] = {
        "model": "bert",
        "tokens": [word if word in special else spelled(word) for word in words],
        "token_type": [CONTROL if word in special else NORMAL for word in words],
    }
    for name, word in (("unknown", "[UNK]"), ("padding", "[PAD]"), ("mask", "[MASK]")):
        fields[f"{name}_token_id"] = words.index(word)
    # The names of BERT's first and last token in files of today's converter.
    for name, word in (("bos", "[CLS]"), ("eos", "[SEP]"), ("seperator", "[SEP]")):
        fields[f"{name}_token_id"] = words.index(word)
    return finish(fields, {})


def finish(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in (fields | changes).items() if value is not None}
    return {f"tokenizer.ggml.{name}": value for name, value in fields.items()}


@functools.cache
def built(kind: str | bool | type) -> PreTrainedTokenizerFast:
    """One tokenizer for all examples of a property: byte-level by its cuts, SentencePiece by its
    space prefix, or transformers' own class."""
    if isinstance(kind, type):
        return kind(vocab={"a": 0}, merges=[])
    return tokenizer_from_gguf(
        byte_level(kind) if isinstance(kind, str) else sentencepiece(add_space_prefix=kind)
    )


def pieces(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    """What the text is cut into before merging."""
    cuts = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
    return [text[start:end] for _, (start, end) in cuts]


def tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer.encode(text, add_special_tokens=False))
