"""What a reader of a report may point at, and the one script that a report holds."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.polynomial import chebyshev

import experiments.reporting
from experiments.reporting import explorers, report
from experiments.reporting.explorers import Explorer, MapExplorer
from experiments.reporting.figures import Picture
from tests.support.node import evaluated
from tests.support.pages import PNG, Page

MODULE = Path(experiments.reporting.__file__).parent / "static" / "explorer.mjs"
HOSTILE = "</script><script>alert('&')</script>\u2028<!-- ]]>"
SHIFTS = [-2.0, -0.3, 0.0, 1.7]
READ = """
const all = its.points(given.data);
const module = await import(given.curves);
const { place, linear, most } = its.scale([all.across, all.up]);
const places = [{ x: 0, y: 0 }, { x: 10, y: 0 }, { x: 100, y: 100 }];
console.log(JSON.stringify({
  values: Array.from(all.prompt.keys(), (at) =>
    given.shifts.map((shift) => module.values(its.curveOf(all, at), shift)[0])),
  tangents: Array.from(all.prompt.keys(), (at) =>
    given.shifts.map((shift) => module.tangents(its.curveOf(all, at), shift)[0])),
  places: [-most, -linear, 0, linear, most].map(place),
  found: ["1.3", "layer 1, neuron 3", "1.4", "x"].map((name) => its.found(all, name, 0)),
  again: its.found(all, "1.3", 2),
  nearest: [[1, 1], [9, 3], [60, 60]].map(([x, y]) => its.nearest(places, x, y)),
  signed: [0.012345, -1e-9, 0].map(its.signed),
  text: all.prompts[0].text,
  error: Array.from(all.error),
}));"""


READ_MAP = """
const all = (await import(`${given.folder}/explorer.mjs`)).points(given.data);
const { NeuronMap } = await import(`${given.folder}/neuron_map.mjs`);
const asked = ["5.39", "0 0", "5.40", "1.3", "x", "0.1.2"];
const neurons = all.across.length / all.layer.length;
const map = new NeuronMap({}, all.up, all.layer.length);
const views = [{ ...map.view }];
map.columns = 40;
map.fill();
const place = (x, y) => ((found) => [...found.neuron, found.slope])(map.at(x, y));
const places = [place(0, 0), place(1, 1), place(0.51, 0.5)];
const steps = [[1, 0], [0, 1], [100, 0], [1, 0]].map((step) => map.step(...step).neuron);
map.columns = 10;
map.fill();
const coarse = place(0.25, 0.5);
map.zoom(2, 0.75, 0.5);
views.push({ ...map.view });
map.zoom(2, 1, 1);
map.view.neuron = 16;
views.push({ ...map.view });
const inside = [map.holds([1, 39]), map.holds([1, 15])];
map.reveal([0, 3]);
const revealed = { ...map.view };
map.whole();
console.log(JSON.stringify({
  named: asked.map((name) => its.named(all.layer, neurons, name)),
  places, coarse, views, inside, revealed, steps, whole: map.view,
}));"""


def explorer() -> Explorer:
    generator = np.random.default_rng(0)
    coefficients = generator.normal(size=(4, 7)) * 0.1
    return Explorer(
        axes=("NeurGrad", "NEG"),
        radius=2.0,
        prompts=[(HOSTILE, "a"), ("b " * 400, HOSTILE)],
        prompt=np.asarray([0, 0, 1, 1]),
        layer=np.asarray([0, 1, 1, 2]),
        neuron=np.asarray([5, 3, 3, 0]),
        across=np.asarray([0.5, -0.001, 2.0, 0.0]),
        up=np.asarray([0.4, -0.002, 1.5, 0.1]),
        baseline=np.asarray(chebyshev.chebval(0, coefficients.T)),
        error=np.asarray([1e-3, 1e-5, 0.0, 1e-4]),
        coefficients=coefficients,
    )


def neuron_map() -> MapExplorer:
    generator = np.random.default_rng(1)
    up, across, activation = generator.normal(size=(3, 3, 40)).astype(np.float32)
    return MapExplorer(
        names=("NeurGrad", "NEG"),
        layer=np.asarray([0, 5, 10]),
        across=across,
        up=up,
        activation=activation,
    )


def page(shown: Explorer | MapExplorer | None) -> str:
    figure = report.Figure(report.Drawing("one", lambda: picture), "c", "a", explorer=shown)
    picture = Picture(b"<svg/>", PNG)
    document = report.Document("t", "l", [report.Section("s", [figure])])
    return report.html_page(document, {"one": picture})


def test_the_script_reads_what_python_wrote() -> None:
    shown = explorer()
    [data] = Page(page(shown)).data
    given = {"data": data, "curves": MODULE.with_name("curves.mjs").as_uri(), "shifts": SHIFTS}
    found = evaluated(MODULE, READ, given)
    expected = chebyshev.chebval(np.asarray(SHIFTS) / 2, shown.coefficients.T)
    np.testing.assert_allclose(found["values"], expected, atol=1e-6)
    line = shown.baseline[:, None] + np.asarray(SHIFTS) * shown.across[:, None]
    np.testing.assert_allclose(found["tangents"], line, atol=1e-6)
    places = np.asarray(found["places"])
    np.testing.assert_allclose(places, -places[::-1], atol=1e-12)
    assert places[-1] == 1 and 0 < places[3] < 1
    assert found["found"] == [1, 1, -1, -1] and found["again"] == 1
    assert found["nearest"] == [0, 1, -1]
    assert found["signed"] == ["+0.0123", "−1.00e−9", "+0.00"]
    np.testing.assert_allclose(found["error"], shown.error, rtol=1e-6)
    assert found["text"].startswith("</script><script>")


def test_a_page_runs_its_own_script_and_no_text() -> None:
    text = page(explorer())
    assert text.count("<script") == 2
    assert "alert" in text and "</script><script>alert" not in text
    kinds = [found["type"] for tag, found in Page(text).elements if tag == "script"]
    assert kinds == ["application/json", "module"]


def test_a_map_finds_neurons_and_is_enlarged_about_a_place() -> None:
    shown = neuron_map()
    [data] = Page(page(shown)).data
    given = {"data": data, "folder": MODULE.parent.as_uri()}
    found = evaluated(MODULE.with_name("map_explorer.mjs"), READ_MAP, given)
    assert found["named"] == [[1, 39], [0, 0], None, None, None, None]
    # Of forty neurons in forty columns, each place is its own; in ten, the strongest of four.
    up = shown.up.astype(float)
    assert found["places"] == [[0, 0, up[0, 0]], [2, 39, up[2, 39]], [1, 20, up[1, 20]]]
    strongest = 8 + int(np.abs(up[1, 8:12]).argmax())
    assert found["coarse"] == pytest.approx([1, strongest, up[1, strongest]])
    assert found["views"][0] == {"layer": 0, "layers": 3, "neuron": 0, "neurons": 40}
    # Twice as large, a map keeps the place where it was, and never leaves the neurons.
    assert found["views"][1] == {"layer": 0, "layers": 3, "neuron": 12, "neurons": 24}
    assert found["views"][2] == {"layer": 0, "layers": 3, "neuron": 16, "neurons": 24}
    assert found["revealed"] == {"layer": 0, "layers": 3, "neuron": 0, "neurons": 24}
    assert found["inside"] == [True, False] and found["whole"] == found["views"][0]
    # The cursor goes from column to column, and stops at the edge.
    assert found["steps"] == [[0, 1], [1, 1], [1, 39], [1, 39]]


def test_a_page_without_points_runs_nothing() -> None:
    text = page(None)
    assert "<script" not in text and "script-src" not in Page(text).policy


def test_the_modules_are_one_script() -> None:
    text = explorers.script([explorer(), neuron_map(), explorer()])
    assert text.count("begin(document, '.curves', explore);") == 1
    assert text.count("begin(document, '.map', exploreMap);") == 1
    assert "import " not in text.replace("important", "") and "export " not in text
    run = "const document = { querySelectorAll: () => [] };\n" + text
    assert evaluated(MODULE, f"{{ {run} }}\nconsole.log(JSON.stringify(1));", None) == 1


@pytest.mark.parametrize("count", [0, 1, explorers.MOST, explorers.MOST + 1, 1_000_000])
def test_points_are_bounded_and_evenly_spaced(count: int) -> None:
    chosen = explorers.chosen(count)
    assert min(count, explorers.MOST // 2) <= chosen.size <= explorers.MOST
    assert np.unique(np.diff(chosen)).size <= 1


def test_what_is_no_number_is_no_point() -> None:
    infinite = dataclasses.replace(explorer(), radius=np.inf)
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = infinite.data
