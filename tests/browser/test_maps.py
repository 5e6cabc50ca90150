"""The map of neg_map's report in a browser: pointed at, enlarged, searched, linked to points."""

import json
import statistics
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.reporting import report as reports
from experiments.reporting.explorers import MapExplorer
from experiments.reporting.figures import Picture
from negjax.storage import store
from tests.browser.visits import Visit, check_shown, file_address, visited
from tests.support.pages import PNG

LAYERS, NEURONS = 30, 1536
SECONDS, FRAME = 2.0, 0.1
"""To the first paint, and of a frame, on a machine that others use as well."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with the map of as many neurons as the embedded model has."""
    generator = np.random.default_rng(0)
    across = generator.standard_t(2, (LAYERS, NEURONS)) * 1e-3
    up = across * generator.normal(1, 0.05, across.shape)
    up[7, 123] = -2 * np.abs(across).max()
    shown = MapExplorer(
        names=("NeurGrad", "NEG"),
        layer=np.arange(LAYERS),
        across=across,
        up=up,
        activation=generator.normal(size=across.shape),
    )
    picture = Picture(b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 1"/>', PNG)
    figure = reports.Figure(reports.Drawing("map", lambda: picture), "A map.", "a", shown)
    document = reports.Document("Map", "Lead.", [reports.Section("One", [figure])])
    path = tmp_path_factory.mktemp("map") / store.REPORT
    path.write_text(reports.html_page(document, {"map": picture}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def live(browser: Any, written: Path) -> Iterator[Visit]:
    """The page, which stays open."""
    with visited(browser, file_address(written)) as visit:
        assert visit.first_paint < SECONDS
        yield visit


def told(visit: Visit, words: str) -> None:
    visit.expect(".map .said").to_contain_text(words)


def test_the_neuron_that_is_predicted_worst_is_shown_first(live: Visit) -> None:
    told(live, "Layer 7, neuron 123: NEG −")


def test_the_pointer_reads_a_neuron_and_a_click_marks_it(live: Visit) -> None:
    canvas = live.page.locator(".map .layers")
    marked = live.page.locator(".map .scatter")
    before = marked.screenshot()
    box = canvas.bounding_box()
    live.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    told(live, f"Layer {LAYERS // 2}, neuron 7")
    live.page.mouse.down()
    live.page.mouse.up()
    live.page.mouse.move(5, 5)
    told(live, f"Layer {LAYERS // 2}, neuron 7")
    assert marked.screenshot() != before


def test_a_neuron_is_found_and_its_numbers_are_those_of_the_page(live: Visit) -> None:
    given = json.loads(live.page.locator(".map script").text_content())
    up = np.frombuffer(b64decode(given["arrays"]["up"]), "<f4").reshape(LAYERS, NEURONS)
    finder = live.page.get_by_label("Find layer.neuron")
    finder.fill("21.1000")
    finder.press("Enter")
    told(live, f"Layer 21, neuron 1000: NEG {'+' if up[21, 1000] > 0 else '−'}")
    finder.fill("30.1")
    finder.press("Enter")
    told(live, "No neuron “30.1” is on this map.")


def test_the_map_is_enlarged_by_buttons_and_keys_and_shows_what_is_chosen(live: Visit) -> None:
    where = ".map .where"
    live.expect(where).to_contain_text("layers 0 to 29; across: neurons 0 to 1535")
    live.page.get_by_role("button", name="Enlarge").click()
    live.expect(where).to_contain_text("across: neurons 500 to 1267")
    canvas = live.page.locator(".map .layers")
    before = canvas.screenshot()
    live.page.get_by_label("Shown").select_option("NEG − NeurGrad")
    assert canvas.screenshot() != before
    canvas.focus()
    for key, words in (("+", "neurons 7"), ("-", "neurons 500"), ("0", "neurons 0 to 1535")):
        live.page.keyboard.press(key)
        live.expect(where).to_contain_text(words)
    live.page.keyboard.press("ArrowDown")
    told(live, "Layer 22, neuron ")


def test_the_map_has_no_grave_fault(browser: Any, written: Path) -> None:
    check_shown(browser, file_address(written), "map")


def test_of_all_neurons_a_frame_is_short_while_the_pointer_moves(live: Visit) -> None:
    places = np.random.default_rng(0).uniform(0.1, 0.9, (40, 2)).tolist()
    frames = live.frames(".map .layers", places)
    frame = statistics.median(frames)
    print(f"{LAYERS * NEURONS:,} neurons: a frame takes {1000 * frame:.0f} ms (median)")
    assert frame < FRAME


def test_without_scripts_the_picture_stays(browser: Any, written: Path) -> None:
    with visited(browser, file_address(written), scripts=False) as visit:
        visit.expect("figure img").to_be_visible()
        visit.expect(".map .layers").to_have_count(0)
