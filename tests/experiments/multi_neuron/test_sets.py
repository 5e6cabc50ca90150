"""The study of many neurons at once: which sets there are, and what is predicted of them."""

import numpy as np
import pytest

from experiments.multi_neuron.results import prediction
from experiments.multi_neuron.sets import CHOICES, design, pool, shifts_of, sizes_up_to
from experiments.reporting import statistics


def test_sizes():
    np.testing.assert_array_equal(sizes_up_to(1), [1])
    np.testing.assert_array_equal(sizes_up_to(60), [1, 2, 4, 8, 16, 32])
    assert sizes_up_to(4096)[-1] == 4096


@pytest.mark.parametrize("choice", CHOICES)
def test_pools(choice):
    neurgrad = np.random.default_rng(0).normal(size=(4, 10))
    neurons = pool(choice, neurgrad, 8, 3, np.random.default_rng(1))
    assert neurons.shape == (24 if choice == "layer" else 8, 2)
    assert neurons.min() >= 0 and (neurons < (4, 10)).all()
    if choice == "layer":
        assert [len(set(part[:, 0])) for part in np.split(neurons, 3)] == [1, 1, 1]
        assert len(set(neurons[::8, 0])) == 3
        neurons = neurons[:8]
    assert len({tuple(n) for n in neurons}) == 8
    if choice == "even":
        assert [sorted(neurons[i : i + 4, 0]) for i in (0, 3, 4)] == [[0, 1, 2, 3]] * 3
    if choice == "top":
        size = np.abs(neurgrad[tuple(neurons.T)])
        np.testing.assert_array_equal(size, np.sort(np.abs(neurgrad).reshape(-1))[:-9:-1])
    again = pool(choice, neurgrad, 8, 3, np.random.default_rng(1))
    np.testing.assert_array_equal(pool(choice, neurgrad, 8, 3, np.random.default_rng(1)), again)


@pytest.mark.parametrize("choice", CHOICES)
def test_no_set_comes_twice_and_all_combinations_come(choice):
    sets = design(choice, 8, 3, ["same", "random"], np.asarray([1.0, 2.0]))
    parts = shifts_of(choice, sets, 8, np.random.default_rng(0))
    seen = set()
    for (members, shifts), size, random, shift in zip(
        parts, sets.size, sets.random_signs, sets.shift, strict=True
    ):
        assert len(members) == len(set(members)) == size == len(shifts)
        assert members.max() < (24 if choice == "layer" else 8)
        assert set(np.abs(shifts)) == {abs(shift)}
        if not random:
            assert set(shifts) == {shift}
            key = (tuple(sorted(members)), float(shift))
            assert key not in seen
            seen.add(key)
    same = ~sets.random_signs
    found = set(zip(sets.size[same], sets.shift[same], strict=True))
    assert found == {(size, x) for size in (1, 2, 4, 8) for x in (-2, -1, 1, 2)}
    assert set(sets.draw[sets.random_signs]) == {0, 1, 2}
    # Random signs come with all of them turned round, and are not all alike.
    for i in np.flatnonzero(sets.random_signs):
        turned = np.flatnonzero(
            sets.random_signs
            & (sets.size == sets.size[i])
            & (sets.draw == sets.draw[i])
            & (sets.shift == -sets.shift[i])
        )
        np.testing.assert_array_equal(parts[turned[0]][1], -parts[i][1])
    assert any(len(set(parts[i][1])) == 2 for i in np.flatnonzero(sets.random_signs))


def test_draws_are_other_neurons_as_far_as_there_are():
    sets = design("random", 8, 2, ["same"], np.asarray([1.0]))
    parts = shifts_of("random", sets, 8, np.random.default_rng(0))
    assert sets.size.tolist() == [1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 8, 8]
    for first, second in ((0, 2), (4, 6), (8, 10)):
        assert (sets.draw[first], sets.draw[second]) == (0, 1)
        assert not set(parts[first][0]) & set(parts[second][0])


def test_explained_share():
    measured = np.asarray([1.0, 2.0, 3.0, 6.0])
    assert statistics.explained(measured, measured) == 1
    assert statistics.explained(np.full(4, 3.0), measured) == 0
    assert statistics.explained(2 * measured, measured) == pytest.approx(1 - 50 / 14)
    assert statistics.explained(measured, np.full(4, 2.0)) is None
    assert statistics.explained(np.zeros(0), np.zeros(0)) is None


def test_predictions():
    sets = {"prompt": np.asarray([0, 0, 0, 4, 4, 4]), "baseline": np.full(6, 0.5)}
    change = np.asarray([0.1, 0.2, -0.3, 0.0, 0.1, 0.4])
    right = prediction(change, change, sets)
    assert (right.pearson, right.explained, right.impossible) == (1, 1, 0)
    assert right.slope == pytest.approx(1)
    half = prediction(2 * change, change, sets)
    assert half.slope == pytest.approx(0.5)
    assert half.pearson == pytest.approx(1) and half.explained is not None
    assert half.explained < 1
    assert half.impossible == pytest.approx(2 / 6)
    # Right within each prompt, but not across them.
    shifted = prediction(change + np.repeat([0.0, 5.0], 3), change, sets)
    assert shifted.prompt_pearson == pytest.approx(1)
    assert shifted.pearson is not None and shifted.pearson < 0.9
    nothing = prediction(np.zeros(6), change, sets)
    assert nothing.pearson is nothing.slope is nothing.prompt_pearson is None
