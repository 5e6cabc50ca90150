"""Texts that somebody's markup, terminal or encoding takes for something else than text."""

import unicodedata

MARKUP = (
    "$$",
    r"$\oops$ _{^",
    "\\",
    "_",
    "<script>alert('&amp;')</script>",
    "--> ]]> <!-- ?>",
    "| a | b |",
    "``` `a` ~~~",
    "![x](javascript:y) [z]: http://a.example www.b.example",
    "- a",
    "1. a",
    "---",
    "{0} %s",
)
UNSEEN = (
    "\x00\x07\b\x7f\x85",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "a\r\nb\tc\x0bd\u2028e",
    "\u202eabc\u2066d",
    "\ud800",
    "a\udcffb\ufffe\uffff",
    "\ufeff\u200b",
    "",
    " ",
    "\xa0\u3000",
)
LETTERS = (
    "巴黎 パリ",
    "👨\u200d👩\u200d👧 🏳️\u200d🌈",
    "שלום مرحبا",
    "e\u0301" + "\u0337" * 40,
    "a" * 10_000,
    "\n" * 10_000,
    "∫ Σ ‖x‖",
)
HOSTILE = (*MARKUP, *UNSEEN, *LETTERS)
ALL_OF_THEM = " ".join(HOSTILE)
# What is short enough to be shown whole, even where that is not much.
SHORT = r"_$\oops$ <script>|`", "\x00\x1b[1m\ud800\u202e", "巴黎👨\u200d👩\n"


def unseen(text: str) -> set[str]:
    """Characters without a form of their own, of those that act on what shows them."""
    kinds = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    found = {c for c in text if unicodedata.category(c) in kinds}
    return found - {"\u200c", "\u200d"}
