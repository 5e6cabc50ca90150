"""A document as a page of Markdown, which shows what its HTML page shows.

Text is escaped here, line by line; pictures are links to files.
"""

from collections.abc import Mapping

from experiments.reporting.escaping import for_markdown_line, visible
from experiments.reporting.report import (
    Block,
    Bullets,
    Code,
    Document,
    Facts,
    Failure,
    Figure,
    Paragraph,
    numbered,
)
from experiments.reporting.tables import Table, markdown_lines


def markdown_page(document: Document, pictures: Mapping[str, str | Failure], note: str = "") -> str:
    """The page; figures and tables are numbered in the order they come.

    Args:
        pictures: paths from the page to its pictures, by the names of the drawings.
        note: a line below the title.
    """
    blocks = [f"# {for_markdown_line(document.title)}", for_markdown_line(note)]
    blocks.append(for_markdown_line(document.lead))
    for section, numbers in numbered(document):
        blocks.append(f"## {for_markdown_line(section.heading)}")
        blocks += [
            _block(block, number, pictures)
            for block, number in zip(section.blocks, numbers, strict=True)
        ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _block(block: Block, number: int, pictures: Mapping[str, str | Failure]) -> str:
    match block:
        case Paragraph(text, warning):
            return _quoted(text) if warning else for_markdown_line(text)
        case Bullets(items):
            return "\n".join(f"- {for_markdown_line(item)}" for item in items)
        case Code(text):
            return "\n".join(f"    {visible(line)}" for line in text.split("\n"))
        case Facts(rows):
            return "\n".join(f"- {for_markdown_line(f'{name}: {value}')}" for name, value in rows)
        case Table():
            return "\n".join([*markdown_lines(block), "", _caption("Table", number, block.caption)])
        case Figure():
            shown = _picture(block, pictures[block.drawing.name])
            return "\n".join([shown, "", _caption("Figure", number, block.caption)])


def _picture(figure: Figure, picture: str | Failure) -> str:
    if isinstance(picture, Failure):
        return _quoted(f"This figure could not be drawn: {picture.reason}")
    return f"![{for_markdown_line(figure.alternative)}]({picture})"


def _quoted(text: str) -> str:
    return f"> {for_markdown_line(text)}"


def _caption(kind: str, number: int, text: str) -> str:
    return f"**{kind} {number}.** {for_markdown_line(text)}".rstrip()
