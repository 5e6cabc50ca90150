"""Steering along directions, against NumPy forwards with a write in float64."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import negjax
from negjax.control.odds import to_log_odds
from negjax.control.steering import TOLERANCE
from tests.support.control_reference import distribution, divergence, one_target
from tests.support.reference import full_forward, softmax
from tests.support.sharp_models import sharp

LAYERS = np.asarray([0, 2, 2])


def along(lm: negjax.LanguageModel, place: Any) -> negjax.Directions:
    vectors = np.random.default_rng(5).normal(size=(3, lm.config.width))
    return negjax.directions(LAYERS, vectors * [[0.5], [1.0], [0.7]], place)


def written(
    lm: negjax.LanguageModel,
    probes: negjax.Probes,
    prompt: int,
    directions: negjax.Directions,
    amounts: np.ndarray,
) -> np.ndarray:
    """[V], of the next token with so much of each direction written where the prompt is read."""
    tokens = probes.tokens[prompt, probes.mask[prompt]]
    read = int(probes.mask[prompt, : probes.read[prompt]].sum())
    writes = np.zeros((lm.config.layers, lm.config.width))
    for layer, vector, amount in zip(directions.layer, directions.vectors, amounts, strict=True):
        writes[layer] += amount * vector
    logits = full_forward(lm, tokens, read=read, written=(directions.place, writes))[0]
    return softmax(logits[read])


@pytest.mark.parametrize(
    ("shape", "place", "by"), [("gated", "attention_out", 1.0), ("bert", "ffn_out", -1.0)]
)
def test_the_smallest_write_that_gives_a_probability(shape: str, place: str, by: float) -> None:
    lm = sharp(shape)
    probes = one_target(lm).select([1])
    directions = along(lm, place)
    token = probes.target_ids[0, 0, 0]
    before = distribution(lm, probes, 0)
    goal = to_log_odds(before[token]) + by
    wanted = float(1 / (1 + np.exp(-goal)))
    [found] = negjax.control.steer_probes(lm, probes, wanted, neurons=directions, unrelated=probes)
    assert found.converged and found.site == place and found.directions is directions
    after = written(lm, probes, 0, directions, found.shift.astype(np.float64))
    assert found.shift.shape == (3,)
    assert found.probability == pytest.approx(after[token], rel=1e-4)
    assert abs(to_log_odds(after[token]) - goal) < 1.5 * TOLERANCE
    assert found.kl == pytest.approx(divergence(before, after), rel=1e-3)
    assert found.unrelated_kl[0] == pytest.approx(found.kl, rel=1e-3)

    def missing(amounts: np.ndarray) -> float:
        return float(to_log_odds(written(lm, probes, 0, directions, amounts)[token]) - goal)

    best = minimize(
        lambda s: s @ s,
        found.shift.astype(np.float64) * 1.2 + 0.05,
        constraints={"type": "eq", "fun": missing},
        method="SLSQP",
        options={"ftol": 1e-10},
    )
    assert best.success
    assert found.norm == pytest.approx(np.sqrt(best.fun), rel=3e-3)


def test_what_is_steered_to_is_what_the_first_written_token_has() -> None:
    lm = sharp("gated")
    probes = one_target(lm).select([1])
    prompt = probes.tokens[0][probes.mask[0]].tolist()
    plain = negjax.generate(lm, [prompt], max_tokens=1)
    likeliest = negjax.encode(lm, [prompt], plain.tokens.tolist())
    goal = to_log_odds(np.exp(plain.log_probability[0, 0])) + 0.5
    wanted = float(1 / (1 + np.exp(-goal)))
    some = along(lm, "attention_out")
    [steered] = negjax.control.steer_probes(lm, likeliest, wanted, neurons=some, unrelated=probes)
    found = negjax.generate(lm, [prompt], steered.intervention, when="generated", max_tokens=1)
    assert steered.reached
    assert found.tokens[0, 0] == plain.tokens[0, 0]
    assert np.exp(found.log_probability[0, 0]) == pytest.approx(steered.probability, rel=1e-4)


def test_what_a_shift_of_directions_cannot_be() -> None:
    lm = sharp("gated")
    probes = one_target(lm).select([1])
    directions = along(lm, "attention_out")
    asked: dict[str, Any] = {"neurons": directions, "unrelated": probes}
    for more, message in (
        ({"site": "up"}, 'site="up" is of neurons, and directions have a place'),
        ({"layers": [0]}, "layers are of neurons, and directions have layers of their own"),
        ({"neurons": negjax.directions(0, np.ones((1, 9)))}, "neurons: directions of width 9"),
    ):
        with pytest.raises(ValueError, match=message):
            negjax.control.steer_probes(lm, probes, 0.5, **{**asked, **more})
    [found] = negjax.control.steer_probes(lm, probes, 0.1, **asked)
    with pytest.raises(ValueError, match="shift is of directions, expected a set of neurons"):
        negjax.export_shift(lm, found, "nowhere.safetensors")
