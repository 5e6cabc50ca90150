"""A reader of pages that refuses what a report may not hold, and the beginning of a PNG file."""

import base64
import html.parser
import json
import re
from typing import Any

from experiments.reporting.explorers import source_hash

PNG = b"\x89PNG\r\n\x1a\n"
BESIDE = re.compile(r"(figures|tables)/[\w.-]+")
"""Files to which a page may link."""
VOID = {"meta", "img", "br", "hr", "link"}


class Page(html.parser.HTMLParser):
    """Elements of a page, refusing what is left open and what would load something."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.data: list[Any] = []
        """What its script reads."""
        self.links: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        assert tag not in ("link", "iframe", "object", "base")
        assert not any(name.startswith("on") or name == "style" for name in found)
        assert tag != "script" or set(found) == {"type"}
        for name in ("src", "srcset", "poster", "action"):
            assert (found.get(name) or "data:").startswith("data:")
        if "href" in found:
            self.links.append(found["href"] or "")
            assert tag == "a" and BESIDE.fullmatch(self.links[-1])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self._script(data)
            return
        self.text.append(data)
        if self.open[-1:] == ["style"]:
            assert "url(" not in data
            assert "@import" not in data
            assert source_hash(data) in self.policy

    def _script(self, text: str) -> None:
        """Data, or what the page's policy lets the browser run."""
        if self.elements[-1][1]["type"] == "application/json":
            self.data.append(json.loads(text))
        else:
            assert f"script-src {source_hash(text)};" in self.policy

    @property
    def policy(self) -> str:
        """What the browser may do."""
        [given] = [e["content"] for _, e in self.elements if "http-equiv" in e]
        assert given is not None and given.startswith("default-src 'none';")
        return given

    @property
    def images(self) -> list[bytes]:
        sources = [found.get("src") or "" for tag, found in self.elements if tag == "img"]
        return [base64.b64decode(source.partition("base64,")[2]) for source in sources]
