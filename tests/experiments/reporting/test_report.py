"""The report: one file, nothing loaded, no text taken for markup; and its figures are drawn."""

import base64
import html.parser
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import matplotlib.figure
import numpy as np
import pytest

from experiments.neg_map import figures as map_figures
from experiments.reporting import figures, report, study
from experiments.reporting.figures import Picture
from experiments.reporting.report import Bullets, Code, Facts, Figure, Paragraph, Section, Table

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


def test_a_page_is_one_file_in_which_text_stays_text() -> None:
    hostile = '<script>alert("&")</script>'
    picture = Picture(b"<svg/>", PNG)
    blocks: list[report.Block] = [
        Paragraph(hostile),
        Paragraph(hostile, warning=True),
        Bullets([hostile, "b"]),
        Code(hostile),
        Facts([(hostile, hostile)]),
        Table(hostile, [hostile], [[hostile]]),
        Figure(report.Drawing("one", lambda: picture), hostile, hostile),
        Figure(report.Drawing("two", lambda: picture), hostile, hostile),
        Table("second", ["a"], [["1"]]),
    ]
    document = report.Document(hostile, hostile, [Section(hostile, blocks)])
    assert [drawing.name for drawing in document.drawings] == ["one", "two"]
    drawn: dict[str, Picture | report.Failure] = {"one": picture, "two": report.Failure(hostile)}
    page = Page(report.html_page(document, drawn))
    assert "".join(page.text).count(hostile) == 16
    assert [found["alt"] for tag, found in page.elements if tag == "img"] == [hostile]
    assert page.images == [b"<svg/>"]
    assert "Table 2." in page.text
    assert {"Figure 1.", "Figure 2."} <= set(page.text)


GENERATOR = np.random.default_rng(0)
LAYER = np.repeat(np.arange(3), 20)
SLOPE = GENERATOR.normal(size=60) * 10.0 ** GENERATOR.uniform(-6, -1, 60)
ZERO = np.zeros((2, 1))
PEARSON = GENERATOR.uniform(-1, 1, 60)


def statistics(radius: float, slope: np.ndarray = SLOPE) -> study.RangeStatistics:
    predictions = {"neurgrad": slope * 1.01, "computed": -slope}
    pearson, bound = PEARSON[: slope.size], np.full(slope.size, 1e-4)
    return study.range_statistics(radius, 20, slope, pearson, np.abs(slope), bound, predictions)


def trace() -> figures.Trace:
    x = np.linspace(-2, 2, 11)
    return figures.Trace(
        "layer 1, neuron 2", "Paris", x, x**2, (x[::2], x[::2] ** 2), 0.1, 0.01, 0.5
    )


def no_neurons() -> Picture:
    none = np.empty(0)
    return figures.linearity_figure([2.0], [none], [none.astype(bool)], [statistics(2.0, none)])


FIGURES: dict[str, Callable[[], Picture]] = {
    "linearity": lambda: figures.linearity_figure(
        [1.0, 2.0],
        [PEARSON, np.ones(60)],
        [SLOPE > 0, SLOPE < 0],
        [statistics(1.0), statistics(2.0)],
    ),
    "linearity of no neurons": no_neurons,
    "layers": lambda: figures.layers_figure(LAYER, SLOPE, 4),
    "layers without slopes": lambda: figures.layers_figure(LAYER, np.zeros(60), 3),
    "predictions": lambda: figures.predictions_figure(
        SLOPE,
        [("NeurGrad", SLOPE), ("CG", np.zeros(60))],
        [study.agreement(SLOPE, SLOPE), study.agreement(np.zeros(60), SLOPE)],
    ),
    "gallery": lambda: figures.gallery_figure([trace()] * 2, [trace()]),
    "gallery of nothing": lambda: figures.gallery_figure([], []),
    "noise": lambda: figures.noise_figure(
        [1.0, 2.0], [np.abs(SLOPE), np.zeros(60)], np.full(60, 1e-4)
    ),
    "noise of nothing": lambda: figures.noise_figure([1.0], [np.zeros(2)], np.zeros(2)),
    "map": lambda: map_figures.map_figure(
        np.asarray([0, 5, 10]),
        SLOPE.reshape(3, 20),
        -SLOPE.reshape(3, 20),
        "CG",
        [map_figures.Named(5, 3, 0.1)],
    ),
    "scatter of nothing": lambda: map_figures.scatter_figure(
        np.arange(2), ZERO, ZERO, ZERO, statistics(2.0, np.zeros(2))
    ),
    "map of nothing": lambda: map_figures.map_figure(
        np.asarray([0]), np.zeros((1, 2)), np.zeros((1, 2)), "CG", []
    ),
    "scatter": lambda: map_figures.scatter_figure(
        np.arange(3),
        SLOPE.reshape(3, 20),
        SLOPE.reshape(3, 20),
        -SLOPE.reshape(3, 20),
        statistics(2.0),
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_in_both_formats_and_need_nothing_else(name: str) -> None:
    picture = FIGURES[name]()
    assert picture.png.startswith(PNG)
    links = [
        value
        for element in ET.fromstring(picture.svg).iter()
        for key, value in element.attrib.items()
        if key.endswith("href")
    ]
    assert all(value.startswith(("#", "data:")) for value in links)


def test_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels of a fixed aspect leave room for their titles and labels in both formats."""
    save, boxes = matplotlib.figure.Figure.savefig, []

    def saved(figure: matplotlib.figure.Figure, *given: Any, **named: Any) -> None:
        save(figure, *given, **named)
        boxes.append((figure.get_tightbbox().extents, figure.get_size_inches()))

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", saved)
    FIGURES["predictions"]()
    assert len(boxes) == 2
    for (left, bottom, right, top), (width, height) in boxes:
        assert 0 <= left < right <= width and 0 <= bottom < top <= height


def test_the_same_figure_is_the_same_file() -> None:
    first, second = FIGURES["gallery"](), FIGURES["gallery"]()
    assert first == second


def test_the_axis_of_a_map_is_symmetric_and_gives_the_extremes_room() -> None:
    edges = map_figures.places(np.arange(101), 100)
    np.testing.assert_allclose(edges, -edges[::-1], atol=1e-12)
    widths = np.diff(edges)
    assert (widths > 0).all()
    assert widths[0] > 10 * widths[50]


def test_the_strongest_neurons_are_those_of_largest_size() -> None:
    slope = np.asarray([[0.1, -3.0, 2.0], [2.0, 0.0, -0.5]])
    found = map_figures.strongest(slope, 3)
    assert [(n.layer, n.neuron, n.value) for n in found] == [(0, 1, -3), (0, 2, 2), (1, 0, 2)]
