"""Reports in a browser: they are drawn, fit, print, ask for nothing, and run no text."""

from pathlib import Path
from typing import Any

import pytest

from experiments.reporting.figures import Picture
from experiments.reporting.report import (
    Block,
    Bullets,
    Code,
    Document,
    Drawing,
    Facts,
    Failure,
    Figure,
    Paragraph,
    Section,
    html_page,
)
from experiments.reporting.tables import Table, columns
from tests.browser.visits import NARROW, WIDE, Visit, check_shown, file_address, visited
from tests.support.hostile_text import ALL_OF_THEM
from tests.support.pages import PNG

SECONDS = 2.0
"""To the first paint."""
SIZES = "Array.from(document.images, (image) => [image.naturalWidth, image.alt.length])"
SHEET = 718
"""Pixels of a sheet of A4 between its margins."""
CUT_OFF = """Array.from(document.querySelectorAll('.scroll, pre'))
  .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.innerText.slice(0, 80))"""
DRAWN = b"""<svg xmlns="http://www.w3.org/2000/svg" width="900" height="200">
<rect width="900" height="200" fill="white"/><text x="9" y="99">drawn</text></svg>"""


def check_on_paper(visit: Visit) -> None:
    """Nothing that is too wide for a sheet is cut off, and nothing is there to be clicked."""
    visit.page.set_viewport_size({"width": SHEET, "height": 900})
    visit.page.emulate_media(media="print")
    assert visit.page.locator("table").count() > 1
    assert visit.page.evaluate(CUT_OFF) == []
    assert visit.page.locator(".live:visible, a:visible").count() == 0


def drawn() -> Picture:
    return Picture(DRAWN, PNG)


def blocks(text: str) -> list[Block]:
    """Of every kind, one figure failed, and a table too wide for any window."""
    wide = columns(*(f"{text[:20]} {number}" for number in range(40)))
    return [
        Paragraph(text),
        Paragraph(text, warning=True),
        Bullets([text, text]),
        Code(text),
        Facts([(text[:20], text)]),
        Table(name="narrow", caption=text, columns=columns("a"), rows=[[text]]),
        Table(caption=text, columns=wide, rows=[[text[:9]] * 40] * 3),
        Figure(Drawing("one", drawn), text, text),
        Figure(Drawing("two", drawn), text, text),
    ]


def test_every_kind_of_block(browser: Any, tmp_path: Path) -> None:
    document = Document("Every kind", "Of block.", [Section("One", blocks("word " * 60))])
    pictures: dict[str, Picture | Failure] = {"one": drawn(), "two": Failure("of a fault")}
    files = {name: [f"figures/{name}.svg", f"figures/{name}.png"] for name in pictures}
    files["narrow"] = ["tables/narrow.csv"]
    page = tmp_path / "report.html"
    page.write_text(html_page(document, pictures, lambda shown: files[shown.name]), "utf-8")
    check_shown(browser, file_address(page), "blocks")
    with visited(browser, file_address(page), width=NARROW) as visit:
        # What is too wide is moved within its box, by the keyboard, too.
        box = visit.page.get_by_role("region", name="Table 2")
        box.focus()
        visit.page.keyboard.press("ArrowRight")
        visit.expect(box).not_to_have_js_property("scrollLeft", 0)
        links = visit.page.get_by_role("link").all_text_contents()
        assert links == ["CSV of table 1", "SVG of figure 1", "PNG of figure 1"]


def test_text_is_inert_wherever_it_stands(browser: Any, tmp_path: Path) -> None:
    document = Document(ALL_OF_THEM, ALL_OF_THEM, [Section(ALL_OF_THEM, blocks(ALL_OF_THEM))])
    page = tmp_path / "report.html"
    failed = dict.fromkeys(("one", "two"), Failure(ALL_OF_THEM))
    page.write_text(html_page(document, failed), "utf-8")
    check_shown(browser, file_address(page), "blocks_hostile")


def test_studies_of_hostile_texts(browser: Any, hostile_report: Path, tmp_path: Path) -> None:
    name = hostile_report.parent.name
    check_shown(browser, file_address(hostile_report), f"{name}_hostile")
    with visited(browser, file_address(hostile_report)) as visit:
        sizes = visit.page.evaluate(SIZES)
        assert sizes and all(width > 100 and letters > 10 for width, letters in sizes)
        assert "<script>alert" in visit.page.inner_text("body")
        assert visit.page.locator("script:not([type])").count() == 0
        assert "could not be drawn" not in visit.page.inner_text("body")
        for link in visit.page.get_by_role("link").all():
            assert (hostile_report.parent / link.get_attribute("href")).is_file()
        assert 2 <= visit.printed_pages(tmp_path / "report.pdf") < 60
        check_on_paper(visit)


def test_a_report_without_scripts_shows_its_pictures(browser: Any, report: Path) -> None:
    with visited(browser, file_address(report), scripts=False) as visit:
        assert visit.page.locator("figure img").count() == 5
        assert visit.page.locator("figure img").nth(3).is_visible()
        assert not visit.page.locator(".live").is_visible()
        visit.keep("linearity_without_scripts")


def test_a_report_is_there_at_once_and_prints(browser: Any, report: Path, tmp_path: Path) -> None:
    with visited(browser, file_address(report)) as visit:
        assert visit.first_paint < SECONDS
        assert 3 <= visit.printed_pages(tmp_path / "report.pdf") <= 12
        check_on_paper(visit)
        visit.keep("linearity_printed")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_report_has_the_colours_of_its_theme(browser: Any, report: Path, theme: str) -> None:
    with visited(browser, file_address(report), theme=theme) as visit:
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (theme == "light")
        # Pictures stay what they are.
        white = visit.page.locator("figure img").first.evaluate(
            "image => getComputedStyle(image).backgroundColor"
        )
        assert white == "rgb(255, 255, 255)"
    with visited(browser, file_address(report), theme=theme, width=WIDE) as visit:
        visit.page.emulate_media(media="print")
        # Ink is dark on paper whatever the theme.
        assert visit.page.evaluate("getComputedStyle(document.body).color") == "rgb(34, 34, 34)"
