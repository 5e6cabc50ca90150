"""What a drawn figure may not look like: texts cut off, or over a legend; legends over a panel."""

from collections.abc import Iterator

import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from experiments.reporting import figures
from experiments.reporting.figures import Picture

SLACK = 1.0
"""Pixels of 100 an inch by which boxes may meet: letters do not fill theirs."""


def watch(patch: pytest.MonkeyPatch) -> None:
    """Lets every figure that is rendered be looked at."""
    render = figures.rendered

    def rendered(figure: Figure) -> Picture:
        check(figure)
        return render(figure)

    patch.setattr(figures, "rendered", rendered)


def check(figure: Figure) -> None:
    """Draws a figure and refuses what a reader could not read."""
    canvas = FigureCanvasAgg(figure)
    # A constrained layout knows the size of panels of a fixed aspect only once they are drawn.
    for _ in range(2):
        canvas.draw()
    page = figure.bbox
    panels = [axes.bbox for axes in figure.axes if axes.axison]
    legends = [
        *figure.legends,
        *(legend for axes in figure.axes if (legend := axes.get_legend()) is not None),
    ]
    for legend in legends:
        box = legend.get_window_extent()
        assert not any(_overlap(box, panel) for panel in panels), "a legend lies over a panel"
    boxes = [legend.get_window_extent() for legend in legends]
    for text, own in _texts(figure, legends):
        box = text.get_window_extent()
        inside = (
            page.x0 - SLACK <= box.x0
            and page.y0 - SLACK <= box.y0
            and box.x1 <= page.x1 + SLACK
            and box.y1 <= page.y1 + SLACK
        )
        assert inside, f"{text.get_text()!r} is cut off"
        over = [other for other in boxes if _overlap(box, other)]
        assert own or not over, f"{text.get_text()!r} lies over a legend"
    titles = [title.get_window_extent() for axes in figure.axes for title in _titles(axes)]
    assert not _any_overlap(titles), "titles overlap"
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            ticks = [tick.get_window_extent() for tick in _of_axis(axis)[2:] if tick.get_text()]
            # The boxes of slanted labels meet where the letters do not.
            slanted = any(tick.get_rotation() % 90 for tick in _of_axis(axis)[2:])
            names = [tick.get_text() for tick in _of_axis(axis)[2:]]
            assert slanted or not _any_overlap(ticks), f"labels of ticks overlap: {names}"


def _any_overlap(boxes: list[Bbox]) -> bool:
    return any(_overlap(box, other) for i, box in enumerate(boxes) for other in boxes[:i])


def _texts(figure: Figure, legends: list[Legend]) -> Iterator[tuple[Text, bool]]:
    """Texts that are drawn, and whether they are a legend's own."""
    for legend in legends:
        yield from ((text, True) for text in (*legend.get_texts(), legend.get_title()))
    for axes in figure.axes:
        own: list[Text] = [*axes.texts, *_titles(axes)]
        if axes.axison:
            own += [*_of_axis(axes.xaxis), *_of_axis(axes.yaxis)]
        yield from ((text, False) for text in own if text.get_visible() and text.get_text())
    yield from ((text, False) for text in figure.texts if text.get_text())


def _titles(axes: Axes) -> list[Text]:
    """Those that are set, whatever side they stand on."""
    every = [child for child in axes.get_children() if isinstance(child, Text)]
    return [text for text in every if text not in axes.texts and text.get_text()]


def _of_axis(axis: Axis) -> list[Text]:
    """The label, and those of ticks within the axis' limits."""
    low, high = sorted(axis.get_view_interval())
    shown = [
        tick.label1
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        if low <= tick.get_loc() <= high and tick.label1.get_visible()
    ]
    return [axis.label, axis.get_offset_text(), *shown]


def _overlap(one: Bbox, other: Bbox) -> bool:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > SLACK and height > SLACK
