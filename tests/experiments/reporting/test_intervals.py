"""Numbers over groups: values of everything, intervals of groups drawn anew."""

import numpy as np
import pytest

from experiments.reporting import intervals, statistics
from experiments.reporting.intervals import Estimate

GENERATOR = np.random.default_rng(0)
GROUP = np.repeat(np.arange(12), 30)
X = GENERATOR.normal(size=360) + GROUP
Y = X + GENERATOR.normal(size=360) * (1 + GROUP)


def by_hand(of: object, *values: np.ndarray) -> tuple[float, float]:
    """The interval of a statistic of groups drawn anew, one draw after the other."""
    generator, found = np.random.default_rng(1), []
    for _ in range(600):
        drawn = generator.integers(12, size=12)
        rows = np.concatenate([np.flatnonzero(number == GROUP) for number in drawn])
        found.append(of(*(v[rows] for v in values)))  # type: ignore[operator]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize(
    ("found", "of", "values"),
    [
        (intervals.pearson(X, Y, GROUP), statistics.correlation, (X, Y)),
        (intervals.explained(X, Y, GROUP), statistics.explained, (X, Y)),
        (intervals.shares(Y > 5, GROUP), np.mean, (Y > 5,)),
        (intervals.ratio(X, Y, GROUP, "pair"), lambda x, y: x.sum() / y.sum(), (X, Y)),
    ],
)
def test_intervals_are_those_of_groups_drawn_anew(
    found: Estimate, of: object, values: tuple[np.ndarray, ...]
) -> None:
    assert found.value == pytest.approx(of(*values), abs=1e-9)  # type: ignore[operator]
    low, high = by_hand(of, *values)
    wide = high - low
    assert found.low == pytest.approx(low, abs=0.12 * wide)
    assert found.high == pytest.approx(high, abs=0.12 * wide)
    assert found.count == 12


def test_a_share_of_none_or_all_has_an_interval() -> None:
    """Drawn anew it would have none; it is Wilson's of the groups."""
    every = intervals.shares(np.ones(360, bool), GROUP)
    assert every.low is not None
    # n / (n + z²), of 12 groups.
    assert every.value == 1 and every.high == pytest.approx(1)
    assert every.low == pytest.approx(12 / (12 + 1.959964**2), abs=1e-6)
    none = intervals.share([False] * 12, "fact")
    assert none.low == pytest.approx(0) and none.high == pytest.approx(1 - every.low)


def test_what_does_not_vary_or_is_not_there_has_none() -> None:
    nothing = np.empty(0)
    assert intervals.pearson(nothing, nothing, nothing).value is None
    assert intervals.explained(nothing, nothing, nothing).value is None
    assert intervals.shares(nothing, nothing).value is None
    assert intervals.drawn(nothing, np.median, "fact").value is None
    assert intervals.pearson(np.ones(3), np.arange(3.0), np.arange(3)).value is None
    one = intervals.pearson(X, Y, np.zeros(360))
    assert one.value is not None and one.low is None and one.high is None


def test_infinite_values_are_at_the_end() -> None:
    values = np.asarray([1.0, 2.0, np.inf, np.inf, np.inf])
    found = intervals.drawn(values, lambda some: float(np.sort(some)[2]), "fact")
    assert (found.value, found.high) == (None, None) and found.low == 1


def test_it_is_written_with_its_interval_and_what_it_rests_on() -> None:
    assert f"{Estimate(-0.5, -0.75, 0.25, 12):.1%}" == "−50.0% (−75.0% to 25.0% over 12 prompts)"
    few = Estimate(0.5, 0.25, 0.75, 2, "pair")
    assert f"{few:.2f}" == "0.50 (0.25 to 0.75 over 2 pairs: too few to say)"
    assert f"{Estimate(0.5, None, None, 1):g}" == "0.5 (1 prompt: too few to say)"
    assert f"{Estimate(None, None, None, 3):g}" == "—"
