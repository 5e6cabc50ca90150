"""Enhancing, suppressing and steering, against plain NumPy forwards in float64."""

from types import SimpleNamespace
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from negjax.control import enhance, steer, steer_probes, strongest_shifts, suppress, turn
from negjax.control import unrelated as bystanders
from negjax.control.odds import (
    shifted_replays,
    target_log_odds,
    to_log_odds,
    to_probability,
)
from negjax.control.steering import PARALLEL, TOLERANCE
from negjax.gradients import NeurGrad, neurgrad
from negjax.joint_interventions import joint
from negjax.language_model import LanguageModel
from negjax.probes import Probes, encode
from negjax.tables import read_facts
from tests.block_shapes import (
    CAUSAL_PROMPTS,
    JOINT_TARGETS,
    SHAPES,
    error,
    precision,
    tiny,
    tiny_probes,
)
from tests.reference import full_forward, joint_scores, softmax
from tests.sharp_models import sharp

SITES = [(shape, site) for shape, config in SHAPES.items() for site in config.sites]


def distribution(
    lm: LanguageModel, probes: Probes, prompt: int, site: str = "", shift: Any = None
) -> np.ndarray:
    """[V], of the next token at the read position."""
    tokens = probes.tokens[prompt, probes.mask[prompt]]
    read = int(probes.mask[prompt, : probes.read[prompt]].sum())
    return softmax(full_forward(lm, tokens, site=site, shift=shift, read=read)[0][read])


def divergence(before: np.ndarray, after: np.ndarray) -> float:
    return float(before @ np.log(before / after))


def one_target(lm: LanguageModel) -> Probes:
    probes = tiny_probes(lm)
    prompts, targets = probes.prompts, [row[0] for row in probes.targets]
    return encode(lm, prompts, targets)


@pytest.mark.parametrize(("shape", "site"), SITES)
def test_turned_neurons_and_what_came_of_it(shape, site):
    lm = tiny(shape)
    probes = tiny_probes(lm)
    found = suppress(lm, probes, 4, ratio=1.5, site=site, target=1)
    gradients = neurgrad(lm, probes, site)
    for b in range(len(probes)):
        activation, slope = gradients.activation[b], gradients.neurgrad[b, 1]
        order = np.argsort(slope.ravel())
        chosen = [*order[::-1][:4], *order[:4]]
        shift = np.zeros_like(activation, np.float64)
        for number, flat in enumerate(chosen):
            at = np.unravel_index(flat, activation.shape)
            # Suppressed: positive neurons towards and through 0, negative ones away from it.
            amount = (-1.5 if number < 4 else 1.5) * activation[at]
            shift[at] = amount
            assert found.neurons[b, number].tolist() == list(at)
            assert found.shifts[b, number] == pytest.approx(amount, rel=1e-6)
            assert found.activation[b, number] == activation[at]
            assert found.neurgrad[b, number] == pytest.approx(slope[at], rel=1e-5)
        target = probes.target_ids[b, 1, 0]
        pair = [distribution(lm, probes, b), distribution(lm, probes, b, site, shift)]
        for expected, outcome in zip(pair, (found.before, found.after), strict=True):
            assert outcome.probability[b] == pytest.approx(expected[target], rel=1e-5)
            assert outcome.rank[b] == 1 + (expected > expected[target]).sum()
            assert outcome.top_token[b] == expected.argmax()
            assert outcome.top_text[b] == lm.tokenizer.decode([int(expected.argmax())])
        assert found.kl[b] == pytest.approx(divergence(*pair), rel=1e-4)
        assert pair[1][target] < pair[0][target]
    assert (found.after.rank != found.before.rank).any()


@pytest.mark.parametrize("polarity", ["both", "positive", "negative"])
def test_enhance_raises_and_suppress_lowers(polarity):
    lm = tiny("gpt2")
    probes = one_target(lm)
    up = enhance(lm, probes, 3, volume=0.01, polarity=polarity)
    down = suppress(lm, probes, 3, volume=0.01, polarity=polarity)
    assert (up.after.probability > up.before.probability).all()
    assert (down.after.probability < down.before.probability).all()
    np.testing.assert_array_equal(up.shifts, -down.shifts)
    np.testing.assert_array_equal(up.neurons, down.neurons)
    assert up.neurons.shape == (3, 6 if polarity == "both" else 3, 2)
    wanted = {"both": [1, 1, 1, -1, -1, -1], "positive": [1, 1, 1], "negative": [-1, -1, -1]}
    assert (np.sign(up.neurgrad) == wanted[polarity]).all()
    # Small shifts: the sum of the slopes tells the change.
    strengthened = up.shifts * np.where(up.activation > 0, 1, -1)
    predicted = (up.neurgrad * strengthened).sum(1)
    change = up.after.probability - up.before.probability
    np.testing.assert_allclose(change, predicted, rtol=0.05)


def made_up(activation: Any, slope: Any) -> NeurGrad:
    """Gradients [1, 1, 2, 3] whose NeurGrad is `slope`."""
    activation = np.asarray(activation, float).reshape(1, 2, 3)
    computed = np.asarray(slope, float).reshape(1, 1, 2, 3) * np.where(activation > 0, 1, -1)
    return NeurGrad("act", "probability", np.ones((1, 1)), activation, computed)


def test_ties_go_to_the_lowest_flat_index():
    gradients = made_up([1, -2, 0, 4, -5, 6], [3, 3, -1, 3, -1, -1])
    neurons, shifts = strongest_shifts(gradients, 2, volume=0.5)
    assert neurons[0].tolist() == [[0, 0], [0, 1], [0, 2], [1, 1]]
    # Strengthened, strengthened, weakened, weakened; an activation of 0 counts as negative.
    assert shifts[0].tolist() == [0.5, -0.5, 0.5, 0.5]
    _, by_ratio = strongest_shifts(gradients, 2, ratio=0.5)
    assert by_ratio[0].tolist() == [0.5, -1, 0, 2.5]


def test_each_neuron_may_have_its_own_amount():
    gradients = made_up([1, -2, 3, 4, -5, 6], [3, 2, -1, 1, -2, -3])
    neurons, shifts = strongest_shifts(gradients, 2, volume=np.asarray([1.0, 2, 3, 4]))
    assert neurons[0].tolist() == [[0, 0], [0, 1], [1, 2], [1, 1]]
    assert shifts[0].tolist() == [1, -2, -3, 4]
    _, shifts = strongest_shifts(gradients, 2, ratio=np.asarray([1.0, 2]), polarity="negative")
    assert shifts[0].tolist() == [-6, 10]


def test_neurons_named_twice_are_added_up():
    lm = tiny("bert")
    probes = one_target(lm)
    twice = turn(lm, probes, np.asarray([[0, 3], [2, 5], [0, 3]]), np.asarray([0.5, 1.0, 0.25]))
    once = turn(lm, probes, np.asarray([[0, 3], [2, 5]]), np.asarray([0.75, 1.0]))
    np.testing.assert_array_equal(twice.after.probability, once.after.probability)
    shift = np.zeros((3, 20))
    shift[0, 3], shift[2, 5] = 0.75, 1.0
    for b in range(3):
        expected = distribution(lm, probes, b, "act", shift)[probes.target_ids[b, 0, 0]]
        assert twice.after.probability[b] == pytest.approx(expected, rel=1e-5)


def test_prompts_may_have_neurons_of_their_own():
    lm = tiny("gated")
    probes = one_target(lm)
    neurons = np.asarray([[[0, 1]], [[1, 2]], [[2, 3]]])
    together = turn(lm, probes, neurons, np.asarray([[1.0], [-2.0], [3.0]]))
    for b, amount in enumerate((1.0, -2.0, 3.0)):
        alone = turn(lm, probes.select([b]), neurons[b], np.asarray([amount]))
        assert together.after.probability[b] == pytest.approx(alone.after.probability[0], rel=1e-6)


def test_joint_targets_count_all_their_tokens():
    lm = tiny("gated")
    probes = tiny_probes(lm, JOINT_TARGETS, "all")
    found = enhance(lm, probes, 5, volume=0.2, target=0)
    for b in range(3):
        shift = np.zeros((3, 20))
        np.add.at(shift, tuple(found.neurons[b].T), found.shifts[b])
        expected = np.exp(joint_scores(lm, probes, b, 0, "up", shift)[0])
        assert found.after.probability[b] == pytest.approx(expected, rel=1e-5)
        first = distribution(lm, probes, b, "up", shift)
        assert found.after.rank[b] == 1 + (first > first[probes.target_ids[b, 0, 0]]).sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0, "volume": 1.0}, r"k is 0: expected 1 to 60, the model's neurons"),
        ({"k": 61, "volume": 1.0}, r"k is 61: expected 1 to 60"),
        ({"k": 2.0, "volume": 1.0}, r"k is 2.0: expected 1 to 60"),
        ({"k": 59, "volume": 1.0}, r"prompt \d has \d+ neurons with NeurGrad > 0, fewer than k = "),
        (
            {"k": 59, "volume": 1.0, "polarity": "negative"},
            r"prompt \d has \d+ neurons with NeurGrad < 0, fewer than k = 59",
        ),
        ({"k": 1}, r"volume is None and ratio None: pass one of them"),
        ({"k": 1, "volume": 1.0, "ratio": 2.0}, r"volume is 1.0 and ratio 2.0: pass one of"),
        ({"k": 1, "volume": -1.0}, r"volume is -1.0, expected a finite number, 0 or more"),
        ({"k": 1, "ratio": np.inf}, r"ratio is inf, expected a finite number"),
        ({"k": 2, "ratio": np.ones(3)}, r"ratio has shape \[3\], .* one for each of 4 neurons"),
        ({"k": 1, "volume": 1.0, "polarity": "up"}, r"polarity is 'up', expected one of"),
        ({"k": 1, "volume": 1.0, "site": "act"}, r"site 'act': "),
        ({"k": 1, "volume": 1.0, "target": 2}, r"target is 2, and each prompt has 2"),
        ({"k": 1, "volume": 1.0, "target": None}, r"target is None, and each prompt has 2"),
    ],
)
def test_turning_refuses(arguments, message):
    lm = tiny("gated")
    for function in (enhance, suppress):
        with pytest.raises(ValueError, match=message):
            function(lm, tiny_probes(lm), **{"target": 0, **arguments})


@pytest.mark.parametrize(
    ("neurons", "shifts", "message"),
    [
        (np.zeros((0, 2), int), [], r"no neurons"),
        ([[3, 0]], [1.0], r"neuron \(layer 3, index 0\) does not exist"),
        ([[0, 0]], [1.0, 2.0], r"shifts have shape \[2\], expected one for each of 1 neurons"),
        ([[0, 0]], [np.nan], r"value nan of neuron \(layer 0, index 0\), expected a finite"),
        (np.zeros((61, 2), int), np.ones(61), r"61 neurons, more than the 60 that the model has"),
    ],
)
def test_turning_by_hand_refuses(neurons, shifts, message):
    lm = tiny("gated")
    with pytest.raises(ValueError, match=message):
        turn(lm, one_target(lm), np.asarray(neurons), np.asarray(shifts))


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
        ({"layers": []}, r"layers are \[\], expected a list of layer numbers"),
        ({"layers": [0], "neurons": np.asarray([[0, 1]])}, r"neurons and layers are both given"),
        ({"budget_bytes": 1000}, r"budget_bytes=1,000 is too small: one prompt of 4 tokens"),
        ({"unrelated": None}, r"vocabulary holds none of the shipped facts; pass unrelated="),
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
    with pytest.raises(ValueError, match=r"probabilities have shape \[2\], expected one or \[3\]"):
        steer_probes(lm, one_target(lm), np.asarray([0.5, 0.5]))


def test_real_facts_are_steered(smollm2: LanguageModel):
    """24 facts to 0.9, 0.5 and 0.05, measured by interventions that know nothing of the search."""
    facts = read_facts(limit=24, seed=11)
    probes = encode(smollm2, facts.prompts, facts.answers)
    wanted = np.resize([0.9, 0.5, 0.05], len(probes))
    others = probes.select([0, 1])
    found = steer_probes(smollm2, probes, wanted, turns=2, unrelated=others)
    assert len(found) == 24
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
