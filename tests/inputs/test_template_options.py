"""Options of chat templates: passed to the template, checked against it, kept with results."""

from pathlib import Path
from typing import Any

import jinja2
import pytest

import negjax
from negjax.inputs.chats import gap_before_answer
from negjax.inputs.prompt_forms import asked_prompts
from negjax.model.language_model import LanguageModel
from tests.support.mistakes import with_vocabulary

# As Qwen3's and Llama 3.1's: a default that is set, an option that is only tested, a loop.
TEMPLATE = """{%- if not date is defined %}{%- set date = 'w9' %}{%- endif -%}
{{ date }}{% for tool in tools or [] %} {{ tool.name }}{% endfor %}
{%- for message in messages %} {{ message['content'] }}{% endfor %} w21
{%- if add_generation_prompt and enable_thinking is defined and not enable_thinking %} w22
{%- endif %}"""
CHAT: Any = [{"role": "user", "content": "w3 w5"}]


def model(template: Any = TEMPLATE) -> LanguageModel:
    lm = with_vocabulary(lambda _: None)
    lm.tokenizer.chat_template = template
    return lm


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"enable_thinking": False},
        {"enable_thinking": True, "date": "w7"},
        {"tools": [{"name": "w11"}, {"name": "w12"}]},
    ],
)
def test_the_template_reads_them(options: dict[str, Any]) -> None:
    """Against Jinja itself."""
    found = negjax.encode(model(), [CHAT], ["w4"], template_options=options)
    given = {"messages": CHAT, "add_generation_prompt": True, **options}
    assert found.prompts == (jinja2.Template(TEMPLATE).render(given),)
    assert found.template_options == options and found[0].template_options == options


@pytest.mark.parametrize("gap", ["", "\n "])
def test_the_gap_before_an_answer_is_that_of_the_same_options(gap: str) -> None:
    lm = model(
        "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ gap }}{% endif %}"
        "{{ m['content'] }}{% endfor %}"
    )
    assert gap_before_answer(lm, CHAT, "w3 w5", {"gap": gap}) == gap
    assert asked_prompts(lm, [CHAT], {"gap": gap})[0].separator == gap


def test_of_several_templates_tools_choose_the_one_for_them() -> None:
    lm = model({"default": "w2 {{ messages[0]['content'] }}", "tool_use": "w8 {{ tools[0].name }}"})
    asked = [
        negjax.encode(lm, [CHAT], ["w4"], template_options=options).prompts[0]
        for options in (None, {"tools": [{"name": "w6"}]})
    ]
    assert asked == ["w2 w3 w5", "w8 w6"]


def test_marks_of_what_an_assistant_wrote_are_no_fault() -> None:
    template = "{% generation %}{{ word }}{% endgeneration %} {% for m in messages %}w3{% endfor %}"
    found = negjax.encode(model(template), [CHAT], ["w4"], template_options={"word": "w5"})
    assert found.prompts == ("w5 w3",)


def test_what_is_written_and_steered_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"enable_thinking": False}
    written = negjax.generate(model(), [CHAT], max_tokens=2, template_options=options)
    assert written.prompts == ("w9 w3 w5 w21 w22",) and written.template_options == options
    assert negjax.read(negjax.save(tmp_path / "x", written)).template_options == options
    asked: list[negjax.Probes] = []

    def searched(lm: LanguageModel, probes: negjax.Probes, *_: Any, **__: Any) -> list[None]:
        asked.append(probes)
        return [None]

    monkeypatch.setattr("negjax.control.steering.steer_probes", searched)
    negjax.steer(model(), CHAT, "w7", 0.5, template_options=options)
    assert asked[0].prompts == written.prompts and asked[0].template_options == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"enable_thinkin": False}, r"names 'enable_thinkin', .*do you mean enable_thinking\?"),
        ({"messages": []}, r"names 'messages', .*; it reads date, enable_thinking, tools"),
        ({"add_generation_prompt": False}, r"names 'add_generation_prompt', which"),
        ({"chat_template": "x"}, r"names 'chat_template', which"),
        ({"tokenize": True}, r"names 'tokenize', which"),
        ({1: 2}, r"template_options is .*, expected a mapping of JSON values by name"),
        ([("date", "w7")], r"template_options is .*, expected a mapping"),
        ({"date": float("nan")}, r"template_options cannot be recorded"),
        ({"tools": [len]}, r"template_options cannot be recorded"),
    ],
)
def test_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        negjax.encode(model(), [CHAT], ["w4"], template_options=options)
