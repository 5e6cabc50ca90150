"""Prompts as text, token ids and chat messages; targets as text and token ids."""

import copy
import dataclasses
import warnings
from typing import Any

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

import negjax
from negjax.inputs.encoding import encode
from negjax.inputs.probes import probes_key
from negjax.process.notices import Notice
from tests.support.block_shapes import VOCABULARY, tiny

TURNS = "{% for m in messages %}w20 {{ m['role'] }} {{ m['content'] }} {% endfor %}"
GENERATION = "{% if add_generation_prompt %}w21{% endif %}"
ARRAYS = ("tokens", "mask", "read", "target_ids", "target_mask")


def ids(text: str) -> list[int]:
    return [VOCABULARY.index(word) for word in text.split()]


def changed(
    template: str | dict[str, str] | None = None, frame: str = "$A", shape: str = "gated"
) -> negjax.LanguageModel:
    """A model with a chat template, whose tokenizer puts the special token "w20" where told."""
    lm = tiny(shape)
    tokenizer = copy.deepcopy(lm.tokenizer)
    backend = tokenizer.backend_tokenizer
    backend.add_special_tokens(["w20"])
    special = [("w20", backend.token_to_id("w20"))]
    backend.post_processor = TemplateProcessing(single=frame, special_tokens=special)
    tokenizer.chat_template = template
    return dataclasses.replace(lm, tokenizer=tokenizer)


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def assert_same(found: negjax.Probes, expected: negjax.Probes) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert (found.prompts, found.targets) == (expected.prompts, expected.targets)
    # A run of the one is a run of the other.
    assert probes_key(found) == probes_key(expected)


# ---- Token ids.


@pytest.mark.parametrize(
    ("shape", "texts"),
    [("gated", ("w3 w5 w7", "w6 w3")), ("bert", ("w3 [MASK] w7", "[MASK] w3"))],
)
@pytest.mark.parametrize("kind", [list, tuple, np.asarray, lambda x: np.asarray(x, np.uint16)])
def test_ids_ask_what_their_text_asks(shape, texts, kind):
    lm = tiny(shape)
    expected = encode(lm, texts, ["w4", "w8"])
    prompts: list[Any] = [kind(ids(text)) for text in texts]
    assert_same(encode(lm, prompts, ["w4", "w8"]), expected)
    assert_same(encode(lm, texts, [ids("w4"), kind(ids("w8"))]), expected)
    assert_same(encode(lm, [texts[0], prompts[1]], ["w4", [ids("w8")]]), expected)


def test_targets_of_a_prompt_may_be_of_both_forms():
    lm = tiny("gated")
    expected = encode(lm, ["w3"], [["w4 w6", "w5"]], target_mode="all")
    rows: list[Any] = [[ids("w4 w6"), "w5"]]
    assert_same(encode(lm, ["w3"], rows, target_mode="all"), expected)
    rows = [np.asarray([ids("w4"), ids("w5")])]
    assert encode(lm, ["w3"], rows).target_ids.tolist() == [[ids("w4"), ids("w5")]]
    rows = [[ids("w4 w6"), "w5 w7"]]
    first = encode(lm, ["w3"], rows, target_mode="first")
    assert first.target_ids.tolist() == [[ids("w4"), ids("w5")]]


def test_ids_follow_the_real_tokenizer(smollm2):
    text = "The capital of France is"
    prompt = smollm2.tokenizer(text)["input_ids"]
    assert_same(encode(smollm2, [prompt], ["Paris"]), encode(smollm2, [text], ["Paris"]))
    [paris] = smollm2.tokenizer(" Paris")["input_ids"]
    found = encode(smollm2, [prompt], [[paris]])
    assert found.targets == ((" Paris",),)
    assert found.target_ids.tolist() == [[[paris]]]


def test_ids_that_no_text_gives_take_targets_that_are_ids(smollm2):
    """What follows text that was cut otherwise is no tokenizer's to say."""
    prompt = [*smollm2.tokenizer("The")["input_ids"], *smollm2.tokenizer("c")["input_ids"]]
    prompt += smollm2.tokenizer("apital")["input_ids"]
    with pytest.raises(ValueError, match=r"prompts\[0\] is token ids that its text, 'Thecapital'"):
        encode(smollm2, [prompt], ["Paris"])
    found = encode(smollm2, [prompt], [smollm2.tokenizer(" Paris")["input_ids"]])
    assert found.tokens.tolist() == [prompt]


# ---- One BOS.


@pytest.mark.parametrize("text", ["w3 w4", "w20 w3 w4", "w20w3 w4"])
def test_text_that_begins_with_the_bos_gets_no_second(text):
    lm = changed(frame="w20 $A")
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always")
        found = encode(lm, [text, text], ["w5", "w5"])
    assert found.tokens.tolist() == [ids("w20 w3 w4")] * 2
    told = [str(notice.message) for notice in notices if notice.category is Notice]
    assert len(told) == text.startswith("w20")
    assert all("prompts hold 'w20' themselves" in notice for notice in told)


def test_ids_and_chats_are_read_as_they_stand():
    lm = changed(TURNS + GENERATION, frame="w20 $A")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prompts: list[Any] = [ids("w20 w3"), ids("w3"), [said("w2", "w3")]]
        found = encode(lm, prompts, ["w4"] * 3)
    assert [found.tokens[b, found.mask[b]].tolist() for b in range(3)] == [
        ids("w20 w3"),
        ids("w3"),
        ids("w20 w2 w3 w21"),
    ]
    assert found.target_ids.tolist() == [[ids("w4")]] * 3
    assert found.prompts[1:] == ("w3", "w20 w2 w3 w21")


# ---- Chats.


def test_a_chat_is_what_the_models_template_writes(smollm2):
    messages = [said("user", "What language is spoken in Paris?")]
    text = (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nWhat language is spoken in Paris?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    found = encode(smollm2, [messages], ["French"])
    assert_same(found, encode(smollm2, [text], ["French"], separator=""))
    assert smollm2.tokenizer.decode(found.target_ids[0, 0]) == "French"
    assert found.prompts == (text,)
    assert "'<|im_start|>sy" in repr(found)


@pytest.mark.parametrize(
    ("gap", "options", "target", "expected"),
    [
        ("", {}, "French", "French"),
        ("", {}, " French", " French"),
        ("", {"separator": " "}, "French", " French"),
        ("{{ ' ' }}", {}, "French", " French"),
        ("{{ ' ' }}", {}, " French", " French"),
        ("{{ ' ' }}", {"separator": ""}, "French", "French"),
        # Where the template does not say, it is as after any text.
        ("{{ ' I think ' }}", {}, "French", " French"),
        ("{{ raise_exception('no') }}", {}, "French", " French"),
    ],
)
def test_the_answer_stands_where_the_template_puts_it(smollm2, gap, options, target, expected):
    tokenizer = copy.deepcopy(smollm2.tokenizer)
    answered = "{% if messages[1] %}" + gap + "{{ messages[1]['content'] }}{% endif %}"
    tokenizer.chat_template = "Q: {{ messages[0]['content'] }} A:" + answered
    lm = dataclasses.replace(smollm2, tokenizer=tokenizer)
    found = encode(lm, [[said("user", "What do Parisians speak?")]], [target], **options)
    assert found.prompts == ("Q: What do Parisians speak? A:",)
    assert tokenizer.decode(found.target_ids[0, 0]) == expected


def test_of_several_templates_the_default_one_renders():
    lm = changed({"tool_use": "w5", "default": TURNS + GENERATION})
    assert encode(lm, [[said("w2", "w3")]], ["w4"]).prompts == ("w20 w2 w3 w21",)


def test_a_masked_models_chat_has_one_mask():
    lm = changed(TURNS, shape="bert")
    found = encode(lm, [[said("w2", "w3 [MASK]")]], ["w4"])
    assert found.tokens.tolist() == [ids("w20 w2 w3 [MASK]")]
    assert found.read.tolist() == [3]


def test_steering_takes_every_form():
    lm = changed(TURNS + GENERATION)
    options: dict[str, Any] = {"turns": 0, "unrelated": encode(lm, ["w7"], ["w8"])}
    text = negjax.steer(lm, "w20 w2 w3 w21", "w4", 0.3, **options)
    for prompt, target in (([said("w2", "w3")], "w4"), (ids("w20 w2 w3 w21"), ids("w4"))):
        found = negjax.steer(lm, prompt, target, 0.3, **options)
        assert (found.prompt, found.target) == (text.prompt, "w4")
        np.testing.assert_array_equal(found.shift, text.shift)


# ---- What is refused.

MESSAGE = said("user", "w3")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], r"prompts\[1\] is \[\], expected text, token ids or chat messages$"),
        ([True, False], r"prompts\[1\] is \[True, False\], expected text, token ids"),
        ([3.0], r"prompts\[1\] is \[3\.0\], expected text, token ids"),
        ([3, "w4"], r"prompts\[1\] is .*, expected text, token ids"),
        (["w3", "w4"], r"prompts\[1\] is .*, expected text, token ids"),
        ([[3, 4]], r"prompts\[1\] is \[\[3, 4\]\], expected text, token ids"),
        (np.zeros(2, bool), r"prompts\[1\] is an array bool\[2\], expected text, token ids"),
        ([2**80], r"prompts\[1\] is .*, expected text, token ids"),
        (3, r"prompts\[1\] is 3, expected .*; one prompt is \[prompt\]"),
        (MESSAGE, r"prompts\[1\] is \{.*\}, expected .*; one prompt is \[prompt\]"),
        ([3, 24], r"prompts\[1\] holds token id 24, expected 0 to 23: those that gated embeds"),
        ([-1], r"prompts\[1\] holds token id -1, expected 0 to 23"),
        ([MESSAGE, "w3"], r"prompts\[1\]\[1\] is 'w3', expected a message: \{\"role\""),
        ([{"content": "w3"}], r"prompts\[1\]\[0\]\[\"role\"\] is None, expected text"),
        ([said("user", "\ud800")], r"prompts\[1\]\[0\]\[\"content\"\] is .* half a surrogate pair"),
        ([MESSAGE], r"prompts\[1\] is a chat, and gated has no chat template; pass text, or load"),
    ],
)
def test_refused_prompts(prompt, message):
    with pytest.raises(ValueError, match=message):
        encode(tiny("gated"), ["w3", prompt], ["w4", "w4"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([True], r"targets\[0\]\[0\] is True, expected text or token ids"),
        ([3, "w4"], r"targets\[0\]\[0\] is 3, expected text or token ids"),
        ([[]], r"targets\[0\]\[0\] is \[\], expected text or token ids"),
        ([24], r"targets\[0\] holds token id 24, expected 0 to 23"),
        ([["w4"]], r"targets\[0\]\[0\] is \['w4'\], expected text or token ids"),
        ([["w4", 3]], r"targets\[0\]\[0\] is \['w4', 3\], expected text or token ids"),
        (["w4", [-2]], r"targets\[0\]\[1\] holds token id -2, expected 0 to 23"),
        ([3, 4], r"target 'w3 w4' of prompt 0 is 2 tokens \['w3', 'w4'\]; pass target_mode"),
        (3, r"targets\[0\] is 3, expected text or token ids"),
        ({"w4": 1}, r"targets\[0\] is \{'w4': 1\}, expected text or token ids"),
        (["w4", ids("w4")], r"targets 'w4' and 'w4' of prompt 0 are the same tokens"),
    ],
)
def test_refused_targets(target, message):
    with pytest.raises(ValueError, match=message):
        encode(tiny("gated"), ["w3"], [target])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{{ raise_exception('roles must alternate') }}",
            r"TemplateError: roles must alternate\);",
        ),
        ("{{ messages[0]['content'] + 1 }}", r"does not render these messages \(TypeError: "),
        ("{% if %}", r"does not render these messages \(TemplateSyntaxError: "),
        ("{{ ().__class__.__bases__ }}", r"does not render these messages \(SecurityError: "),
        ({"tool_use": "w5"}, r"prompts\[0\] is a chat, and gated has no chat template"),
        ("  ", r"prompt 0 is empty: '  '; expected text"),
        ("w3 x", r"prompt 0 \('w3 x'\) holds text that the vocabulary does not know"),
    ],
)
def test_templates_that_fail_are_named(template, message):
    with pytest.raises(ValueError, match=message):
        encode(changed(template), [[MESSAGE]], ["w4"])


@pytest.mark.parametrize("count", [0, 2])
def test_ids_of_a_masked_model_hold_one_mask(count):
    with pytest.raises(ValueError, match=rf"prompt 0 has {count} times \[MASK\]"):
        encode(tiny("bert"), [ids("w3 " + "[MASK] " * count)], [ids("w4")])
