"""Where a directory's chat template stands, and what is no template."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import negjax
from negjax.weights.formats.tokenizer_files import read_tokenizer
from tests.support.block_shapes import words_tokenizer
from tests.support.mistakes import chat, with_vocabulary

TEMPLATE = "{% for message in messages %}w20 {{ message['content'] }} {% endfor %}w21"


def write(directory: Path, settings: dict[str, Any]) -> Path:
    words_tokenizer().backend_tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


@pytest.mark.parametrize("place", ["settings", "list", "file", "processor"])
def test_the_chat_template_is_kept(place: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {}
    if place == "settings":
        settings = {"chat_template": TEMPLATE}
    elif place == "list":
        settings = {"chat_template": [{"name": "default", "template": TEMPLATE}]}
    directory = write(tmp_path, settings)
    if place == "file":
        (directory / "chat_template.jinja").write_text(TEMPLATE)
    elif place == "processor":
        content = json.dumps({"chat_template": TEMPLATE})
        (directory / "chat_template.json").write_text(content)
    found = read_tokenizer(directory).chat_template
    assert found == ({"default": TEMPLATE} if place == "list" else TEMPLATE)


@pytest.mark.parametrize("template", [3, {"default": "a"}, ["a"], [{"name": "default"}]])
def test_a_chat_template_of_another_kind_is_named(template: object, tmp_path: Path) -> None:
    directory = write(tmp_path, {"chat_template": template})
    with pytest.raises(
        ValueError, match=r"tokenizer_config\.json: chat_template is .*, expected a"
    ):
        read_tokenizer(directory)


def test_a_saved_model_is_asked_the_same_chat(tmp_path: Path) -> None:
    lm = with_vocabulary(lambda _: None)
    lm.tokenizer.chat_template = TEMPLATE
    again = negjax.load(negjax.save_pretrained(lm, tmp_path / "model"))
    messages: list[Any] = [[{"role": "user", "content": "w3 w5"}]]
    found = negjax.encode(again, messages, ["w4"])
    assert found.prompts == ("w20 w3 w5 w21",)
    np.testing.assert_array_equal(found.tokens, chat(TEMPLATE, "w3 w5").tokens)
