"""The arithmetic of the study of estimators by hand: conventions, agreement, linear ranges."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import negjax
from experiments.estimators import figures as estimator_figures
from experiments.estimators.against_neg import agreement, form_values, mirrored
from experiments.estimators.hidden import Shown, dose_statistics
from experiments.estimators.ranges import (
    check_ranges,
    ratio_shares,
    slope_ratio,
)
from experiments.inputs.estimates import FORMS
from experiments.inputs.measured_ranges import distances, measured_range
from experiments.reporting.line_panels import Line, Panel, panels_figure
from negjax.measurements.linearity import fit_changes, paper_grid
from tests.experiments.estimators.test_doses import LIMITS, dosed
from tests.support.block_shapes import (
    SHAPES,
    error,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.pages import PNG

FORM = {form.name: form for form in FORMS}


# ---- The two conventions.


def test_a_mirrored_curve_has_the_slope_and_r_of_the_other_sign():
    generator = np.random.default_rng(0)
    shifts = paper_grid(2.0, 0.5)
    changes = generator.normal(size=(5, shifts.size))
    activation = np.asarray([1.0, -1.0, 0.0, -1e-9, 3.0])
    # ΔP_additive(x) = ΔP_signed(s x): where s = −1, the value at −x, the other end of the grid.
    additive = np.where(activation[:, None] > 0, changes, changes[:, ::-1])
    for of_signed, of_additive in zip(
        fit_changes(shifts, changes), fit_changes(shifts, additive), strict=True
    ):
        np.testing.assert_allclose(mirrored(of_signed, activation), of_additive, atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_mirrored_slopes_are_those_that_the_other_convention_measures(shape):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes, neurons = tiny_probes(lm), one_neuron_a_layer(lm)
        grid = paper_grid(2.0, 0.2)
        signed, additive = (
            negjax.response(lm, probes, neurons, 2.0, 12, convention, target=0)
            for convention in ("signed", "additive")
        )
        assert (signed.activation > 0).any() and (signed.activation < 0).any()
        found = mirrored(negjax.linear_fit(signed, grid).slope, signed.activation)
        assert error(found, negjax.linear_fit(additive, grid).slope) < 1e-6


# ---- Estimates and how well they predict.


def test_forms_follow_the_convention_and_the_ablation_is_turned_round():
    activation, bound = np.asarray([2.0, -4.0, 0.0]), np.full(3, 0.5)
    estimate = np.asarray([6.0, 6.0, 6.0])

    def values(name: str, convention: Any, estimate: np.ndarray = estimate) -> list[float]:
        return form_values(FORM[name], estimate, activation, bound, convention).tolist()

    assert values("ig", "signed") == values("ig", "additive") == [6, 6, 6]
    assert values("ig_per_unit", "signed") == [3, 1.5, pytest.approx(np.nan, nan_ok=True)]
    assert values("ig_per_unit", "additive")[:2] == [3, -1.5]
    assert values("ablation", "signed") == [-6, -6, -6]
    assert values("ablation_per_unit", "additive")[:2] == [-3, 1.5]
    # P(0) − P(a) within the noise says nothing of a slope; at its bound it does.
    little = values("ablation_per_unit", "signed", np.asarray([0.5, 0.4, 6.0]))
    assert little[0] == -0.25 and np.isnan(little[1:]).all()
    assert values("relp_per_unit", "signed", np.asarray([0.1, 0.1, 0.1]))[:2] == [0.05, 0.025]


def test_what_the_comparison_says():
    slope = np.asarray([1.0, 2, 3, 4, 10, -20, 30, 40])
    estimate = np.asarray([2.0, 1, 3, 4, 1, 1, np.nan, 4])
    prompt = np.asarray([0, 0, 0, 0, 1, 1, 1, 1])
    above = np.asarray([True, True, True, False, True, False, True, True])
    found = agreement(estimate, slope, prompt, above, 2, slope_units=True)
    assert found.neurons == 7
    assert found.mae == pytest.approx((1 + 1 + 0 + 0 + 9 + 21 + 36) / 7)
    assert found.mean_size == pytest.approx((1 + 2 + 3 + 4 + 10 + 20 + 40) / 7)
    assert found.same_sign == pytest.approx(6 / 7)
    assert found.same_sign_above_noise == 1
    # Prompt 0: the tops {2, 3}. Prompt 1, without the entry left out: {1, 3} of NEG, and 3 with
    # the lower number of the equal ones, 0, of the estimate.
    assert found.top_overlap == pytest.approx((1 + 0.5) / 2)
    own = [
        np.corrcoef([2, 1, 3, 4], [1, 2, 3, 4])[0, 1],
        np.corrcoef([1, 1, 4], [10, -20, 40])[0, 1],
    ]
    assert found.pearson_of_a_prompt == pytest.approx(np.mean(own))
    ranked = np.asarray([[4.0, 2, 5, 6.5, 2, 2, 6.5], [2, 3, 4, 5, 6, 1, 7]])
    assert found.spearman == pytest.approx(np.corrcoef(*ranked)[0, 1])
    other = agreement(estimate, slope, prompt, above, 4, slope_units=False)
    assert (other.mae, other.top_overlap) == (None, None)
    assert other.pearson == found.pearson


def test_an_estimate_that_says_nothing_has_no_numbers():
    nothing = np.full(3, np.nan)
    found = agreement(nothing, np.ones(3), np.zeros(3), np.ones(3, bool), 1, slope_units=True)
    assert found.neurons == 0
    assert all(value is None for value in dataclasses.astuple(found)[1:])


# ---- Linear ranges.


def test_the_measured_range_of_curves_by_hand():
    shifts = np.asarray([1.0, 2.0, 3.0, 4.0])
    x = np.stack([-shifts, shifts])
    curves = np.asarray(
        [
            x + x**2 / 10,  # off by |x|/10 of the tangent: 0.25 up to 2.5
            -2 * x - x**2 / 5,  # the same curve, twice and turned round
            3 * x,
            x + np.where(x == 4, 2, 0),  # off on one side alone
            x + np.where(x == -1, 0.3, 0),  # off at once, straight later
            0 * x + 0.01,  # no slope: any change is off
        ]
    )
    first = np.asarray([1.0, -2.0, 3.0, 1.0, 1.0, 0.0])
    exact = measured_range(shifts, curves, first, 0.25, np.zeros(6))
    assert exact.tolist() == [2, 2, 4, 3, 0, 0]
    allowed = measured_range(shifts, curves, first, 0.25, np.full(6, 0.2))
    # 0.9 − 0.75 and 0.3 − 0.25 are within the allowance, 1.6 − 1 and 2 − 1 are not.
    assert allowed.tolist() == [3, 2, 4, 3, 4, 4]


def test_parabolas_bend_where_the_derivatives_predict():
    radius, tolerance = 10.0, 0.05
    first = np.asarray([1.0, -1.0, 1.0, 1.0, 1e-3, 1.0])
    second = np.asarray([0.1, 0.05, -0.02, 0.001, 1e-3, 200.0])
    third = np.asarray([0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    check = _checked(radius, tolerance, first, second, third, bound=1e-3)
    np.testing.assert_allclose(check.predicted, [1, 2, 5, 100, 0.1, 5e-4])
    # The fourth reaches beyond the sweep, the fifth's bend of 5e-6 is noise, the sixth's range is
    # narrower than any distance.
    assert check.checked.tolist() == [True, True, True, False, False, False]
    found = check.check
    assert (found.beyond, found.beyond_and_straight, found.too_small) == (1, 1, 2)
    assert (found.checked, found.holds, found.within_factor_2) == (3, 1, 1)
    step = 1000 ** (1 / 199)
    ratio = check.measured[:3] / check.predicted[:3]
    # The noise granted is at most a fiftieth of the tolerated bend.
    assert (ratio > 1 / step).all() and (ratio < 1.03 * step).all()


def test_a_cubic_part_bends_sooner_or_later_than_predicted():
    # Off by x/20 + x²/60 of the tangent on one side: 0.05 at 0.79; 0.1 at 1.37; predicted 1.
    one = np.ones(2)
    check = _checked(10.0, 0.05, one, 0.1 * one, np.asarray([0.1, -6.0]), bound=1e-9)
    np.testing.assert_allclose(check.predicted, 1)
    step = 1000 ** (1 / 199)
    assert 0.79 / step < check.measured[0] <= 0.792
    # x/20 + x²: 0.05 at 0.2.
    assert 0.2 / step < check.measured[1] <= 0.2001
    assert (check.check.holds, check.check.holds_at_twice) == (0, 0.5)
    assert check.check.within_factor_2 == 0.5


def _checked(radius, tolerance, first, second, third, bound):
    x = np.stack([-distances(radius), distances(radius)])
    one, two, three = (a[:, None, None] for a in (first, second, third))
    changes = one * x + two * x**2 / 2 + three * x**3 / 6
    allowance = np.full(len(first), bound)
    measured, granted = (
        measured_range(distances(radius), changes, first, share, allowance)
        for share in (tolerance, 2 * tolerance)
    )
    predicted = negjax.linear_range(first, second, tolerance)
    return check_ranges(radius, first, predicted, measured, granted, allowance, tolerance)


def test_even_derivatives_leave_neg_and_odd_ones_do_not():
    x = paper_grid(2.0, 0.2)
    curves = np.stack([x + 5 * x**2, x - x**3 / 10, x + x**3, x - x**3, x])
    slope, _ = fit_changes(x, curves)
    ratio = slope_ratio(slope, np.asarray([1.0, 1, 1, 1, 0]))
    assert ratio[0] == pytest.approx(1)
    assert ratio[1] == pytest.approx(1 - (x**4).sum() / (x**2).sum() / 10)
    shares = ratio_shares(ratio)
    assert shares == {"turned": 0.25, "flattened": 0.25, "straight": 0.25, "steepened": 0.25}
    assert ratio_shares(np.asarray([0.8, 1.25, 0.0])) == {
        "turned": 0,
        "flattened": pytest.approx(1 / 3),
        "straight": pytest.approx(1 / 3),
        "steepened": pytest.approx(1 / 3),
    }
    assert ratio_shares(np.full(2, np.nan))["straight"] is None


# ---- Figures.


def test_figures_of_nothing_are_drawn():
    none, shares = np.empty(0), {"turned": None, "flattened": None, "straight": 1, "steepened": 0}
    panel = estimator_figures.Estimate(label="IG", values=none, heading="r", slope_units=False)
    line = Line(label="IG", color="C9", dashed=True, points=[(1.0, None), (2.0, None)])
    shown = Shown(median=None, top_tenth=None, top_hundredth=None)
    dose = dataclasses.replace(
        dose_statistics([dosed()], 1.0, LIMITS), collapsed=None, layers={}, shown={"ig": shown}
    )
    pictures = [
        estimator_figures.estimates_figure(none, [panel] * 5),
        panels_figure([[Panel(title="r", lines=[line], kind="r")]], ticks={1.0: "±1", 2.0: "±2"}),
        estimator_figures.ranges_figure(none, none, none.astype(bool), 2.0, {1.0: shares}),
        estimator_figures.tangents_figure([]),
        estimator_figures.doses_figure([dose], [np.zeros(10)], 3, {"ig": "IG"}),
    ]
    assert all(picture.png.startswith(PNG) for picture in pictures)
