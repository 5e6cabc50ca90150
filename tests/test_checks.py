"""Arguments of the wrong kind: refused by name, with what was expected, before anything runs."""

from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import pytest

from negjax.checks import real_numbers, shown, whole_number
from negjax.control import (
    edit,
    enhance,
    next_token_kl,
    perplexity,
    steer,
    steer_probes,
    success,
    suppress,
    target_probabilities,
    turn,
    unrelated_facts,
)
from negjax.estimators import estimate
from negjax.inputs.encoding import encode
from negjax.inputs.neurons import neuron_sets
from negjax.inputs.probes import Probes
from negjax.measurements.gradients import neurgrad
from negjax.measurements.joint_interventions import joint
from negjax.measurements.second_order import curvature, linear_range
from negjax.measurements.token_effects import effects
from negjax.measurements.writes import summed_writes, write_norms
from tests.support.block_shapes import tiny, tiny_probes

NEURONS = np.asarray([[0, 1]])
PROBES = r"was given, expected Probes: encode\(lm, prompts, targets\)"
NUMBER = r"expected a number or an array of numbers"


def one_target(shape: str) -> Probes:
    lm = tiny(shape)
    probes = tiny_probes(lm)
    return encode(lm, probes.prompts, [row[0] for row in probes.targets])


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), [1, 2], np.zeros((2, 0)), [[1.5]], []])
def test_numbers(value: Any) -> None:
    found = real_numbers(value, "x")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.asarray(value))


def test_numbers_of_jax() -> None:
    for dtype in (jnp.bfloat16, jnp.float32, jnp.int32):
        assert real_numbers(jnp.asarray([1, 2], dtype), "x").tolist() == [1, 2]


@pytest.mark.parametrize("value", ["half", None, True, [True], 1j, {}, [1, "b"], [[1], [1, 2]]])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^x is .*, {NUMBER}$"):
        real_numbers(value, "x")


def test_whole_numbers() -> None:
    assert whole_number(3, "x", 0) == 3
    assert type(whole_number(cast(int, np.int64(3)), "x", 0)) is int
    for value in (-1, 1.0, "1", None, True, [1]):
        with pytest.raises(ValueError, match=r"^x is .*, expected a whole number, 0 or more$"):
            whole_number(cast(int, value), "x", 0)


def test_what_is_long_is_named_by_kind_and_size() -> None:
    assert shown("a" * 100) == "a str of 100"
    assert shown(["w3"]) == "['w3']"


def test_gradients_of_what_is_no_probes() -> None:
    texts = cast(Probes, ["w3 w4"])
    for differentiate in (neurgrad, lambda lm, probes: effects(lm, probes, NEURONS)):
        with pytest.raises(ValueError, match=rf"^probes: \['w3 w4'\] {PROBES}"):
            differentiate(tiny("gated"), texts)


ESTIMATE: list[tuple[dict[str, Any], str]] = [
    ({"probes": ["w3 w4"]}, rf"^probes: \['w3 w4'\] {PROBES}"),
    ({"reference": "x"}, rf"^reference: 'x' {PROBES}"),
    ({"method": ["cg"]}, r"^method is \['cg'\], expected one of cg, neurgrad"),
    ({"method": "ig", "steps": True}, r"^steps is True, expected a whole number, 1 or more"),
    ({"method": "ig", "steps": "3"}, r"^steps is '3', expected a whole number, 1 or more"),
]


@pytest.mark.parametrize(("wrong", "message"), ESTIMATE)
def test_estimate(wrong: dict[str, Any], message: str) -> None:
    lm = tiny("gated")
    given: dict[str, Any] = {"probes": tiny_probes(lm), "method": "ablation"} | wrong
    with pytest.raises(ValueError, match=message):
        estimate(lm, **given)


STEER: list[tuple[dict[str, Any], str]] = [
    ({"probability": "half"}, rf"^probability is 'half', {NUMBER}"),
    ({"probability": None}, rf"^probability is None, {NUMBER}"),
    ({"probability": True}, rf"^probability is True, {NUMBER}"),
    ({"prompt": None}, r"^prompt is None, expected text"),
    ({"target": 3}, r"^target is 3, expected text"),
    ({"target": None}, r"^target is None, expected text"),
    ({"turns": -1}, r"^turns is -1, expected a whole number, 0 or more"),
    ({"turns": 1.5}, r"^turns is 1.5, expected a whole number, 0 or more"),
    ({"turns": None}, r"^turns is None, expected a whole number, 0 or more"),
    ({"unrelated": ["w3 w4"]}, rf"^unrelated: \['w3 w4'\] {PROBES}"),
]


@pytest.mark.parametrize(("wrong", "message"), STEER)
def test_steer(wrong: dict[str, Any], message: str) -> None:
    lm = tiny("gated")
    given: dict[str, Any] = {
        "prompt": "w3 w5",
        "target": "w7",
        "probability": 0.5,
        "unrelated": None,
    } | wrong
    with pytest.raises(ValueError, match=message):
        steer(lm, **given)


def test_steer_probes() -> None:
    with pytest.raises(ValueError, match=rf"^probes: \['w3'\] {PROBES}"):
        steer_probes(tiny("gated"), cast(Any, ["w3"]), 0.5)


EDIT: list[tuple[dict[str, Any], str]] = [
    ({"facts": ["w3"]}, rf"^facts: \['w3'\] {PROBES}"),
    ({"preserve": "x"}, rf"^preserve: 'x' {PROBES}"),
    ({"probability": "half"}, rf"^probability is 'half', {NUMBER}"),
    ({"turns": -1}, r"^turns is -1, expected a whole number, 0 or more"),
]


@pytest.mark.parametrize(("wrong", "message"), EDIT)
def test_edit(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        edit(tiny("gpt2"), **{"facts": one_target("gpt2"), **wrong})


TURN: list[tuple[dict[str, Any], str]] = [
    ({"probes": ["w3"]}, rf"^probes: \['w3'\] {PROBES}"),
    ({"volume": "a"}, rf"^volume is 'a', {NUMBER}"),
    ({"volume": [1, "b"]}, rf"^volume is \[1, 'b'\], {NUMBER}"),
    ({"volume": None, "ratio": {}}, rf"^ratio is \{{\}}, {NUMBER}"),
    ({"target": "x"}, r"^target is 'x', and each prompt has 2; pass target=0 … 1"),
    ({"target": True}, r"^target is True, and each prompt has 2"),
    ({"target": 1.0}, r"^target is 1.0, and each prompt has 2"),
]


@pytest.mark.parametrize("function", [enhance, suppress])
@pytest.mark.parametrize(("wrong", "message"), TURN)
def test_enhance_and_suppress(function: Any, wrong: dict[str, Any], message: str) -> None:
    lm = tiny("gated")
    given: dict[str, Any] = {"probes": tiny_probes(lm), "k": 2, "volume": 1.0, "target": 0} | wrong
    with pytest.raises(ValueError, match=message):
        function(lm, **given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"probes": 3}, rf"^probes: 3 {PROBES}"),
        ({"shifts": "x"}, rf"^shifts is 'x', {NUMBER}"),
        ({"shifts": None}, rf"^shifts is None, {NUMBER}"),
        ({"target": "x"}, r"^target is 'x', and each prompt has 2"),
    ],
)
def test_turn(wrong: dict[str, Any], message: str) -> None:
    lm = tiny("gated")
    given: dict[str, Any] = {
        "probes": tiny_probes(lm),
        "neurons": NEURONS,
        "shifts": [1.0],
        "target": 0,
    } | wrong
    with pytest.raises(ValueError, match=message):
        turn(lm, **given)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (5, r"^sets is 5, expected a list of \(neurons, values\) pairs"),
        ("x", r"^sets is 'x', expected a list of \(neurons, values\) pairs"),
        ([5], r"^sets: set 0: 5, expected a pair of neurons and values"),
        ([(NEURONS, 1.0), (NEURONS,)], r"^sets: set 1: .*, expected a pair of neurons and values"),
        ([(NEURONS, "a")], rf"^sets: set 0: value is 'a', {NUMBER}"),
        ([(NEURONS, None)], rf"^sets: set 0: value is None, {NUMBER}"),
    ],
)
def test_sets(sets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        neuron_sets(tiny("gated").config, sets)


def test_measurements_of_neurons() -> None:
    lm = tiny("gated")
    sets = neuron_sets(lm.config, [(NEURONS, 1.0)])
    wrong, probes = cast(Any, ["w3"]), tiny_probes(lm)
    for measure in (
        lambda: joint(lm, wrong, sets),
        lambda: curvature(lm, wrong, NEURONS),
        lambda: write_norms(lm, wrong),
        lambda: summed_writes(lm, wrong, np.zeros((1, 3, 20))),
        lambda: unrelated_facts(lm, wrong),
        lambda: target_probabilities(lm, wrong),
        lambda: next_token_kl(lm, lm, wrong),
    ):
        with pytest.raises(ValueError, match=rf"^probes: \['w3'\] {PROBES}"):
            measure()
    for number in (1.5, "x"):
        target = cast(int, number)
        with pytest.raises(ValueError, match=rf"^target is {target!r}, and each prompt has 2"):
            joint(lm, probes, sets, target=target)
        with pytest.raises(ValueError, match=rf"^target is {target!r}, and each prompt has 2"):
            curvature(lm, probes, NEURONS, target=target)


def test_linear_range() -> None:
    ones = np.ones(2)
    with pytest.raises(ValueError, match=r"^tolerance is 'x', expected a positive number"):
        linear_range(ones, ones, cast(float, "x"))
    for tolerance in ([0.1], np.inf):
        with pytest.raises(ValueError, match=r"^tolerance is .*, expected a positive number"):
            linear_range(ones, ones, cast(float, tolerance))
    with pytest.raises(ValueError, match=rf"^second is None, {NUMBER}"):
        linear_range(ones, cast(Any, None), 0.1)
    with pytest.raises(ValueError, match=r"^first is \[2\] and second \[3\], expected the same sh"):
        linear_range(ones, np.ones(3), 0.1)


def test_scores_of_edits() -> None:
    lm = tiny("gated")
    with pytest.raises(ValueError, match=r"^texts is 'w3 w4', expected a list of texts"):
        perplexity(lm, "w3 w4")
    with pytest.raises(ValueError, match=r"^texts\[1\] is 3, expected text"):
        perplexity(lm, cast(Any, ["w3 w4", 3]))
    with pytest.raises(ValueError, match=rf"^second is \['a'\], {NUMBER}"):
        success(np.ones(1), cast(Any, ["a"]))
    for p in (np.nan, -0.1, 1.5):
        with pytest.raises(
            ValueError, match=rf"^second: probability is {p}, expected a number from 0 to"
        ):
            success(np.ones(1), np.asarray([p]))
    with pytest.raises(ValueError, match=r"^gated is causal with a vocabulary of 24, bert masked"):
        next_token_kl(lm, tiny("bert"), one_target("gated"))


@pytest.mark.parametrize("index", [[], [3], [-1], [0.0], [True, False, True], 1, "a"])
def test_selections(index: Any) -> None:
    probes = tiny_probes(tiny("gated"))
    with pytest.raises(ValueError, match=r"^probes numbered .* whole numbers from 0 to 2$"):
        probes.select(index)
