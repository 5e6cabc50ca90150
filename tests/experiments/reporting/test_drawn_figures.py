"""What no figure may look like is refused, and letters that the font lacks are written out."""

from collections.abc import Callable

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.reporting.escaping import for_figure
from experiments.reporting.figures import Picture, drawing, titled
from tests.support.drawn_figures import check


def figure(*draws: Callable[[Axes], object]) -> Figure:
    """A figure with a line that a legend names."""
    made = Figure(figsize=(4, 3), layout="constrained")
    axes = made.subplots()
    axes.plot([0, 1], [0, 1], label="a line")
    for draw in draws:
        draw(axes)
    return made


def test_a_figure_that_can_be_read_is_accepted() -> None:
    check(figure(lambda axes: titled(axes, "a   A title", 2)))
    below = figure()
    below.legend(loc="outside lower center")
    check(below)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda axes: axes.legend(loc="best"), "a legend lies over a panel"),
        (lambda axes: axes.set_title("a long title " * 9), "is cut off"),
        (lambda axes: axes.text(0.5, 3, "far above"), "is cut off"),
        (lambda axes: axes.set_xlabel("a long label " * 9), "is cut off"),
        (
            lambda axes: (
                axes.legend(loc="lower left", bbox_to_anchor=(0, 1)),
                axes.annotate("over it", (0.1, 1.03), xycoords="axes fraction"),
            ),
            "lies over a legend",
        ),
        (
            lambda axes: axes.set_xticks([0, 0.05], ["a long name", "another one"]),
            "labels of ticks overlap",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(draw: Callable[[Axes], object], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(figure(draw))


def test_titles_side_by_side_do_not_overlap() -> None:
    made = Figure(figsize=(4, 3))
    for axes in made.subplots(1, 2):
        axes.set_title("a title as wide as two", loc="left")
    with pytest.raises(AssertionError, match="titles overlap"):
        check(made)


@drawing(height=1.5)
def shown(drawn: Figure, text: str) -> None:
    """A figure that has a text for its title."""
    drawn.subplots().set_title(for_figure(text))


def test_letters_that_the_font_lacks_are_written_out() -> None:
    assert for_figure("東京 é") == r"\u6771\u4eac é"
    assert for_figure("👩 $5") == r"\U0001f469 \$5"
    assert for_figure("Ελλάδα, Москва, “a” → b ‖x‖") == "Ελλάδα, Москва, “a” → b ‖x‖"
    picture = shown("東京")
    assert isinstance(picture, Picture)
    # A browser that darkens pages leaves it as it is.
    assert b'<svg style="color-scheme: only light"' in picture.svg
