"""Points and maps of reports in notebooks: the data, the module, and what it needs."""

import json
import sys
from base64 import b64decode

import numpy as np
import pytest

import negjax
from experiments.reporting import notebooks
from tests.experiments.reporting.test_explorers import MODULE, explorer, neuron_map
from tests.support.block_shapes import one_neuron_a_layer, tiny, tiny_probes
from tests.support.node import evaluated

# Of the notebook: where a widget is drawn, and where its state is.
DRAWN = """
const made = [];
const model = { get: (name) => (made.push(name), given.data) };
const drawn = (name) => {
  const element = { name, classList: { add: (...names) => made.push(names) }, append() {},
    setAttribute(key, value) { this[key] = value; }, addEventListener() {}, replaceChildren() {},
    getContext: () => new Proxy({}, { get: () => () => {}, set: () => true }),
    getBoundingClientRect: () => ({ width: 600, left: 0, top: 0 }) };
  return element;
};
globalThis.document = { createElement: drawn, createElementNS: (_, name) => drawn(name) };
globalThis.getComputedStyle = () => ({ getPropertyValue: () => '#000' });
globalThis.addEventListener = () => {};
globalThis.matchMedia = () => ({ addEventListener() {} });
document.documentElement = drawn('html');
its.default.render({ model, el: drawn('div') });
console.log(JSON.stringify(made));"""


def test_curves_of_a_response_are_its_slopes_and_its_series():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    found = negjax.response(lm, probes, one_neuron_a_layer(lm), 4.0, target=0)
    shown = notebooks.curves_of(found, probes.prompts, probes.targets)
    assert shown.prompt.tolist() == np.repeat([0, 1, 2], 3).tolist()
    grid = negjax.paper_grid(2.0, 0.2)
    changes = found.change(grid)
    np.testing.assert_allclose(shown.up, (changes @ grid / (grid @ grid)).ravel(), rtol=1e-12)
    np.testing.assert_allclose(shown.across, found.derivative([0.0]).ravel())
    assert shown.prompts[1] == (probes.prompts[1], probes.targets[1][0])
    json.loads(shown.data)


def test_what_would_be_shown_as_another_thing_is_refused():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    found = negjax.response(lm, probes, one_neuron_a_layer(lm), 4.0, tokens=2)
    with pytest.raises(ValueError, match="response is of 2 tokens, expected one output"):
        notebooks.curves_of(found, probes.prompts, probes.targets)
    logit = negjax.response(lm, probes, one_neuron_a_layer(lm), 4.0, output="logit", target=0)
    with pytest.raises(ValueError, match="response is of logit, expected the probability"):
        notebooks.curves_of(logit, probes.prompts, probes.targets)
    one = negjax.response(lm, probes, one_neuron_a_layer(lm), 1.0, target=0)
    with pytest.raises(ValueError, match=r"within ±1\.0, the range measured"):
        notebooks.curves_of(one, probes.prompts, probes.targets)


@pytest.mark.parametrize("shown", [explorer(), neuron_map()], ids=["curves", "map"])
def test_the_module_draws_what_the_widget_holds(shown, tmp_path):
    text = notebooks.script(shown)
    assert text.count("export ") == text.count("export default") == 1 and "import " not in text
    (tmp_path / "widget.mjs").write_text(text, encoding="utf-8")
    given = {"data": shown.data}
    found = evaluated(tmp_path / "widget.mjs", DRAWN, given)
    assert found == [["live", shown.kind], "given"]


def test_the_style_is_that_of_points_and_maps():
    rules = notebooks.style()
    assert "--up:" in rules and ".live .layers" in rules and "color-scheme: light" not in rules
    assert "body" not in rules and "figcaption" not in rules


def test_a_widget_holds_the_data():
    pytest.importorskip("anywidget", reason="widgets take the extra `notebook`")
    made = notebooks.widget(explorer())
    arrays = json.loads(made.given)["arrays"]
    up = np.frombuffer(b64decode(arrays["up"]), "<f4")
    np.testing.assert_allclose(up, explorer().up, rtol=1e-6)
    assert "export default" in str(made._esm) and MODULE.name not in str(made._esm)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ImportError, match=r"anywidget is not installed; pip install 'negjax\["):
        notebooks.widget(explorer())
