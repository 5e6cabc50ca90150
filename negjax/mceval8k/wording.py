"""Prompts: `templates.toml` read, and items put into words.

A prompt is an instruction, demonstrations and the item's own part, a blank line between them. A
field is a line `### Name:value`, an option a line `a.text`; the last line is the header of the
answer, to which a label is appended without a blank.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from negjax.checks import is_whole, shown
from negjax.mceval8k.catalogue import DEFAULT_LANGUAGE, TASKS, TaskSpec, task_name
from negjax.mceval8k.files import Row

GAP = "\n\n"
"""Between the parts of a prompt."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
    """One way to ask a task, in each of its languages."""

    version: str
    """Its name in results: task, number, version of the wording."""
    labels: tuple[str, ...]
    """K answers, as appended to a prompt."""
    instructions: Mapping[str, str]
    """By language."""
    headers: Mapping[str, Mapping[str, str]]
    """By language, what the header of each field is called."""
    options: Mapping[str, tuple[str, ...]]
    """By language, the options that all items share; empty where each has its own, or none."""

    def instruction(self, language: str | None) -> str:
        """What to do, in a language."""
        return self.instructions[language or DEFAULT_LANGUAGE]

    def question(self, spec: TaskSpec, row: Row) -> str:
        """An item's own part, up to the header of the answer."""
        language = row.language or DEFAULT_LANGUAGE
        names = self.headers[language]
        fields = list(zip(spec.texts, row.texts, strict=True))
        if spec.target is not None and row.target is not None:
            fields.append((spec.target, row.target))
        lines = [f"### {names[spec.headers.get(f, f)]}:{value}" for f, value in fields]
        options = row.options or self.options.get(language, ())
        if options:
            lines.append(f"### {names['options']}:")
            lines += [f"{a}.{text}" for a, text in zip(self.labels, options, strict=True)]
        return "\n".join([*lines, f"### {names['answer']}:"])

    def demonstration(self, spec: TaskSpec, row: Row) -> str:
        """An item with its answer."""
        return self.question(spec, row) + self.labels[row.label]


def template_count(name: str) -> int:
    """How many templates a task has.

    Raises:
        ValueError: there is no such task.
    """
    return len(_read()["instructions"][task_name(name)])


def read_template(name: str, number: int) -> Template:
    """A task's template.

    Raises:
        ValueError: there is none of that number.
    """
    tables = _read()
    entries = tables["instructions"][name]
    if not is_whole(number) or not 0 <= number < len(entries):
        raise ValueError(
            f"template {shown(number)}: {name} has {len(entries)}, pass 0 to {len(entries) - 1}"
        )
    entry = entries[number]
    instructions = {
        language: entry[language] for language in tables["headers"] if language in entry
    }
    options = entry.get("options", tables["options"].get(name, {}))
    return Template(
        version=f"{name}-{number}-v{entry['version']}",
        labels=tuple(entry.get("labels", TASKS[name].labels)),
        instructions=instructions,
        headers={language: tables["headers"][language] for language in instructions},
        options={language: tuple(texts) for language, texts in options.items()},
    )


def _read() -> dict[str, Any]:
    file = resources.files("negjax").joinpath("mceval8k", "templates.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))
