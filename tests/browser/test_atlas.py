"""The atlas in a browser: its list, map, search and pages of neurons, with hostile texts in it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from absl.testing import flagsaver

from experiments.inputs import facts
from tests.browser.visits import NARROW, THEMES, WIDE, Visit, file_address, visited
from tests.support.hostile_inputs import hostile
from tests.support.small_studies import STUDIES
from tests.support.tiny_runs import arguments, parse

PLACES = ("#/", "#/L0.1", "#/fact/0", "#/layer/0", "#/find/w5")


@pytest.fixture(scope="module")
def atlas(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of the pages of a tiny model, whose prompts and answers are hostile."""
    folder = tmp_path_factory.mktemp("atlas")
    run, given = STUDIES["atlas"]
    with pytest.MonkeyPatch.context() as patch, flagsaver.flagsaver():
        patch.setattr(facts, "load_inputs", hostile(facts.load_inputs))
        parse(*arguments(inputs, folder / "run", "--prompts=2", *given))
        assert run() == 0
    [page] = (folder / "run").rglob("index.html")
    return file_address(page)


@pytest.fixture(scope="module")
def live(browser: Any, atlas: str) -> Iterator[Visit]:
    """Its first page, which stays open."""
    with visited(browser, atlas, beside=True) as visit:
        visit.expect("#rows tr").not_to_have_count(0)
        yield visit


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_kind_of_page_fits_and_has_no_grave_fault(
    browser: Any, atlas: str, theme: str, width: int
) -> None:
    for place in PLACES:
        with visited(browser, atlas + place, theme=theme, width=width, beside=True) as visit:
            visit.expect("main:not([hidden])").to_be_visible()
            visit.expect("#model").not_to_have_text("Loading…")
            assert visit.width <= width, place
            assert not visit.violations(), place
            if (theme == "dark") == (width == NARROW):
                visit.keep(f"atlas_{re.sub('[^0-9A-Za-z]', '_', place)}_{theme}_{width}")


def test_a_row_leads_to_its_neuron_and_back(live: Visit) -> None:
    link = live.page.locator("#rows a").first
    name = link.inner_text()
    link.click()
    live.expect("#one h2.name").to_have_text(f"Neuron {name}")
    live.page.go_back()
    live.expect("#all").to_be_visible()


def test_the_search_finds_a_neuron_and_says_what_is_not_there(live: Visit) -> None:
    asked = live.page.locator("#asked")
    asked.fill("2.7")
    asked.press("Enter")
    live.expect("#one h2.name").to_have_text("Neuron 2.7")
    asked.fill("99.7")
    asked.press("Enter")
    live.expect("#said").not_to_have_text("")


def test_keys_choose_a_neuron_on_the_map(live: Visit) -> None:
    live.page.goto(live.page.url.partition("#")[0] + "#/")
    live.expect("#map").to_be_visible()
    live.page.locator("#map").focus()
    live.page.keyboard.press("ArrowRight")
    live.expect("#map-place").to_contain_text("0.")
    live.page.keyboard.press("Enter")
    live.expect("#one h2.name").to_contain_text("Neuron 0.")


def test_the_list_is_sorted_by_any_column(live: Visit) -> None:
    live.page.goto(live.page.url.partition("#")[0] + "#/")
    heads = live.page.locator("#heads button")
    for place in range(heads.count()):
        heads.nth(place).click()
        sorted_by = live.page.locator("#heads [aria-sort]:not([aria-sort=none])")
        live.expect(sorted_by).to_have_count(1)


def test_without_scripts_the_page_says_so(browser: Any, atlas: str) -> None:
    with visited(browser, atlas, scripts=False, beside=True) as visit:
        assert "does not run" in visit.page.content()
