"""Steering to a probability, against plain NumPy forwards in float64."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from negjax.control import steer, steer_probes
from negjax.control import unrelated as bystanders
from negjax.control.odds import to_log_odds, to_probability
from negjax.control.steering import PARALLEL, TOLERANCE
from negjax.generation.writing import generate
from negjax.inputs.encoding import encode
from negjax.inputs.tables import read_facts
from negjax.measurements.joint_interventions import joint
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import SHAPES, error, tiny, tiny_probes
from tests.support.control_reference import distribution, divergence, one_target
from tests.support.sharp_models import sharp

SITES = [(shape, site) for shape, config in SHAPES.items() for site in config.sites]


@pytest.mark.parametrize(("shape", "site"), SITES)
def test_steering_reaches_and_shortens(shape, site):
    lm = sharp(shape)
    probes = one_target(lm)
    start = [distribution(lm, probes, b)[probes.target_ids[b, 0, 0]] for b in range(3)]
    goal = to_log_odds(np.asarray(start)) + np.asarray([2.5, 1.5, -1.5])
    wanted = to_probability(goal)
    found = steer_probes(lm, probes, wanted, site=site, unrelated=probes)
    straight = steer_probes(lm, probes, wanted, site=site, unrelated=probes, turns=0)
    for b, (steered, first) in enumerate(zip(found, straight, strict=True)):
        target = probes.target_ids[b, 0, 0]
        before = distribution(lm, probes, b)
        after = distribution(lm, probes, b, site, steered.shift.astype(np.float64))
        assert (steered.prompt, steered.target) == (probes.prompts[b], probes.targets[b][0])
        assert steered.site == site
        assert steered.before == pytest.approx(before[target], rel=1e-5)
        assert steered.probability == pytest.approx(after[target], rel=1e-4)
        assert abs(to_log_odds(after[target]) - goal[b]) < 1.5 * TOLERANCE
        assert steered.converged
        assert steered.cosine >= PARALLEL
        assert steered.kl == pytest.approx(divergence(before, after), rel=1e-3)
        assert steered.path[0] == (0, steered.before)
        near = [abs(to_log_odds(p) - goal[b]) < 1.5 * TOLERANCE for _, p in steered.path]
        lengths = [norm for (norm, _), there in zip(steered.path, near, strict=True) if there]
        assert lengths == sorted(lengths, reverse=True)
        assert steered.norm == pytest.approx(lengths[-1], rel=1e-5)
        assert steered.norm <= first.norm * (1 + 1e-4)
        assert steered.unrelated == probes.prompts
        # Of the unrelated prompts one is its own.
        assert steered.unrelated_kl[b] == pytest.approx(steered.kl, rel=1e-3)
        for other in range(3):
            pair = [distribution(lm, probes, other)]
            pair.append(distribution(lm, probes, other, site, steered.shift.astype(np.float64)))
            assert steered.unrelated_kl[other] == pytest.approx(divergence(*pair), rel=1e-3)
    assert any(s.norm < 0.98 * f.norm for s, f in zip(found, straight, strict=True))


def test_the_smallest_shift_of_some_neurons():
    """Of four neurons of two layers, against SLSQP over full forwards."""
    lm = sharp("gated")
    probes = one_target(lm)
    neurons = np.asarray([[0, 4], [1, 7], [1, 12], [2, 3]])
    twice = np.concatenate([neurons, neurons[:1]])
    [found] = steer_probes(lm, probes.select([1]), 0.02, neurons=twice, unrelated=probes)
    used = np.zeros((3, 20), bool)
    used[tuple(neurons.T)] = True
    assert (found.shift[~used] == 0).all()
    assert found.converged

    def missing(amounts: np.ndarray) -> float:
        shift = np.zeros((3, 20))
        shift[tuple(neurons.T)] = amounts
        p = distribution(lm, probes, 1, "up", shift)[probes.target_ids[1, 0, 0]]
        return float(to_log_odds(p) - to_log_odds(0.02))

    best = minimize(
        lambda s: s @ s,
        found.shift[tuple(neurons.T)].astype(np.float64) * 1.2 + 0.05,
        constraints={"type": "eq", "fun": missing},
        method="SLSQP",
        options={"ftol": 1e-10},
    )
    assert best.success
    assert found.norm == pytest.approx(np.sqrt(best.fun), rel=3e-3)


def test_layers_are_a_choice_of_neurons():
    lm = sharp("gpt2")
    probes = one_target(lm).select([0])
    [by_layer] = steer_probes(lm, probes, 0.3, layers=[1], unrelated=probes)
    neurons = np.asarray([(1, index) for index in range(20)])
    [by_neuron] = steer_probes(lm, probes, 0.3, neurons=neurons, unrelated=probes)
    assert (by_layer.shift[[0, 2]] == 0).all()
    assert (by_layer.shift[1] != 0).all()
    np.testing.assert_array_equal(by_layer.shift, by_neuron.shift)


def test_out_of_reach_is_said():
    lm = sharp("gated")
    probes = one_target(lm)
    [found] = steer_probes(
        lm, probes.select([0]), 0.9999, neurons=np.asarray([[0, 0]]), unrelated=probes
    )
    assert not found.reached
    assert not found.converged
    assert found.before < found.probability < 0.99
    after = distribution(lm, probes, 0, "up", found.shift.astype(np.float64))
    assert found.probability == pytest.approx(after[probes.target_ids[0, 0, 0]], rel=1e-4)
    assert found.path[-1][1] == found.probability


def test_a_probability_that_is_there_already_takes_no_shift():
    lm = sharp("bert")
    probes = one_target(lm).select([2])
    p = distribution(lm, probes, 0)[probes.target_ids[0, 0, 0]]
    [found] = steer_probes(lm, probes, p, unrelated=probes)
    assert found.converged
    assert found.norm == 0
    assert len(found.path) == 1
    assert 0 <= found.kl < 1e-12


def test_steering_does_not_depend_on_the_batch():
    lm = sharp("gated")
    probes = one_target(lm)
    together = steer_probes(lm, probes, np.asarray([0.3, 0.1, 0.2]), unrelated=probes)
    alone = steer(lm, probes.prompts[1], probes.targets[1][0], 0.1, unrelated=probes)
    assert error(together[1].shift, alone.shift) < 1e-3
    assert together[1].norm == pytest.approx(alone.norm, rel=2e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probability": 0.0}, r"probability is 0.0, expected a number between 0 and 1, both"),
        ({"probability": 1.0}, r"probability is 1.0, expected"),
        ({"probability": 1.5}, r"probability is 1.5, expected"),
        ({"probability": -0.5}, r"probability is -0.5, expected"),
        ({"probability": float("nan")}, r"probability is nan, expected"),
        ({"prompt": " "}, r"prompt 0 is empty: ' '"),
        ({"target": ""}, r"target '' of prompt 0 is empty"),
        ({"target": "w3 w4"}, r"target 'w3 w4' of prompt 0 is 2 tokens"),
        ({"site": "act"}, r"site 'act': a model with gated"),
        ({"neurons": np.asarray([[0, 20]])}, r"neuron \(layer 0, index 20\) does not exist"),
        ({"neurons": np.zeros((0, 2), int)}, r"no neurons"),
        ({"layers": [3]}, r"layer 3 does not exist: the model has 0…2"),
        ({"layers": [-1]}, r"layer -1 does not exist"),
        ({"layers": []}, r"layers are float64\[0\], expected a list of layer numbers"),
        ({"layers": [0], "neurons": np.asarray([[0, 1]])}, r"neurons and layers are both given"),
        ({"budget_bytes": 1000}, r"budget_bytes=1,000 is too small: one prompt of 4 tokens"),
        ({"unrelated": None}, r"vocabulary holds none of the shipped facts; pass unrelated to"),
    ],
)
def test_steering_refuses(arguments, message):
    lm = tiny("gated")
    given: dict[str, Any] = {
        "prompt": "w3 w5",
        "target": "w7",
        "probability": 0.5,
        "unrelated": one_target(lm),
    }
    with pytest.raises(ValueError, match=message):
        steer(lm, **given | arguments)


def test_steering_moves_one_target():
    lm = tiny("gated")
    with pytest.raises(ValueError, match="probes have 2 targets a prompt"):
        steer_probes(lm, tiny_probes(lm), 0.5)
    with pytest.raises(
        ValueError, match=r"probability has shape \[2\], expected one number or \[3\]"
    ):
        steer_probes(lm, one_target(lm), np.asarray([0.5, 0.5]))


@pytest.mark.slow
def test_real_facts_are_steered(smollm2: LanguageModel):
    """12 facts to 0.9, 0.5 and 0.05, measured by interventions that know nothing of the search."""
    facts = read_facts(limit=12, seed=11)
    probes = encode(smollm2, facts.prompts, facts.answers)
    wanted = np.resize([0.9, 0.5, 0.05], len(probes))
    others = probes.select([0, 1])
    found = steer_probes(smollm2, probes, wanted, turns=2, unrelated=others)
    assert len(found) == 12
    for b, steered in enumerate(found):
        assert steered.reached
        own = joint(smollm2, probes.select([b]), steered.shift[None], "additive")
        assert abs(own.probability[0, 0] - wanted[b]) < 1e-3
        assert own.baseline[0] == pytest.approx(steered.before, abs=1e-5)


def test_unrelated_facts_are_of_other_relations(smollm2: LanguageModel):
    facts = read_facts()
    relations = read_facts(answer_column="relation").answers
    of = dict(zip(facts.prompts, relations, strict=True))
    asked = encode(smollm2, ["The capital of France is"], ["Paris"])
    found = bystanders.unrelated_facts(smollm2, asked)
    kinds = [of[prompt] for prompt in found.prompts]
    assert len(kinds) == len(set(kinds)) == len(set(relations)) - 1
    assert "capital" not in kinds
    # A fact with the target for its answer is left out too.
    steered_to = found.targets[0][0]
    again = bystanders.unrelated_facts(smollm2, encode(smollm2, ["Once upon a"], [steered_to]))
    assert (steered_to,) not in again.targets


def test_what_is_steered_to_is_what_the_first_written_token_has() -> None:
    lm = sharp("gated")
    prompt, target = "w3 w5 w7 w9 w4", "w11"
    probes = encode(lm, [prompt], [target])
    steered = steer(lm, prompt, target, 0.9, unrelated=probes)
    found = generate(
        lm, [prompt], steered.intervention, when="generated", site=steered.site, max_tokens=3
    )
    plain = generate(lm, [prompt], max_tokens=3)
    assert steered.reached
    assert found.tokens[0, 0] == probes.target_ids[0, 0, 0] != plain.tokens[0, 0]
    assert np.exp(found.log_probability[0, 0]) == pytest.approx(steered.probability, rel=1e-4)
    assert found.baseline_log_probability is not None
    assert np.exp(found.baseline_log_probability[0, 0]) == pytest.approx(steered.before, rel=1e-4)
    none = dataclasses.replace(steered, shift=np.zeros_like(steered.shift))
    still = generate(lm, [prompt], none.intervention, site=none.site, max_tokens=3)
    assert still.texts == plain.texts
