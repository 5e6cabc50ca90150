"""Reports from templates: words in a Markdown file, numbers, tables and figures by their names.

A template is a title (`# …`), a lead, and sections (`## …`) of blocks with empty lines between:

    Running text with numbers, {headline.every.linear:.1%}.

    ! A warning.

    - An item of a list. `- {notes}` alone is as many items as `notes` has texts.

    |ranges| Caption of the table `ranges`.

    ![What it shows, for those who cannot see it.](linearity) Caption of the figure `linearity`.

    {blocks}, alone: what stands in `blocks`, a block or several.

A section `## *parts …` comes once for each of the contents called `parts`, with what they hold in
addition. `?name ` before a block, an item or a paragraph of the lead keeps it only where `name` is
true, `?!name ` where it is not. A table that is None or has no rows is left out; of several under
one name each is shown, and its caption may name it: `{table.title}`. What is left without text is
left out, and so is a section without blocks. Numbers are put in after the template is taken apart:
text from outside is text.
"""

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.reporting import report
from experiments.reporting.explorers import Explorer, MapExplorer
from experiments.reporting.figures import Picture
from experiments.reporting.report import Block, Bullets, Document, Drawing, Figure, Paragraph
from experiments.reporting.tables import Table, written

_FIGURE = re.compile(r"!\[(.*?)\]\((\w+)\)\s*(.*)")
_TABLE = re.compile(r"\|(\w+)\|\s*(.*)")
_ALONE = re.compile(r"\{(\w+)\}")
_REPEATED = re.compile(r"\*(\w+) (.*)")
_CONDITION = re.compile(r"\?(!?)(\w+) (.*)")


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a template names."""

    values: Mapping[str, Any]
    """Of its texts: `{name}`, `{name.attribute:format}`."""
    tables: Mapping[str, Table | Sequence[Table] | None] = field(default_factory=dict)
    figures: Mapping[str, Callable[[], Picture] | None] = field(default_factory=dict)
    """Draw them."""
    explorers: Mapping[str, Explorer | MapExplorer | None] = field(default_factory=dict)
    """Of figures, by their names: what a reader may point at."""
    parts: Mapping[str, Sequence["Contents"]] = field(default_factory=dict)
    """Of sections that are repeated."""
    ending: str = ""
    """Of the names of a part's files."""


class _Formatter(string.Formatter):
    """Writes what is no number as a dash."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return written(value, format_spec)


def document(template: str, contents: Contents) -> Document:
    """The report of a template.

    Raises:
        KeyError: it names what the contents lack.
    """
    opening, *sections = re.split(r"^## ", template, flags=re.MULTILINE)
    title, _, lead = opening.strip().partition("\n")
    made = []
    for section in sections:
        heading, _, body = section.partition("\n")
        repeated = _REPEATED.fullmatch(heading)
        heading = repeated[2] if repeated else heading
        for part in contents.parts[repeated[1]] if repeated else (contents,):
            of_part = replace(part, values={**contents.values, **part.values})
            blocks = list(_blocks(body, of_part))
            if blocks:
                made.append(report.Section(_text(heading, of_part.values), blocks))
    texts = [_kept(" ".join(part.split()), contents.values) for part in _parts(lead)]
    lead = " ".join(_text(text, contents.values) for text in texts if text)
    return Document(_text(title.removeprefix("# "), contents.values), lead, made)


def _parts(body: str) -> list[str]:
    return [part for part in re.split(r"\n\s*\n", body.strip()) if part.strip()]


def _blocks(body: str, contents: Contents) -> Iterator[Block]:
    for part in _parts(body):
        if part.startswith("- "):
            items = [" ".join(item.split()) for item in re.split(r"^- ", part, flags=re.MULTILINE)]
            texts = [text for item in items for text in _items(item, contents.values)]
            if texts:
                yield Bullets(texts)
        else:
            yield from _block(" ".join(part.split()), contents)


def _items(item: str, values: Mapping[str, Any]) -> list[str]:
    text = _kept(item, values)
    alone = _ALONE.fullmatch(text)
    if alone and isinstance(values[alone[1]], (list, tuple)):
        return [str(some) for some in values[alone[1]]]
    text = _text(text, values)
    return [text] if text else []


def _kept(text: str, values: Mapping[str, Any]) -> str:
    """The text without its condition; empty where that does not hold."""
    condition = _CONDITION.fullmatch(text)
    if condition is None:
        return text
    negated, name, rest = condition.groups()
    return _kept(rest, values) if bool(values[name]) != bool(negated) else ""


def _block(text: str, contents: Contents) -> Iterator[Block]:
    values = contents.values
    text = _kept(text, values)
    figure, table, alone = (p.fullmatch(text) for p in (_FIGURE, _TABLE, _ALONE))
    if figure:
        alternative, name, caption = figure.groups()
        draw = contents.figures[name]
        if draw is not None:
            texts = _text(caption, values), _text(alternative, values)
            drawing = Drawing(f"{name}{contents.ending}", draw)
            yield Figure(drawing, *texts, explorer=contents.explorers.get(name))
    elif table:
        name, caption = table.groups()
        found = contents.tables[name]
        several = [found] if isinstance(found, Table) else found or ()
        for number, one in enumerate((table for table in several if table.rows), 1):
            shown = _text(caption, {**values, "table": one}) or one.caption
            file = one.name or (name if len(several) == 1 else f"{name}_{number}")
            yield replace(one, name=f"{file}{contents.ending}", caption=shown)
    elif alone and isinstance(values[alone[1]], Block | list | tuple):
        found = values[alone[1]]
        yield from [found] if isinstance(found, Block) else found
    elif text.startswith("! "):
        yield Paragraph(_text(text[2:], values), warning=True)
    elif shown := _text(text, values):
        yield Paragraph(shown)


def _text(text: str, values: Mapping[str, Any]) -> str:
    return _Formatter().vformat(text, (), values).strip()
