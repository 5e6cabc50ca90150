"""Records as tables: a row for each member, the values that stand there, and pages that are safe.

The records are made by hand, and each cell is compared with the entry that an index finds.
"""

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

import negjax
from negjax import tabular
from negjax.measurements.linearity import LinearFit
from negjax.records import PerPrompt
from tests.support.block_shapes import tiny
from tests.support.hostile_text import MARKUP

GENERATOR = np.random.default_rng(0)
NEURONS = np.asarray([[[0, 3], [2, 1]], [[1, 4], [2, 0]]])
B, N, X = 2, 2, 3


def noise(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape)


def gradients(*between: int, **more: Any) -> negjax.NeurGrad:
    """B = 2, O = 3, L = 2, F = 4."""
    return negjax.NeurGrad(
        site="up",
        output="logit",
        probability=noise(2, 3),
        activation=noise(2, *between, 2, 4),
        computed=noise(2, 3, *between, 2, 4),
        **more,
    )


def swept() -> negjax.Sweep:
    return negjax.Sweep(
        site="up",
        convention="signed",
        output="logit",
        neurons=NEURONS,
        shifts=np.asarray([-1.0, 0.5, 2.0]),
        activation=noise(B, N),
        value=noise(B, N, X),
        baseline_value=noise(B, N),
        log_probability=noise(B, N, X),
        logit=noise(B, N, X),
        baseline_log_probability=noise(B, N),
        baseline_logit=noise(B, N),
        positions=np.zeros((B, 5), int),
        baseline_entropy=noise(B),
    )


def written(text: str = "w3") -> negjax.Generated:
    return negjax.Generated(
        prompts=("a", text),
        texts=(text, "c"),
        stops=("end", "length"),
        site="up",
        when="all",
        tokens=np.asarray([[4, 1, 0], [5, 6, 7]]),
        mask=np.asarray([[True, True, False], [True] * 3]),
        log_probability=noise(2, 3),
        baseline_log_probability=noise(2, 3),
        entropy=noise(2, 3),
    )


def test_gradients_have_a_row_a_prompt_a_target_and_a_neuron():
    found = gradients()
    rows = found.to_arrow().to_pylist()
    assert list(rows[0]) == ["prompt", "target", "layer", "index", "activation", "cg", "neurgrad"]
    assert len(rows) == 2 * 3 * 2 * 4
    for row in rows:
        b, o, layer, f = (row[name] for name in ("prompt", "target", "layer", "index"))
        assert row["activation"] == found.activation[b, layer, f]
        assert row["cg"] == found.computed[b, o, layer, f]
        assert row["neurgrad"] == row["cg"] * (1 if row["activation"] > 0 else -1)
    assert len({tuple(row.values())[:4] for row in rows}) == len(rows)


def test_positions_are_those_of_the_prompt_and_missing_ones_are_left_out():
    found = gradients(3, positions=np.asarray([[1, 2, 5], [4, -1, -1]]))
    rows = found.to_arrow().to_pylist()
    assert len(rows) == (3 + 1) * 3 * 2 * 4
    assert found.positions is not None
    for row in rows:
        (q,) = np.flatnonzero(found.positions[row["prompt"]] == row["position"])
        at = (row["prompt"], row["target"], q, row["layer"], row["index"])
        assert row["cg"] == found.computed[at]


def test_what_is_kept_over_positions_has_the_sign_of_each():
    found = gradients(over="sum", signed=noise(2, 3, 2, 4), positions=np.zeros((2, 2), int))
    table = found.to_arrow().to_pydict()
    np.testing.assert_array_equal(table["neurgrad"], found.neurgrad.ravel())
    assert "position" not in table and "signed" not in table


def test_sweeps_have_a_row_a_shift():
    found = swept()
    rows = found.to_arrow().to_pylist()
    assert found.baseline_entropy is not None
    assert len(rows) == B * N * X and {"positions", "kl"}.isdisjoint(rows[0])
    for number, row in enumerate(rows):
        b, n, x = np.unravel_index(number, (B, N, X))
        assert (row["prompt"], row["shift"]) == (b, found.shifts[x])
        assert [row["layer"], row["index"]] == NEURONS[b, n].tolist()
        assert row["value"] == found.value[b, n, x]
        assert row["baseline_logit"] == found.baseline_logit[b, n]
        assert row["baseline_entropy"] == found.baseline_entropy[b]


def test_a_further_axis_is_a_column_of_lists():
    found = negjax.Response(
        site="up",
        convention="signed",
        output="logit",
        neurons=NEURONS,
        radius=1.0,
        activation=noise(B, N),
        baseline=noise(B),
        coefficients=noise(B, N, 4),
        nodes=np.full((B, N), 4),
        error=noise(B, N),
        noise=noise(B),
    )
    rows = found.to_arrow().to_pylist()
    assert rows[3]["coefficients"] == found.coefficients[1, 1].tolist()
    assert (rows[3]["layer"], rows[3]["index"], rows[3]["baseline"]) == (2, 0, found.baseline[1])


def test_texts_that_were_written_have_a_row_each():
    found = written()
    first, second = found.to_arrow().to_pylist()
    assert list(first)[:4] == ["prompt", "asked", "text", "stop"]
    assert (first["text"], first["stop"], first["tokens"]) == ("w3", "end", [4, 1])
    assert second["log_probability"] == found.log_probability[1].tolist()


def test_neurons_without_a_name_are_counted_by_their_rows():
    found = LinearFit(
        slope=noise(B, N), pearson=noise(B, N), largest_change=noise(B, N), shifts=noise(X)
    )
    table = found.to_arrow().to_pydict()
    assert list(table) == ["prompt", "neuron", "neg", "pearson", "largest_change"]
    np.testing.assert_array_equal(table["neg"], found.slope.ravel())


def test_tables_that_are_too_large_are_refused_before_they_are_made():
    shape = (4, 5, 100, 10_000)
    found = negjax.NeurGrad(
        site="up",
        output="logit",
        probability=np.zeros((4, 5)),
        activation=np.broadcast_to(0.0, (4, *shape[2:])),
        computed=np.broadcast_to(0.0, shape),
    )
    for make in (found.to_arrow, found.to_pandas):
        with pytest.raises((ValueError, ImportError), match=r"20,000,000 rows|pip install pandas"):
            make()
    # What a notebook shows is its first rows alone.
    assert "<p>and 19,999,900 rows more</p>" in found._repr_html_()


def test_a_page_says_what_it_shows_and_ends_with_the_table(monkeypatch):
    monkeypatch.setattr(tabular, "SHOWN_ROWS", 5)
    page = swept()._repr_html_()
    assert (
        page.startswith("<p>Sweep(site=&#x27;up&#x27;, convention=") and "[B=2, N=2, X=3]" in page
    )
    assert page.count("<tr>") == 1 + 5 and page.endswith("</table><p>and 7 rows more</p>")


@pytest.mark.parametrize("text", MARKUP)
def test_hostile_texts_are_inert(text):
    page = written(text)._repr_html_()
    tags = set(re.findall(r"<[^>]*>?", page))
    assert tags <= {
        *("<p>", "</p>", "<br>", "<table>", "</table>", "<thead>", "</thead>", "<tbody>"),
        *("</tbody>", "<tr>", "</tr>", "<th>", "</th>", "<td>", "</td>"),
    }


def test_every_record_by_prompt_of_a_measurement_is_a_table():
    every = [kind for kind in _below(PerPrompt) if "measurements" in kind.__module__]
    assert every and all(issubclass(kind, tabular.Tabular) for kind in every)


def _below(kind: type) -> set[type]:
    found: set[type] = set()
    subclasses: list[type] = kind.__subclasses__()
    for subclass in subclasses:
        found |= {subclass, *_below(subclass)}
    return found


def test_records_that_are_no_tables_show_their_lines_in_notebooks() -> None:
    lm = tiny("gated")
    some = negjax.directions(0, np.ones((1, 4)))
    every: tuple[Any, ...] = (lm, some, lm.config, dataclasses.replace(lm, name=MARKUP[0]))
    for record in every:
        shown: str = record._repr_html_()
        assert shown.startswith("<pre>") and type(record).__name__ in shown
        assert "<" not in shown.removeprefix("<pre>").removesuffix("</pre>")
