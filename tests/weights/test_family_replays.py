"""Every family's replays against whole forwards in plain NumPy: each site, every layer, in float64.

Prompts are longer than the windows; a target has three tokens where the model is causal.
"""

import numpy as np
import pytest

import negjax
from tests.support.block_shapes import precision
from tests.support.family_logits import CASES, stored_model
from tests.support.made_probes import asked
from tests.support.reference import joint_scores
from tests.support.residual_sums import assert_sums_hold

SHIFTS = np.asarray([-1.5, 2.0])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_shift_is_a_whole_forward_with_that_shift(case: str) -> None:
    with precision("float64"):
        lm = stored_model(case, "float64")
        c, probes = lm.config, asked(lm)
        neurons = np.asarray([(layer, 7 * layer + 5) for layer in range(c.layers)])
        for site in c.sites:
            found = negjax.sweep(lm, probes, neurons, SHIFTS, "additive", site)
            for b, n, x in np.ndindex(found.log_probability.shape):
                shift = np.zeros((c.layers, c.neurons))
                shift[tuple(neurons[n])] = SHIFTS[x]
                expected, _ = joint_scores(lm, probes, b, 0, site, shift)
                assert abs(found.log_probability[b, n, x] - expected) < 1e-11 * abs(expected)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_stream_is_the_sum_of_what_is_written(case: str) -> None:
    with precision("float64"):
        lm = stored_model(case, "float64")
        assert_sums_hold(lm, asked(lm).select_target(0))
