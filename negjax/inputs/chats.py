"""Chat messages become the text that a model reads, by the model's own chat template.

A template is a Jinja program of the checkpoint: of tokenizer_config.json, chat_template.jinja or
chat_template.json, or of a GGUF file's metadata. transformers runs it in Jinja's sandbox
(`PreTrainedTokenizerBase.apply_chat_template`), which lets it compute texts and nothing else.
"""

import difflib
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from negjax import checks
from negjax.errors import Argument, ArgumentError
from negjax.model.language_model import LanguageModel

Message = Mapping[str, Any]
"""`role` and `content`, both texts, and what else a template may read."""

Options = Mapping[str, Any]
"""What a template may read beside the messages, by name, such as `enable_thinking`."""

_ANSWER = "answer"
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""Marks of what an assistant wrote, a tag of transformers alone."""
_HANDED_ON = ("tools", "documents")
"""Arguments of `apply_chat_template` that it hands to the template."""


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


def check_options(lm: LanguageModel, value: object) -> dict[str, Any]:
    """Options of the model's chat template, none where None is given.

    Raises:
        ArgumentError: no mapping of JSON values by name; a name that the template never mentions,
            or that is not the caller's to give.
    """
    if value is None:
        return {}
    expected = 'a mapping of JSON values by name: {"enable_thinking": False}'
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ArgumentError(
            Argument("template_options"), f" is {checks.shown(value)}, expected {expected}"
        )
    try:
        options: dict[str, Any] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(
            Argument("template_options"), f" cannot be recorded ({error}), expected {expected}"
        ) from error
    template = _template(lm, options)
    if template is not None:
        known = _mentioned(lm, template)
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=2)
                meant = f" (do you mean {' or '.join(near)}?)" if near else ""
                raise ArgumentError(
                    Argument("template_options"),
                    f" names {name!r}, which the chat template of {lm.name} does not read{meant}; "
                    f"it reads {', '.join(known) or 'none'}",
                )
    return options


def _mentioned(lm: LanguageModel, template: str) -> list[str]:
    """Names that a template reads and that are the caller's to give, sorted."""
    # A tenth of the time of importing negjax, and of use to chats alone.
    import jinja2.meta
    import jinja2.sandbox

    sandbox = jinja2.sandbox.ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    try:
        names = jinja2.meta.find_undeclared_variables(sandbox.parse(_GENERATION.sub("", template)))
    except jinja2.TemplateError:
        # It renders nothing either, which is said then.
        return []
    given = {*inspect.signature(lm.tokenizer.apply_chat_template).parameters, "messages"}
    functions = {*sandbox.globals, "raise_exception", "strftime_now"}
    return sorted(names - (given - {*_HANDED_ON}) - functions)


def rendered(lm: LanguageModel, name: str, messages: list[dict[str, Any]], options: Options) -> str:
    """The messages and the generation prompt, after which the model's answer begins.

    Args:
        name: of the argument that holds the messages.
        options: of the template, as `check_options` returns them.

    Raises:
        ArgumentError: the model has no chat template, or its template raises.
    """
    template = _template(lm, options)
    if template is None:
        raise ArgumentError(
            Argument(name),
            f" is a chat, and {lm.name} has no chat template; pass text, or load a model that was "
            "tuned on chats",
        )
    try:
        return _render(lm, template, messages, options, generation=True)
    except ImportError:
        raise
    # A template is a program: it may raise anything, on purpose or not.
    except Exception as error:
        raise ArgumentError(
            Argument(name),
            f": the chat template of {lm.name} does not render these messages "
            f"({type(error).__name__}: {error}); change them, or pass the text that it should give",
        ) from error


def gap_before_answer(
    lm: LanguageModel, messages: list[dict[str, Any]], prompt: str, options: Options
) -> str | None:
    """The white space, or nothing, that the template puts between a prompt and its answer.

    Args:
        prompt: the messages as `rendered`.
        options: that they were rendered with.

    Returns:
        None where the template does not say: it raises, renders earlier messages otherwise once
        an answer follows, or writes more than white space before it.
    """
    template = _template(lm, options)
    assert template is not None, "it rendered the prompt"
    answered = [*messages, {"role": "assistant", "content": _ANSWER}]
    try:
        text = _render(lm, template, answered, options, generation=False)
    except Exception:  # as in `rendered`; here it is no fault
        return None
    gap, answer, _ = text.removeprefix(prompt).partition(_ANSWER)
    return gap if text.startswith(prompt) and answer and not gap.strip() else None


def _template(lm: LanguageModel, options: Options) -> str | None:
    """The model's template, of several by name the default one, or with tools the one for them."""
    found = lm.tokenizer.chat_template
    if isinstance(found, Mapping):
        for_tools = found.get("tool_use") if options.get("tools") else None
        found = for_tools or found.get("default")
    return str(found) if found else None


def _render(
    lm: LanguageModel,
    template: str,
    messages: list[dict[str, Any]],
    options: Options,
    *,
    generation: bool,
) -> str:
    text: Any = lm.tokenizer.apply_chat_template(
        messages,
        chat_template=template,
        tokenize=False,
        add_generation_prompt=generation,
        **options,
    )
    return str(text)
