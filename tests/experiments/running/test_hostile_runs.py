"""Whole runs whose prompts, answers and names are hostile text, and whose numbers are none."""

import contextlib
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from absl.testing import flagsaver
from matplotlib.figure import Figure
from matplotlib.text import Text
from pyarrow import parquet

from experiments.compare import program as compare
from experiments.compare import report as compare_report
from experiments.inputs import facts
from experiments.reporting import figures as pictures
from experiments.reporting.escaping import storable
from experiments.reporting.figures import Picture
from negjax.storage import store
from tests.support.hostile_inputs import ANSWERS, PROMPTS, hostile
from tests.support.hostile_text import ALL_OF_THEM, unseen
from tests.support.pages import PNG, Page
from tests.support.sharp_models import sharp
from tests.support.small_studies import STUDIES
from tests.support.tiny_runs import arguments, parse, summary, undraw, write_inputs

# Before a test puts another in its place.
RENDER = pictures.rendered


def rendered(figure: Figure) -> Picture:
    """A figure in which text from outside stands; of others it is known that they are drawn."""
    if any("oops" in text.get_text() for text in figure.findobj(Text)):
        return RENDER(figure)
    return Picture(b"<svg/>", PNG)


@contextlib.contextmanager
def started(inputs: Path, output: Path) -> Iterator[pytest.MonkeyPatch]:
    """Flags of a run with hostile texts that draws nothing, unless what it patches does."""
    with flagsaver.flagsaver(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "load_inputs", hostile(facts.load_inputs))
        undraw(patch)
        parse(*arguments(inputs, output, "--prompts=2", *STUDIES[output.name][1]))
        yield patch


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("inputs"), gated=sharp("gated"))


@pytest.fixture(scope="module", params=STUDIES)
def run(
    request: pytest.FixtureRequest, inputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of a finished run."""
    output = tmp_path_factory.mktemp("runs") / str(request.param)
    with started(inputs, output):
        assert STUDIES[output.name][0]() == 0
    return output


def test_hostile_text_is_text_wherever_a_run_shows_it(
    inputs: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # All is measured already.
    with started(inputs, run) as patch:
        patch.setattr(pictures, "rendered", rendered)
        assert STUDIES[run.name][0]() == 0
    printed = capsys.readouterr().out
    assert not unseen(printed) - {"\n"} and "oops" in printed
    assert max(map(len, printed.splitlines())) <= 4000
    text = (run / store.REPORT).read_text("utf-8")
    page = Page(text)
    assert not unseen(text) - {"\n", "\t"} and "<script>" not in text
    assert any("<script>" in part for part in page.text)
    drawn = [ET.parse(file).getroot() for file in (run / store.FIGURES).glob("*.svg")]
    # The galleries of curves name their answers.
    assert any(len(root) for root in drawn) == (run.name in ("linearity", "estimators"))
    table = parquet.read_table(run / store.PROMPTS).to_pydict()
    assert table["text"] == [storable(prompt) for prompt in PROMPTS]
    assert table["answer"] == [storable(answer) for (answer,) in ANSWERS]
    about = summary(run)
    assert about["model"]["name"] == about["prompts"]["source"] == ALL_OF_THEM


@pytest.mark.lenient
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_that_are_none_lose_no_run(
    inputs: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of weights that overflow: of what was measured much is NaN or infinite."""
    arrays = zarr.open_group(run / store.ARRAYS, mode="r+")
    kept = {name: np.asarray(arrays[name]) for name in arrays.array_keys()}
    for name, values in kept.items():
        if np.issubdtype(values.dtype, np.floating) and name not in ("shifts", "doses"):
            spoilt = values.ravel()
            spoilt[::3], spoilt[1::7] = np.nan, np.inf
            _array(arrays, name)[:] = spoilt.reshape(values.shape)
    with started(inputs, run):
        assert STUDIES[run.name][0]() == 0
    about = summary(run)
    assert about["complete"] and about["not_finite"]
    json.dumps(about, allow_nan=False)
    said = capsys.readouterr().err
    assert "null in summary.json, being no numbers: " in said
    page = Page((run / store.REPORT).read_text("utf-8"))
    for name, why in about.get("figures_not_drawn", {}).items():
        assert f"figure {name!r} could not be drawn" in said
        assert f"This figure could not be drawn: {why}" in page.text
    if run.name in compare_report.KINDS:
        # What is null there is no figure.
        assert "None" not in compare_report.comparison(compare.read_runs([str(run)]))


def _array(arrays: zarr.Group, name: str) -> zarr.Array:
    found = arrays[name]
    assert isinstance(found, zarr.Array)
    return found
