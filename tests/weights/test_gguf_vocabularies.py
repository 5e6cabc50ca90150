"""Tokenizers built from GGUF metadata: small vocabularies by hand, and what is refused."""

import json

import hypothesis
import pytest
from hypothesis import strategies as st
from transformers import GPT2Tokenizer, Qwen2Tokenizer
from transformers.convert_slow_tokenizer import generate_merges

from negjax.weights.formats.gguf_tokenizer import tokenizer_from_gguf
from tests.support.gguf_vocabularies import (
    ALPHABET,
    BYTE,
    BYTES,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    built,
    byte_level,
    finish,
    pieces,
    sentencepiece,
    tokens,
)


def test_without_chat_template():
    assert tokenizer_from_gguf(byte_level()).chat_template is None


# ---- Byte-level vocabularies.


@pytest.mark.parametrize(
    ("pre", "text", "expected"),
    [
        ("gpt-2", "I'M it's 12345  x\n\n", "I|'|M| it|'s| 12345| | x|\n\n"),
        ("gpt-2", "a...b \n c", "a|...|b| \n| c"),
        ("smollm", "Q 2010 x2 it's", "Q| |2|0|1|0| x|2| it|'s"),
        ("smollm", "1²½", "1|²|½"),
        ("refact", "Q 2010 x2 it's", "Q| |2|0|1|0| x|2| it|'s"),
        ("olmo", "I'M it's 12345  x\n\n", "I|'|M| it|'s| 12345| | x|\n\n"),
        ("dbrx", "I'M 12345 it's\n\nok  x", "I|'M| |123|45| it|'s|\n\n|ok| | x"),
        ("smaug-bpe", "1234567", "123|456|7"),
        ("gpt-4o", "HelloWorld don't 1234 a/b/\n", "Hello|World| don't| |123|4| a|/b|/\n"),
        ("gpt-4o", "ABc'S dEF'll", "ABc'S| d|EF'll"),
        ("llama-bpe", "I'M 12345 it's\n\nok  x", "I|'M| |123|45| it|'s|\n\n|ok| | x"),
        ("llama-bpe", "'Twas (yes)!\n 1", "'T|was| (|yes|)!\n| |1"),
        ("llama3", "1234567", "123|456|7"),
        ("llama-v3", "1234567", "123|456|7"),
        ("qwen2", "I'M 2010's\n\nok  x", "I|'M| |2|0|1|0|'s|\n\n|ok| | x"),
        ("tekken", "HelloWorld don't 12 a/b/\n", "Hello|World| don|'t| |1|2| a|/b|/\n"),
        ("tekken", "ABc dEF", "ABc| d|EF"),
        ("tekken", "!\n/", "!\n/"),
        ("llama-bpe", "!\n/", "!\n|/"),
    ],
)
def test_cuts(pre, text, expected):
    assert pieces(tokenizer_from_gguf(byte_level(pre)), text) == expected.split("|")


@pytest.mark.parametrize(
    ("pre", "reference"), [("gpt-2", GPT2Tokenizer), ("qwen2", Qwen2Tokenizer)]
)
@hypothesis.given(text=st.text(st.sampled_from("aB'sST12½. \t\r\n!é東")))
def test_cuts_are_those_of_transformers(pre, reference, text):
    assert pieces(built(pre), text) == pieces(built(reference), text)


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken"])
def test_merges(pre):
    tokenizer = tokenizer_from_gguf(byte_level(pre, add_bos_token=False))
    assert tokenizer("ab ab b")["input_ids"] == [259, 260, *map(ALPHABET.index, "Ġb")]


@pytest.mark.parametrize(
    ("pre", "whole"),
    [("gpt-2", False), ("dbrx", False), ("gpt-4o", False), ("llama-bpe", True), ("tekken", True)],
)
def test_token_without_merges(pre, whole):
    tokenizer = tokenizer_from_gguf(byte_level(pre))
    assert tokens(tokenizer, "cd") == (["cd"] if whole else ["c", "d"])


def test_qwen_composes_characters():
    qwen, gpt2 = tokenizer_from_gguf(byte_level("qwen2")), tokenizer_from_gguf(byte_level())
    assert qwen("e\u0301")["input_ids"] == qwen("é")["input_ids"]
    assert gpt2("e\u0301")["input_ids"] != gpt2("é")["input_ids"]


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "llama-bpe", "tekken", "gpt-4o"])
@hypothesis.given(text=st.text(st.characters(codec="utf-8")))
def test_byte_level_round_trip(pre, text):
    tokenizer = built(pre)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_added_tokens():
    tokenizer = tokenizer_from_gguf(byte_level())
    text = "a<|eos|> <think>b"
    ids = tokenizer(text)["input_ids"]
    assert ids == [*map(ALPHABET.index, "a"), 257, ALPHABET.index("Ġ"), 258, ALPHABET.index("b")]
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a <think>b"


def test_added_tokens_may_hold_any_text():
    words = ["và", "người", "a b\n", "(é)"]
    fields = byte_level()
    fields["tokenizer.ggml.tokens"] += words
    fields["tokenizer.ggml.token_type"] += [USER_DEFINED] * len(words)
    tokenizer = tokenizer_from_gguf(fields)
    text = "à và người,a b\n(é) é"
    ids = tokenizer(text)["input_ids"]
    assert [index for index in ids if index >= 262] == [262, 263, 264, 265]
    assert tokenizer.decode(ids) == text


def test_user_defined_token_named_as_eos_is_special():
    tokenizer = tokenizer_from_gguf(byte_level(eos_token_id=258))
    assert tokenizer.decode(tokenizer("a<think>")["input_ids"], skip_special_tokens=True) == "a"


def test_unused_token_is_no_added_token():
    fields = byte_level()
    fields["tokenizer.ggml.tokens"].append("[PAD0]")
    fields["tokenizer.ggml.token_type"].append(UNUSED)
    tokenizer = tokenizer_from_gguf(fields)
    assert len(tokenizer) == 263
    assert tokens(tokenizer, "[PAD0]") == list("[PAD0]")


@pytest.mark.parametrize(
    ("fields", "single", "pair"),
    [
        (byte_level("gpt-2"), "a", "ab"),
        (byte_level("smollm"), "a", "ab"),
        (byte_level("qwen2"), "a", "ab"),
        (byte_level("llama-bpe"), "<a", "<a<b"),
        (byte_level("tekken"), "<a", "<a<b"),
        (byte_level("llama-bpe", add_bos_token=False), "a", "ab"),
        (byte_level("gpt-2", add_bos_token=True), "<a", "<a<b"),
        (byte_level("gpt-2", add_eos_token=True), "a>", "a>b>"),
        (byte_level("llama3", add_eos_token=True), "<a>", "<a><b>"),
        (sentencepiece(add_space_prefix=False), "<a", "<a<b"),
        (sentencepiece(add_space_prefix=False, add_eos_token=True), "<a>", "<a><b>"),
        (sentencepiece(add_space_prefix=False, add_bos_token=False), "a", "ab"),
    ],
)
def test_bos_and_eos(fields, single, pair):
    tokenizer = tokenizer_from_gguf(fields)
    names = {tokenizer.bos_token_id: "<", tokenizer.eos_token_id: ">"}

    def show(*texts: str) -> str:
        ids = tokenizer(*texts)["input_ids"]
        return "".join(names.get(index, tokenizer.decode([index])) for index in ids)

    assert show("a") == single
    assert show("a", "b") == pair
    assert tokenizer.add_bos_token == single.startswith("<")
    assert tokenizer.add_eos_token == single.endswith(">")
    without = tokenizer("a", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(without) == "a"


# ---- SentencePiece vocabularies.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc", "▁abc"),  # bc, then ▁a, then both
        ("ab", "▁a b"),  # ▁a scores better than ab
        ("xab", "▁ <0x78> ab"),
        (" abc", "▁ ▁abc"),  # the text's own space stays
        ("a bc", "▁a ▁ bc"),
        ("é\n", "▁ <0xC3> <0xA9> <0x0A>"),
        ("<0x0A>", "▁ " + " ".join(f"<0x{ord(c):02X}>" for c in "<0x0A>")),
        ("a</s>a", "▁a </s> ▁a"),  # a space behind every added token
    ],
)
def test_sentencepiece(text, expected):
    assert tokens(tokenizer_from_gguf(sentencepiece()), text) == expected.split()


def test_sentencepiece_without_space_prefix():
    tokenizer = tokenizer_from_gguf(sentencepiece(add_space_prefix=False))
    assert tokens(tokenizer, "abc abc") == ["a", "bc", "▁abc"]
    ids = tokenizer("abc</s> a")["input_ids"]
    assert tokenizer.decode(ids) == "<s>abc</s> a"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "abc a"


@pytest.mark.parametrize("prefix", [True, False])
@hypothesis.given(text=st.text(st.characters(codec="utf-8", exclude_characters="▁")))
@hypothesis.example("  a\tbc \n 10 🙂")
def test_sentencepiece_round_trip(prefix, text):
    tokenizer = built(prefix)
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_sentencepiece_unknown():
    fields = sentencepiece()
    fields["tokenizer.ggml.tokens"][3 + 0xA9] = "other"  # of two bytes of "é", one is left
    tokenizer = tokenizer_from_gguf(fields)
    assert tokens(tokenizer, "aéé") == ["▁a", "<unk>"]


def test_sentencepiece_unused_piece_is_not_formed():
    fields = sentencepiece()
    fields["tokenizer.ggml.token_type"][262] = UNUSED
    assert tokens(tokenizer_from_gguf(fields), "abc") == ["▁a", "bc"]


def test_token_of_type_unknown_is_special_unnamed():
    tokenizer = tokenizer_from_gguf(sentencepiece(unknown_token_id=None))
    assert tokenizer.unk_token is None
    ids = tokenizer("<unk>a")["input_ids"]
    assert ids == [1, 0, 260]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a"


def test_merges_of_the_file_go_before_scores():
    merges = ["a b", "▁ ab"]  # the latter makes no token
    fields = sentencepiece(merges=merges[:1], scores=None)
    assert tokens(tokenizer_from_gguf(fields), "abc") == ["▁", "ab", "c"]
    with pytest.raises(ValueError, match=r"'▁ab' to be in tokenizer\.ggml\.tokens"):
        tokenizer_from_gguf(sentencepiece(merges=merges))


@hypothesis.given(
    st.lists(st.text("ab▁", min_size=1, max_size=4), min_size=8, max_size=40, unique=True),
    st.randoms(use_true_random=False),
)
def test_merges_from_scores_are_those_of_transformers(unordered, random):
    best_first = random.sample(unordered, len(unordered))
    scored = {piece: -float(best_first.index(piece)) for piece in unordered}
    # Llama's runs of blanks have one score.
    scored |= {"▁" * length: -1e9 for length in (2, 3, 4)}
    ids = {piece: index for index, piece in enumerate(scored)}
    expected = generate_merges(ids, dict(scored))
    formed = {scored[left + right] for left, right in expected}
    hypothesis.assume(len(formed) > 1)
    special = ["<unk>", "<s>", "</s>", *BYTES]
    fields = sentencepiece(
        tokens=[*special, *scored],
        token_type=[UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(scored),
        scores=[0.0] * 259 + list(scored.values()),
    )
    model = json.loads(tokenizer_from_gguf(fields).backend_tokenizer.to_str())["model"]
    assert [tuple(merge) for merge in model["merges"]] == expected


# ---- What is refused.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            byte_level(model=None),
            r"tokenizer\.ggml\.model is missing; expected a value of type str",
        ),
        (
            byte_level(model="gemma4"),
            r"model is 'gemma4', which is not .*; expected 'gpt2' .*'bert'",
        ),
        (byte_level(model="t5"), r"model is 't5', which is not implemented"),
        (byte_level(model="rwkv"), r"model is 'rwkv', which is not implemented"),
        (byte_level(model=3), r"model is 3; expected a value of type str"),
        (byte_level("falcon"), r"\.pre is 'falcon', which is not implemented; .*'gpt-2', 'llama-b"),
        (byte_level("default"), r"\.pre is 'default', which is not implemented; .*Hugging Face"),
        (finish({}, {"model": "gpt2"}), r"\.tokens is missing; expected a value of type list"),
        (byte_level(pre="gpt-2") | {"tokenizer.ggml.pre": 1}, r"\.pre is 1; expected .* str"),
        (byte_level(token_type=None), r"\.token_type is missing; expected a value of type list"),
        (byte_level(token_type=[1] * 9), r"\.token_type has 9 entries; expected 262, one per tok"),
        (byte_level(token_type=[7] * 262), r"\.token_type\[0\] \('!'\) is 7; expected 1 \(normal"),
        (byte_level(token_type=[0] * 262), r"\.token_type\[0\] \('!'\) is 0; expected 1 \(normal"),
        (byte_level(tokens=["a"] * 262), r"\.tokens\[1\] is 'a', as is tokens\[0\]; .* distinct"),
        (byte_level(merges=None), r"\.merges is missing; expected a value of type list"),
        (byte_level(merges=["a b", "ab"]), r"\.merges\[1\] is 'ab'; expected two tokens with one"),
        (byte_level(merges=["a b c"]), r"\.merges\[0\] is 'a b c'; expected two tokens with one"),
        (byte_level(merges=["a "]), r"\.merges\[0\] is 'a '; expected two tokens with one space"),
        (byte_level(merges=["a 東"]), r"\.merges\[0\] is 'a 東'; expected '東' to be in tokenizer"),
        (byte_level(merges=["b a"]), r"\.merges\[0\] is 'b a'; expected 'ba' to be in tokenizer"),
        (byte_level(bos_token_id=262), r"\.bos_token_id is 262; expected 0 to 261"),
        (byte_level(eos_token_id=-1), r"\.eos_token_id is -1; expected 0 to 261"),
        (byte_level(bos_token_id=True), r"\.bos_token_id is True; expected a value of type int"),
        (byte_level(padding_token_id=0), r"padding_token_id is 0, '!', of token_type 1; expected"),
        (
            byte_level("llama-bpe", bos_token_id=None),
            r"bos_token_id is missing; .*add_bos_token is",
        ),
        (byte_level(eos_token_id=None, add_eos_token=True), r"eos_token_id is missing; expected"),
        (byte_level(add_bos_token=1), r"\.add_bos_token is 1; expected a value of type bool"),
        (byte_level(add_space_prefix=True), r"\.add_space_prefix is true; .*model is 'gpt2'"),
        (sentencepiece(scores=None), r"\.scores is missing; expected a value of type list"),
        (sentencepiece(scores=[0.0]), r"\.scores has 1 entries; expected 267, one a token"),
        (sentencepiece(scores=[-1e3] * 267), r"gives all 4 tokens .* the same score, -1000\.0"),
        (
            sentencepiece(scores=[0.0] * 259 + [-1.0, -2.0, -2.0, -4.0, -5.0, -6.0, -7.0, -8.0]),
            r"scores gives '▁a' and 'ab', which may share 'a', the same score, -2\.0; expected",
        ),
        (sentencepiece(remove_extra_whitespaces=True), r"remove_extra_whitespaces is true; .*lla"),
        (sentencepiece(bos_token_id=None), r"bos_token_id is missing; expected an id, since add"),
    ],
)
def test_refused(fields, message):
    with pytest.raises(ValueError, match=message) as caught:
        tokenizer_from_gguf(fields)
    assert "Load the tokenizer from a Hugging Face directory instead" in str(caught.value)


def test_missing_pre_is_refused():
    fields = byte_level()
    del fields["tokenizer.ggml.pre"]
    with pytest.raises(ValueError, match=r"\.pre is missing; expected one of 'gpt-2', .*'tekken'"):
        tokenizer_from_gguf(fields)


def test_text_without_tokens_is_refused():
    fields = sentencepiece(unknown_token_id=None)
    assert tokens(tokenizer_from_gguf(fields), "é") == ["▁", "<0xC3>", "<0xA9>"]
    fields["tokenizer.ggml.tokens"][3 + 0xA9] = "other"
    with pytest.raises(ValueError, match=r"lacks 1 byte tokens, '<0xA9>' first; expected all 256"):
        tokenizer_from_gguf(fields)
