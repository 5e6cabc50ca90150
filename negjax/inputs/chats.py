"""Chat messages become the text that a model reads, by the model's own chat template.

A template is a Jinja program of the checkpoint: of tokenizer_config.json, chat_template.jinja or
chat_template.json, or of a GGUF file's metadata. transformers runs it in Jinja's sandbox
(`PreTrainedTokenizerBase.apply_chat_template`), which lets it compute texts and nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.model.language_model import LanguageModel

Message = Mapping[str, Any]
"""`role` and `content`, both texts, and what else a template may read."""

_ANSWER = "answer"


def check_messages(value: Sequence[object], name: str) -> list[dict[str, Any]]:
    """Messages with a role and a content each.

    Raises:
        ArgumentError: naming the message.
    """
    messages = []
    for number, message in enumerate(value):
        where = f"{name}[{number}]"
        if not isinstance(message, Mapping):
            raise ArgumentError(
                Argument(where),
                f" is {checks.shown(message)}, expected a message: "
                '{"role": "user", "content": "…"}',
            )
        for field in ("role", "content"):
            checks.text(message.get(field), f'{where}["{field}"]')
        messages.append(dict(message))
    return messages


def rendered(lm: LanguageModel, name: str, messages: list[dict[str, Any]]) -> str:
    """The messages and the generation prompt, after which the model's answer begins.

    Args:
        name: of the argument that holds the messages.

    Raises:
        ArgumentError: the model has no chat template, or its template raises.
    """
    template = _template(lm)
    if template is None:
        raise ArgumentError(
            Argument(name),
            f" is a chat, and {lm.name} has no chat template; pass text, or load a model that was "
            "tuned on chats",
        )
    try:
        return _render(lm, template, messages, generation=True)
    except ImportError:
        raise
    # A template is a program: it may raise anything, on purpose or not.
    except Exception as error:
        raise ArgumentError(
            Argument(name),
            f": the chat template of {lm.name} does not render these messages "
            f"({type(error).__name__}: {error}); change them, or pass the text that it should give",
        ) from error


def gap_before_answer(lm: LanguageModel, messages: list[dict[str, Any]], prompt: str) -> str | None:
    """The white space, or nothing, that the template puts between a prompt and its answer.

    Args:
        prompt: the messages as `rendered`.

    Returns:
        None where the template does not say: it raises, renders earlier messages otherwise once
        an answer follows, or writes more than white space before it.
    """
    template = _template(lm)
    assert template is not None, "it rendered the prompt"
    answered = [*messages, {"role": "assistant", "content": _ANSWER}]
    try:
        text = _render(lm, template, answered, generation=False)
    except Exception:  # as in `rendered`; here it is no fault
        return None
    gap, answer, _ = text.removeprefix(prompt).partition(_ANSWER)
    return gap if text.startswith(prompt) and answer and not gap.strip() else None


def _template(lm: LanguageModel) -> str | None:
    """The model's template, of several by name the default one."""
    found = lm.tokenizer.chat_template
    if isinstance(found, Mapping):
        found = found.get("default")
    return str(found) if found else None


def _render(
    lm: LanguageModel, template: str, messages: list[dict[str, Any]], *, generation: bool
) -> str:
    text: Any = lm.tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=False, add_generation_prompt=generation
    )
    return str(text)
