"""Sets of neurons with values: repeated ones, as shifts and clamped, and what is refused."""

import dataclasses

import numpy as np
import pytest

from negjax.inputs.neurons import NeuronSets, neuron_sets
from negjax.measurements.joint_interventions import joint
from tests.support.block_shapes import GATED, tiny, tiny_probes

GOOD = ([[0, 1], [2, 3]], [1.0, 2.0])


def test_shifts_of_a_neuron_named_twice_are_added_up():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    twice = [[1, 3], [2, 4], [1, 3], [0, 5], [1, 3]]
    sets = neuron_sets(lm.config, [(twice, [1.0, 0.5, -0.25, 2.0, 0.5]), ([[1, 3]] * 2, 0.75)])
    once = neuron_sets(lm.config, [([[0, 5], [1, 3], [2, 4]], [2.0, 1.25, 0.5]), ([[1, 3]], 1.5)])
    np.testing.assert_array_equal(sets.neurons, once.neurons)
    np.testing.assert_array_equal(sets.values, once.values)
    np.testing.assert_array_equal(sets.sizes, [3, 1])
    found = joint(lm, probes, sets, target=0)
    np.testing.assert_array_equal(found.logit, joint(lm, probes, once, target=0).logit)


def test_a_neuron_clamped_twice_to_a_value_counts_once():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    twice = neuron_sets(lm.config, [([[1, 3], [2, 4], [1, 3]], [0.7, -0.5, 0.7]), ([[0, 1]], 0.2)])
    once = neuron_sets(lm.config, [([[1, 3], [2, 4]], [0.7, -0.5]), ([[0, 1]], 0.2)])
    np.testing.assert_array_equal(twice.levels, once.levels)
    clamped = [joint(lm, probes, sets, clamp=True, target=0) for sets in (twice, once)]
    np.testing.assert_array_equal(clamped[0].logit, clamped[1].logit)
    # As shifts they are added up.
    added = [joint(lm, probes, sets, target=0).logit[:, 0] for sets in (twice, once)]
    assert np.abs(added[0] - added[1]).min() > 1e-4


def test_a_neuron_is_not_clamped_to_two_values():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    sets = neuron_sets(lm.config, [GOOD, ([[1, 3], [2, 4], [1, 3]], [0.7, -0.5, 0.8])])
    told = r"set 1 names neuron \(layer 1, index 3\) with different values, and an activation is cl"
    with pytest.raises(ValueError, match=told):
        joint(lm, probes, sets, clamp=True, target=0)
    assert joint(lm, probes, sets, target=0).sets is sets


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([], r"no sets of neurons: expected at least one"),
        ([GOOD, (np.zeros((0, 2), int), [])], r"set 1: no neurons: expected at least one"),
        ([GOOD, ([[3, 0]], 1.0)], r"set 1: neuron \(layer 3, index 0\) does not exist: .* 0…2"),
        ([([[0, 20]], 1.0)], r"set 0: neuron \(layer 0, index 20\) does not exist"),
        ([([[0, 1]] * 61, 1.0)], r"set 0: 61 neurons, more than the 60 that the model has"),
        ([([[0.0, 1.0]], 1.0)], r"set 0: neurons are float64\[1, 2\], expected int"),
        ([([0, 1], 1.0)], r"set 0: neurons are \[2\], expected \[n, 2\]"),
        ([([[[0, 1]]], 1.0)], r"set 0: neurons are \[1, 1, 2\], expected \[n, 2\]"),
        (
            [GOOD, ([[0, 1]], [1.0, 2.0])],
            r"set 1: values are \[2\] for 1 neurons, expected one e",
        ),
        (
            [([[0, 1], [2, 3]], [1.0, np.nan])],
            r"set 0: value nan of neuron \(layer 2, index 3\)",
        ),
        (
            [([[0, 1]], np.inf)],
            r"set 0: value inf of neuron \(layer 0, index 1\), expected a fin",
        ),
    ],
)
def test_bad_sets_are_refused(sets, message):
    with pytest.raises(ValueError, match=message):
        neuron_sets(GATED, sets)


def test_sets_of_arrays_that_do_not_fit_are_refused():
    neurons, three, four = np.zeros((2, 3, 2), np.int32), np.zeros((2, 3)), np.zeros((2, 4))
    for values, levels in ((four, four), (three, four)):
        told = rf"neurons are \[2, 3, 2\], values \[2, {values.shape[1]}\] and levels \[2, 4\], exp"
        with pytest.raises(ValueError, match=told):
            NeuronSets(neurons=neurons, values=values, levels=levels, model_shape=(3, 20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"neurons": np.asarray([[[0, 99]]])},
            r"set 0 names neuron \(layer 0, index 99\): the mod",
        ),
        ({"neurons": np.asarray([[[-1, 0]]])}, r"set 0 names neuron \(layer -1, index 0\)"),
        ({"neurons": np.asarray([[[9, 0]]])}, r"set 0 names neuron \(layer 9, index 0\)"),
        (
            {"neurons": np.asarray([[[0.0, 1.0]]])},
            r"neurons are float64.*, expected an array of whole",
        ),
        ({"values": np.asarray([[np.nan]])}, r"set 0 has the value nan, expected finite numbers"),
        ({"values": np.zeros((2, 1))}, r"neurons are \[1, 1, 2\], values \[2, 1\] and levels"),
    ],
)
def test_sets_made_by_hand_check_themselves(change, message):
    sets = neuron_sets(GATED, [(np.asarray([[0, 1]]), 0.5)])
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(sets, **change)
