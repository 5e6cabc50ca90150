"""A prompt's own tokens: one frame, nothing dropped, no token that the model does not have."""

import contextlib
import copy
import dataclasses
import warnings

import pytest
from tokenizers.processors import TemplateProcessing

from negjax.control.scores import perplexity
from negjax.inputs.encoding import encode
from negjax.process.notices import Notice
from tests.support.block_shapes import VOCABULARY, tiny


def ids(text: str) -> list[int]:
    return [VOCABULARY.index(word) for word in text.split()]


def with_tokenizer(lm, change):
    """The model with its tokenizer changed by a function."""
    tokenizer = copy.deepcopy(lm.tokenizer)
    change(tokenizer.backend_tokenizer)
    return dataclasses.replace(lm, tokenizer=tokenizer)


def framed(tokenizer, single):
    """Puts "w20" and "w21" where a template says."""
    special = [(word, tokenizer.token_to_id(word)) for word in ("w20", "w21")]
    tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=special)


@pytest.mark.parametrize(
    ("single", "prompt", "expected", "said"),
    [
        ("w20 $A", "w3 w4", "w20 w3 w4", None),
        ("w20 $A", "w20 w3 w4", "w20 w3 w4", r"prompts hold 'w20' themselves"),
        ("w20 $A", "w20 w20 w3 w4", "w20 w20 w3 w4", r"prompts hold 'w20' themselves"),
        ("w20 w21 $A", "w20 w3", "w20 w21 w20 w3", None),
        ("$A w21", "w3 w4", "w3 w4", r"puts 'w21' after every text; negjax leaves it out"),
        ("w20 $A w21", "w3 w4 w21", "w20 w3 w4 w21", r"puts 'w21' after every text"),
    ],
)
def test_a_causal_prompt_has_one_frame_and_an_open_end(single, prompt, expected, said):
    lm = with_tokenizer(tiny("gated"), lambda tokenizer: framed(tokenizer, single))
    expected_notice = pytest.warns(Notice, match=said) if said else contextlib.nullcontext()
    with expected_notice, warnings.catch_warnings():
        if not said:
            warnings.simplefilter("error")
        found = encode(lm, [prompt], ["w5"])
    assert found.tokens.tolist() == [ids(expected)]
    assert found.target_ids.tolist() == [[ids("w5")]]
    assert found.read.tolist() == [len(ids(expected)) - 1]


@pytest.mark.parametrize("prompt", ["w3 [MASK]", "w20 w3 [MASK] w21", "w20 w3 [MASK]"])
def test_a_masked_prompt_has_one_frame(prompt):
    lm = with_tokenizer(tiny("bert"), lambda tokenizer: framed(tokenizer, "w20 $A w21"))
    said = "w21" in prompt or "w20" in prompt
    with pytest.warns(Notice) if said else contextlib.nullcontext():
        found = encode(lm, [prompt], ["w5"])
    assert found.tokens.tolist() == [ids("w20 w3 [MASK] w21")]
    assert found.target_ids.tolist() == [[ids("w5")]]


def test_a_special_token_in_front_is_not_unknown_text():
    """GPT-2's BOS, EOS and unknown token are one."""
    lm = with_tokenizer(tiny("gated"), lambda tokenizer: unknown_in_front(tokenizer))
    found = encode(lm, ["w3 w4"], ["w5"])
    assert found.tokens.tolist() == [ids("[UNK] w3 w4")]
    with pytest.raises(ValueError, match=r"holds text .* does not know \(\[UNK\]\): 'x'"):
        encode(lm, ["w3 x"], ["w5"])


def unknown_in_front(tokenizer):
    special = [("[UNK]", tokenizer.token_to_id("[UNK]"))]
    tokenizer.post_processor = TemplateProcessing(single="[UNK] $A", special_tokens=special)


def test_text_that_would_be_dropped_is_refused(smollm2):
    """The embedded vocabulary has no token for some control characters, and none for unknown."""
    with pytest.raises(ValueError, match=r"does not know: '\\x04' at character 3 has no token"):
        encode(smollm2, ["The\x04 capital"], ["Paris"])
    with pytest.raises(ValueError, match=r"prompts\[0\] is .*, which holds half a surrogate pair"):
        encode(smollm2, ["The \ud800 capital"], ["Paris"])


def test_a_token_that_the_weights_were_not_resized_for_is_named():
    lm = with_tokenizer(tiny("gated"), lambda tokenizer: tokenizer.add_tokens(["<extra>"]))
    size = lm.config.vocab_size
    named = rf"holds token id {size} \('<extra>'\), and the model embeds ids 0 to {size - 1}"
    with pytest.raises(ValueError, match=rf"prompt 1 .*{named}"):
        encode(lm, ["w3", "w3 <extra>"], ["w4", "w4"])
    for mode in ("single", "first", "all", "alone"):
        with pytest.raises(ValueError, match=rf"target '<extra>' of prompt 0 {named}"):
            encode(lm, ["w3"], ["<extra>"], target_mode=mode)
    with pytest.raises(ValueError, match=rf"text 0 {named}"):
        perplexity(lm, ["w3 <extra>"])


@pytest.mark.parametrize(
    ("mode", "targets"),
    [
        ("single", ["w4", " w4"]),
        ("alone", ["w4", "w4"]),
        ("first", ["w4 w5", "w4 w6"]),
        ("all", ["w4 w5", "w4  w5"]),
    ],
)
def test_one_token_cannot_be_two_targets(mode, targets):
    with pytest.raises(ValueError, match=r"targets 'w4.*' and ' ?w4.*' of prompt 1 are the same t"):
        encode(tiny("gated"), ["w3"] * 2, [["w8", "w7"], targets], target_mode=mode)
