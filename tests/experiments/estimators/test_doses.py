"""The arithmetic of doses and hidden controllers by hand, and the unit of a dose."""

import dataclasses

import numpy as np
import pytest

from experiments.estimators.doses import (
    BY_DOSE,
    Doses,
    Thresholds,
    attributions,
    both_signs,
    collapse_doses,
    controllers,
    deciles,
    has_collapsed,
    large,
    percentiles,
    small,
    stronger_sign,
)
from experiments.estimators.hidden import dose_statistics, listed
from experiments.estimators.report import verdict
from experiments.reporting.dose_grids import dose_unit, first_dose
from negjax.measurements.writes import summed_writes, write_norms
from tests.support.block_shapes import SHAPES, error, precision, tiny, tiny_probes
from tests.support.reference import float64_weights, full_forward


@pytest.mark.parametrize(
    ("shape", "site"), [(shape, site) for shape, c in SHAPES.items() for site in c.sites]
)
def test_a_dose_is_a_write_as_long_as_the_residual(shape, site):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = tiny_probes(lm)
        norms = write_norms(lm, probes, site)
        shifts = np.random.default_rng(0).normal(size=(2, *norms.write.shape[1:]))
        together = summed_writes(lm, probes, shifts, site)
        weights = float64_weights(lm)
        down = weights["blocks.ffn.down.kernel"]
        bias = weights.get("blocks.ffn.down.bias", np.zeros(down[:, 0].shape))
        for b in range(3):
            tokens = probes.tokens[b, probes.mask[b]]
            read = int(probes.mask[b, : probes.read[b]].sum())
            _, states = full_forward(lm, tokens)
            inner = {name: values[:, read] for name, values in states.items()}
            product = inner[lm.config.sites[-1]]
            resid = inner["mid"] + np.einsum("lf,lfd->ld", product, down) + bias
            assert error(norms.residual[b], np.linalg.norm(resid, axis=-1)) < 1e-12
            assert error(norms.activation[b], inner[site]) < 1e-12
            unit = dose_unit(norms.residual[b], norms.write[b])
            # What the FFN gives with each neuron moved by 3 doses, less what it gives without.
            gate = product / inner[site] if site == "up" else 1
            moved = 3 * unit * gate
            writes = np.linalg.norm(moved[..., None] * down, axis=-1)
            assert np.abs(writes / (3 * norms.residual[b][:, None]) - 1).max() < 1e-10
            summed = np.einsum("rlf,lfd->rld", shifts * gate, down)
            assert error(together[b], np.linalg.norm(summed, axis=-1)) < 1e-10


def test_what_writes_nothing_has_no_dose():
    unit = dose_unit(np.asarray([2.0, 3.0]), np.asarray([[4.0, 0.0], [1.0, 6.0]]))
    assert unit.tolist() == [[0.5, np.inf], [3, 0.5]]
    assert both_signs(np.asarray([4.0, 1.0])).tolist() == [-4, -1, 1, 4]


def test_ties_go_to_the_lowest_number():
    values = np.asarray([3.0, 7.0, 3.0, 3.0, 1.0, 0.0, 3.0, 9.0])
    assert np.flatnonzero(large(values, 0.5)).tolist() == [0, 1, 2, 7]
    assert np.flatnonzero(small(values, 0.5)).tolist() == [0, 2, 4, 5]
    # At least one, and sizes count.
    assert np.flatnonzero(large(values, 1.0)).tolist() == [7]
    assert np.flatnonzero(small(np.asarray([-5.0, 4.0, -1.0, 1.0]), 0.25)).tolist() == [2]
    assert percentiles(np.asarray([0.0, -2.0, 2.0, 5.0])).tolist() == [0.125, 0.5, 0.5, 0.875]
    doses = np.asarray([-2.0, -1.0, 1.0, 2.0])
    change = np.asarray([[-3.0, 1, -1, 2], [0, -1, 2, 4]])
    assert stronger_sign(doses, 1.0, change).tolist() == [1, 2]
    assert stronger_sign(doses, 2.0, change).tolist() == [0, 3]


def test_collapse_by_kl_and_by_entropy():
    vocabulary, before = 100, 1.0
    missing = np.log(100) - 1.0  # 3.605: KL from P₀ to the uniform distribution
    kl = np.asarray([0.0, missing - 1e-9, missing, 9.0, 0.1, 0.1])
    entropy = np.asarray([1.0, 0.1, 0.1, 0.0, 1 + 0.5 * missing - 1e-9, 1 + 0.5 * missing])
    found = has_collapsed(kl, entropy, before, vocabulary, flat=0.5)
    assert found.tolist() == [False, False, True, True, False, True]
    doses = np.asarray([0.5, 1.0, 4.0])
    collapsed = np.asarray([[0, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 1]], bool)
    assert first_dose(doses, collapsed).tolist() == [np.inf, 1, 0.5, 4]


LIMITS = Thresholds(large=0.75, small=0.5, flat=0.5)


def dosed() -> Doses:
    """Eight neurons at ±1 and ±2, of a vocabulary of 100 and an entropy of 1."""
    change = np.zeros((8, 4))
    change[:, 0] = [-0.9, 0.5, 0.5, 0.1, 0.0, 0.0, 0.0, 0.0]  # −2
    change[:, 3] = [0.8, 0.6, -0.7, 0.1, 0.1, 0.0, 0.0, 0.0]  # +2
    change[:, 2] = [0.0, 0.0, 0.3, 0.3, 0.3, 0.0, 0.0, 0.0]  # +1
    kl = np.zeros((8, 4))
    kl[:, 3] = [1.0, 0.2, 5.0, 0.1, 2.0, 0.0, 0.0, 0.0]
    kl[:, 0] = [2.0, 0.1, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0]
    kl[:, 2] = [0.0, 0.0, 4.0, 0.1, 0.2, 0.0, 0.0, 0.0]
    top_token = np.full((8, 4), 7)
    top_token[0, 0] = top_token[2, 3] = 8
    neurgrad = np.asarray([-0.1, 3.0, 0.1, 5.0, 0.2, 0.3, -0.4, 0.6])
    return Doses(
        prompt=0,
        layer=np.repeat([2, 5], 4),
        neuron=np.tile(np.arange(4), 2),
        activation=np.linspace(-1, 1, 8),
        unit=np.asarray([100.0, 1, 2, 1, 1, 1, 1, 1]),
        doses=np.asarray([-2.0, -1.0, 1.0, 2.0]),
        change=change,
        kl=kl,
        entropy=np.ones((8, 4)),
        top_token=top_token,
        baseline_entropy=1.0,
        baseline_top_token=7,
        vocabulary=100,
        bound=0.35,
        estimates={"neurgrad": neurgrad, "ablation": np.arange(8.0)},
    )


def test_hidden_controllers_by_hand():
    found = dosed()
    at_two = controllers(found, 2.0, LIMITS)
    assert at_two.effect.tolist() == [-0.9, 0.6, -0.7, 0.1, 0.1, 0, 0, 0]
    assert np.flatnonzero(at_two.large_effect).tolist() == [0, 2]
    # 5, then 2 twice: the lower number.
    assert np.flatnonzero(at_two.large_divergence).tolist() == [0, 2]
    # The four smallest |NeurGrad|: 0.1 twice, 0.2, 0.3.
    assert np.flatnonzero(at_two.hidden).tolist() == [0, 2]
    # KL 5 is above log 100 − 1, KL 2 is not.
    assert np.flatnonzero(at_two.collapsed).tolist() == [2]
    at_one = controllers(found, 1.0, LIMITS)
    # 0.3 is large, but within the noise.
    assert not at_one.large_effect.any() and not at_one.hidden.any()
    assert np.flatnonzero(at_one.large_divergence).tolist() == [2, 4]
    assert collapse_doses(found, 0.5).tolist()[2] == [np.inf, 1]


def test_statistics_of_hidden_controllers_by_hand():
    found = dose_statistics([dosed(), dataclasses.replace(dosed(), prompt=1)], 2.0, LIMITS)
    assert (found.neurons, found.flipped, found.collapsed) == (16, 0.25, 0.125)
    assert (found.large_effect, found.large_divergence, found.large_both) == (4, 4, 4)
    assert (found.hidden_effect, found.hidden_divergence, found.hidden) == (4, 4, 4)
    assert (found.by_chance, found.hidden_collapsed) == (2, 2)
    assert found.layers == {2: 4}
    # NeurGrad × dose is −10, 3, 0.2, 5, 0.2, 0.3, −0.4, 0.6: of the two it is small in one.
    assert found.hidden_on_the_line == 2
    assert found.shown[BY_DOSE].median == pytest.approx((15 / 16 + 2 / 16) / 2)
    assert found.shown[BY_DOSE].top_tenth == 0.5
    assert found.shown["ablation"].median == pytest.approx((1 / 16 + 5 / 16) / 2)
    assert verdict(found) == (
        "Dose ±2: no attribution ranks most of the 4 in its top tenth; NeurGrad × dose comes "
        "closest (50.0%; median rank 53.1%). By layer: 2 (4)."
    )
    spread = dataclasses.replace(found, layers={0: 1, 2: 4, 3: 1, 5: 2, 6: 1, 7: 1, 9: 1})
    assert verdict(spread).endswith(
        "By layer: 2 (4), 5 (2), 0 (1), 3 (1), 6 (1); the rest in 2 more."
    )
    none = dose_statistics([dosed()], 1.0, LIMITS)
    assert verdict(none) == "Dose ±1: no hidden controllers."
    assert (none.hidden, none.layers, none.shown["neurgrad"].median) == (0, {}, None)
    assert deciles(dosed(), np.asarray([True, False, True, *[False] * 5])).tolist() == [
        *[0.0, 1.0],
        *[0.0] * 8,
    ]


def test_hidden_controllers_are_listed_at_their_strongest():
    first, second = listed(dosed(), LIMITS, 5)
    assert (first.layer, first.neuron, first.dose, first.shift) == (2, 0, -2, -200)
    assert (first.change, first.kl, first.collapsed) == (-0.9, 2, False)
    assert first.collapse_dose is None
    assert (second.layer, second.neuron, second.dose, second.shift) == (2, 2, 2, 4)
    assert (second.collapsed, second.collapse_dose) == (True, 1)
    assert first.percentiles[BY_DOSE] == pytest.approx(15 / 16)
    assert set(first.percentiles) == set(attributions(dosed()))
    assert len(listed(dosed(), LIMITS, 1)) == 1
