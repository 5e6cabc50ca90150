"""Neurons that sets have in common: by hand, and by chance against exact fractions."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from negjax import skills


def test_jaccard_by_hand():
    assert skills.jaccard([3, 1, 2], [2, 3, 9]) == 2 / 4
    assert skills.jaccard([0], [1]) == 0
    assert skills.jaccard([5, 4], [4, 5]) == 1
    assert skills.jaccard([1, 2, 3], [1]) == 1 / 3


@pytest.mark.parametrize("neurons", [[], [1, 1], [[1, 2]]])
def test_no_sets(neurons):
    with pytest.raises(ValueError, match="neurons are"):
        skills.jaccard([1], neurons)


@pytest.mark.parametrize(("k", "total"), [(1, 1), (2, 5), (3, 7), (4, 6), (6, 6)])
def test_chance_against_every_pair_of_sets(k, total):
    first = range(k)
    found = sorted(skills.jaccard(first, s) for s in itertools.combinations(range(total), k))
    chance = skills.chance_jaccard(k, total)
    assert chance.expected == pytest.approx(np.mean(found), rel=1e-12)
    inside = [chance.low <= index <= chance.high for index in found]
    assert np.mean(inside) >= 0.95
    # Of what lies on either side there is no more than its half of the rest.
    assert np.mean([index < chance.low for index in found]) <= 0.025
    assert np.mean([index > chance.high for index in found]) <= 0.025


def test_chance_against_exact_fractions_at_a_models_size():
    k, total = 256, 46080
    whole = math.comb(total, k)
    exact = [Fraction(math.comb(k, x) * math.comb(total - k, k - x), whole) for x in range(20)]
    expected = float(sum(p * Fraction(x, 2 * k - x) for x, p in enumerate(exact)))
    chance = skills.chance_jaccard(k, total)
    assert chance.expected == pytest.approx(expected, rel=1e-9)
    running = np.cumsum([float(p) for p in exact])
    low, high = np.searchsorted(running, [0.025, 0.975])
    assert (chance.low, chance.high) == (low / (2 * k - low), high / (2 * k - high))
    assert chance.low == 0 < chance.expected < chance.high < 0.01


def test_a_wider_band_holds_more():
    narrow, wide = (skills.chance_jaccard(64, 512, level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.expected < narrow.high < wide.high


@pytest.mark.parametrize(("k", "level"), [(0, 0.95), (9, 0.95), (3, 0.0), (3, 1.0)])
def test_chance_refuses(k, level):
    with pytest.raises(ValueError, match=r"^(k|level) is"):
        skills.chance_jaccard(k, 8, level)
