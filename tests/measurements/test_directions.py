"""Directions against full forward passes with a write, and against the neurons that they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import negjax
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import (
    JOINT_TARGETS,
    error,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import float64_weights, full_forward, joint_scores

EXACT = 1e-10
SHIFTS = np.asarray([-1.5, 0.5])
SPAN = slice(1, 4)
BEFORE, ATTENTION, FFN, AFTER = "residual_before", "attention_out", "ffn_out", "residual_after"
STATE = {BEFORE: "entering", ATTENTION: "mid", FFN: "leaving", AFTER: "leaving"}
Case = tuple[str, dict[str, Any], Any, Any]
CASES: list[Case] = [
    ("gated", {}, BEFORE, SPAN),
    ("gated", {}, AFTER, None),
    ("gated", {"norm_placement": "sandwich"}, ATTENTION, SPAN),
    ("gated", {"norm_placement": "sandwich"}, FFN, None),
    ("gpt2", {"parallel": "shared"}, ATTENTION, (1, -4, 0)),
    ("bert", {}, BEFORE, SPAN),
    ("bert", {}, ATTENTION, None),
    ("experts", {}, ATTENTION, SPAN),
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
    for layer, vector, amount in zip(
        directions.layer, directions.vectors, amounts, strict=True
    ):
        writes[layer] += amount * vector
    return joint_scores(lm, probes, prompt, 1, at=at, written=(directions.place, writes))[0]


@pytest.mark.parametrize(("shape", "changes", "place", "positions"), CASES)
def test_a_sweep_is_exact_at_each_place(
    shape: str, changes: dict[str, Any], place: Any, positions: Any
) -> None:
    with precision("float64"):
        lm = tiny(shape, "float64", **changes)
        probes = tiny_probes(lm, JOINT_TARGETS, target_mode="all") if lm.config.causal else None
        probes = tiny_probes(lm) if probes is None else probes
        along = some_directions(lm, place)
        found = negjax.sweep(
            lm, probes, along, SHIFTS, "additive", positions=positions, target=1
        )
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
