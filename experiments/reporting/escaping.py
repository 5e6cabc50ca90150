"""Text from outside on its way to a reader that gives some characters a meaning of their own.

Prompts, answers, tokens, labels and names of files may hold anything. One function a reader:
figures, HTML, Markdown, the terminal. What all of them show alike is `visible`.
"""

import html
import re
import unicodedata

FONT = "DejaVu Sans"
"""Of figures: it comes with matplotlib, so that pictures look the same everywhere."""
MOST = 80
"""Characters of a title in a figure, or of a cell in the terminal; the report shows texts whole."""
MOST_OF_LABEL = 28
"""Characters of a label in a figure: names beside an axis leave room for what is drawn."""

# Control and format characters (marks of direction, zero widths), halves of surrogate pairs, what
# is no character, separators of lines; joiners of letters and emoji are none of these.
_HIDDEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"
# Within a word an underscore means nothing.
_MARKDOWN = re.compile(r"([\\`*{}\[\]>|~]|(?<![^\W_])_|_(?![^\W_]))")
# At the beginning of a line: headings, items of lists, rules.
_OPENING = re.compile(r"^(?:(?=[#=+-])|(\d+)(?=[.)](?:\s|$)))")


def visible(text: str, keep: str = "") -> str:
    r"""A text with what has no glyph written out: "\n", "\x07", "\u202e", "\ud800".

    Such are control characters, separators of lines, marks of direction, halves of surrogate pairs
    and what is no character at all.

    Args:
        keep: characters to leave as they are.
    """
    return "".join(
        letter if letter in keep or not _is_hidden(letter) else _written_out(letter)
        for letter in text
    )


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) in _HIDDEN and letter not in _JOINERS


def _written_out(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def storable(text: str) -> str:
    """Text for a file in UTF-8, which has no bytes for half of a surrogate pair."""
    return re.sub("[\ud800-\udfff]", lambda half: _written_out(half[0]), text)


def shortened(text: str, most: int = MOST) -> str:
    """The first `most` characters, the last of them an ellipsis where the text goes on."""
    return text if len(text) <= most else text[: most - 1] + "…"


def for_figure(text: str, most: int = MOST) -> str:
    """Text for matplotlib, which reads what stands between two dollars as mathematics.

    What its font lacks, as Chinese letters and emoji, is written out: a box would say nothing.
    """
    # Here: programs without figures have no need of matplotlib.
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont(FONT))
    drawn = "".join(c if font.get_char_index(ord(c)) else _written_out(c) for c in visible(text))
    return shortened(drawn, most).replace("$", r"\$")


def for_label(text: str) -> str:
    """Text for a label of an axis, a tick or a legend, in matplotlib.

    A legend leaves out labels that are empty or begin with an underscore.
    """
    shown = for_figure(text, MOST_OF_LABEL)
    return f" {shown}" if shown[:1] in ("", "_") else shown


def for_html(text: str) -> str:
    """Text for HTML, within an element or a quoted attribute; lines and tabs stay."""
    return html.escape(visible(text, keep="\n\t"))


def for_markdown(text: str) -> str:
    """Text for a table cell of Markdown, or within a line."""
    shown = visible(text).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(r"\\\1", shown)


def for_markdown_line(text: str) -> str:
    """Text for a line of Markdown, whatever it begins with."""
    return _OPENING.sub(r"\1\\", for_markdown(text).strip())


def code_span(text: str) -> str:
    """Text as code in a line of Markdown."""
    shown = visible(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def for_terminal(text: str, most: int | None = None, keep: str = "") -> str:
    r"""Text for a terminal, where an escape sequence could do anything.

    Args:
        most: characters to show; default: all.
        keep: characters to leave, "\n" where the text is several lines.
    """
    shown = visible(text, keep)
    return shown if most is None else shortened(shown, most)
