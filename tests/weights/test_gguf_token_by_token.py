"""Tokenizers from GGUF metadata against plain Python ones, token by token, on odd texts."""

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from negjax.weights.formats import gguf_tokenizer
from negjax.weights.formats.gguf_header import read_header
from negjax.weights.formats.gguf_tokenizer import tokenizer_from_gguf
from negjax.weights.loading import embedded_file, facts_bert_directory
from tests.support import reference_tokenizers
from tests.support.gguf_vocabularies import (
    ALPHABET,
    BYTE,
    BYTES,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    converted_wordpiece,
    finish,
)
from tests.support.odd_texts import PARTS, odd_texts

Fields = dict[str, Any]

ADDED = ["<|bos|>", "<|eos|>", "<think>", "<thinking>", "và", "two words"]


def corpus() -> list[str]:
    """English, and every odd part, so that there is something to merge in each."""
    facts = (facts_bert_directory() / "facts.csv").read_text(encoding="utf-8")
    return [*facts.splitlines(), *PARTS * 5]


def trained(model: Any, trainer: Any, **steps: Any) -> dict[str, Any]:
    """Vocabulary and merges that the tokenizers package learns."""
    tokenizer = Tokenizer(model)
    for name, step in steps.items():
        setattr(tokenizer, name, step)
    tokenizer.train_from_iterator(corpus(), trainer)
    learnt: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return learnt


def smollm2() -> Fields:
    return read_header(embedded_file())[0]


def byte_level(pre: str) -> Fields:
    alphabet = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=ALPHABET, show_progress=False, min_frequency=2
    )
    learnt = trained(models.BPE(), trainer, pre_tokenizer=alphabet)
    # Two that no merges make, and no text of the corpus has: taken whole or not.
    tokens = [*sorted(learnt["vocab"], key=learnt["vocab"].get), "Ġzzyzx", "zzyzx"]
    return finish(
        {
            "model": "gpt2",
            "pre": pre,
            "tokens": [*tokens, *ADDED],
            "token_type": [NORMAL] * len(tokens) + [CONTROL] * 2 + [USER_DEFINED] * 4,
            "merges": [" ".join(merge) for merge in learnt["merges"]],
            "bos_token_id": len(tokens),
            "eos_token_id": len(tokens) + 1,
        },
        {},
    )


def sentencepiece(**changes: Any) -> Fields:
    """Learnt across words, as with blanks inside pieces, so that many pieces share neighbours."""
    trainer = trainers.BpeTrainer(vocab_size=700, show_progress=False, min_frequency=2)
    spaces = normalizers.Replace(" ", "▁")
    learnt = trained(models.BPE(), trainer, normalizer=spaces)
    pieces = sorted(learnt["vocab"], key=learnt["vocab"].get)
    made = {"".join(merge): -float(rank) for rank, merge in enumerate(learnt["merges"])}
    runs = [run for run in ("▁" * n for n in range(2, 17)) if run not in pieces]
    scores = [made.get(piece, -2e6) for piece in pieces] + [-1e9] * len(runs)
    special = ["<unk>", "<s>", "</s>", "<|user|>", "<think>"]
    kinds = [UNKNOWN, CONTROL, CONTROL, CONTROL, USER_DEFINED]
    fields = {
        "model": "llama",
        "tokens": [*special, *BYTES, *pieces, *runs],
        "token_type": kinds + [BYTE] * 256 + [NORMAL] * (len(pieces) + len(runs)),
        "scores": [0.0] * (len(special) + 256) + scores,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }
    return finish(fields, changes)


def without_some_bytes() -> Fields:
    fields = sentencepiece()
    for byte in (0x00, 0x9F, 0xE0):
        index = fields["tokenizer.ggml.tokens"].index(f"<0x{byte:02X}>")
        fields["tokenizer.ggml.tokens"][index] = f"<no {byte}>"
        fields["tokenizer.ggml.token_type"][index] = CONTROL
    return fields


SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def cased() -> Fields:
    """That of facts-bert."""
    directory = facts_bert_directory()
    words = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return case(converted_wordpiece(sorted(words, key=words.get), SPECIAL), False)


def case(fields: Fields, lower: bool) -> Fields:
    return fields | {
        f"tokenizer.ggml.normalizer.{name}": lower for name in ("lowercase", "strip_accents")
    }


def uncased() -> Fields:
    bert = normalizers.BertNormalizer(strip_accents=True, lowercase=True)
    trainer = trainers.WordPieceTrainer(
        vocab_size=700,
        show_progress=False,
        special_tokens=list(SPECIAL),
    )
    steps = {"normalizer": bert, "pre_tokenizer": pre_tokenizers.BertPreTokenizer()}
    learnt = trained(models.WordPiece(unk_token="[UNK]"), trainer, **steps)
    words = sorted(learnt["vocab"], key=learnt["vocab"].get)
    fields = converted_wordpiece(words, SPECIAL)
    fields["tokenizer.ggml.tokens"].append("▁New York")
    fields["tokenizer.ggml.token_type"].append(USER_DEFINED)
    return case(fields, True)


VOCABULARIES: dict[str, Callable[[], Fields]] = {
    "smollm2": smollm2,
    "facts-bert": cased,
    "uncased": uncased,
    "sentencepiece": sentencepiece,
    "sentencepiece without a prefix": functools.partial(sentencepiece, add_space_prefix=False),
    "sentencepiece without some bytes": without_some_bytes,
    "phi3": lambda: sentencepiece() | {"general.architecture": "phi3"},
    **{pre: functools.partial(byte_level, pre) for pre in reference_tokenizers.CUTS},
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_token_by_token(name: str) -> None:
    fields = VOCABULARIES[name]()
    tokenizer = tokenizer_from_gguf(fields)
    types = fields["tokenizer.ggml.token_type"]
    added = [
        token.removeprefix("▁")
        for token, kind in zip(fields["tokenizer.ggml.tokens"], types, strict=True)
        if kind in (UNKNOWN, CONTROL, USER_DEFINED)
    ]
    texts = [*odd_texts(added[:8], count=150), "zzyzx", "a zzyzx"]
    found = {text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts}
    encode = reference_tokenizers.encoder(fields)
    expected = {text: encode(text) for text in texts}
    wrong = {text: (found[text], expected[text]) for text in texts if found[text] != expected[text]}
    assert wrong == {}
    assert len(set(map(tuple, found.values()))) > 150


@pytest.mark.parametrize("name", [*reference_tokenizers.CUTS, "sentencepiece without a prefix"])
def test_text_comes_back(name: str) -> None:
    tokenizer = tokenizer_from_gguf(VOCABULARIES[name]())
    for text in odd_texts(["<think>"], count=50):
        if name == "qwen2":
            text = normalizers.NFC().normalize_str(text)
        if name.startswith("sentencepiece"):
            text = text.replace("▁", "")
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_every_cut_is_compared() -> None:
    assert gguf_tokenizer._PRE.keys() == reference_tokenizers.CUTS.keys()
