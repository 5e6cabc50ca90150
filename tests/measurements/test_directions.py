"""Directions against full forward passes with a write, and against the neurons that they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import negjax
from negjax.inputs.probes import Probes
from negjax.model.config import PLACES
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import (
    error,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import float64_weights, full_forward, joint_scores

EXACT, DIFFERENCES, STEP = 1e-10, 1e-7, 1e-4
SHIFTS = np.asarray([-1.5, 0.5])
SPAN = slice(1, 4)
BEFORE, ATTENTION, FFN, AFTER = PLACES
STATE = {BEFORE: "entering", ATTENTION: "mid", FFN: "leaving", AFTER: "leaving"}
Case = tuple[str, dict[str, Any], Any, Any]
CASES: list[Case] = [
    ("gated", {"norm_placement": "sandwich"}, ATTENTION, (1, -4, 0)),
    ("gpt2", {"parallel": "shared"}, AFTER, None),
    ("bert", {}, BEFORE, SPAN),
]


def some_directions(lm: LanguageModel, place: Any) -> negjax.Directions:
    """One in the lowest layer and two in the highest, of different lengths."""
    vectors = np.random.default_rng(3).normal(size=(3, lm.config.width))
    layers = [0, lm.config.layers - 1, lm.config.layers - 1]
    return negjax.directions(layers, vectors * [[0.3], [1.0], [2.0]], place)


def own_tokens(probes: Probes, prompt: int) -> np.ndarray:
    return probes.tokens[prompt, probes.mask[prompt]]


def tokens_at(probes: Probes, positions: Any, prompt: int) -> np.ndarray:
    own = np.arange(probes.mask[prompt].sum())
    if positions is None:
        return own[[int(probes.mask[prompt, : probes.read[prompt]].sum())]]
    return own[positions] if isinstance(positions, slice) else own[[positions[prompt]]]


def written_scores(
    lm: LanguageModel,
    probes: Probes,
    prompt: int,
    directions: negjax.Directions,
    amounts: Sequence[float] | np.ndarray,
    at: np.ndarray,
) -> float:
    """Log-probability of target 1 with so much of each direction written at tokens `at`."""
    writes = np.zeros((lm.config.layers, len(at), lm.config.width))
    for layer, vector, amount in zip(directions.layer, directions.vectors, amounts, strict=True):
        writes[layer] += amount * vector
    return joint_scores(lm, probes, prompt, 1, at=at, written=(directions.place, writes))[0]


@pytest.mark.parametrize(("shape", "changes", "place", "positions"), CASES)
def test_a_sweep_is_exact_at_each_place(
    shape: str, changes: dict[str, Any], place: Any, positions: Any
) -> None:
    with precision("float64"):
        lm = tiny(shape, "float64", **changes)
        probes = tiny_probes(lm)
        along = some_directions(lm, place)
        found = negjax.sweep(lm, probes, along, SHIFTS, "additive", positions=positions, target=1)
    expected, activation = np.empty(found.logit.shape), np.empty(found.activation.shape)
    for b in range(len(probes)):
        at = tokens_at(probes, positions, b)
        states = full_forward(lm, own_tokens(probes, b))[1][STATE[place]][:, at[-1]]
        for n, (layer, vector) in enumerate(zip(along.layer, along.vectors, strict=True)):
            activation[b, n] = states[layer] @ vector / (vector @ vector)
            for x, shift in enumerate(SHIFTS):
                amounts = shift * (np.arange(3) == n)
                expected[b, n, x] = written_scores(lm, probes, b, along, amounts, at)
    assert error(found.log_probability, expected) < EXACT
    assert error(found.activation, activation) < EXACT
    assert found.site == place
    assert found.directions is along


SLOPES: list[Case] = [
    ("gated", {"norm_placement": "sandwich"}, BEFORE, SPAN),
    ("bert", {}, ATTENTION, None),
]


@pytest.mark.parametrize(("shape", "changes", "place", "positions"), SLOPES)
def test_gradients_are_central_differences(
    shape: str, changes: dict[str, Any], place: Any, positions: Any
) -> None:
    with precision("float64"):
        lm = tiny(shape, "float64", **changes)
        probes = tiny_probes(lm)
        along = some_directions(lm, place)
        found = negjax.residual_gradients(
            lm, probes, place, positions=positions, output="log_probability"
        )
    slopes, coefficients = found.along(along)[:, 1], found.coefficients(along)
    expected, parts = np.empty(slopes.shape), np.empty(coefficients.shape)
    squares = np.square(along.vectors).sum(1)
    for b in range(len(probes)):
        at = tokens_at(probes, positions, b)
        states = full_forward(lm, own_tokens(probes, b))[1][STATE[place]]
        for n, layer in enumerate(along.layer):
            own = states[layer, at] @ along.vectors[n] / squares[n]
            parts[b, ..., n] = own if parts.ndim == 3 else own[0]
            for q, token in enumerate(at):
                up, down = (
                    written_scores(lm, probes, b, along, x * (np.arange(3) == n), token[None])
                    for x in (STEP, -STEP)
                )
                expected[(b, q, n) if slopes.ndim == 3 else (b, n)] = (up - down) / (2 * STEP)
    assert error(slopes, expected) < DIFFERENCES
    assert error(coefficients, parts) < EXACT


def of_neurons(lm: LanguageModel, neurons: np.ndarray) -> negjax.Directions:
    """What the neurons of a plain feed-forward layer write."""
    rows = float64_weights(lm)["blocks.ffn.down.kernel"]
    return negjax.directions(neurons[:, 0], rows[neurons[:, 0], neurons[:, 1]], FFN)


def test_a_neuron_is_a_direction() -> None:
    with precision("float64"):
        lm = tiny("gpt2", "float64")
        probes, neurons = tiny_probes(lm), one_neuron_a_layer(lm)
        along = of_neurons(lm, neurons)
        asked: dict[str, Any] = {"convention": "additive", "target": 1}
        one, other = (negjax.neg(lm, probes, some, **asked) for some in (neurons, along))
        curve = negjax.response(lm, probes, along, 2.0, 8, max_nodes=8, **asked)
    assert error(other.slope, one.slope) < EXACT
    assert error(other.derivative, one.derivative) < EXACT
    assert error(curve.change(one.shifts), one.change) < 1e-3
    assert other.directions is curve.directions is along


def test_curvature_is_a_second_difference() -> None:
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes, along = tiny_probes(lm), some_directions(lm, FFN)
        found = negjax.curvature(lm, probes, along, output="log_probability", target=1)
    expected = np.empty(found.second.shape)
    for b in range(len(probes)):
        at, step = tokens_at(probes, None, b), 1e-3
        for n in range(3):
            up, here, down = (
                written_scores(lm, probes, b, along, x * (np.arange(3) == n), at)
                for x in (step, 0.0, -step)
            )
            expected[b, n] = (up - 2 * here + down) / step**2
    assert error(found.second, expected) < 1e-5


def test_joint_directions_are_exact_and_meet_experts() -> None:
    with precision("float64"):
        lm = tiny("experts", "float64")
        probes = tiny_probes(lm)
        along = some_directions(lm, ATTENTION)
        # Number 1 twice: its shifts add up.
        sets = negjax.direction_sets(along, [([0, 1, 1], [1.0, 0.25, 0.25]), ([2], -1.0)])
        found = negjax.joint(lm, probes, sets, "additive", target=1)
    for b in range(len(probes)):
        at = tokens_at(probes, None, b)
        for row, amounts in enumerate(([1.0, 0.5, 0.0], [0.0, 0.0, -1.0])):
            expected = written_scores(lm, probes, b, along, amounts, at)
            assert abs(found.log_probability[b, row] - expected) < EXACT


def test_a_head_writes_through_its_rows_of_the_output_matrix() -> None:
    lm = tiny("gpt2")
    c = lm.config
    vectors = np.random.default_rng(0).normal(size=(2, c.head_width))
    found = negjax.head_directions(lm, 1, 2, vectors)
    kernel = float64_weights(lm)["blocks.attention.out.kernel"][1]
    mixed = np.zeros((2, c.heads, c.head_width))
    mixed[:, 2] = vectors
    assert error(found.vectors, mixed.reshape(2, -1) @ kernel.reshape(-1, c.width)) < 1e-12
    assert found.place == ATTENTION
    assert found.layer.tolist() == [1, 1]


def test_without_a_shift_nothing_changes_in_float32() -> None:
    """The baseline enters at the same layer, so that rounding cancels."""
    lm = tiny("gpt2")
    along = some_directions(lm, AFTER)
    found = negjax.sweep(lm, tiny_probes(lm), along, [0.0], "additive", target=1)
    assert np.abs(found.change("log_probability")).max() < 1e-6
