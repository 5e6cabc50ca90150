"""The page of the atlas: its modules against Python, hostile texts in a browser if there is one."""

import html
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import experiments.atlas
from experiments.atlas import site_files
from experiments.reporting.explorers import joined
from tests.support.node import evaluated

STATIC = Path(experiments.atlas.__file__).parent / "static"
SHARED = Path(str(resources.files("experiments.reporting"))) / "static"
MODULES = [
    *(SHARED / "curves.mjs", SHARED / "neuron_map.mjs"),
    *(STATIC / f"{name}.mjs" for name in site_files.MODULES),
]
HOSTILE = "</script><script>document.title = 'oops'</script><img src=x onerror=alert(1)> \u202e $$"


def test_arrays_are_read_as_they_were_written() -> None:
    drawn = (
        np.random.default_rng(0).normal(size=(5, 3, 4)) * np.geomspace(1e-9, 10, 5)[:, None, None]
    )
    drawn[2, 1] = 0
    ids = np.asarray([[0, 70_000], [3, 4]])
    nodes = np.asarray([3, 1, 2])
    series = np.where(np.arange(3) < nodes[:, None], drawn[0, :, :3], 0)
    given = {
        "float32": site_files.array(drawn, "float32"),
        "ids": [site_files.whole(ids), site_files.whole(ids[1:])],
        "int8": site_files.rounded(drawn, "int8"),
        "int16": site_files.rounded(drawn, "int16"),
        "series": site_files.ragged(series, nodes),
    }
    script = """
    const { change, change_largest, change_first } = given.series;
    const row = its.ragged(change, change_largest, change_first);
    const every = Array.from(its.numbers(given.float32));
    console.log(JSON.stringify({
      every, row: its.rowOf(every, given.float32.shape, 1),
      ids: given.ids.map((packed) => Array.from(its.numbers(packed))),
      kinds: given.ids.map(({ kind }) => kind),
      int8: Array.from(its.shares(given.int8)), int16: Array.from(its.shares(given.int16)),
      series: [0, 1, 2].map(row),
    }));"""
    found = evaluated(STATIC / "arrays.mjs", script, given)
    assert np.asarray(found["every"], np.float32).tolist() == drawn.astype("f4").ravel().tolist()
    np.testing.assert_allclose(found["row"], drawn[1].ravel(), rtol=1e-6)
    assert found["ids"] == [[0, 70_000, 3, 4], [3, 4]] and found["kinds"] == ["uint32", "uint16"]
    largest = np.abs(drawn).max(-1, keepdims=True)
    for kind, full in site_files.FULL.items():
        off = np.abs(np.reshape(found[kind], drawn.shape) - drawn)
        assert (off <= largest / full * 0.5001).all() and off.max() > 0
    for own, count, expected in zip(found["series"], nodes, series, strict=True):
        np.testing.assert_allclose(
            own, expected[:count], rtol=0, atol=np.abs(expected).max() / 65_000
        )


def test_what_is_asked_for_has_an_address() -> None:
    asked = [
        "16.924",
        " L16.924 ",
        "layer 3 neuron 7",
        "3, 7",
        "L5",
        "layer 5",
        "",
        " Paris ",
        "a/b?#\ud800%",
    ]
    script = """
    const addresses = given.map(its.addressOf);
    const names = ["Paris", " paris", "parish", "comparison", "Rome", ""];
    console.log(JSON.stringify({
      addresses, places: addresses.map(its.placeOf),
      others: ["", "#/fact/3", "#/token/4", "#/L1.x", "#/find/%"].map(its.placeOf),
      found: its.matches(names, "PARIS "), nothing: its.matches(names, " "),
    }));"""
    found = evaluated(STATIC / "asking.mjs", script, asked)
    assert found["addresses"][:7] == [
        *("#/L16.924", "#/L16.924", "#/L3.7", "#/L3.7", "#/layer/5", "#/layer/5", "#/"),
    ]
    places = [(place["kind"], place["at"]) for place in found["places"]]
    assert places[0] == places[1] == ("neuron", [16, 924]) and places[2] == ("neuron", [3, 7])
    assert places[4] == ("layer", 5) and places[6] == ("all", None)
    assert places[7:] == [("find", "Paris"), ("find", "a/b?#%")]
    others = [(place["kind"], place["at"]) for place in found["others"]]
    assert others == [("all", None), ("fact", 3), ("token", 4), ("all", None), ("find", "%")]
    assert found["found"] == [0, 1, 2, 3] and found["nothing"] == []


def test_neurons_are_sorted_by_any_column() -> None:
    script = """
    const values = Float32Array.from([0.5, -2, Number.NaN, 1, 0.5]);
    const all = [4, 3, 2, 1, 0];
    console.log(JSON.stringify({
      down: its.ordered(values, all, true, false), size: its.ordered(values, all, true, true),
      up: its.ordered(values, all, false, false), number: its.ordered(null, all, false, false),
      written: [0.012345, -1e-9, 0, Number.NaN].map(its.signed),
      percent: [0.5, 0.00012, 0].map(its.percent),
    }));"""
    found = evaluated(STATIC / "table.mjs", script, None)
    assert found["down"] == [3, 0, 4, 1, 2] and found["size"] == [1, 3, 0, 4, 2]
    assert found["up"] == [1, 0, 4, 3, 2] and found["number"] == [0, 1, 2, 3, 4]
    assert found["written"] == ["+0.0123", "−1.0e−9", "+0.00", "—"]
    assert found["percent"] == ["50.0%", "0.012%", "0.0%"]


def test_the_modules_are_one_script() -> None:
    text = joined(MODULES)
    names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)) > 40
    script = "new Function(given); console.log(JSON.stringify(1));"
    assert evaluated(STATIC / "table.mjs", script, f"'use strict';\n{text}") == 1


def test_no_text_is_markup() -> None:
    for module in MODULES:
        text = module.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in page
    assert page.count("<script") == 1
    written = site_files.data_script("facts", {"prompts": [HOSTILE, "\u2028巴黎👨\ud800"]})
    assert written.isascii() and written.count("\n") == 1


def test_hostile_texts_stay_texts_in_a_browser(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here to draw the page")
    for name in ("index.html", "atlas.css"):
        source = STATIC / name
        (tmp_path / name).write_text(source.read_text("utf-8"), "utf-8")
    script = f"'use strict';\n(() => {{\n{joined(MODULES)}\nstart();\n}})();\n"
    (tmp_path / "atlas.js").write_text(script, "utf-8")
    (tmp_path / "data").mkdir()
    for name, content in made_up().items():
        text = site_files.data_script(name, content)
        (tmp_path / "data" / f"{name}.js").write_text(text, "ascii")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    address = f"{(tmp_path / 'index.html').as_uri()}#/L0.1"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [browser, *options, profile, "--dump-dom", address]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert '<h2 class="name">Neuron 0.1</h2>' in found
    shown = html.escape(HOSTILE, quote=False)
    # In the sentence, the choice of facts, the lists and the table; as token and as context.
    assert found.count(shown) > 5
    assert "<script>document" not in found and "<img" not in found
    assert "<title>Neuron 0.1: atlas of neurons</title>" in found


def made_up() -> dict[str, dict[str, Any]]:
    """Data of a model of one layer and two neurons, on one fact."""
    two, curve = np.asarray([0.1, -0.2]), np.asarray([[0.0, 0.1, 0.01]] * 2)
    nothing = np.zeros((2, 1), int)
    about = {
        **{"model": HOSTILE, "site": "up", "gated": True, "convention": "signed", "layers": [0]},
        **{"all_layers": 1, "width": 2, "facts": 1, "source": HOSTILE, "relations": [HOSTILE]},
        **{"sample": [0], "near_radius": 1.0, "curve_radius": 2.0, "straight": 0.1},
        **{"strong_neurons": 0, "strong_facts": 1, "own_facts": 1, "texts": HOSTILE},
    }
    names = ("slope", "neg", "pearson", "straight", "size", "raises", "firing", "mean")
    column = site_files.array(two, "float32")
    layer = {
        "fact": site_files.whole(np.zeros((2, 2, 1), int)),
        "slope": site_files.rounded(two[:, None] * [1, 1], "int16"),
        "relations": site_files.rounded(two[:, None], "int8"),
        "sample_neg": site_files.array(two[:, None], "float32"),
        "sample_slope": site_files.array(two[:, None], "float32"),
        "sample_near": site_files.rounded(curve[:, None], "int16"),
        "first": site_files.whole(np.arange(3)),
        "curve_fact": site_files.whole(np.zeros(2, int)),
        **site_files.ragged(curve, np.asarray([3, 3])),
        **{f"curve_{n}": column for n in ("slope", "error", "neg", "pearson", "straight")},
        "context": site_files.whole(nothing + 1),
        "context_value": site_files.array(two[:, None], "float32"),
        "neighbour": site_files.whole(nothing),
        "cosine": column | {"shape": [2, 1]},
    }
    return {
        "about": about,
        "table": {"columns": dict.fromkeys(names, column), "fact": site_files.whole(nothing[:, 0])},
        "facts": {
            "prompts": [HOSTILE],
            "answers": [HOSTILE],
            "probability": site_files.array(np.asarray([0.3]), "float32"),
            "relation": site_files.whole(np.zeros(1, int)),
            "neurons": site_files.whole(np.zeros((1, 2, 1), int)),
            "slopes": site_files.array(np.zeros((1, 2, 1)), "float32"),
        },
        "tokens": {
            "ids": [5],
            "texts": [HOSTILE],
            "written": site_files.whole(np.zeros((2, 2, 1), int)),
        },
        "contexts": {"contexts": [["", "", ""], [HOSTILE, HOSTILE, HOSTILE]]},
        "layer_0": layer,
    }
