"""Directions that are moved while a model writes, against whole texts run anew."""

from typing import Literal

import numpy as np
import pytest

import negjax
from negjax.generation.interventions import Move
from negjax.model.config import PLACES, Place
from negjax.model.language_model import LanguageModel
from tests.generation.test_writing import GEMMA, LENGTHS, PROMPTS, agree
from tests.support.block_shapes import EXPERTS, precision, tiny, tiny_of
from tests.support.moved_texts import Written, whole_texts

LONG = 9


def one(
    lm: LanguageModel, place: Place, layer: int, how: Move, x: float, seed: int
) -> tuple[negjax.Intervention, Written]:
    """A random direction among others that nothing is done to, moved; and for the reference."""
    vectors = np.random.default_rng(seed).normal(size=(3, lm.config.width))
    some = negjax.directions(layer, vectors, place)
    move = negjax.Intervention(negjax.direction_sets(some, [([1], x)]), how)
    return move, Written(place, layer, vectors[1], how, x)


def moved(lm: LanguageModel) -> tuple[list[negjax.Intervention], list[Written]]:
    """Two directions at each place, some of them in one layer."""
    hows: dict[Place, tuple[Move, Move]] = {
        "residual_before": ("additive", "clamp"),
        "attention_out": ("additive", "additive"),
        "ffn_out": ("additive", "additive"),
        "residual_after": ("scale", "clamp"),
    }
    made = []
    for number, place in enumerate(PLACES):
        for second, how in enumerate(hows[place]):
            layer = 1 if place == "residual_after" else second
            made.append(one(lm, place, layer, how, 0.4 - second, 2 * number + second))
    return [move for move, _ in made], [written for _, written in made]


def test_directions_and_neurons_are_moved_together():
    with precision("float64"):
        lm = tiny_of(GEMMA, "float64")
        moves, written = moved(lm)
        neurons = negjax.neuron_sets(lm.config, [([[0, 1], [2, 3]], [2.0, -1.0])])
        moves.append(negjax.Intervention(neurons))
        found = negjax.generate(lm, PROMPTS, moves, site="up", max_tokens=4)
        texts = [
            [*lm.tokenizer(prompt)["input_ids"], *tokens]
            for prompt, tokens in zip(PROMPTS, found.tokens.tolist(), strict=True)
        ]
        spans = [range(length + 4) for length in LENGTHS]
        how = {(0, 1): ("signed", 2.0), (2, 3): ("signed", -1.0)}
        before, after = whole_texts(lm, texts, spans, "up", how, written)
    assert found.tokens.shape == (3, 4) and found.mask.all()
    agree(found, before, after)


@pytest.mark.parametrize("place", ["residual_before", "ffn_out"])
def test_the_first_token_is_that_of_joint(place: Place):
    """One set a prompt, of directions of several layers."""
    lm = tiny("gated")
    vectors = np.random.default_rng(0).normal(size=(4, lm.config.width))
    some = negjax.directions([0, 2, 1, 2], vectors, place)
    sets = negjax.direction_sets(some, [([0, 1], [1.0, -2.0]), ([3], 0.5), ([1, 3], -1.0)])
    move = negjax.Intervention(sets, "additive")
    found = negjax.generate(lm, PROMPTS, move, when="generated", max_tokens=1, baseline=False)
    probes = negjax.encode(lm, PROMPTS, found.tokens.tolist())
    joint = negjax.joint(lm, probes, sets, "additive")
    expected = joint.log_probability.diagonal()
    np.testing.assert_allclose(found.log_probability[:, 0], expected, atol=2e-6)


@pytest.mark.parametrize(
    ("shape", "when"),
    [("gated", "all"), ("gated", "generated"), ("gated", "prompt"), ("experts", "all")],
)
def test_without_a_baseline_the_same_is_written(
    shape: str, when: Literal["all", "generated", "prompt"]
):
    """Experts are chosen again: else the unmoved model reads along, asked for or not."""
    lm = tiny_of(EXPERTS) if shape == "experts" else tiny("gated")
    move, _ = one(lm, "residual_after", 1, "clamp", 3.0, 0)
    neurons = negjax.neuron_sets(lm.config, [([[0, 1], [1, 3]], -2.0)])
    moves = [move, negjax.Intervention(neurons, "scale")]

    def write(baseline: bool) -> negjax.Generated:
        return negjax.generate(
            lm, PROMPTS, moves, when=when, max_tokens=4, reroute=shape == "experts",
            baseline=baseline,
        )  # fmt: skip

    beside, alone = write(True), write(False)
    np.testing.assert_array_equal(alone.tokens, beside.tokens)
    np.testing.assert_allclose(alone.log_probability, beside.log_probability, atol=2e-6)
    assert alone.baseline_log_probability is None
    assert beside.baseline_log_probability is not None
    assert np.abs(beside.log_probability - beside.baseline_log_probability).max() > 1e-2


def test_what_needs_the_unmoved_model_has_it_without_a_baseline():
    lm = tiny_of(EXPERTS)
    sets = negjax.neuron_sets(lm.config, [([[0, 1], [1, 3]], -2.0)])
    for move in (negjax.Intervention(sets), negjax.Intervention(sets, "additive")):
        found = negjax.generate(lm, PROMPTS, move, max_tokens=3)
        alone = negjax.generate(lm, PROMPTS, move, max_tokens=3, baseline=False)
        assert alone.baseline_log_probability is None
        np.testing.assert_array_equal(alone.log_probability, found.log_probability)
