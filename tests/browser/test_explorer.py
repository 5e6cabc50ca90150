"""Points of a report, pointed at in a browser: by pointer, keys, name and slider."""

import json
import statistics
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from experiments.reporting import explorers
from experiments.reporting import report as reports
from experiments.reporting.explorers import Explorer
from experiments.reporting.figures import Picture
from tests.browser.visits import Visit, file_address, visited
from tests.support.pages import PNG

# Of the drawing, in its own units.
LEFT, RIGHT, TOP, BOTTOM, WIDTH = 62, 448, 12, 300, 460
SECONDS = 2.0
"""To the first paint."""
FRAME = 0.1
"""Seconds that a frame may take, on a machine that others use as well."""


class Points:
    """What a page holds of its points, and where they are drawn."""

    def __init__(self, page: Any):
        self.data = json.loads(page.locator(".live script").text_content())
        self.of = {
            name: np.frombuffer(b64decode(text), "<f4").astype(float)
            for name, text in self.data["arrays"].items()
        }
        self.count = self.of["prompt"].size
        self.series = self.of["coefficients"].reshape(self.count, -1)

    def name(self, point: int) -> str:
        """As the page says it."""
        asked = self.data["prompts"][int(self.of["prompt"][point])]
        return (
            f"layer {self.of['layer'][point]:.0f}, neuron {self.of['neuron'][point]:.0f}: "
            f"“{asked['text']}” → “{asked['answer']}”"
        )

    @property
    def places(self) -> np.ndarray:
        """[P, 2], shares of the drawing's width and height."""
        both = np.stack([self.of["across"], self.of["up"]], axis=1)
        sizes = np.sort(np.abs(both[both != 0]))
        middle, most = sizes[sizes.size // 2], sizes[-1]
        placed = np.sign(both) * np.log1p(np.abs(both) / middle) / np.log1p(most / middle)
        x = LEFT + (placed[:, 0] + 1) / 2 * (RIGHT - LEFT)
        y = BOTTOM - (placed[:, 1] + 1) / 2 * (BOTTOM - TOP)
        return np.stack([x / WIDTH, y / 340], axis=1)

    def probability(self, point: int, shift: float) -> float:
        """Of the answer."""
        return float(chebyshev.chebval(shift / self.data["radius"], self.series[point]))


@pytest.fixture(scope="module")
def live(browser: Any, report: Path) -> Iterator[Visit]:
    """The page of linearity, which stays open."""
    with visited(browser, file_address(report)) as visit:
        yield visit


def said(visit: Visit) -> str:
    return str(visit.page.locator(".live .said").inner_text())


def pointed_at(visit: Visit, place: np.ndarray) -> None:
    canvas = visit.page.locator(".live canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"]
    visit.page.mouse.move(x, y)


def waited(visit: Visit, words: str) -> None:
    """Until the page says so: it draws once a frame."""
    visit.expect(".live .said").to_contain_text(words)


def walked(visit: Visit, key: str, steps: int) -> None:
    """From one neuron to the next, by a key."""
    visit.page.locator(".live canvas").focus()
    for _ in range(steps):
        visit.page.keyboard.press(key)


def test_the_pointer_shows_a_neuron_and_a_click_keeps_it(live: Visit) -> None:
    points = Points(live.page)
    first = said(live)
    order = np.argsort(points.of["across"])
    least, largest = (int(order[at]) for at in (0, -1))
    assert points.name(least) != points.name(largest)
    curve = live.page.locator(".live svg path").nth(1)
    for point in (least, largest):
        pointed_at(live, points.places[point])
        waited(live, points.name(point))
        assert f"NEG {points.of['up'][point]:+.2g}"[:6].replace("-", "−") in said(live)
    drawn = curve.get_attribute("d")
    live.page.mouse.move(5, 5)
    waited(live, first)
    assert curve.get_attribute("d") != drawn
    pointed_at(live, points.places[largest])
    live.page.mouse.down()
    live.page.mouse.up()
    live.page.mouse.move(5, 5)
    waited(live, points.name(largest))
    assert curve.get_attribute("d") == drawn


def test_keys_go_from_neuron_to_neuron(live: Visit) -> None:
    points = Points(live.page)
    order = np.argsort(points.of["across"], kind="stable")
    walked(live, "ArrowLeft", points.count)
    waited(live, points.name(int(order[0])))
    for point in order[1:4]:
        live.page.keyboard.press("ArrowUp")
        waited(live, points.name(int(point)))


def test_a_neuron_is_found_by_its_name(live: Visit) -> None:
    points = Points(live.page)
    layer, neuron = int(points.of["layer"][7]), int(points.of["neuron"][7])
    finder = live.page.get_by_label("Find layer.neuron")
    finder.fill(f"{layer}.{neuron}")
    finder.press("Enter")
    waited(live, f"layer {layer}, neuron {neuron}:")
    finder.fill("99.9")
    finder.press("Enter")
    waited(live, "No curve of neuron “99.9”")


def test_the_slider_follows_the_curve(live: Visit) -> None:
    points = Points(live.page)
    order = np.argsort(points.of["across"], kind="stable")
    walked(live, "ArrowRight", points.count)
    point = int(order[-1])
    slider = live.page.get_by_label("Shift", exact=True)
    slider.focus()
    mark = live.page.locator(".live circle")
    before = float(mark.get_attribute("cx"))
    for _ in range(40):
        live.page.keyboard.press("ArrowRight")
    shift = float(slider.input_value())
    assert shift == pytest.approx(40 * points.data["radius"] / 200)
    value = live.page.locator(".live .value").inner_text()
    exact = float(value.partition("P = ")[2].split()[0].replace("−", "-"))
    assert exact == pytest.approx(points.probability(point, shift), rel=2e-3)
    assert float(mark.get_attribute("cx")) == pytest.approx(before + 0.2 * (RIGHT - LEFT) / 2)
    assert live.requests == [live.page.url]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of as many points as one may have, of the longest series."""
    count, generator = explorers.MOST, np.random.default_rng(0)
    slopes = generator.normal(size=count) * 10.0 ** generator.uniform(-5, -1, count)
    series = generator.normal(size=(count, 36)) * 0.5 ** np.arange(36)
    baseline = np.asarray(chebyshev.chebval(0, series.T))
    # Off their curves, as rounding may leave it of curves that hardly move.
    baseline[::3] += 100
    shown = Explorer(
        axes=("NeurGrad", "NEG"),
        radius=10.0,
        prompts=[(f"prompt {number}", "answer") for number in range(100)],
        prompt=np.arange(count) % 100,
        layer=np.arange(count) % 30,
        neuron=np.arange(count),
        across=slopes,
        up=slopes * generator.normal(1, 0.1, count),
        baseline=baseline,
        error=np.full(count, 1e-4),
        coefficients=series,
    )
    picture = Picture(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', PNG)
    figure = reports.Figure(reports.Drawing("one", lambda: picture), "c", "a", explorer=shown)
    document = reports.Document("Many points", "l", [reports.Section("s", [figure])])
    page = tmp_path_factory.mktemp("many") / "report.html"
    page.write_text(reports.html_page(document, {"one": picture}), "utf-8")
    return page


def test_many_points_are_fluid(browser: Any, many: Path) -> None:
    with visited(browser, file_address(many)) as visit:
        assert visit.first_paint < SECONDS
        assert not visit.violations()
        places = Points(visit.page).places
        order = np.argsort(places[:, 0])
        first = said(visit)
        times = visit.frames(".live canvas", places[order[:: order.size // 60]].tolist())
        assert said(visit) != first
        median = statistics.median(times)
        print(f"a frame over {explorers.MOST:,} points: {1e3 * median:.0f} ms (median)")
        assert median < FRAME
        visit.keep("many_points")
