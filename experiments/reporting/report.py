"""One HTML file that shows a study: its numbers, its pictures and what they mean.

Self-contained: pictures, styles and the one script are inside it, nothing is loaded, and its policy
lets the browser run and draw nothing else. Below a picture or a table there may be links to its
files, which a reader may follow. All text is escaped; markup comes from this module.
"""

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from urllib.parse import quote

from experiments.reporting import explorers
from experiments.reporting.escaping import for_html
from experiments.reporting.explorers import Explorer, MapExplorer
from experiments.reporting.figures import Picture
from experiments.reporting.tables import Table

STYLE = (resources.files("experiments.reporting") / "static" / "report.css").read_text("utf-8")


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of remarks."""

    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Text as typed."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Drawing:
    """A picture that is still to be drawn."""

    name: str
    """Of its files."""
    draw: Callable[[], Picture]


@dataclass(frozen=True)
class Figure:
    """A picture, and what was measured to draw it."""

    drawing: Drawing
    caption: str
    alternative: str
    """What it shows, for those who cannot see it."""
    explorer: Explorer | MapExplorer | None = None
    """What a reader may point at, below the picture."""


Block = Paragraph | Bullets | Code | Facts | Table | Figure


@dataclass(frozen=True)
class Section:
    """A part of the page, under a heading."""

    heading: str
    blocks: Sequence[Block] = field(default_factory=tuple)


@dataclass(frozen=True)
class Document:
    """A report, its pictures not yet drawn."""

    title: str
    lead: str
    sections: Sequence[Section]

    @property
    def blocks(self) -> list[Block]:
        """Those of all sections, in their order."""
        return [block for section in self.sections for block in section.blocks]

    @property
    def figures(self) -> list[Figure]:
        """In their order."""
        return [block for block in self.blocks if isinstance(block, Figure)]

    @property
    def drawings(self) -> list[Drawing]:
        """Those of its figures, in their order."""
        return [figure.drawing for figure in self.figures]


@dataclass(frozen=True)
class Failure:
    """What kept a picture from being drawn."""

    reason: str


Drawn = Mapping[str, Picture | Failure]
"""Of a document, by the names of its drawings."""


def numbered(document: Document) -> Iterator[tuple[Section, list[int]]]:
    """Sections, with the number of each block: of a figure or a table among its kind, else 0."""
    seen: Counter[type] = Counter()
    for section in document.sections:
        numbers = []
        for block in section.blocks:
            seen[type(block)] += isinstance(block, Figure | Table)
            numbers.append(seen[type(block)])
        yield section, numbers


_FORMATS = {"svg": "SVG", "png": "PNG", "csv": "CSV", "parquet": "Parquet"}
"""By the endings of files."""

Files = Callable[[Drawing | Table], Sequence[str]]
"""Paths from a page to what a picture or a table is beside it, as files."""


def html_page(document: Document, drawn: Drawn, files: Files = lambda shown: ()) -> str:
    """The page; figures and tables are numbered in the order they come.

    Args:
        files: to which the page links; of a table only if it has a name.
    """
    parts = []
    for section, numbers in numbered(document):
        parts.append(f"<h2>{for_html(section.heading)}</h2>")
        blocks = zip(section.blocks, numbers, strict=True)
        parts += [_block(block, number, drawn, files) for block, number in blocks]
    body = "\n".join(parts)
    title = for_html(document.title)
    live = [figure.explorer for figure in document.figures if figure.explorer is not None]
    script = explorers.script(live)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="lead">{for_html(document.lead)}</p>
{body}
</main>{f'<script type="module">{script}</script>' if script else ""}
</body>
</html>
"""


def _policy(script: str) -> str:
    """What the browser may do: show the page's own pictures and style, and run its own script."""
    run = f" script-src {explorers.source_hash(script)};" if script else ""
    style = explorers.source_hash(STYLE)
    return (
        f"default-src 'none'; img-src data:; style-src {style};{run} base-uri 'none'; "
        "form-action 'none'"
    )


def _block(block: Block, number: int, drawn: Drawn, files: Files) -> str:
    match block:
        case Paragraph(text, warning):
            return _paragraph(text, "warning" if warning else "text")
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{for_html(item)}</li>' for item in items)}</ul>"
        case Code(text):
            return f'<pre tabindex="0"><code>{for_html(text)}</code></pre>'
        case Facts(rows):
            return f'<table class="facts"><tbody>{"".join(map(_fact, rows))}</tbody></table>'
        case Table():
            return _table(block, number, files(block) if block.name else ())
        case Figure():
            return _figure(block, number, drawn[block.drawing.name], files(block.drawing))


def _paragraph(text: str, kind: str) -> str:
    return f'<p class="{kind}">{for_html(text)}</p>'


def _fact(row: tuple[str, str]) -> str:
    name, value = map(for_html, row)
    return f'<tr><th scope="row">{name}</th><td>{value}</td></tr>'


def _table(table: Table, number: int, files: Sequence[str]) -> str:
    kinds = [' class="text"' if text else "" for text in table.texts]

    def row(cells: Sequence[str], opening: str) -> str:
        tag = opening.split()[0]
        shown = zip(cells, kinds, strict=True)
        return "".join(f"<{opening}{kind}>{for_html(cell)}</{tag}>" for cell, kind in shown)

    head = row(table.heads, 'th scope="col"')
    rows = "\n".join(f"<tr>{row(cells, 'td')}</tr>" for cells in table.cells)
    shown = f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"
    caption = _caption("Table", number, table.caption, files)
    return f"<figure>{caption}{_wide(shown, 'Table', number)}</figure>"


def _figure(figure: Figure, number: int, picture: Picture | Failure, files: Sequence[str]) -> str:
    if isinstance(picture, Failure):
        shown = _paragraph(f"This figure could not be drawn: {picture.reason}", "warning")
        files = ()
    else:
        # As an image of its own, an SVG's ids and styles cannot meet those of another.
        data = base64.b64encode(picture.svg).decode()
        source = f"data:image/svg+xml;base64,{data}"
        image = f'<img alt="{for_html(figure.alternative)}" src="{source}">'
        shown = _wide(image, "Figure", number)
    live = ""
    if figure.explorer is not None:
        data = f'<script type="application/json">{figure.explorer.data}</script>'
        live = f'<div class="live {figure.explorer.kind}" hidden>{data}</div>'
    caption = _caption("Figure", number, figure.caption, files)
    return f"<figure>{shown}{caption}{live}</figure>"


def _wide(shown: str, kind: str, number: int) -> str:
    """What may be wider than the page: it is moved within its box, by the keyboard as well."""
    box = f'<div class="scroll" tabindex="0" role="region" aria-label="{kind} {number}">'
    return f"{box}{shown}</div>"


def _caption(kind: str, number: int, text: str, files: Sequence[str]) -> str:
    of_it = f'<span class="unseen"> of {kind.lower()} {number}</span>'
    links = [
        f' <a href="{for_html(quote(file))}">{_FORMATS[file.rpartition(".")[2]]}{of_it}</a>'
        for file in files
    ]
    return f"<figcaption><b>{kind} {number}.</b> {for_html(text)}{''.join(links)}</figcaption>"
