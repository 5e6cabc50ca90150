"""The embedded model against float64 PyTorch: activations, gradients of every neuron, sweeps.

A piece of the references lies in the repository; the whole beside it (`tests.support.shared_data`).
Tolerances are in units of the largest value, for float32.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from negjax.inputs.encoding import encode
from negjax.measurements.chebyshev import response
from negjax.measurements.gradients import neurgrad
from negjax.measurements.linearity import linear_fit
from negjax.measurements.sweeps import sweep
from tests.support.make_small_golden import SMALL
from tests.support.shared_data import GOLDEN

PROBABILITY, ACTIVATION, GRADIENT = 1e-5, 1e-5, 1e-4
CASES = [
    pytest.param(SMALL, id="small"),
    pytest.param(GOLDEN / "smollm2_neg.npz", marks=pytest.mark.shared, id="whole"),
]


@dataclasses.dataclass(frozen=True)
class Golden:
    """Arrays of one file; where it holds some neurons alone, `pick` takes those of all."""

    arrays: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Golden":
        with np.load(path) as file:
            return cls({name: file[name] for name in file})

    def pick(self, values: np.ndarray) -> np.ndarray:
        """Of values [B, L, F], those that the file has."""
        if "neuron" not in self.arrays:
            return values
        return np.take_along_axis(values.reshape(len(values), -1), self.arrays["neuron"], axis=1)

    def error(self, found: np.ndarray, name: str) -> float:
        """Largest difference of [B, L, F], in units of the largest value of all neurons."""
        expected = self.arrays[name]
        found = self.pick(found)
        assert found.shape == expected.shape
        largest = self.arrays.get(f"largest_{name}", np.abs(expected).max())
        return float(np.abs(found - expected).max() / largest)


@pytest.fixture(params=CASES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden.read(request.param)


def test_tokens(smollm2, golden):
    arrays = golden.arrays
    probes = encode(smollm2, arrays["prompt"].tolist(), arrays["answer"].tolist())
    assert probes.target_ids[:, 0, 0].tolist() == arrays["target"].tolist()
    for row, length in enumerate(arrays["length"]):
        expected = arrays["token_ids"][row, :length].tolist()
        assert probes.tokens[row, probes.mask[row]].tolist() == expected


@pytest.mark.parametrize("site", ["up", "product"])
def test_gradients(smollm2, golden, site):
    arrays = golden.arrays
    probes = encode(smollm2, arrays["prompt"].tolist(), arrays["answer"].tolist())
    found = neurgrad(smollm2, probes, site)
    assert np.abs(found.probability[:, 0] - arrays["p_target"]).max() < PROBABILITY
    assert golden.error(found.activation, f"act_{site}") < ACTIVATION
    assert golden.error(found.computed[:, 0], f"grad_{site}") < GRADIENT


@pytest.mark.parametrize("site", ["up", "product"])
def test_sweeps_and_responses(smollm2, golden, site):
    arrays = golden.arrays
    probes = encode(smollm2, arrays["prompt"].tolist(), arrays["answer"].tolist())
    neurons = np.stack([arrays["sweep_layer"], arrays["sweep_neuron"]], axis=-1)
    shifts, expected = arrays["sweep_delta"], arrays[f"sweep_p_{site}"]
    found = sweep(smollm2, probes, neurons, shifts, "additive", site)
    assert np.abs(found.probability - expected).max() < PROBABILITY
    assert np.abs(found.baseline - arrays["p_target"]).max() < PROBABILITY
    changes = expected - arrays["p_target"][:, None, None]
    assert np.abs(found.change() - changes).max() < PROBABILITY
    curve = response(smollm2, probes, neurons, 2.0, 12, "additive", site)
    # The estimated noise is that of rounding: the difference to the references, but for a
    # line, which is the rounding of everything below the neuron.
    line = np.stack([np.ones(shifts.size), shifts], axis=1)
    difference = (found.probability - expected).reshape(-1, shifts.size).T
    left = difference - line @ np.linalg.lstsq(line, difference, rcond=None)[0]
    rounding = left.T.reshape(expected.shape).std(axis=(1, 2))
    assert ((rounding / 2.5 < curve.noise) & (curve.noise < rounding * 2.5)).all()
    # The series agrees with the plain grid within its own error and a few times that noise; more
    # where a neuron of an early layer moves everything.
    noise = curve.noise[:, None]
    excess = np.abs(curve.change(shifts) - found.change()).max(-1) - curve.error
    assert (excess < 20 * noise).all() and np.mean(excess < 8 * noise) > 0.95
    # So do NEG and linearity, the latter as well as the change stands out.
    plain, series = linear_fit(found), linear_fit(curve, shifts)
    assert (np.abs(series.slope - plain.slope) < 5 * noise).all()
    clearness = np.ptp(changes, axis=-1) / noise
    assert (np.abs(series.pearson - plain.pearson) < 20 / clearness).all()


@pytest.mark.shared
def test_few_shot_labels(smollm2):
    """Four labels at once, behind prompts of more than 400 tokens."""
    golden = Golden.read(GOLDEN / "smollm2_fewshot.npz")
    prompts = golden.arrays["prompt"].tolist()
    probes = encode(smollm2, prompts, [list("abcd")] * len(prompts), separator="")
    assert probes.target_ids[..., 0].tolist() == [golden.arrays["label_ids"].tolist()] * 2
    found = neurgrad(smollm2, probes, "up")
    assert np.abs(found.probability - golden.arrays["p_label"]).max() < PROBABILITY
    assert golden.error(found.activation, "act_up") < ACTIVATION
    assert golden.error(found.computed, "grad_up") < GRADIENT


@pytest.mark.shared
def test_the_small_file_is_a_piece_of_the_whole():
    small, whole = Golden.read(SMALL), Golden.read(GOLDEN / "smollm2_neg.npz")
    for name in ("act_up", "act_product", "grad_up", "grad_product"):
        np.testing.assert_array_equal(small.pick(whole.arrays[name][1:3]), small.arrays[name])
