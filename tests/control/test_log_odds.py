"""Log-odds of shifted prompts and their gradient, against plain NumPy forwards in float64."""

from types import SimpleNamespace
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import pytest

from negjax.control.odds import shifted_replays, target_log_odds, to_log_odds, to_probability
from negjax.inputs.encoding import encode
from tests.support.block_shapes import CAUSAL_PROMPTS, JOINT_TARGETS, SHAPES, precision, tiny
from tests.support.control_reference import distribution, one_target
from tests.support.reference import joint_scores


@pytest.mark.parametrize("shape", SHAPES)
def test_log_odds_and_their_gradient(shape):
    with precision("float64"):
        lm = tiny(shape, "float64")
        probes = one_target(lm)
        site = lm.config.sites[0]
        surface = shifted_replays(lm, probes, site)
        shift = 0.3 * np.random.default_rng(2).normal(size=(3, 3, 20))
        level, gradient = surface.slope(shift)

        def odds(b: int, at: np.ndarray) -> float:
            p = distribution(lm, probes, b, site, at)[probes.target_ids[b, 0, 0]]
            return float(np.log(p / (1 - p)))

        rng = np.random.default_rng(4)
        for b in range(3):
            assert level[b] == pytest.approx(odds(b, shift[b]), rel=1e-10)
            direction = rng.normal(size=(3, 20))
            ends = [odds(b, shift[b] + step * direction) for step in (1e-5, -1e-5)]
            slope = (ends[0] - ends[1]) / 2e-5
            assert np.vdot(gradient[b], direction) == pytest.approx(slope, rel=1e-7)
        steps = np.asarray([[0.0, 0.5], [1.0, 2.0], [-1.0, 0.1]])
        direction = rng.normal(size=shift.shape)
        found = surface.along(shift, direction, steps)
        for b, r in np.ndindex(3, 2):
            expected = odds(b, shift[b] + steps[b, r] * direction[b])
            assert found[b, r] == pytest.approx(expected, rel=1e-10)


def test_log_odds_of_joint_targets():
    with precision("float64"):
        lm = tiny("gpt2", "float64")
        probes = encode(lm, CAUSAL_PROMPTS, [t[0] for t in JOINT_TARGETS], target_mode="all")
        level, _ = shifted_replays(lm, probes, "act").slope(np.zeros((3, 3, 20)))
        expected = np.exp([joint_scores(lm, probes, b, 0)[0] for b in range(3)])
        np.testing.assert_allclose(to_probability(level), expected, rtol=1e-10)


def test_log_odds_keep_their_precision():
    p = np.asarray([1e-300, 1e-9, 0.5, 1 - 1e-12])
    np.testing.assert_allclose(to_probability(to_log_odds(p)), p, rtol=1e-9)
    # In float32 no P tells 1 - 1e-9 from 1; log-odds of logits do, of one token and of several.
    logits = jnp.asarray([[[[25.0, 0.0, 1.0], [20.0, 30.0, -1.0]]]])
    model = cast(Any, SimpleNamespace(logits=lambda resid: resid))
    others = np.log(1 + np.e)
    one = target_log_odds(
        model, logits[:, :, :1], jnp.zeros((1, 1, 1), int), jnp.ones((1, 1, 1), bool)
    )
    assert float(one[0, 0]) == pytest.approx(25 - others, rel=1e-6)
    two = target_log_odds(model, logits, jnp.asarray([[[0, 1]]]), jnp.ones((1, 1, 2), bool))
    missing = 1 / (1 + np.exp(25 - others)) + 1 / (1 + np.exp(10.0))
    assert float(two[0, 0]) == pytest.approx(-np.log(missing), rel=1e-5)
