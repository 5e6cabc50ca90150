"""WordPiece from GGUF metadata: how the file spells tokens, what it leaves out, what is refused."""

import warnings

import pytest

import negjax
from negjax.weights.formats.gguf_tokenizer import tokenizer_from_gguf
from tests.support.gguf_vocabularies import CONTROL, NORMAL, USER_DEFINED, tokens, wordpiece


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Playing, unable!", "play ##ing [UNK] un ##able !"),
        ("PLAYED", "play ##ed"),
        ("pla", "[UNK]"),
        ("ing", "[UNK]"),  # a continuation begins no word
        ("é E\u0301 e", "e e e"),
        ("a東a", "a 東 a"),
        ("a\u0000\u200d\ufeff\ufffda", "a ##a"),  # control characters are nothing
        ("a\t\u00a0\u3000\r\na", "a a"),
        ("a[MASK]a [MASK] a[mask]", "a [MASK] a [MASK] a [UNK] [UNK] [UNK]"),
        ("a" * 100, "a" + " ##a" * 99),
        ("a" * 101, "[UNK]"),
        ("[unused0]", "[UNK] [UNK] [UNK]"),
        ("▁a", "[UNK]"),
        ("", ""),
    ],
)
def test_wordpiece(text, expected):
    assert tokens(tokenizer_from_gguf(wordpiece()), text) == expected.split()


def test_what_stands_around_a_text():
    tokenizer = tokenizer_from_gguf(wordpiece())
    pair = tokenizer("a", "!", return_token_type_ids=True)
    assert pair["input_ids"] == [2, 10, 3, 12, 3]
    assert pair["token_type_ids"] == [0, 0, 0, 1, 1]
    assert tokenizer("")["input_ids"] == [2, 3]
    assert tokenizer.mask_token_id == 4 and tokenizer.pad_token_id == 0
    assert tokenizer.decode(tokenizer("playing a!")["input_ids"]) == "[CLS] playing a! [SEP]"
    ids = tokenizer("playing a[MASK]!")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "playing a!"


def test_tokens_are_spelled_as_bert_does():
    fields = wordpiece()
    fields["tokenizer.ggml.tokens"] += ["[unused1]", "▁", "▁▁", "<new>"]  # early converters: as is
    fields["tokenizer.ggml.token_type"] += [NORMAL, NORMAL, NORMAL, CONTROL]
    tokenizer = tokenizer_from_gguf(fields)
    names = tokenizer.convert_ids_to_tokens(list(range(5, len(tokenizer))))
    own = "play ##ing ##ed un ##able a ##a ! 東 e ##e [unused0] [unused1] ##▁ ▁ <new>"
    assert names == own.split()
    assert tokens(tokenizer, "a▁ ▁ a<new>") == ["a", "##▁", "▁", "a", "<new>"]


def test_user_defined_token():
    fields = wordpiece()
    fields["tokenizer.ggml.tokens"].append("▁New York")
    fields["tokenizer.ggml.token_type"].append(USER_DEFINED)
    tokenizer = tokenizer_from_gguf(fields)
    assert tokens(tokenizer, "aNew York!") == ["a", "New York", "!"]
    assert tokenizer.decode([17], skip_special_tokens=True) == "New York"


ROLES = ("unknown_token_id", "padding_token_id", "cls_token_id", "seperator_token_id")


def test_roles_that_the_file_does_not_name_are_known_by_their_spelling():
    named = tokenizer_from_gguf(wordpiece())
    found = tokenizer_from_gguf(wordpiece(**dict.fromkeys((*ROLES, "mask_token_id"))))
    assert found.special_tokens_map == named.special_tokens_map
    assert found("a b")["input_ids"] == named("a b")["input_ids"]


def test_first_and_last_token_may_be_named_bos_and_eos():
    fields = wordpiece(cls_token_id=None, seperator_token_id=None, bos_token_id=2, eos_token_id=3)
    fields["tokenizer.ggml.tokens"][2:4] = ["<s>", "</s>"]
    tokenizer = tokenizer_from_gguf(fields)
    assert tokenizer("a")["input_ids"] == [2, 10, 3]
    assert (tokenizer.cls_token, tokenizer.sep_token) == ("<s>", "</s>")
    assert tokenizer.bos_token is None and tokenizer.eos_token is None


def with_words(*words, **changes):
    fields = wordpiece(**changes)
    fields["tokenizer.ggml.tokens"] += words
    fields["tokenizer.ggml.token_type"] += [NORMAL] * len(words)
    return fields


LOWER, STRIP = "normalizer.lowercase", "normalizer.strip_accents"


@pytest.mark.parametrize(
    ("words", "said", "expected"),
    [
        ((), {}, "a e e e"),
        ((), {LOWER: True}, "a e e e"),
        ((), {LOWER: False}, "[UNK] e [UNK] [UNK]"),
        ((), {STRIP: False}, "a e [UNK] [UNK]"),
        ((), {LOWER: False, STRIP: True}, "[UNK] e e [UNK]"),
        (("▁A", "▁É"), {}, "A e [UNK] É"),
        (("▁é",), {}, "a e é é"),
        (("▁A", "▁é"), {LOWER: True, STRIP: True}, "a e e e"),
        (("▁A", "▁é"), {LOWER: True}, "a e é é"),
        (("が", "가", "▁[unused1]", "▁[UPPER]"), {}, "a e e e"),
    ],
)
def test_case_is_what_the_file_says_or_its_words_show(words, said, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", negjax.Notice)
        tokenizer = tokenizer_from_gguf(with_words(*words, **said))
    assert tokens(tokenizer, "A e é É") == expected.split()


def test_a_case_that_the_words_show_is_said():
    with pytest.warns(negjax.Notice, match=r"lowercase is missing, and the vocabulary has 'Ab': "):
        tokenizer_from_gguf(with_words("▁Ab"))
    with pytest.warns(negjax.Notice, match=r"strip_accents is missing, .* '##bé': text keeps its"):
        tokenizer_from_gguf(with_words("bé"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer_from_gguf(wordpiece())
        tokenizer_from_gguf(with_words("▁É", **{LOWER: False}))


def without(token):
    fields = wordpiece(**dict.fromkeys(ROLES))
    index = fields["tokenizer.ggml.tokens"].index(token)
    fields["tokenizer.ggml.tokens"][index] = "[new]"
    return fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (without("[UNK]"), r"unknown_token_id is missing; .* or a control token '\[UNK\]' among"),
        (without("[CLS]"), r"cls_token_id is missing; expected an id, or a control token '\[CLS"),
        (without("[SEP]"), r"seperator_token_id is missing; expected an id"),
        (wordpiece(mask_token_id=5), r"mask_token_id is 5, 'play', of token_type 1; expected"),
        (with_words("▁play"), r"tokens\[17\] is 'play', as is tokens\[5\]; expected distinct"),
        (wordpiece(**{LOWER: 1}), r"normalizer\.lowercase is 1; expected a value of type bool"),
        (wordpiece(tokens=None), r"\.tokens is missing; expected a value of type list"),
    ],
)
def test_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        tokenizer_from_gguf(fields)
