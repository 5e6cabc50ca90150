"""Text from outside is shown, and never read: by figures, HTML, Markdown or the terminal."""

import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.control import figures as control_figures
from experiments.estimators import figures as estimator_figures
from experiments.estimators.doses import attributions
from experiments.estimators.figures import Estimate
from experiments.estimators.hidden import dose_statistics
from experiments.linearity import figures as linearity_figures
from experiments.neg_map import figures as map_figures
from experiments.pretrain_bert import figures as training_figures
from experiments.reporting import line_panels, report, skill_figures, statistics
from experiments.reporting.escaping import (
    code_span,
    for_figure,
    for_html,
    for_label,
    for_markdown,
    for_terminal,
    shortened,
    visible,
)
from experiments.reporting.figures import Picture, Trace
from experiments.reporting.tables import Table, columns, terminal_lines
from tests.experiments.estimators.test_doses import LIMITS, dosed
from tests.support.hostile_text import unseen

PIECES = [
    "$$",
    r"$\oops$",
    r"\alpha_{^}",
    "$",
    "<script>alert('&')</script>",
    "a|b",
    "`code`",
    "[link](x)",
    "東京 한국어",
    "👩‍👩‍👧 🇫🇷",
    "\u202etxt.exe",
    "a\nb\r\tc",
    "\x00\x07\x1b[31mred\x1b[0m",
    "\ud800",
    "\ufffe",
    "\u2028",
    "--><!--",
    "]]>",
]
HOSTILE = " ".join(PIECES)
TEXTS = st.text() | st.lists(st.sampled_from(PIECES)).map("".join)


@settings(max_examples=60)
@given(TEXTS)
def test_what_has_no_glyph_is_written_out(text: str) -> None:
    found = visible(text)
    found.encode()  # no half of a surrogate pair
    assert not unseen(found)
    assert visible(found) == found
    plain = [letter for letter in text if letter in found]
    assert [letter for letter in found if letter in plain][: len(plain)] or not plain


def test_what_is_written_out_can_be_told() -> None:
    assert visible("a\n\x07\u202e\ud800\ufffeé東👩‍👧") == r"a\n\x07\u202e\ud800\ufffeé東👩‍👧"
    assert visible("a\nb\x00", keep="\n") == "a\nb\\x00"
    assert shortened("x" * 100, 10) == "xxxxxxxxx…"
    assert len(for_figure("x" * 10_000)) == len(for_terminal("x" * 10_000, 80)) == 80


@pytest.mark.parametrize("label", ["", "_x", "_", "x"])
def test_a_legend_leaves_no_label_out(label: str) -> None:
    assert for_label(label).strip() == label and not for_label(label).startswith("_")
    assert for_label(label)


@settings(max_examples=60)
@given(TEXTS)
def test_a_figure_reads_no_mathematics(text: str) -> None:
    found = for_figure(text)
    # matplotlib's rule: an even number of dollars that are not escaped.
    assert found.count("$") == found.count(r"\$")


class Text(HTMLParser):
    """What a browser would show, refusing any element but the one around it."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.shown = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "p"
        assert [name for name, _ in attrs] == ["title"]

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_data(self, data: str) -> None:
        self.shown += data


@settings(max_examples=60)
@given(TEXTS)
def test_html_shows_it(text: str) -> None:
    safe = for_html(text)
    assert Text(f'<p title="{safe}">{safe}</p>').shown == visible(text, keep="\n\t")


@settings(max_examples=60)
@given(TEXTS)
def test_markdown_keeps_its_lines_and_cells(text: str) -> None:
    safe = for_markdown(text)
    assert len(safe.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`>*\[\]]", safe)
    assert "<" not in safe
    inside = code_span(text)
    fence = re.match("`+", inside)
    assert fence is not None
    assert inside.endswith(fence[0])
    assert fence[0] not in inside[len(fence[0]) : -len(fence[0])].strip("` ") or not text


@settings(max_examples=60)
@given(TEXTS)
def test_a_terminal_gets_no_orders(text: str) -> None:
    rows = [[text, "1"], ["b", text]]
    lines = terminal_lines(Table(columns=columns("a", text), rows=rows))
    assert len(lines) == 3
    assert all(line.isprintable() or "\u200d" in line or not line.isascii() for line in lines)
    assert not any(re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", x) for x in lines)


# ---- Every figure that shows text.

X = np.linspace(-2, 2, 11)
VALUES = np.random.default_rng(0).normal(size=40)
AGREEMENT = statistics.agreement(VALUES, VALUES)
SERIES = skill_figures.Series(
    label=HOSTILE, at=[1, 2], accuracy=[0.5, 0.6], low=[0.4, 0.5], high=[0.6, 0.7]
)
TRACE = Trace(HOSTILE, HOSTILE, X, X**2, (X[::2], X[::2] ** 2), 0.1, 0.01, 0.5)
SQUARE = np.eye(2)

FIGURES: dict[str, Callable[[], Picture]] = {
    "predictions": lambda: linearity_figures.predictions_figure(
        VALUES, [(HOSTILE, VALUES)], [AGREEMENT]
    ),
    "gallery": lambda: linearity_figures.gallery_figure([TRACE], [TRACE]),
    "map": lambda: map_figures.map_figure(
        np.arange(2), VALUES.reshape(2, -1), VALUES.reshape(2, -1), HOSTILE, []
    ),
    "estimates": lambda: estimator_figures.estimates_figure(
        VALUES,
        [Estimate(label=HOSTILE, values=VALUES, heading=HOSTILE, slope_units=True)],
    ),
    "tangents": lambda: estimator_figures.tangents_figure([TRACE]),
    "doses": lambda: estimator_figures.doses_figure(
        [dose_statistics([dosed()], 2.0, LIMITS)],
        [np.full(10, 0.1)],
        6,
        dict.fromkeys(attributions(dosed()), HOSTILE),
    ),
    "panels": lambda: line_panels.panels_figure(
        [
            [
                line_panels.Panel(
                    title=HOSTILE,
                    label=HOSTILE,
                    lines=[
                        line_panels.Line(label=HOSTILE, points=[(1, 0.1), (2, 0.2)], color="C0")
                    ],
                    kind="plain",
                )
            ]
        ],
        across=HOSTILE,
        ticks={1: HOSTILE},
        legend=HOSTILE,
    ),
    "steering": lambda: control_figures.steering_figure(
        np.asarray([0.5]), *({HOSTILE: np.full((3, 1), 0.1)} for _ in range(3))
    ),
    "editing": lambda: control_figures.editing_figure(
        [HOSTILE, "b"], {HOSTILE: np.asarray([0.5, 0.6])}, np.ones(2), np.ones(2)
    ),
    "dots": lambda: skill_figures.dots_figure([HOSTILE, "b"], [SERIES], [0.5, 0.5], across=HOSTILE),
    "curves": lambda: skill_figures.curves_figure([(HOSTILE, [SERIES], 0.5)], HOSTILE),
    "matrix": lambda: skill_figures.matrix_figure(
        *([(HOSTILE, SQUARE)], [HOSTILE] * 2, [HOSTILE] * 2, HOSTILE),
        form=".2f",
        axes_names=(HOSTILE, HOSTILE),
    ),
    "squares without numbers": lambda: skill_figures.matrix_figure(
        [(HOSTILE, SQUARE)], [HOSTILE] * 2, [HOSTILE] * 2, HOSTILE
    ),
    "training": lambda: training_figures.training_figure(
        np.ones(20), np.ones(20), {HOSTILE: np.full(20, 0.5)}
    ),
    "recall": lambda: training_figures.recall_figure({HOSTILE: np.full(5, 0.5)}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_shows_it(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = FIGURES[name]()
    ET.fromstring(picture.svg.decode())
    assert picture.png.startswith(b"\x89PNG")
    assert b"<script" not in picture.svg


def test_a_report_shows_it() -> None:
    blocks: list[report.Block] = [
        report.Paragraph(HOSTILE),
        report.Code(HOSTILE),
        Table(caption=HOSTILE, columns=columns(HOSTILE), rows=[[HOSTILE * 300]]),
        report.Facts([(HOSTILE, HOSTILE)]),
        report.Figure(report.Drawing("one", FIGURES["gallery"]), HOSTILE, HOSTILE),
    ]
    document = report.Document(HOSTILE, HOSTILE, [report.Section(HOSTILE, blocks)])
    page = report.html_page(document, {"one": report.Failure(HOSTILE)})
    page.encode()
    assert "<script" not in page
    assert "\x00" not in page
    assert page.count("&lt;script&gt;") > 300
