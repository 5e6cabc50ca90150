"""Probes check themselves when they are made, and their model before anything is computed."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import negjax
from negjax.control.turning import turn
from negjax.estimators import ESTIMATORS
from negjax.execution.passes import activations
from negjax.inputs.encoding import encode
from negjax.inputs.neurons import neuron_sets
from negjax.measurements.answers import plain_answers
from negjax.measurements.writes import write_norms
from tests.support.block_shapes import tiny, tiny_probes

ROWS = {"tokens": np.ones((3, 8), np.int32), "mask": np.tile(np.arange(8) != 3, (3, 1))}


@pytest.mark.parametrize(
    ("shape", "change", "message"),
    [
        ("gated", {"read": [3, 5, 7]}, r"prompt 0 is read at position 3, expected its last real t"),
        ("gated", {"read": [5, 5, 7]}, r"prompt 0 is read at position 5, expected its last real t"),
        ("gated", {"read": [4, 5, 8]}, r"read position 8, expected 0 to 7"),
        ("gated", {"read": [-4, 5, 7]}, r"read holds -4 to 7, expected 0 to"),
        ("gated", {"read": [4]}, r"probes: read is \[1\], expected \[3\] for 3 prompts"),
        (
            "gated",
            {"read": [4.0, 5.0, 7.0]},
            r"read are float64\[3\], expected an array of whole",
        ),
        ("gated", {"mask": ROWS["mask"]}, r"the mask of prompt 0 is not one run of real tokens"),
        ("gated", {"mask": np.zeros((3, 8), bool)}, r"the mask of prompt 0 is not one run of"),
        ("gated", {"mask": np.ones((3, 7), bool)}, r"mask is \[3, 7\], expected \[3, 8\]"),
        (
            "gated",
            {"mask": ROWS["tokens"]},
            r"mask is an array int32\[3, 8\], expected an array of tr",
        ),
        (
            "gated",
            {"tokens": ROWS["tokens"] * 0.5},
            r"tokens are float64\[3, 8\], expected an array",
        ),
        ("gated", {"tokens": ROWS["tokens"] * np.int64(2**40)}, r"tokens holds 1099511627776 to"),
        ("gated", {"prompts": ("a",)}, r"tokens is \[3, 8\], expected \[1, 8\] for 1 prompts"),
        ("gated", {"targets": (("a",),) * 3}, r"targets are 3 rows of \[1\] strings, expected 3"),
        ("gated", {"target_mode": "last"}, r"target_mode is 'last', expected one of"),
        ("gated", {"mask_id": 3}, r"prompt 0 is read at position 4, expected its mask, token 3"),
        ("bert", {"read": [1, 0, 7]}, r"prompt 0 is read at position 1, expected its mask, token"),
        (
            "gated",
            {"target_mask": np.zeros((3, 2, 1), bool)},
            r"target 0 of prompt 0 has the mask \[False\], expected real tokens first",
        ),
        (
            "gated",
            {"target_ids": np.full((3, 2, 1), 4)},
            r"targets '.*' and '.*' of prompt 0 are the same tokens \[4\]; name it once",
        ),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(shape, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny_probes(tiny(shape)), **change)


def test_lists_become_arrays():
    probes = tiny_probes(tiny("gated"))
    lists: dict[str, Any] = {"read": [4, 5, 7], "tokens": probes.tokens.tolist()}
    again = dataclasses.replace(probes, **lists)
    np.testing.assert_array_equal(again.read, probes.read)
    assert again.tokens.dtype == again.read.dtype == np.dtype(np.int32)


@pytest.mark.parametrize("number", [-1, 2, 0.0, True, "0"])
def test_a_target_that_is_not_there_cannot_be_selected(number):
    with pytest.raises(ValueError, match=r"number is .*, expected a whole number, 0 or more, 1 at"):
        tiny_probes(tiny("gated")).select_target(number)


def everything(lm, probes):
    """Calls that read probes."""
    neurons = np.asarray([[0, 1], [1, 2]])
    sets = neuron_sets(lm.config, [(neurons, 0.1)])
    calls = {
        "neurgrad": lambda: negjax.neurgrad(lm, probes),
        "gradient_batches": lambda: next(negjax.gradient_batches(lm, probes)),
        "effects": lambda: negjax.effects(lm, probes, neurons),
        "sweep": lambda: negjax.sweep(lm, probes, neurons, np.asarray([0.1]), target=0),
        "response": lambda: negjax.response(lm, probes, neurons, target=0),
        "curvature": lambda: negjax.curvature(lm, probes, neurons, target=0),
        "joint": lambda: negjax.joint(lm, probes, sets, target=0),
        "enhance": lambda: negjax.enhance(lm, probes, 2, volume=0.1, target=0),
        "turn": lambda: turn(lm, probes, neurons, np.ones(2), target=0),
        "plain_answers": lambda: plain_answers(lm, probes),
        "activations": lambda: activations(lm, probes),
        "write_norms": lambda: write_norms(lm, probes),
    }
    return calls | {
        f"estimate {method}": lambda method=method: negjax.estimate(lm, probes, method)
        for method in ESTIMATORS
    }


def test_ids_without_an_embedding_reach_no_gather():
    """An index out of range would be moved into it on a device, or give a row of NaN."""
    lm = tiny("gated")
    probes = tiny_probes(lm)
    size = lm.config.vocab_size
    for name, what in (("tokens", "prompt 2"), ("target_ids", "a target of prompt 2")):
        ids = getattr(probes, name).copy()
        ids[2, 0] = size
        asked = dataclasses.replace(probes, **{name: ids})
        for run in everything(lm, asked).values():
            message = rf"probes: {what} holds token id {size}.*, and the model embeds ids 0 to"
            with pytest.raises(ValueError, match=message):
                run()


@pytest.mark.parametrize(("one", "other"), [("gated", "bert"), ("bert", "gated")])
def test_probes_of_the_other_kind_of_model_are_refused(one, other):
    asked = tiny_probes(tiny(other))
    for run in everything(tiny(one), asked).values():
        with pytest.raises(ValueError, match=r"probes: .* is a .* LM, and the prompts were enc"):
            run()


def test_longer_prompts_than_the_context_are_refused():
    """Positions are looked up as well."""
    lm = tiny("gpt2")
    longer = dataclasses.replace(lm, config=dataclasses.replace(lm.config, context_length=99))
    probes = encode(longer, [" ".join(["w3"] * 33)], ["w4"])
    for run in everything(lm, probes).values():
        with pytest.raises(ValueError, match=r"prompt 0 is 33 tokens .* context holds 32; short"):
            run()
