"""KL, entropy and top token of sweeps, against softmax over plain NumPy forwards in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from negjax.inputs.probes import Probes
from negjax.measurements.sweeps import Sweep, sweep
from negjax.model.language_model import LanguageModel
from negjax.replay import readout
from negjax.replay.readout import read_rows
from tests.support.block_shapes import (
    JOINT_TARGETS,
    SHAPES,
    one_neuron_a_layer,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import full_forward, softmax

# Below a unit of rounding of its logits, a KL tells how a program was compiled: as users run it.
pytestmark = pytest.mark.optimised

SHIFTS = np.asarray([-30.0, -0.5, 1e-3, 2.0])
# Of the KL: relative, and in units of 2 √KL, what an error of so many nats in the logits makes.
# Of the entropy: relative. In float64 the logits, of size 1, may be wrong by a unit in the last
# place: how compilers order a sum decides which (JAX 0.10 leaves 1.0e-16, 0.12 1.3e-16 nats).
ROUNDING = {"float32": (5e-4, 5e-7, 5e-7), "float64": (1e-11, float(np.finfo("f8").eps), 1e-14)}


def expected_spread(
    lm: LanguageModel, probes: Probes, neurons: np.ndarray, site: str
) -> tuple[np.ndarray, ...]:
    """KL, entropy and top token [B, N, X], and entropy and top token without a shift [B]."""
    shape = (len(probes), len(neurons), len(SHIFTS))
    kl, entropy, top = np.empty(shape), np.empty(shape), np.empty(shape, int)
    before = np.empty((len(probes), lm.config.vocab_size))
    for b in range(len(probes)):
        tokens = probes.tokens[b, probes.mask[b]]
        read = int(probes.mask[b, : probes.read[b]].sum())
        logits = full_forward(lm, tokens)[0][read]
        before[b] = softmax(logits)
        for n, (layer, index) in enumerate(neurons):
            for x, amount in enumerate(SHIFTS):
                shift = np.zeros((lm.config.layers, lm.config.neurons))
                shift[layer, index] = amount
                after = softmax(
                    full_forward(lm, tokens, site=site, shift=shift, read=read)[0][read]
                )
                # Σ p₀ log(p₀ / p) in a form without cancellation: u = p / p₀ - 1, Σ p₀ u = 0.
                excess = after / before[b] - 1
                kl[b, n, x] = (before[b] * (excess - np.log1p(excess))).sum()
                entropy[b, n, x] = -(after * np.log(after)).sum()
                top[b, n, x] = after.argmax()
    return kl, entropy, top, -(before * np.log(before)).sum(1), before.argmax(1)


def assert_spread(
    found: Sweep, lm: LanguageModel, probes: Probes, neurons: np.ndarray, dtype: str
) -> None:
    kl, entropy, top, entropy_before, top_before = expected_spread(lm, probes, neurons, found.site)
    assert found.kl is not None and found.entropy is not None
    assert found.kl.dtype == found.entropy.dtype == np.dtype(dtype)
    of_kl, of_logits, of_entropy = ROUNDING[dtype]
    assert kl.min() < 1e-9 and kl.max() > 0.1
    assert (np.abs(found.kl - kl) < of_kl * kl + 2 * of_logits * np.sqrt(kl)).all()
    assert np.abs(found.entropy / entropy - 1).max() < of_entropy
    np.testing.assert_array_equal(found.top_token, top)
    assert found.baseline_entropy is not None
    assert np.abs(found.baseline_entropy / entropy_before - 1).max() < of_entropy
    np.testing.assert_array_equal(found.baseline_top_token, top_before)


@pytest.mark.parametrize(
    ("shape", "dtype"), [("gated", "float32"), *((shape, "float64") for shape in SHAPES)]
)
def test_spread_of_shifts_small_and_large(shape, dtype):
    with precision(dtype):
        lm = tiny(shape, dtype)
        probes, neurons = tiny_probes(lm), one_neuron_a_layer(lm)
        found = sweep(lm, probes, neurons, SHIFTS, "additive", target=0, spread=True)
        assert_spread(found, lm, probes, neurons, dtype)
        plain = sweep(lm, probes, neurons, SHIFTS, "additive", target=0)
        assert plain.kl is plain.entropy is plain.top_token is plain.baseline_entropy is None
        np.testing.assert_allclose(found.logit, plain.logit, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found.log_probability, plain.log_probability, rtol=1e-6)


def test_targets_of_several_tokens_have_the_spread_at_the_read_position():
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes, neurons = tiny_probes(lm, JOINT_TARGETS, "all"), one_neuron_a_layer(lm)
        found = sweep(lm, probes, neurons, SHIFTS, "additive", target=1, spread=True)
        assert_spread(found, lm, probes, neurons, "float64")


def test_any_block_of_the_vocabulary(monkeypatch):
    """24 tokens are no multiple of 5: the last block repeats some of the one before."""
    monkeypatch.setattr(readout, "VOCAB_BLOCK", 5)
    # A context of its own: nothing compiled with another block serves it.
    lm = tiny("bert", context_length=27)
    probes, neurons = tiny_probes(lm), one_neuron_a_layer(lm)
    found = sweep(lm, probes, neurons, SHIFTS, "additive", target=1, spread=True)
    assert_spread(found, lm, probes, neurons, "float32")


def test_no_shift_leaves_the_distribution():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    found = sweep(lm, probes, one_neuron_a_layer(lm), np.zeros(1), target=0, spread=True)
    assert found.kl is not None and found.entropy is not None
    assert found.baseline_entropy is not None
    assert found.kl.min() >= 0 and found.kl.max() < 1e-12
    shape = found.entropy.shape
    entropy = np.broadcast_to(found.baseline_entropy[:, None, None], shape)
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 30.0, 300.0])
def test_any_pair_of_distributions(scale):
    """Logits of random models far apart and near each other, from flat to one-hot."""
    generator = np.random.default_rng(1)
    lm = tiny("gated")
    model = nnx.clone(nnx.merge(lm.graphdef, lm.params))
    resid = generator.normal(size=(1, 16, 1, 16))
    resid[:, 8:] = resid[:, :1] + 1e-3 * resid[:, 8:]
    model.head.norm.scale[...] = jnp.full(16, scale)
    scores = read_rows(
        model,
        jnp.asarray(resid, jnp.float32),
        jnp.zeros((1, 1, 1), jnp.int32),
        jnp.ones((1, 1, 1), bool),
        4,
        4,
        jnp.asarray(resid[:, 0, 0], jnp.float32),
    )
    assert scores.spread is not None
    held = np.asarray(resid, np.float32).astype(np.float64)[0, :, 0]
    features = held / np.sqrt((held**2).mean(-1, keepdims=True) + lm.config.norm_eps) * scale
    logits = features @ np.asarray(model.output_embedding(), np.float64).T
    log_p = logits - logits.max(-1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
    p = np.exp(log_p)
    kl = np.maximum((p[:1] * (log_p[:1] - log_p)).sum(-1), 0)
    found = np.asarray(scores.spread.kl)[0]
    assert np.isfinite(found).all() and (found >= 0).all()
    # Logits of size `scale` are rounded to about 1e-6 of it; the error that this makes in a KL is
    # at most its square, or the error times the square root of the KL.
    noise = 1e-6 * np.abs(logits).max()
    assert (np.abs(found - kl) < 1e-5 * kl + 2 * noise * np.sqrt(kl) + noise**2).all()
    entropy = -(p * log_p).sum(-1)
    assert np.abs(np.asarray(scores.spread.entropy)[0] - entropy).max() < 4 * noise + 1e-6
    np.testing.assert_array_equal(np.asarray(scores.spread.top_token)[0], logits.argmax(-1))


def test_of_equal_tokens_the_first_is_on_top():
    lm = tiny("gated")
    probes, neurons = tiny_probes(lm), one_neuron_a_layer(lm)
    before = sweep(lm, probes, neurons, np.zeros(1), target=0, spread=True).baseline_top_token
    assert before is not None and before.min() > 2
    model = nnx.merge(lm.graphdef, jax.tree.map(jnp.copy, lm.params))
    model.head.output[...] = model.head.output[...].at[2].set(model.head.output[int(before[0])])
    doubled = dataclasses.replace(lm, params=nnx.split(model)[1])
    found = sweep(doubled, probes, neurons, np.zeros(1), target=0, spread=True)
    assert found.top_token is not None
    assert (found.top_token[0] == 2).all()
