"""Linear: minima by their conditions in float64 and by another optimiser, sparsity, streams."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from negjax.skills import Linear, choose, decode_scores, encode_scores
from negjax.skills.probes import linear_path

# Small enough that float32 is what is left; the solver's own limit is looked at beside it.
CLOSE = 1e-4


def prompts(labels, seed=0, count=120, neurons=40):
    """Scores and gold; a few neurons know something, most scores are one sign most of the time."""
    rng = np.random.default_rng(seed)
    gold = rng.permutation(count) % labels
    scores = rng.normal(size=(count, labels, neurons)) + rng.normal(size=(labels, neurons))
    scores[np.arange(count), gold, :6] += 1.5
    return scores.astype(np.float32), gold


def features_of(scores):
    """[B, K · N], float64."""
    return np.sign(scores).reshape(len(scores), -1).astype(np.float64)


def dense(probe):
    """W [K, K · N], float64, zeros included."""
    weight = np.zeros((probe.labels, probe.labels, probe.total))
    weight[..., probe.neurons] = probe.weight
    return weight.reshape(probe.labels, -1)


def gradients(x, gold, weight, bias):
    """∂ mean cross-entropy / ∂ W and ∂ bias, by definition."""
    error = softmax(x @ weight.T + bias, axis=1) - np.eye(len(bias))[gold]
    return error.T @ x / len(x), error.mean(0)


def strength(x, gold, probe):
    """What a penalty of fraction 1 is multiplied with: the largest gradient of weights of 0."""
    labels = probe.labels
    bias = np.log(np.bincount(gold, minlength=labels) / len(gold))
    return (
        probe.fraction * np.abs(gradients(x, gold, np.zeros((labels, x.shape[1])), bias)[0]).max()
    )


@pytest.mark.parametrize("labels", [2, 3, 5])
@pytest.mark.parametrize("l2", [0.0, 10.0])
def test_the_conditions_of_a_minimum_hold(labels, l2):
    scores, gold = prompts(labels)
    x = features_of(scores)
    path = Linear(l2=l2, stages=4, tolerance=CLOSE).path(lambda: [(scores, gold)], labels)
    assert [len(probe.neurons) for probe in path] == sorted(len(p.neurons) for p in path)
    for probe in path:
        weight, level = dense(probe), strength(x, gold, probe)
        g, g_bias = gradients(x, gold, weight, probe.bias)
        g += level * l2 * weight
        assert np.abs(g_bias).max() < 3 * CLOSE * level
        assert np.abs(g[weight == 0]).max() < level * (1 + 3 * CLOSE)
        left = g + level * np.sign(weight)
        assert np.abs(left[weight != 0]).max() < 3 * CLOSE * level
        assert probe.violation < 1.01 * CLOSE
        loss = -log_softmax(x @ weight.T + probe.bias, axis=1)[np.arange(len(x)), gold].mean()
        assert probe.loss == pytest.approx(loss, rel=1e-5)
    # Exactly zero, and some are not.
    assert 0 < np.count_nonzero(dense(path[0])) < 0.1 * dense(path[0]).size


def test_the_minimum_of_another_optimiser():
    """L-BFGS-B in float64, on W = U − V with U, V ≥ 0."""
    scores, gold = prompts(3, neurons=12)
    x = features_of(scores)
    probe = Linear(l2=2.0, stages=3, weakest=0.1, tolerance=1e-5).fit(scores, gold)
    level, size = strength(x, gold, probe), 3 * x.shape[1]

    def objective(values):
        up, down = values[: 2 * size].reshape(2, 3, -1)
        weight, bias = up - down, values[2 * size :]
        loss = -log_softmax(x @ weight.T + bias, axis=1)[np.arange(len(x)), gold].mean()
        g, g_bias = gradients(x, gold, weight, bias)
        g += 2.0 * level * weight
        value = loss + level * (up.sum() + down.sum() + (weight**2).sum())
        return value, np.concatenate([(g + level).ravel(), (level - g).ravel(), g_bias])

    bounds = [(0, None)] * (2 * size) + [(None, None)] * 3
    start = np.zeros(2 * size + 3)
    options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(objective, start, jac=True, bounds=bounds, options=options).x
    up, down = found[: 2 * size].reshape(2, 3, -1)
    np.testing.assert_allclose(dense(probe), up - down, atol=2e-4)
    assert ((np.abs(up - down) > 1e-3) <= (dense(probe) != 0)).all()
    # A constant added to every bias changes nothing.
    bias = found[2 * size :]
    np.testing.assert_allclose(probe.bias - probe.bias.mean(), bias - bias.mean(), atol=2e-4)


def test_without_an_l1_norm_every_feature_has_weight():
    scores, gold = prompts(2, neurons=8)
    x = features_of(scores)
    probe = Linear(l1=0.0, l2=1.0, stages=2, tolerance=CLOSE).fit(scores, gold)
    g, _ = gradients(x, gold, dense(probe), probe.bias)
    level = strength(x, gold, probe)
    np.testing.assert_allclose(g, -level * dense(probe), atol=3 * CLOSE * level)
    assert len(probe.neurons) == 8


def test_a_working_set_that_grows_finds_the_same(monkeypatch):
    scores, gold = prompts(4, neurons=100)
    whole = Linear(stages=2, tolerance=CLOSE).path(lambda: [(scores, gold)], 4)
    monkeypatch.setattr(linear_path, "FIRST", 64)
    grown = Linear(stages=2, tolerance=CLOSE).path(lambda: [(scores, gold)], 4)
    for one, other in zip(whole, grown, strict=True):
        np.testing.assert_allclose(dense(other), dense(one), atol=2e-3)
        assert other.violation < 1.01 * CLOSE


@settings(max_examples=5, deadline=None)
@given(st.sets(st.integers(1, 119), min_size=1, max_size=4))
def test_batches_change_nothing_but_rounding(cuts):
    scores, gold = prompts(3)
    setting = Linear(stages=2, tolerance=CLOSE)
    whole = setting.fit(scores, gold)
    parts = np.split(np.arange(120), sorted(cuts))
    codes = [(np.asarray(encode_scores(scores[p])), gold[p]) for p in parts]
    stream = setting.path(lambda: ((decode_scores(c, 3), g) for c, g in codes), 3)[-1]
    np.testing.assert_allclose(dense(stream), dense(whole), atol=1e-3)
    np.testing.assert_array_equal(stream.predict(scores), whole.predict(scores))


def test_the_same_bits_every_time():
    scores, gold = prompts(3)
    one, other = (Linear(stages=3).fit(scores, gold) for _ in range(2))
    np.testing.assert_array_equal(one.weight, other.weight)
    np.testing.assert_array_equal(one.bias, other.bias)


def test_neurons_polarity_and_votes():
    """Neuron 3 follows the gold label, neuron 7 is against it, less often."""
    rng = np.random.default_rng(0)
    gold = np.arange(90) % 3
    scores = rng.normal(size=(90, 3, 10)).astype(np.float32)
    follows = 2.0 * (gold[:, None] == np.arange(3)) - 1
    scores[..., 3] = follows
    scores[..., 7] = np.where(rng.random(90) < 0.7, 1, -1)[:, None] * -follows
    probe = Linear(stages=3).fit(scores, gold)
    assert probe.neurons[:2].tolist() == [3, 7] and probe.polarity[:2].tolist() == [1, -1]
    size = np.sqrt((probe.weight**2).sum((0, 1)))
    assert (np.diff(size) <= 0).all() and (size > 0).all()
    z = features_of(scores) @ dense(probe).T
    np.testing.assert_allclose(probe.votes(scores).sum(-1), z, atol=1e-5)
    np.testing.assert_array_equal(probe.predict(scores), (z + probe.bias).argmax(1))
    assert (probe.predict(scores) == gold).all()
    np.testing.assert_array_equal(probe.predict_codes(encode_scores(scores)), gold)


def test_valid_prompts_choose_the_strength():
    scores, gold = prompts(3, count=60, neurons=300)
    valid, valid_gold = prompts(3, seed=1, count=60, neurons=300)
    setting = Linear(stages=5)
    path = setting.path(lambda: [(scores, gold)], 3)
    right = [(probe.predict(valid) == valid_gold).sum() for probe in path]
    best = path[int(np.argmax(right))]
    assert choose(path, [(valid[:7], valid_gold[:7]), (valid[7:], valid_gold[7:])]) is best
    chosen = setting.fit(scores, gold, (valid, valid_gold))
    assert chosen.fraction == best.fraction and len(set(right)) > 1
    assert setting.fit(scores, gold).fraction == pytest.approx(0.05)
    # Of ties the strongest penalty.
    assert choose([best, best, path[0]], [(valid, valid_gold)]) is best
    always = scores[:1], path[-1].predict(scores[:1])
    assert choose([path[-1], *path], [always]) is path[-1]


def test_a_path_ends_where_memory_does(monkeypatch):
    monkeypatch.setattr(linear_path, "FIRST", 64)
    scores, gold = prompts(3, count=60, neurons=300)
    # 60 prompts of float32: 128 features.
    short = Linear(budget_bytes=60 * 4 * 128, stages=4).path(lambda: [(scores, gold)], 3)
    whole = Linear(stages=4).path(lambda: [(scores, gold)], 3)
    assert 0 < len(short) < len(whole)
    for one, other in zip(short, whole, strict=False):
        np.testing.assert_allclose(dense(one), dense(other), atol=0.02)
    with pytest.raises(ValueError, match="more than 2 of 900 features would have weights and need"):
        Linear(budget_bytes=60 * 4 * 2).fit(scores, gold)
    # Not even room for one feature.
    with pytest.raises(ValueError, match=r"more than 1 of .* more than 1 bytes"):
        Linear(budget_bytes=1).fit(scores, gold)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"l1": -1.0}, "l1 is -1.0, expected a finite number of at least 0"),
        ({"l1": 0.0, "l2": 0.0}, "l1 is 0.0 and l2 0.0, expected 0 or more, and one of them"),
        ({"l2": float("nan")}, "l2 is nan, expected a finite number of at least 0"),
        ({"stages": 0}, "stages is 0, expected a whole number, 1 or more"),
        ({"weakest": 1.0}, "weakest is 1.0, expected a share"),
        ({"tolerance": 0.0}, "tolerance is 0.0, expected a share"),
    ],
)
def test_settings_that_mean_nothing(settings, message):
    with pytest.raises(ValueError, match=message):
        Linear(**settings)


@pytest.mark.parametrize(
    ("scores", "gold", "message"),
    [
        (np.ones((3, 3, 4), np.float32), [0, 1, 1], "no prompt of 3 has label 2 of 3"),
        (np.ones((3, 3, 4), np.float32), [0, 1, 2], "no neuron's signs differ from label to label"),
        (np.full((3, 3, 4), np.nan), [0, 1, 2], "scores of prompt 0, neuron 0 are nan"),
    ],
)
def test_what_cannot_be_fitted(scores, gold, message):
    with pytest.raises(ValueError, match=message):
        Linear().fit(scores, gold)


def test_batches_that_disagree():
    one, other = np.ones((2, 2, 4), np.float32), np.ones((2, 2, 5), np.float32)
    with pytest.raises(ValueError, match="scores are of 5 neurons, expected 4"):
        Linear().path(lambda: [(one, np.arange(2)), (other, np.arange(2))], 2)
    with pytest.raises(ValueError, match="scores are of 2 labels, expected 3"):
        Linear().path(lambda: [(one, np.arange(2))], 3)
