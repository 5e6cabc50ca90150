"""Tokenizers in plain Python, straight from the definitions: slow, and of nobody else's making.

Every one takes the metadata of a GGUF file, after `tokenizer.ggml.`, and a text, and gives the ids
without those that stand around a text. Definitions: byte-level BPE of GPT-2 (Radford et al., 2019),
SentencePiece (arXiv 1808.06226), WordPiece of BERT (arXiv 1810.04805), and llama.cpp's
`src/llama-vocab.cpp`.
"""

import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import regex

from tests.support.gguf_vocabularies import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED

Fields = dict[str, Any]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
WORD = rf"[^\r\n\p{{L}}\p{{N}}]?(?:{UPPER}*{LOWER}+|{UPPER}+{LOWER}*)"
TEKKEN = WORD + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CUTS: dict[str, tuple[str, ...]] = {
    "gpt-2": (GPT2,),
    "olmo": (GPT2,),
    "smollm": (r"\p{N}|[^\p{N}]+", GPT2),
    "refact": (r"\p{N}|[^\p{N}]+", GPT2),
    "llama-bpe": (GPT4,),
    "llama3": (GPT4,),
    "llama-v3": (GPT4,),
    "dbrx": (GPT4,),
    "smaug-bpe": (GPT4,),
    "qwen2": (GPT4.replace("{1,3}", ""),),
    "tekken": (TEKKEN,),
    "gpt-4o": (TEKKEN.replace("|\\p{N}|", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}|", 1),),
}
"""Patterns one after the other, each cutting what the one before it left."""
TAKES_WHOLE_WORDS = ("llama-bpe", "llama3", "llama-v3", "tekken")


Encode = Callable[[str], list[int]]


def encoder(fields: Fields) -> Encode:
    """Ids of a text, none added around it."""
    own = {name.rpartition("tokenizer.ggml.")[2]: value for name, value in fields.items()}
    kinds: dict[str, Callable[[Fields], Encode]] = {
        "gpt2": byte_level,
        "llama": sentencepiece,
        "bert": wordpiece,
    }
    encode = kinds[own["model"]](own)

    def encode_all(text: str) -> list[int]:
        parts = parted(own, text)
        return [i for part in parts for i in ([part] if isinstance(part, int) else encode(part))]

    return encode_all


def parted(own: Fields, text: str) -> Iterator[str | int]:
    """Added tokens as their ids and what stands between them; the longest where several begin."""
    types = zip(own["tokens"], own["token_type"], strict=True)
    added = {
        token.removeprefix("▁") if own["model"] == "bert" and kind == USER_DEFINED else token: index
        for index, (token, kind) in enumerate(types)
        if kind in (UNKNOWN, CONTROL, USER_DEFINED)
    }
    at = 0
    while at < len(text):
        lengths = range(max(map(len, added), default=0), 0, -1)
        found = next((text[at : at + n] for n in lengths if text[at : at + n] in added), None)
        if found is None:
            end = at + 1
            while end < len(text) and not any(text.startswith(token, end) for token in added):
                end += 1
            yield text[at:end]
            at = end
        else:
            yield added[found]
            at += len(found)
            # Of Phi-3, most take the blanks behind them.
            stays = found in ("<unk>", "<s>", "<|endoftext|>")
            if own.get("general.architecture") == "phi3" and not stays:
                at = len(text) - len(text[at:].lstrip())


def byte_symbols() -> dict[int, str]:
    """The character that GPT-2 writes for every byte: itself if it prints, else one from U+0100."""
    prints = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in prints]
    return {byte: chr(byte) for byte in prints} | {b: chr(256 + n) for n, b in enumerate(others)}


def byte_level(own: Fields) -> Encode:
    """Cut into words, spell them in bytes, merge the best pair until there is none."""
    ids = {token: index for index, token in enumerate(own["tokens"])}
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(own["merges"])}
    symbols, pre = byte_symbols(), own["pre"]

    def encode_word(word: str) -> list[int]:
        spelled = [symbols[byte] for byte in word.encode()]
        if pre in TAKES_WHOLE_WORDS and "".join(spelled) in ids:
            return [ids["".join(spelled)]]
        # A byte without a token is dropped before anything is merged.
        known = [symbol for symbol in spelled if symbol in ids]
        return [ids[part] for part in merged(known, lambda *pair: ranks.get(pair))]

    def encode(text: str) -> list[int]:
        words = [unicodedata.normalize("NFC", text) if pre == "qwen2" else text]
        for pattern in CUTS[pre]:
            words = [found for word in words for found in regex.findall(pattern, word)]
        return [index for word in words for index in encode_word(word)]

    return encode


def merged(parts: list[str], rank: Callable[[str, str], float | None]) -> list[str]:
    """Joins the pair of the lowest rank, the leftmost of equals, until no pair has a rank."""
    while True:
        ranks = [rank(*pair) for pair in itertools.pairwise(parts)]
        best = min((r for r in ranks if r is not None), default=None)
        if best is None:
            return parts
        at = ranks.index(best)
        parts = [*parts[:at], parts[at] + parts[at + 1], *parts[at + 2 :]]


def sentencepiece(own: Fields) -> Encode:
    """Join the neighbours whose joint piece scores best; a character without a piece is bytes."""
    kinds = dict(zip(own["tokens"], own["token_type"], strict=True))
    ids = {token: index for index, token in enumerate(own["tokens"])}
    pieces = {token: index for token, index in ids.items() if kinds[token] == NORMAL}
    byte_ids = {token: index for token, index in ids.items() if kinds[token] == BYTE}

    def rank(left: str, right: str) -> float | None:
        index = pieces.get(left + right)
        return None if index is None else -own["scores"][index]

    def encode(text: str) -> list[int]:
        text = (" " if own.get("add_space_prefix", True) else "") + text
        result: list[int] = []
        for part in merged(list(text.replace(" ", "▁")), rank):
            names = [f"<0x{byte:02X}>" for byte in part.encode()]
            if part in pieces:
                result.append(pieces[part])
            elif byte_ids.keys() >= set(names):
                result += [byte_ids[name] for name in names]
            elif result[-1:] != [own["unknown_token_id"]]:
                result.append(own["unknown_token_id"])
        return result

    return encode


def wordpiece(own: Fields, most: int = 100) -> Encode:
    """Words of BERT's basic tokenizer, each the longest piece that it begins with, and so on."""
    first, later = {}, {}
    for index, token in enumerate(own["tokens"]):
        if token.startswith("▁") and token != "▁":
            first[token[1:]] = index
        else:
            later[token] = index

    def encode_word(word: str) -> list[int]:
        found: list[int] = []
        while word:
            pieces = later if found else first
            end = next((end for end in range(len(word), 0, -1) if word[:end] in pieces), None)
            if end is None:
                return [own["unknown_token_id"]]
            found.append(pieces[word[:end]])
            word = word[end:]
        return found

    def encode(text: str) -> list[int]:
        words = basic_words(text, own["normalizer.lowercase"], own["normalizer.strip_accents"])
        unknown = [own["unknown_token_id"]]
        return [i for w in words for i in (unknown if len(w) > most else encode_word(w))]

    return encode


def basic_words(text: str, lower: bool, strip: bool) -> Iterable[str]:
    """BERT's words: control characters away, Chinese characters and punctuation alone."""
    spaced = ""
    for char in text:
        kind = unicodedata.category(char)
        if char in " \t\n\r" or kind == "Zs":
            spaced += " "
        elif char not in "\0�" and not kind.startswith("C"):
            spaced += f" {char} " if is_chinese(ord(char)) else char
    if strip:
        letters = unicodedata.normalize("NFD", spaced)
        spaced = "".join(char for char in letters if unicodedata.category(char) != "Mn")
    if lower:
        spaced = "".join(char.lower() for char in spaced)
    for char in sorted(set(spaced)):
        ascii_mark = char.isascii() and char.isprintable() and not char.isalnum() and char != " "
        if ascii_mark or unicodedata.category(char).startswith("P"):
            spaced = spaced.replace(char, f" {char} ")
    return spaced.split()


def is_chinese(code: int) -> bool:
    """In the blocks of Chinese characters that BERT lists."""
    blocks = (
        *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
        *((0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
    )
    return any(first <= code <= last for first, last in blocks)
