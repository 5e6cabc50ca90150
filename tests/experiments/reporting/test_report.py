"""The report: one file, nothing loaded, no text taken for markup; and its figures are drawn."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import matplotlib.figure
import numpy as np
import pytest

from experiments.linearity import figures as linearity_figures
from experiments.neg_map import figures as map_figures
from experiments.neg_map.results import strongest
from experiments.reporting import figures, report, statistics
from experiments.reporting.figures import Picture
from experiments.reporting.report import Bullets, Code, Facts, Figure, Paragraph, Section
from experiments.reporting.tables import Table, columns
from tests.support import drawn_figures
from tests.support.pages import PNG, Page


def test_a_page_is_one_file_in_which_text_stays_text() -> None:
    hostile = '<script>alert("&")</script>'
    picture = Picture(b"<svg/>", PNG)
    blocks: list[report.Block] = [
        Paragraph(hostile),
        Paragraph(hostile, warning=True),
        Bullets([hostile, "b"]),
        Code(hostile),
        Facts([(hostile, hostile)]),
        Table(caption=hostile, columns=columns(hostile), rows=[[hostile]]),
        Figure(report.Drawing("one", lambda: picture), hostile, hostile),
        Figure(report.Drawing("two", lambda: picture), hostile, hostile),
        Table(caption="second", columns=columns("a"), rows=[["1"]]),
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


def numbers(radius: float, slope: np.ndarray = SLOPE) -> statistics.RangeStatistics:
    predictions = {"neurgrad": slope * 1.01, "computed": -slope}
    fits = statistics.Fits(
        points=20,
        slope=slope,
        pearson=PEARSON[: slope.size],
        largest_change=np.abs(slope),
    )
    return statistics.range_statistics(radius, fits, np.full(slope.size, 1e-4), predictions)


def trace() -> figures.Trace:
    x = np.linspace(-2, 2, 11)
    return figures.Trace(
        "layer 1, neuron 2", "Paris", x, x**2, (x[::2], x[::2] ** 2), 0.1, 0.01, 0.5
    )


def no_neurons() -> Picture:
    none = np.empty(0)
    return linearity_figures.linearity_figure(
        [2.0], [none], [none.astype(bool)], [numbers(2.0, none)]
    )


FIGURES: dict[str, Callable[[], Picture]] = {
    "linearity": lambda: linearity_figures.linearity_figure(
        [1.0, 2.0],
        [PEARSON, np.ones(60)],
        [SLOPE > 0, SLOPE < 0],
        [numbers(1.0), numbers(2.0)],
    ),
    "linearity of no neurons": no_neurons,
    "layers": lambda: linearity_figures.layers_figure(LAYER, SLOPE, 4),
    "layers without slopes": lambda: linearity_figures.layers_figure(LAYER, np.zeros(60), 3),
    "predictions": lambda: linearity_figures.predictions_figure(
        SLOPE,
        [("NeurGrad", SLOPE), ("CG", np.zeros(60))],
        [statistics.agreement(SLOPE, SLOPE), statistics.agreement(np.zeros(60), SLOPE)],
    ),
    "gallery": lambda: linearity_figures.gallery_figure([trace()] * 2, [trace()]),
    "gallery of nothing": lambda: linearity_figures.gallery_figure([], []),
    "noise": lambda: linearity_figures.noise_figure(
        [1.0, 2.0], [np.abs(SLOPE), np.zeros(60)], np.full(60, 1e-4)
    ),
    "noise of nothing": lambda: linearity_figures.noise_figure([1.0], [np.zeros(2)], np.zeros(2)),
    "map": lambda: map_figures.map_figure(
        np.asarray([0, 5, 10]),
        SLOPE.reshape(3, 20),
        -SLOPE.reshape(3, 20),
        "CG",
        [(5, 3)],
    ),
    "scatter of nothing": lambda: map_figures.scatter_figure(
        np.arange(2), ZERO, ZERO, ZERO, numbers(2.0, np.zeros(2)).predictions
    ),
    "map of nothing": lambda: map_figures.map_figure(
        np.asarray([0]), np.zeros((1, 2)), np.zeros((1, 2)), "CG", []
    ),
    "scatter": lambda: map_figures.scatter_figure(
        np.arange(3),
        SLOPE.reshape(3, 20),
        SLOPE.reshape(3, 20),
        -SLOPE.reshape(3, 20),
        numbers(2.0).predictions,
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_in_both_formats_and_need_nothing_else(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_figures.watch(monkeypatch)
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
    slope = np.asarray([0.1, -3.0, 2.0, 2.0, 0.0, -0.5])
    assert strongest(slope, 3).tolist() == [1, 2, 3]
