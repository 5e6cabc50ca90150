"""A page in a browser: what it says, what it asks for, and how it looks."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import ROOT

PICTURES = ROOT / "build" / "browser"
"""Pictures of the screen, to be looked at."""
WIDE, NARROW = 1300, 400
"""Of windows, in pixels."""
TALLEST = 7_000
"""Of pictures, in pixels."""
THEMES = ("light", "dark")
GRAVE = ("serious", "critical")
"""Violations of accessibility that no page may have."""


MOVED = """async ([selector, places]) => {
  const canvas = document.querySelector(selector);
  const box = canvas.getBoundingClientRect();
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const times = [];
  let before = await frame();
  for (const [x, y] of places) {
    const at = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
    canvas.dispatchEvent(new PointerEvent('pointermove', at));
    await frame();
    const now = await frame();
    times.push((now - before) / 2000);
    before = now;
  }
  return times;
}"""


@dataclass(kw_only=True)
class Visit:
    """A page that is open, and what has come of it since."""

    page: Any
    """Of Playwright."""
    said: list[str] = field(default_factory=list)
    """On the console, errors, and dialogs."""
    requests: list[str] = field(default_factory=list)
    """Addresses, `data:` and `blob:` aside."""

    @property
    def width(self) -> int:
        """Of all that it shows, in pixels."""
        return int(self.page.evaluate("document.scrollingElement.scrollWidth"))

    @property
    def first_paint(self) -> float:
        """Seconds from the request to the first thing that is seen."""
        script = """() => new Promise((done) => new PerformanceObserver((list) => {
          for (const entry of list.getEntriesByName('first-contentful-paint')) {
            done(entry.startTime / 1000);
          }
        }).observe({ type: 'paint', buffered: true }))"""
        return float(self.page.evaluate(script))

    def expect(self, found: Any) -> Any:
        """Assertions of Playwright, which wait, of a locator or of what a selector finds.

        They ask from outside: what a page's policy forbids stays forbidden.
        """
        from playwright.sync_api import expect

        return expect(self.page.locator(found) if isinstance(found, str) else found)

    def violations(self) -> list[str]:
        """Grave ones that axe-core finds, with what is at fault."""
        from axe_playwright_python.sync_playwright import Axe

        # It would fetch the page's style a second time, which a page's policy may forbid.
        found = Axe().run(self.page, options={"preload": False}).response["violations"]
        return [
            f"{rule['id']} ({rule['impact']}): {node['html'][:200]}: {node['failureSummary']}"
            for rule in found
            if rule["impact"] in GRAVE
            for node in rule["nodes"]
        ]

    def frames(self, selector: str, places: list[list[float]]) -> list[float]:
        """Seconds of a frame while the pointer moves to places, shares of a canvas's size."""
        return list(self.page.evaluate(MOVED, [selector, places]))

    def keep(self, name: str) -> None:
        """Keeps a picture of the page, of a long one its beginning."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        height = self.page.evaluate("document.scrollingElement.scrollHeight")
        size = self.page.viewport_size
        self.page.set_viewport_size({**size, "height": min(height, TALLEST)})
        self.page.screenshot(path=PICTURES / f"{name}.png")
        self.page.set_viewport_size(size)

    def printed_pages(self, file: Path) -> int:
        """How many sheets the page takes in print."""
        self.page.pdf(path=file)
        return len(re.findall(rb"/Type\s*/Page\b", file.read_bytes()))


@contextmanager
def visited(
    browser: Any,
    address: str,
    *,
    theme: str = "light",
    width: int = WIDE,
    scripts: bool = True,
    beside: bool = False,
) -> Iterator[Visit]:
    """Opens an address.

    When it is left, nothing may have been said, nor asked of any other address; `beside` it may
    have asked for files of the same folder.
    """
    context = browser.new_context(
        color_scheme=theme,
        viewport={"width": width, "height": 900},
        java_script_enabled=scripts,
        accept_downloads=True,
    )
    base = address.partition("#")[0]
    base = base.rpartition("/")[0] + "/" if beside else base
    visit = Visit(page=context.new_page())
    page = visit.page
    page.on("console", lambda message: visit.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: visit.said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: _dismissed(visit, dialog))
    page.on("popup", lambda other: visit.said.append(f"popup: {other.url}"))
    page.on("request", lambda request: _noted(visit, request.url))
    try:
        page.goto(address)
        yield visit
        assert not visit.said, visit.said
        elsewhere = [asked for asked in visit.requests if not asked.startswith(base)]
        assert not elsewhere, elsewhere
    finally:
        context.close()


def _dismissed(visit: Visit, dialog: Any) -> None:
    visit.said.append(f"dialog: {dialog.message}")
    dialog.dismiss()


def _noted(visit: Visit, address: str) -> None:
    if not address.startswith(("data:", "blob:")):
        visit.requests.append(address)


def check_shown(browser: Any, address: str, name: str) -> None:
    """A report is drawn in both themes, wide and narrow, and has no grave fault."""
    for theme in THEMES:
        for width in (WIDE, NARROW):
            with visited(browser, address, theme=theme, width=width) as visit:
                assert visit.width <= width, (theme, width)
                assert not visit.violations(), (theme, width)
                if (theme == "dark") == (width == NARROW):
                    visit.keep(f"{name}_{theme}_{width}")
                assert visit.requests == [address]


def file_address(path: Path) -> str:
    """As a browser opens a file."""
    if not path.is_file():
        pytest.fail(f"{path} is not there")
    return path.resolve().as_uri()
