"""Statistics of a study, against slow versions written out by hand."""

import math
import statistics as plain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.reporting import statistics
from negjax.measurements import chebyshev
from negjax.measurements.linearity import paper_grid

# Multiples of 1/16: sums of products are exact, so the slow versions have no rounding of their own.
sixteenths = st.integers(-160, 160).map(lambda k: k / 16)
vectors = st.lists(sixteenths, min_size=1, max_size=30).map(np.asarray)


def fits(slope: np.ndarray, pearson: np.ndarray, largest_change: np.ndarray) -> statistics.Fits:
    """Lines through 20 points."""
    return statistics.Fits(points=20, slope=slope, pearson=pearson, largest_change=largest_change)


@given(st.lists(st.tuples(sixteenths, sixteenths), min_size=1, max_size=30))
def test_agreement_is_what_its_words_say(pairs: list[tuple[float, float]]) -> None:
    prediction, slope = (np.asarray(side) for side in zip(*pairs, strict=True))
    found = statistics.agreement(prediction, slope)
    size = len(pairs)
    assert found.neurons == size
    assert found.mae == pytest.approx(sum(abs(p - s) for p, s in pairs) / size)
    assert found.mean_size == pytest.approx(sum(abs(s) for _, s in pairs) / size)
    agreeing = sum((p > 0) - (p < 0) == (s > 0) - (s < 0) for p, s in pairs)
    assert found.same_sign == pytest.approx(agreeing / size)
    if size < 2 or len(set(prediction)) == 1 or len(set(slope)) == 1:
        assert found.pearson is None
    else:
        expected = plain.correlation(prediction.tolist(), slope.tolist())
        assert found.pearson == pytest.approx(expected, abs=1e-9)


@given(vectors, st.integers(0, 2**32 - 1))
def test_shares_count_neurons(slope: np.ndarray, seed: int) -> None:
    pearson = np.random.default_rng(seed).uniform(-1, 1, slope.size)
    pearson[::3] = np.sign(pearson[::3]) * 0.97
    found = statistics.shares(slope, pearson, points=20)
    linear = [r for r in pearson if r >= 0.95 or r <= -0.95]
    assert found.linear == pytest.approx(len(linear) / slope.size)
    assert found.very_linear == pytest.approx(sum(abs(r) >= 0.99 for r in pearson) / slope.size)
    assert found.positive == pytest.approx(sum(s > 0 for s in slope) / slope.size)
    assert found.negative == pytest.approx(sum(s < 0 for s in slope) / slope.size)
    assert found.pearson is not None
    assert found.pearson["0.5"] == pytest.approx(plain.median(map(abs, pearson)))


def test_two_points_have_no_linearity_to_tell() -> None:
    found = statistics.shares(np.ones(3), np.ones(3), points=2)
    assert (found.linear, found.very_linear, found.pearson) == (None, None, None)
    assert found.positive == 1.0


def test_no_neurons_have_no_shares() -> None:
    empty = np.empty(0)
    found = statistics.range_statistics(2.0, fits(empty, empty, empty), empty, {"cg": empty})
    assert list(vars(found.every).values()) == [0, *[None] * 5]
    assert list(vars(found.predictions["cg"]).values()) == [0, *[None] * 4]


def test_neurons_within_the_noise_are_left_out_of_the_second_shares_alone() -> None:
    change = np.asarray([1.0, 2.0, 3.0, 4.0])
    found = statistics.range_statistics(
        2.0,
        fits(np.asarray([1.0, -1.0, 1.0, 1.0]), np.asarray([0.2, 0.96, 0.999, -0.96]), change),
        np.asarray([1.5, 1.5, 3.0, 4.5]),
        {"cg": np.asarray([1.0, 1.0, 1.0, 1.0])},
    )
    # A change as large as the bound is above the noise.
    assert found.within_noise == 2
    assert (found.every.linear, found.resolved.linear) == (0.75, 1.0)
    assert (found.every.positive, found.resolved.positive) == (0.75, 0.5)
    assert found.predictions["cg"].neurons == 4
    assert found.resolved_predictions["cg"].neurons == 2


def test_one_unresolved_neuron_does_not_rule_the_resolved_ones_agreement() -> None:
    """Its curve is steep, and so uncertain that its slope may be anything."""
    slope = np.asarray([1.0, -1.0, 2.0, 50.0])
    told = {"neurgrad": np.asarray([1.0, -1.0, 2.0, -50.0])}
    change = np.abs(slope)
    error = np.asarray([0.0, 0.0, 0.0, 40.0])
    found = statistics.range_statistics(
        2.0, fits(slope, np.ones(4), change), np.zeros(4), told, error=error
    )
    assert (found.within_noise, found.within_error) == (0, 1)
    every, resolved = found.predictions["neurgrad"], found.resolved_predictions["neurgrad"]
    assert every.pearson is not None and every.pearson < -0.9
    assert resolved.pearson == pytest.approx(1.0) and resolved.mae == 0.0


def test_a_series_of_a_wide_range_does_not_resolve_a_narrow_one_where_the_curve_is_flat() -> None:
    points = 10 * np.polynomial.chebyshev.chebpts1(12)
    middle = np.asarray([[9.0], [0.0]])

    def steep(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(middle - x))

    values = np.concatenate([steep(points)[:1], 1e-3 * points[None]])
    coefficients = np.polynomial.chebyshev.chebfit(points / 10, values.T, 11).T
    error = chebyshev.truncation_error(coefficients)
    largest = {r: np.abs(steep(np.asarray([r])) - steep(np.zeros(1)))[0, 0] for r in (0.5, 10.0)}
    # Of the ±10 range the error is below 1%, of the ±0.5 range it is many times all there is.
    assert error[0] < 0.01 * largest[10.0] and error[0] > 10 * largest[0.5]
    noise = np.full(2, 1e-9)
    for r, hidden in ((0.5, 1), (10.0, 0)):
        change = np.asarray([largest[r], 1e-3 * r])
        found = statistics.range_statistics(r, fits(change, np.ones(2), change), noise, {}, error)
        assert (found.within_noise, found.within_error) == (0, hidden)
        assert found.resolved.neurons == 2 - hidden


def test_rounding_alone_seldom_passes_the_bound() -> None:
    generator, noise = np.random.default_rng(0), 1e-6
    rounded = generator.normal(scale=noise, size=(2000, 101))
    changes = rounded[:, 1:] - rounded[:, :1]
    over = np.abs(changes).max(1) >= statistics.noise_bound(np.asarray(noise))
    assert 0 < over.mean() < 0.02


@pytest.mark.parametrize(
    ("radius", "expected"),
    [
        (10.0, [0.2, 0.5, 1, 2, 5, 10]),
        (3.0, [0.2, 0.5, 1, 2, 3]),
        (2.0, [0.2, 0.5, 1, 2]),
        (0.1, [0.1]),
    ],
)
def test_ranges_are_the_usual_ones_up_to_the_one_swept(
    radius: float, expected: list[float]
) -> None:
    assert statistics.ranges_within(radius) == expected


@pytest.mark.parametrize("radius", statistics.RANGES)
def test_a_series_is_read_at_the_papers_step_or_at_five_points_a_side(radius: float) -> None:
    points = paper_grid(radius, statistics.reading_step(radius, 0.2)).size
    assert points == max(10, 2 * round(radius / 0.2))


@given(vectors, st.integers(0, 2**32 - 1))
def test_layers_are_taken_apart(values: np.ndarray, seed: int) -> None:
    layer = np.random.default_rng(seed).integers(0, 3, values.size)
    bands = statistics.layer_quantiles(layer, values, 4, (0.0, 0.5, 1.0))
    positive = statistics.layer_shares(layer, values > 0, 4)
    for number in range(4):
        own = [v for at, v in zip(layer, values, strict=True) if at == number]
        if not own:
            assert np.isnan(bands[number]).all()
            assert math.isnan(positive[number])
            continue
        assert bands[number] == pytest.approx([min(own), plain.median(own), max(own)])
        assert positive[number] == pytest.approx(sum(v > 0 for v in own) / len(own))


def test_most_and_least_linear_are_eligible_and_different() -> None:
    pearson = np.asarray([0.99, -1.0, 0.1, 1.0, -0.05, 0.1])
    change = np.asarray([1.0, 2.0, 1.0, 1.0, 9.0, 5.0])
    eligible = np.asarray([True, True, True, True, False, True])
    most, least = statistics.most_and_least_linear(pearson, change, eligible, 2)
    assert (most.tolist(), least.tolist()) == ([1, 3], [5, 2])
    most, least = statistics.most_and_least_linear(pearson, change, eligible, 4)
    assert (most.tolist(), least.tolist()) == ([1, 3, 0, 5], [2])


def test_two_measurements_are_compared_neuron_by_neuron() -> None:
    shifts = np.asarray([-2.0, -1.0, 1.0, 2.0])
    second = np.asarray([2.0, 1.0, 1e-9])[:, None] * shifts
    first = second + np.asarray([0.1, 0.0, 0.0])[:, None] * np.asarray([0, 0, 1, 0])
    found = statistics.paired(shifts, first, second)
    np.testing.assert_allclose(found.difference, [0.1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.extent, [8, 4, 4e-9])
    compared = statistics.comparison(found, np.full(3, 1e-3))
    assert compared.neurons == 3
    # The third is within the noise: what is read off it is not compared.
    assert compared.slope is not None
    assert compared.slope["0.5"] == pytest.approx(0.1 / 10 / 2 / 2)
    assert compared.curve is not None
    assert compared.curve["0.5"] == 0
