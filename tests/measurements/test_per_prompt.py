"""Probes and results by prompt: `len`, an index, a slice."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import negjax
from negjax import checks
from tests.support.block_shapes import tiny, tiny_probes

NEURONS = [[0, 1], [2, 5]]


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """Of the same three prompts."""
    lm = tiny("gated")
    probes = tiny_probes(lm).select_target(0)
    gradients = negjax.neurgrad(lm, probes)
    swept = negjax.sweep(lm, probes, NEURONS, [-1.0, 0.5, 1.0], spread=True)
    sets = negjax.neuron_sets(lm.config, [(NEURONS, 0.5)])
    return {
        "probes": probes,
        "neurgrad": gradients,
        "top_neurons": negjax.top_neurons(gradients, 2, lm, probes),
        "sweep": swept,
        "linear_fit": negjax.linear_fit(swept),
        "response": negjax.response(lm, probes, NEURONS, radius=1.0, nodes=4, max_nodes=4),
        "curvature": negjax.curvature(lm, probes, NEURONS),
        "neg": negjax.neg(lm, probes, NEURONS),
        "joint": negjax.joint(lm, probes, sets),
    }


NAMES = (
    *("probes", "neurgrad", "top_neurons", "sweep", "linear_fit", "response", "curvature"),
    *("neg", "joint"),
)


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_three_prompts_is_selected(results, name):
    record = results[name]
    assert len(record) == 3
    for which, rows in ((0, [0]), (-1, [2]), (np.int64(1), [1]), (slice(1, None), [1, 2])):
        found = record[which]
        assert type(found) is type(record) and len(found) == len(rows)
        for field in dataclasses.fields(record):
            whole, part = getattr(record, field.name), getattr(found, field.name)
            # No other axis has three entries but that of the shifts, and the model's layers.
            if isinstance(whole, np.ndarray) and field.name != "shifts":
                np.testing.assert_array_equal(part, whole[rows], err_msg=field.name)
            elif isinstance(whole, tuple):
                assert part == tuple(whole[b] for b in rows), field.name
            else:
                np.testing.assert_array_equal(part, whole, err_msg=field.name)
    assert [len(one) for one in record] == [1, 1, 1]


def test_a_prompts_results_are_those_of_it_alone(results):
    lm, probes = tiny("gated"), results["probes"]
    alone = negjax.neurgrad(lm, probes[1])
    np.testing.assert_allclose(
        results["neurgrad"][1].computed, alone.computed, rtol=1e-4, atol=1e-7
    )
    top = negjax.top_neurons(alone, 2, lm, probes[1])
    assert results["top_neurons"][1].promoted == top.promoted
    curve = results["response"][1]([0.25])
    np.testing.assert_array_equal(curve, results["response"]([0.25])[[1]])


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_no_array(results, name):
    """Nor nested lists, as which numpy would go through it, prompt by prompt and without end."""
    with pytest.raises(TypeError, match=rf"a {type(results[name]).__name__} is no array"):
        np.asarray(results[name])
    with pytest.raises(TypeError, match="is no array"):
        np.asarray([results[name]])
    assert checks.as_array(results[name]).dtype == object


@pytest.mark.parametrize("name", ["probes", "neurgrad", "top_neurons"])
@pytest.mark.parametrize(
    ("which", "kind", "message"),
    [
        (3, IndexError, r"prompt 3: there are 3, numbered from 0"),
        (-4, IndexError, r"prompt -4: there are 3"),
        (slice(3, None), IndexError, r"slice\(3, None, None\) selects none of the 3 prompts"),
        (True, TypeError, r"by a whole number or a slice, not by True; a list of numbers"),
        (1.0, TypeError, r"by a whole number or a slice, not by 1\.0"),
        ([0, 1], TypeError, r"not by \[0, 1\]; a list of numbers goes through Probes\.select"),
    ],
)
def test_refused(results, name, which, kind, message):
    with pytest.raises(kind, match=message):
        results[name][which]
