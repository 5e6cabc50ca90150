"""The playground in a browser: a first question, errors in words, turning, choosing, links."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import PROMPT_TOKENS
from tests.browser.visits import NARROW, THEMES, WIDE, Visit, visited
from tests.support.hostile_text import HOSTILE

PROMPT, ANSWER = "w3 w4 w5 w6 w7", "w9"
LONG = " ".join(f"w{number}" for number in range(2, 3 + PROMPT_TOKENS))


# Typing ten thousand lines takes Chromium minutes.
PASTE = "(field, text) => { field.value = text; }"


def asks(visit: Visit, prompt: str, answer: str) -> None:
    page = visit.page
    page.get_by_role("textbox", name="Prompt").evaluate(PASTE, prompt)
    page.get_by_label(re.compile("^Answer")).evaluate(PASTE, answer)
    page.get_by_role("button", name="Measure").click()


def measured(visit: Visit, prompt: str = PROMPT, answer: str = ANSWER) -> None:
    """Asks, and waits until the slider can be moved and NEG is there."""
    asks(visit, prompt, answer)
    visit.expect("#shift").to_be_enabled()
    visit.expect(visit.page.locator("#list td:nth-child(5)").first).not_to_have_text("…")
    visit.expect("#state").to_contain_text("measured in")


def refused(visit: Visit, prompt: str, answer: str) -> str:
    """Asks what cannot be asked; returns what is said of it."""
    asks(visit, prompt, answer)
    visit.expect(".error:not(:empty)").to_be_visible()
    # A browser says on the console which requests were refused.
    visit.said[:] = [line for line in visit.said if "status of 400" not in line]
    return str(visit.page.locator(".error:not(:empty)").inner_text())


@pytest.fixture(scope="module")
def asked(browser: Any, playground: str) -> Iterator[Visit]:
    """A page on which something was measured."""
    with visited(browser, playground) as visit:
        measured(visit)
        yield visit


def bars(visit: Visit) -> list[str]:
    return list(visit.page.locator("#bars tr td:nth-child(3)").all_inner_texts())


def test_a_first_question(asked: Visit) -> None:
    page = asked.page
    assert page.locator("#says").inner_text().startswith("P(“w9”) = ")
    assert page.locator("#list tr").count() == 20
    assert page.locator("#chosen li").count() == 1
    # The curve of each token, the answer's tangent.
    assert page.locator("#chart path").count() == 2 + len(bars(asked))
    asked.keep("playground_light_1300")


def test_the_slider_moves_the_bars_and_asks_nobody(asked: Visit) -> None:
    page = asked.page
    before, shown = len(asked.requests), bars(asked)
    slider = page.locator("#shift")
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    asked.expect(page.locator("#bars td:nth-child(3)").first).not_to_have_text(shown[0])
    assert float(slider.input_value()) > 0
    assert slider.get_attribute("aria-valuetext").startswith("shift ")
    width = page.locator("#bars .track i").first.evaluate("bar => bar.style.transform")
    assert width != "scaleX(1)"
    page.get_by_role("button", name="Back to 0").click()
    assert bars(asked) == shown
    assert len(asked.requests) == before


def test_the_map_names_and_chooses_a_neuron(asked: Visit) -> None:
    page = asked.page
    canvas = page.locator("#map")
    canvas.hover(position={"x": 30, "y": 5})
    named = page.locator("#map-place").inner_text()
    assert re.fullmatch(r"layer 0, neuron \d+: NeurGrad \S+", named)
    canvas.focus()
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    neuron = page.locator("#map-place").inner_text().partition(":")[0]
    assert neuron.startswith("layer 1,")
    asked.expect("#chosen").to_contain_text(neuron)
    asked.expect("#exactness").to_contain_text("moved together")
    page.get_by_role("button", name=f"let go of {neuron}", exact=True).click()
    asked.expect("#exactness").not_to_contain_text("together")


def test_what_is_found_is_written_steered_and_kept(asked: Visit, tmp_path: Path) -> None:
    page = asked.page
    page.get_by_role("button", name="Write").click()
    asked.expect("#written").to_be_visible()
    assert page.locator("#moved").inner_text()
    page.get_by_label("P(answer)").fill("0.3")
    page.get_by_role("button", name="Steer to P").click()
    asked.expect("#steered").to_contain_text("wanted 30.0%")
    page.get_by_role("button", name="Copy Python").click()
    asked.expect("#code").to_contain_text("negjax.response(")
    for button in ("JSON", "PNG"):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        download.value.save_as(tmp_path / button)
    assert json.loads((tmp_path / "JSON").read_text("utf-8"))["prompt"] == PROMPT
    assert (tmp_path / "PNG").read_bytes().startswith(b"\x89PNG")


def test_a_link_shows_the_same(browser: Any, playground: str, asked: Visit) -> None:
    asked.page.get_by_role("button", name="Copy link").click()
    asked.expect("#kept").to_contain_text("link")
    with visited(browser, asked.page.url) as visit:
        visit.expect("#shift").to_be_enabled()
        visit.expect("#shift").to_have_value(asked.page.locator("#shift").input_value())
        assert bars(visit) == bars(asked)


def test_what_cannot_be_asked_is_said_where_it_belongs(browser: Any, playground: str) -> None:
    with visited(browser, playground) as visit:
        for prompt, answer, words, field in (
            ("The capital of France is", "Paris", "vocabulary does not know", "prompt"),
            (LONG, ANSWER, f"expected at most {PROMPT_TOKENS}; shorten it", "prompt"),
            ("", ANSWER, "prompt is empty, expected text", "prompt"),
            (PROMPT, "Paris", "vocabulary does not know", "answer"),
        ):
            assert words in refused(visit, prompt, answer)
            place = visit.page.locator(".error:not(:empty)")
            assert place.get_attribute("data-field") == field
            assert visit.page.locator(f"#{field}").get_attribute("aria-invalid") == "true"
            assert not visit.violations()
        visit.keep("playground_error")
        # And then goes on.
        measured(visit)
        assert visit.page.locator(".error:not(:empty)").count() == 0


def test_hostile_questions_are_text(browser: Any, playground: str) -> None:
    with visited(browser, playground, width=NARROW) as visit:
        for text in HOSTILE:
            said = refused(visit, text, text)
            assert said
            assert visit.width <= NARROW, text
        assert visit.page.locator("script").count() == 1
        assert "<script>" in refused(visit, "<script>alert(1)</script>", "a")
    with visited(browser, f"{playground}#<script>alert(1)</script>") as visit:
        visit.expect("#general-error").to_contain_text("the link is damaged")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_it_fits_and_is_accessible(browser: Any, playground: str, theme: str, width: int) -> None:
    with visited(browser, playground, theme=theme, width=width) as visit:
        assert visit.first_paint < 2
        assert not visit.violations()
        measured(visit)
        assert visit.width <= width
        assert not visit.violations()
        visit.keep(f"playground_{theme}_{width}")
