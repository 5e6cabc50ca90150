"""Neurons at other tokens than the read position, against full forwards in float64."""

from typing import Any

import numpy as np
import pytest

import negjax
from negjax.execution.batching import split_probes
from negjax.inputs.neurons import neuron_sets
from negjax.inputs.positions import TokenPositions, placed
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
from tests.support.reference import full_forward, joint_scores

SHIFTS = np.asarray([-1.5, 0.5, 2.0])
# Of prompts of 5, 6 and 8 tokens.
EACH = (1, -4, 0)
SPAN = slice(1, 4)
EXACT = 1e-10

Case = tuple[str, str, dict[str, Any]]
CASES: list[Case] = [
    ("gated", "up", {}),
    ("gated", "product", {"norm_placement": "sandwich"}),
    ("gpt2", "act", {}),
    ("bert", "act", {}),
    ("experts", "product", {}),
]


def exactly(*numbers: int) -> Any:
    """Makes a test one in float64, for cases of these numbers."""

    def decorated(test: Any) -> Any:
        cases = [CASES[number] for number in numbers]

        @pytest.mark.parametrize(("shape", "site", "changes"), cases)
        def in_float64(shape: str, site: str, changes: dict[str, Any]) -> None:
            with precision("float64"):
                test(tiny(shape, "float64", **changes), site)

        in_float64.__name__, in_float64.__doc__ = test.__name__, test.__doc__
        return in_float64

    return decorated


def own_tokens(probes: Probes, prompt: int) -> np.ndarray:
    return probes.tokens[prompt, probes.mask[prompt]]


def moved(
    lm: LanguageModel, probes: Probes, prompt: int, at: np.ndarray, neuron: np.ndarray, site: str
) -> np.ndarray:
    """[L, n, F], one unit of the signed convention at each of the tokens `at`."""
    layer, index = neuron
    inner = full_forward(lm, own_tokens(probes, prompt))[1][site]
    unit = np.zeros((lm.config.layers, len(at), lm.config.neurons))
    unit[layer, :, index] = np.where(inner[layer, at, index] > 0, 1, -1)
    return unit


def tokens_at(probes: Probes, positions: Any, prompt: int) -> np.ndarray:
    length = int(probes.mask[prompt].sum())
    if isinstance(positions, slice):
        return np.arange(length)[positions]
    return np.asarray([np.arange(length)[positions[prompt]]])


@exactly(0, 1, 2, 3, 4)
def test_a_sweep_is_exact_at_a_token_each_and_at_several_together(
    lm: LanguageModel, site: str
) -> None:
    targets = JOINT_TARGETS if lm.config.causal else None
    probes = tiny_probes(lm, targets, target_mode="all") if targets is not None else tiny_probes(lm)
    neurons = one_neuron_a_layer(lm)
    for positions in (EACH, SPAN):
        found = negjax.sweep(
            lm, probes, neurons, SHIFTS, "signed", site, positions=positions, target=1
        )
        assert found.positions is not None
        expected, before = np.empty(found.logit.shape), np.empty(found.baseline.shape)
        activation = np.empty(found.activation.shape)
        for b in range(len(probes)):
            at = tokens_at(probes, positions, b)
            inner = full_forward(lm, own_tokens(probes, b))[1][site]
            before[b] = np.exp(joint_scores(lm, probes, b, 1)[0])
            for n, neuron in enumerate(neurons):
                activation[b, n] = inner[neuron[0], at[-1], neuron[1]]
                unit = moved(lm, probes, b, at, neuron, site)
                for x, shift in enumerate(SHIFTS):
                    expected[b, n, x] = joint_scores(lm, probes, b, 1, site, shift * unit, at=at)[0]
        assert error(found.log_probability, expected) < EXACT
        assert error(found.baseline, before) < EXACT
        assert error(found.activation, activation) < EXACT
        alone = negjax.sweep(lm, probes, neurons, SHIFTS, site=site, target=1)
        assert error(alone.log_probability, expected) > 1e-3


@exactly(0, 1, 2, 3, 4)
def test_gradients_at_all_positions_are_those_at_each(lm: LanguageModel, site: str) -> None:
    probes = tiny_probes(lm)
    every = negjax.neurgrad(lm, probes, site, positions="all", output="log_probability")
    b, k, q, layers, _ = every.computed.shape
    assert (b, k, q) == (3, 2, 8)
    assert every.positions is not None
    assert every.positions[0].tolist() == [-1, -1, -1, 0, 1, 2, 3, 4]
    assert not every.computed[0, :, :3].any()
    # At the last of its own tokens is what is found where nothing is asked for.
    plain = negjax.neurgrad(lm, probes, site, output="log_probability")
    at = every.positions == probes.read[:, None]
    assert error(every.computed.swapaxes(1, 2)[at], plain.computed) < EXACT
    each = negjax.neurgrad(lm, probes, site, positions=EACH, output="log_probability")
    own = np.asarray([np.flatnonzero(every.positions[i] == p)[0] for i, p in enumerate((1, 2, 0))])
    rows = np.arange(3)
    assert error(each.computed, every.computed[rows, :, own]) < EXACT
    assert error(each.neurgrad, every.neurgrad[rows, :, own]) < EXACT
    # Differences of full forwards, over one neuron a layer.
    step = 1e-4
    for i, (layer, index) in enumerate(one_neuron_a_layer(lm)):
        shift = np.zeros((layers, lm.config.neurons))
        shift[layer, index] = step
        prompt, token = i % 3, (1, 2, 0)[i % 3]
        ways = [
            joint_scores(lm, probes, prompt, 1, site, way * shift, at=np.asarray([token]))[0]
            for way in (1, -1)
        ]
        slope = (ways[0] - ways[1]) / (2 * step)
        assert abs(each.computed[prompt, 1, layer, index] - slope) < 1e-7


@exactly(3, 4)
def test_gradients_over_positions_are_made_of_those_at_each(lm: LanguageModel, site: str) -> None:
    probes = tiny_probes(lm)
    every = negjax.neurgrad(lm, probes, site, positions="all")
    assert every.positions is not None
    there = (every.positions != -1)[:, None, :, None, None]
    for over in ("sum", "mean", "largest") if lm.config.experts == 0 else ("sum",):
        found = negjax.neurgrad(lm, probes, site, positions="all", over=over)
        for values, kept in ((every.computed, found.computed), (every.neurgrad, found.neurgrad)):
            if over == "largest":
                index = np.abs(values).argmax(2)[:, :, None]
                expected = np.take_along_axis(values, index, 2)[:, :, 0]
            else:
                expected = np.where(there, values, 0).sum(2)
                expected = expected / there.sum(2) if over == "mean" else expected
            assert error(kept, expected) < EXACT
        if found.routed is not None and every.routed is not None:
            assert (found.routed == every.routed.any(1)).all()


@exactly(0)
def test_curves_and_slopes_are_those_of_the_sweep(lm: LanguageModel, site: str) -> None:
    probes, neurons = tiny_probes(lm), one_neuron_a_layer(lm)
    ask: dict[str, Any] = {"site": site, "positions": SPAN, "target": 0}
    grid = negjax.paper_grid(0.4, 0.1)
    swept = negjax.linear_fit(negjax.sweep(lm, probes, neurons, grid, **ask))
    slope = negjax.neg(lm, probes, neurons, 0.4, 0.1, pairs=2, **ask)
    assert error(slope.slope, swept.slope) < 1e-7
    summed = negjax.neurgrad(lm, probes, site, positions=SPAN, over="sum").neurgrad[:, 0]
    assert error(slope.derivative, summed[:, neurons[:, 0], neurons[:, 1]]) < EXACT
    curve = negjax.response(lm, probes, neurons, 2.0, **ask)
    exact = negjax.sweep(lm, probes, neurons, SHIFTS, **ask)
    assert error(curve(SHIFTS), exact.probability) < 1e-5


@exactly(0, 3)
def test_sets_are_shifted_and_clamped_at_all_positions(lm: LanguageModel, site: str) -> None:
    probes, neurons = tiny_probes(lm), one_neuron_a_layer(lm)
    values = np.asarray([0.7, -1.1, 0.4])[: len(neurons)]
    sets = neuron_sets(lm.config, [(neurons, values)])
    shift = np.zeros((lm.config.layers, lm.config.neurons))
    shift[neurons[:, 0], neurons[:, 1]] = values
    for clamp in (False, True):
        found = negjax.joint(
            lm, probes, sets, "additive", site, clamp=clamp, positions=SPAN, target=0
        )
        for b in range(3):
            at = tokens_at(probes, SPAN, b)
            held = shift != 0 if clamp else None
            expected = joint_scores(lm, probes, b, 0, site, shift, held, at)[0]
            assert abs(found.log_probability[b, 0] - expected) < EXACT


def test_a_prompt_is_steered_from_an_earlier_token() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm).select_target(0)
    before = negjax.neurgrad(lm, probes).probability[:, 0]
    steered = negjax.control.steer_probes(
        lm, probes, 1.1 * before, positions=EACH, unrelated=probes[0], turns=0
    )
    for prompt, found in enumerate(steered):
        assert found.reached
        at = tokens_at(probes, EACH, prompt)
        again = joint_scores(lm, probes, prompt, 0, found.site, found.shift.astype(float), at=at)
        assert abs(np.exp(again[0]) / found.wanted - 1) < 1e-3


def test_cost_follows_the_distance() -> None:
    lm = tiny("gated")
    probes = tiny_probes(lm)
    lengths = {
        back: split_probes(lm.config, placed(probes, -back), np.arange(3)).suffix.tokens.shape[1]
        for back in (1, 2, 5)
    }
    assert lengths == {1: 1, 2: 4, 5: 8}
    whole = split_probes(lm.config, placed(probes, "all"), np.arange(3))
    assert not np.asarray(whole.prefix_mask).any()


def test_padding_side_and_neighbours_do_not_matter() -> None:
    lm = tiny("gpt2")
    probes = tiny_probes(lm)
    neurons = one_neuron_a_layer(lm)
    together = negjax.sweep(lm, probes, neurons, SHIFTS, positions=(1, 2, 0), target=0)
    for b, at in enumerate((1, 2, 0)):
        one = negjax.sweep(lm, probes[b], neurons, SHIFTS, positions=at, target=0)
        assert error(one.log_probability[0], together.log_probability[b]) < 2e-6


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (5, "positions: token 5 of prompt 0, which has 5; expected -5 to 4"),
        (-6, "positions: token -6 of prompt 0"),
        ((0, 0, 8), "positions: token 8 of prompt 2, which has 8; expected -8 to 7"),
        ((0, 1), "positions is \\(0, 1\\), expected None .* B is 3"),
        ("some", "positions is 'some', expected None"),
        (slice(2, 7), "positions is slice\\(2, 7, None\\), and prompt 0 has 5 tokens"),
        (slice(3, 3), "positions is slice\\(3, 3, None\\), and prompt 0 has 5 tokens"),
        (slice(0, 4, 2), "expected a slice of whole numbers, step 1"),
        (1.5, "positions is 1.5, expected None"),
        (True, "positions is True, expected None"),
        (TokenPositions(index=np.asarray([[0]])), "positions are of 1 prompts, expected 3"),
        (TokenPositions(index=np.asarray([[0], [1], [9]])), "positions: token 9 of prompt 2"),
    ],
)
def test_positions_that_there_are_not_are_refused(positions: Any, message: str) -> None:
    lm = tiny("gated")
    with pytest.raises(ValueError, match=message):
        negjax.neurgrad(lm, tiny_probes(lm), positions=positions)


def test_several_positions_are_wanted_to_keep_something_over_them() -> None:
    lm = tiny("gated")
    with pytest.raises(ValueError, match='over="sum" is of several positions; pass positions="all'):
        negjax.neurgrad(lm, tiny_probes(lm), positions=1, over="sum")
