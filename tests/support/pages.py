"""A reader of pages that refuses what a report may not hold, and the beginning of a PNG file."""

import base64
import html.parser

PNG = b"\x89PNG\r\n\x1a\n"
VOID = {"meta", "img", "br", "hr", "link"}


class Page(html.parser.HTMLParser):
    """Elements of a page, refusing what is left open and what would load something."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name in ("src", "href", "srcset", "poster", "action"):
            assert (found.get(name) or "data:").startswith("data:")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.open[-1:] == ["style"]:
            assert "url(" not in data
            assert "@import" not in data

    @property
    def images(self) -> list[bytes]:
        sources = [found.get("src") or "" for tag, found in self.elements if tag == "img"]
        return [base64.b64decode(source.partition("base64,")[2]) for source in sources]
