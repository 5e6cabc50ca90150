"""A tokenizer from the metadata of a GGUF file, without PyTorch and without a network.

A GGUF file holds no `tokenizer.json`. It names a kind of tokenizer (`tokenizer.ggml.model`) and a
way to cut text before merging (`tokenizer.ggml.pre`), and lists tokens, their types, and merges or
scores. Names and defaults are those of the GGUF specification and of llama.cpp's
`src/llama-vocab.cpp`; the patterns are those of the `tokenizer.json` each model family publishes.
What is not implemented is an error: a tokenizer that is almost right changes every number computed
after it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from negjax.process import quiet
from negjax.weights.formats.gguf_vocabulary import (
    NORMAL,
    ROLES,
    SPACE,
    Vocabulary,
    error,
    field,
    read_merges,
    read_vocabulary,
)
from negjax.weights.formats.gguf_wordpiece import wordpiece
from negjax.weights.formats.tokenizer_files import wrapped


@dataclass(frozen=True, kw_only=True)
class _Pre:
    """How a byte-level tokenizer cuts text into words before it merges within them."""

    pattern: str | None = None  # None: GPT-2's own, built into `ByteLevel`
    single_digits: bool = False  # every digit a word, before the pattern is applied
    nfc: bool = False  # text is brought to Unicode's composed form first
    whole_words: bool = False  # a word that is a token is taken whole, whatever the merges say
    add_bos: bool = False  # where the file does not say


# Llama 3 and Qwen differ in how many digits make a word.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Mistral's Tekken and GPT-4o start a word where lower case turns to upper case. They differ in
# contractions, of which Tekken has none, and in digits.
_CASES = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ENDS"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*ENDS"
    r"|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEKKEN = _CASES.replace("ENDS", "").replace("DIGITS", r"\p{N}")
_GPT4O = _CASES.replace("ENDS", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?").replace("DIGITS", r"\p{N}{1,3}")
_GPT4 = _Pre(pattern=_WORDS.replace("DIGITS", r"\p{N}{1,3}"))
_LLAMA3 = replace(_GPT4, whole_words=True, add_bos=True)

_PRE = {
    "gpt-2": _Pre(),
    "llama-bpe": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama3": _LLAMA3,
    "qwen2": _Pre(pattern=_WORDS.replace("DIGITS", r"\p{N}"), nfc=True),
    "smollm": _Pre(single_digits=True),
    "tekken": _Pre(pattern=_TEKKEN, whole_words=True, add_bos=True),
    "olmo": _Pre(),
    "dbrx": _GPT4,
    "smaug-bpe": _GPT4,
    "gpt-4o": _Pre(pattern=_GPT4O),
    "refact": _Pre(single_digits=True),
}


def tokenizer_from_gguf(
    metadata: Mapping[str, Any],
) -> "quiet.transformers.PreTrainedTokenizerFast":
    """Builds the tokenizer that a GGUF file describes.

    Implemented are byte-level BPE (`tokenizer.ggml.model` "gpt2"), SentencePiece BPE with byte
    fallback ("llama") and WordPiece ("bert"). Token ids are the file's. Control and unknown tokens,
    and those that the file names as BOS, EOS, unknown or padding, are special: parsed as one id,
    left out by `skip_special_tokens`. User-defined tokens are parsed as one id too, and always
    decoded.

    Decoding gives the text back, except where the published tokenizers do not either: a character
    without tokens for its bytes is dropped (SmolLM2 lacks some control characters), Qwen's composes
    characters (NFC), and SentencePiece's reads U+2581 as a space and, where it puts a space in
    front of the text, also puts one behind every added token. WordPiece does not promise it.

    Args:
        metadata: field name to Python value, as from
            `{k: f.contents() for k, f in gguf.GGUFReader(path).fields.items()}`.

    Returns:
        A tokenizer with the file's chat template. It adds BOS and EOS as the file says; where it
        does not say, as llama.cpp does: BOS for "llama", and for "gpt2" with the cuts of Llama 3
        or Tekken; never EOS. WordPiece's puts a text between [CLS] and [SEP].

    Raises:
        ValueError: for a tokenizer or value that is not implemented, and for metadata that is
            missing or contradicts itself.

    Source: the GGUF specification (ggml-org/ggml, docs/gguf.md); llama.cpp, src/llama-vocab.cpp.
    """
    model = field(metadata, "model", str)
    if model not in ("gpt2", "llama", "bert"):
        raise error(
            "model",
            f"is {model!r}, which is not implemented",
            "'gpt2' (byte-level BPE), 'llama' (SentencePiece BPE) or 'bert' (WordPiece)",
        )
    chat_template = metadata.get("tokenizer.chat_template")
    if model == "bert":
        return wrapped(*wordpiece(metadata), chat_template)
    vocabulary = read_vocabulary(metadata, swallows=_swallows(metadata, model))
    if model == "gpt2":
        pre = _read_pre(metadata)
        tokenizer, default_bos = _byte_level(metadata, vocabulary, pre), pre.add_bos
    else:
        tokenizer, default_bos = _sentencepiece(metadata, vocabulary), True
    tokenizer.add_special_tokens(vocabulary.special)
    tokenizer.add_tokens(vocabulary.user_defined)

    adds = {
        "add_bos_token": field(metadata, "add_bos_token", bool, default_bos),
        "add_eos_token": field(metadata, "add_eos_token", bool, False),
    }
    for flag, role in (("add_bos_token", "bos_token"), ("add_eos_token", "eos_token")):
        if adds[flag] and role not in vocabulary.roles:
            raise error(
                ROLES[role], "is missing", f"an id, since {flag} is true in the file or by default"
            )
    # From these flags the wrapper makes the template post-processor, and makes it anew when
    # somebody changes them.
    return quiet.transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        chat_template=chat_template,
        **adds,
        **vocabulary.roles,
    )


def _swallows(metadata: Mapping[str, Any], model: str) -> Callable[[str], bool]:
    # A file does not say which added tokens take the blanks after them. Of Phi-3's first
    # tokenizer, Llama's with tokens added, all do but these.
    if model != "llama" or metadata.get("general.architecture") != "phi3":
        return lambda token: False
    return lambda token: token not in ("<unk>", "<s>", "<|endoftext|>")


def _read_pre(metadata: Mapping[str, Any]) -> _Pre:
    name = field(metadata, "pre", str, None)
    if name not in _PRE:
        found = "is missing" if name is None else f"is {name!r}, which is not implemented"
        raise error("pre", found, f"one of {', '.join(map(repr, _PRE))}")
    return _PRE[name]


def _byte_level(metadata: Mapping[str, Any], vocabulary: Vocabulary, pre: _Pre) -> Tokenizer:
    if field(metadata, "add_space_prefix", bool, False):
        raise error("add_space_prefix", "is true", "false where tokenizer.ggml.model is 'gpt2'")
    merges = read_merges(metadata, vocabulary.ids)
    tokenizer = Tokenizer(BPE(vocabulary.ids, merges, ignore_merges=pre.whole_words))
    if pre.nfc:
        tokenizer.normalizer = normalizers.NFC()
    steps: list[Any] = []
    if pre.single_digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if pre.pattern is not None:
        steps.append(pre_tokenizers.Split(Regex(pre.pattern), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre.pattern is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)

    # The decoder reads every character as the byte it stands for, in added tokens too, though
    # those are plain text: "é" would come out as the byte E9, not as its two bytes in UTF-8. So
    # such tokens are first spelled in bytes. Tokens are distinct: a whole one matches no other.
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    respell = [
        decoders.Replace(
            Regex(rf"\A{re.escape(added.content)}\z"), spell.pre_tokenize_str(added.content)[0][0]
        )
        for added in (*vocabulary.special, *vocabulary.user_defined)
        if set(added.content) <= alphabet and not added.content.isascii()
    ]
    tokenizer.decoder = decoders.Sequence([*respell, decoders.ByteLevel()])
    return tokenizer


def _sentencepiece(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> Tokenizer:
    if field(metadata, "remove_extra_whitespaces", bool, False):
        raise error(
            "remove_extra_whitespaces", "is true", "false where tokenizer.ggml.model is 'llama'"
        )
    unknown = vocabulary.roles.get("unk_token")
    missing = {f"<0x{byte:02X}>" for byte in range(256)} - vocabulary.ids.keys()
    if missing and unknown is None:
        raise error(
            "tokens",
            f"lacks {len(missing)} byte tokens, {min(missing)!r} first",
            "all 256 of them, or tokenizer.ggml.unknown_token_id for what has no tokens",
        )
    if "tokenizer.ggml.merges" in metadata:
        merges = read_merges(metadata, vocabulary.ids)
    else:
        merges = _merges_from_scores(field(metadata, "scores", list), vocabulary)
    tokenizer = Tokenizer(
        BPE(vocabulary.ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    spaces = normalizers.Replace(" ", SPACE)
    unspaces = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if field(metadata, "add_space_prefix", bool, True):
        # Not `Metaspace`, which puts no space in front of one: " a" and "a" would be the same.
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces])
        tokenizer.decoder = decoders.Sequence([*unspaces, decoders.Strip(" ", 1, 0)])
    else:
        tokenizer.normalizer = spaces
        tokenizer.decoder = decoders.Sequence(unspaces)
    return tokenizer


def _merges_from_scores(scores: list[float], vocabulary: Vocabulary) -> list[tuple[str, str]]:
    # SentencePiece joins the neighbours whose joint token scores best. As a list of merges: every
    # way to cut a token into two others, best token first; among equals, as transformers'
    # conversion has it, longer left part first, then longer right part, then the file's order.
    if len(scores) != len(vocabulary.ids):
        raise error("scores", f"has {len(scores)} entries", f"{len(vocabulary.ids)}, one a token")
    ids = {t: i for t, i in vocabulary.ids.items() if vocabulary.types[i] == NORMAL}
    found = [
        (scores[index], token[:cut], token[cut:])
        for token, index in ids.items()
        for cut in range(1, len(token))
        if token[:cut] in ids and token[cut:] in ids
    ]
    formed = {left + right: score for score, left, right in found}
    if len(formed) > 1 and len(set(formed.values())) == 1:
        raise error(
            "scores",
            f"gives all {len(formed)} tokens made by merging the same score, {found[0][0]}",
            "scores that order them, or tokenizer.ggml.merges",
        )
    _check_ties(found)
    found.sort(key=lambda merge: (merge[0], len(merge[1]), len(merge[2])), reverse=True)
    return [(left, right) for _, left, right in found]


def _check_ties(found: list[tuple[float, str, str]]) -> None:
    # Of equals, SentencePiece joins the leftmost, a list of merges the one that it lists first.
    # That is the same unless two of them want the same neighbour; and in runs of one character,
    # such as Llama's blanks, which grow from the left either way.
    starts: dict[tuple[float, str], list[str]] = {}
    for score, left, right in found:
        starts.setdefault((score, left), []).append(left + right)
    for score, left, right in found:
        token = left + right
        for other in starts.get((score, right), ()):
            if other != token and len(set(token + other)) > 1:
                raise error(
                    "scores",
                    f"gives {token!r} and {other!r}, which may share {right!r}, the same score, "
                    f"{score}",
                    "scores that order them, or tokenizer.ggml.merges",
                )
