"""Programs read token ids and chats from tables, and compare the tokens when they are resumed."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.inputs import facts
from experiments.inputs.facts_page import prompt_table
from tests.support.mistakes import with_vocabulary
from tests.support.tiny_runs import arguments, parse, write_inputs

pytestmark = pytest.mark.usefixtures("restored_flags")

TEMPLATE = "{% for message in messages %}w20 {{ message['content'] }} {% endfor %}w21"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of two chat templates, and one question in every form."""
    path = tmp_path_factory.mktemp("inputs")
    lm, other = with_vocabulary(lambda _: None), with_vocabulary(lambda _: None)
    lm.tokenizer.chat_template, other.tokenizer.chat_template = TEMPLATE, f"{TEMPLATE} w22"
    forms = {
        "text": {"prompt": "w20 w3 w4 w21", "answer": "w5"},
        "ids": {"prompt": [20, 3, 4, 21], "answer": [5]},
        "chat": {"prompt": [{"role": "user", "content": "w3 w4"}], "answer": "w5"},
        "wrong": {"prompt": [20, 99], "answer": "w5"},
    }
    for name, row in forms.items():
        (path / f"{name}.json").write_text(json.dumps([row]))
    return write_inputs(path, gated=lm, other=other)


def asked(folder: Path, form: str, model: str = "gated") -> facts.Inputs:
    more = (f"--probes={folder / form}.json", f"--model={folder / model}")
    parse(*arguments(folder, folder / "run", *more))
    return facts.load_inputs(1)


def settings(folder: Path, form: str, model: str = "gated") -> dict[str, Any]:
    return facts.input_settings(asked(folder, form, model))


def test_a_run_is_known_by_its_tokens(folder: Path) -> None:
    expected = settings(folder, "text")
    assert settings(folder, "ids") == settings(folder, "chat") == expected
    # The template is part of the question.
    assert settings(folder, "text", "other")["prompts"] == expected["prompts"]
    assert settings(folder, "chat", "other")["prompts"] != expected["prompts"]


def test_what_was_rendered_is_shown(folder: Path) -> None:
    for model, rendered in (("gated", "w20 w3 w4 w21"), ("other", "w20 w3 w4 w21 w22")):
        shown = prompt_table(asked(folder, "chat", model), [0], [0.5]).to_pydict()
        assert (shown["text"], shown["answer"]) == ([rendered], ["w5"])


def test_reasons_name_the_row_of_the_table(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"the first: row 0 holds token id 99, expected 0 to 23"):
        asked(folder, "wrong")
