"""Enhancing, suppressing and turning by hand, against plain NumPy forwards in float64."""

from typing import Any

import numpy as np
import pytest

from negjax.control import enhance, strongest_shifts, suppress, turn
from negjax.measurements.gradients import NeurGrad, neurgrad
from tests.support.block_shapes import JOINT_TARGETS, SHAPES, tiny, tiny_probes
from tests.support.control_reference import distribution, divergence, one_target
from tests.support.reference import joint_scores

SITES = [(shape, site) for shape, config in SHAPES.items() for site in config.sites]


@pytest.mark.parametrize(("shape", "site"), SITES)
def test_turned_neurons_and_what_came_of_it(shape, site):
    lm = tiny(shape)
    probes = tiny_probes(lm)
    found = suppress(lm, probes, 4, ratio=1.5, site=site, target=1)
    gradients = neurgrad(lm, probes, site)
    for b in range(len(probes)):
        activation, slope = gradients.activation[b], gradients.neurgrad[b, 1]
        order = np.argsort(slope.ravel())
        chosen = [*order[::-1][:4], *order[:4]]
        shift = np.zeros_like(activation, np.float64)
        for number, flat in enumerate(chosen):
            at = np.unravel_index(flat, activation.shape)
            # Suppressed: positive neurons towards and through 0, negative ones away from it.
            amount = (-1.5 if number < 4 else 1.5) * activation[at]
            shift[at] = amount
            assert found.neurons[b, number].tolist() == list(at)
            assert found.shifts[b, number] == pytest.approx(amount, rel=1e-6)
            assert found.activation[b, number] == activation[at]
            assert found.neurgrad[b, number] == pytest.approx(slope[at], rel=1e-5)
        target = probes.target_ids[b, 1, 0]
        pair = [distribution(lm, probes, b), distribution(lm, probes, b, site, shift)]
        for expected, outcome in zip(pair, (found.before, found.after), strict=True):
            assert outcome.probability[b] == pytest.approx(expected[target], rel=1e-5)
            assert outcome.rank[b] == 1 + (expected > expected[target]).sum()
            assert outcome.top_token[b] == expected.argmax()
            assert outcome.top_text[b] == lm.tokenizer.decode([int(expected.argmax())])
        assert found.kl[b] == pytest.approx(divergence(*pair), rel=1e-4)
        assert pair[1][target] < pair[0][target]
    assert (found.after.rank != found.before.rank).any()


@pytest.mark.parametrize("polarity", ["both", "positive", "negative"])
def test_enhance_raises_and_suppress_lowers(polarity):
    lm = tiny("gpt2")
    probes = one_target(lm)
    up = enhance(lm, probes, 3, volume=0.01, polarity=polarity)
    down = suppress(lm, probes, 3, volume=0.01, polarity=polarity)
    assert (up.after.probability > up.before.probability).all()
    assert (down.after.probability < down.before.probability).all()
    np.testing.assert_array_equal(up.shifts, -down.shifts)
    np.testing.assert_array_equal(up.neurons, down.neurons)
    assert up.neurons.shape == (3, 6 if polarity == "both" else 3, 2)
    wanted = {"both": [1, 1, 1, -1, -1, -1], "positive": [1, 1, 1], "negative": [-1, -1, -1]}
    assert (np.sign(up.neurgrad) == wanted[polarity]).all()
    # Small shifts: the sum of the slopes tells the change.
    strengthened = up.shifts * np.where(up.activation > 0, 1, -1)
    predicted = (up.neurgrad * strengthened).sum(1)
    change = up.after.probability - up.before.probability
    np.testing.assert_allclose(change, predicted, rtol=0.05)


def made_up(activation: Any, slope: Any) -> NeurGrad:
    """Gradients [1, 1, 2, 3] whose NeurGrad is `slope`."""
    activation = np.asarray(activation, float).reshape(1, 2, 3)
    computed = np.asarray(slope, float).reshape(1, 1, 2, 3) * np.where(activation > 0, 1, -1)
    return NeurGrad(
        site="act",
        output="probability",
        probability=np.ones((1, 1)),
        activation=activation,
        computed=computed,
    )


def test_ties_go_to_the_lowest_flat_index():
    gradients = made_up([1, -2, 0, 4, -5, 6], [3, 3, -1, 3, -1, -1])
    neurons, shifts = strongest_shifts(gradients, 2, volume=0.5)
    assert neurons[0].tolist() == [[0, 0], [0, 1], [0, 2], [1, 1]]
    # Strengthened, strengthened, weakened, weakened; an activation of 0 counts as negative.
    assert shifts[0].tolist() == [0.5, -0.5, 0.5, 0.5]
    _, by_ratio = strongest_shifts(gradients, 2, ratio=0.5)
    assert by_ratio[0].tolist() == [0.5, -1, 0, 2.5]


def test_each_neuron_may_have_its_own_amount():
    gradients = made_up([1, -2, 3, 4, -5, 6], [3, 2, -1, 1, -2, -3])
    neurons, shifts = strongest_shifts(gradients, 2, volume=np.asarray([1.0, 2, 3, 4]))
    assert neurons[0].tolist() == [[0, 0], [0, 1], [1, 2], [1, 1]]
    assert shifts[0].tolist() == [1, -2, -3, 4]
    _, shifts = strongest_shifts(gradients, 2, ratio=np.asarray([1.0, 2]), polarity="negative")
    assert shifts[0].tolist() == [-6, 10]


def test_neurons_named_twice_are_added_up():
    lm = tiny("bert")
    probes = one_target(lm)
    twice = turn(lm, probes, np.asarray([[0, 3], [2, 5], [0, 3]]), np.asarray([0.5, 1.0, 0.25]))
    once = turn(lm, probes, np.asarray([[0, 3], [2, 5]]), np.asarray([0.75, 1.0]))
    np.testing.assert_array_equal(twice.after.probability, once.after.probability)
    shift = np.zeros((3, 20))
    shift[0, 3], shift[2, 5] = 0.75, 1.0
    for b in range(3):
        expected = distribution(lm, probes, b, "act", shift)[probes.target_ids[b, 0, 0]]
        assert twice.after.probability[b] == pytest.approx(expected, rel=1e-5)


def test_prompts_may_have_neurons_of_their_own():
    lm = tiny("gated")
    probes = one_target(lm)
    neurons = np.asarray([[[0, 1]], [[1, 2]], [[2, 3]]])
    together = turn(lm, probes, neurons, np.asarray([[1.0], [-2.0], [3.0]]))
    for b, amount in enumerate((1.0, -2.0, 3.0)):
        alone = turn(lm, probes.select([b]), neurons[b], np.asarray([amount]))
        assert together.after.probability[b] == pytest.approx(alone.after.probability[0], rel=1e-6)


def test_joint_targets_count_all_their_tokens():
    lm = tiny("gated")
    probes = tiny_probes(lm, JOINT_TARGETS, "all")
    found = enhance(lm, probes, 5, volume=0.2, target=0)
    for b in range(3):
        shift = np.zeros((3, 20))
        np.add.at(shift, tuple(found.neurons[b].T), found.shifts[b])
        expected = np.exp(joint_scores(lm, probes, b, 0, "up", shift)[0])
        assert found.after.probability[b] == pytest.approx(expected, rel=1e-5)
        first = distribution(lm, probes, b, "up", shift)
        assert found.after.rank[b] == 1 + (first > first[probes.target_ids[b, 0, 0]]).sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0, "volume": 1.0}, r"k is 0: expected 1 to 60, the model's neurons"),
        ({"k": 61, "volume": 1.0}, r"k is 61: expected 1 to 60"),
        ({"k": 2.0, "volume": 1.0}, r"k is 2.0: expected 1 to 60"),
        ({"k": 59, "volume": 1.0}, r"prompt \d has \d+ neurons with NeurGrad > 0, fewer than k = "),
        (
            {"k": 59, "volume": 1.0, "polarity": "negative"},
            r"prompt \d has \d+ neurons with NeurGrad < 0, fewer than k = 59",
        ),
        ({"k": 1}, r"volume is None and ratio None: pass one of them"),
        ({"k": 1, "volume": 1.0, "ratio": 2.0}, r"volume is 1.0 and ratio 2.0: pass one of"),
        ({"k": 1, "volume": -1.0}, r"volume is -1.0, expected a finite number, 0 or more"),
        ({"k": 1, "ratio": np.inf}, r"ratio is inf, expected a finite number"),
        ({"k": 2, "ratio": np.ones(3)}, r"ratio has shape \[3\], .* one for each of 4 neurons"),
        ({"k": 1, "volume": 1.0, "polarity": "up"}, r"polarity is 'up', expected one of"),
        ({"k": 1, "volume": 1.0, "site": "act"}, r"site 'act': "),
        ({"k": 1, "volume": 1.0, "target": 2}, r"target is 2, and each prompt has 2"),
        ({"k": 1, "volume": 1.0, "target": None}, r"target is None, and each prompt has 2"),
    ],
)
def test_turning_refuses(arguments, message):
    lm = tiny("gated")
    for function in (enhance, suppress):
        with pytest.raises(ValueError, match=message):
            function(lm, tiny_probes(lm), **{"target": 0, **arguments})


@pytest.mark.parametrize(
    ("neurons", "shifts", "message"),
    [
        (np.zeros((0, 2), int), [], r"no neurons"),
        ([[3, 0]], [1.0], r"neuron \(layer 3, index 0\) does not exist"),
        ([[0, 0]], [1.0, 2.0], r"shifts have shape \[2\], expected one for each of 1 neurons"),
        ([[0, 0]], [np.nan], r"value nan of neuron \(layer 0, index 0\), expected a finite"),
        (np.zeros((61, 2), int), np.ones(61), r"61 neurons, more than the 60 that the model has"),
    ],
)
def test_turning_by_hand_refuses(neurons, shifts, message):
    lm = tiny("gated")
    with pytest.raises(ValueError, match=message):
        turn(lm, one_target(lm), np.asarray(neurons), np.asarray(shifts))
