"""RelP against a NumPy model whose factors are frozen by hand.

`Frozen` keeps, from a first forward, what the rules hold constant: the norms' denominators, the
attention weights, the weights that a router gives, the activation function's gains act(x)/x, and
each side of a gated product as the other's factor. What is left is affine in a shift, so that its
derivative is a plain difference.
"""

from collections.abc import Hashable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from negjax.estimators import estimate
from negjax.inputs.probes import Probes
from negjax.measurements.gradients import gradient_batches
from negjax.model.language_model import LanguageModel
from negjax.model.layers import ACTIVATIONS, GAINS
from tests.support.block_shapes import (
    JOINT_TARGETS,
    SHAPES,
    error,
    precision,
    tiny,
    tiny_probes,
)
from tests.support.reference import _activation, _rotated, _shares, full_forward, softmax
from tests.support.tiny_models import leaves

SITES = [(shape, site) for shape, config in SHAPES.items() for site in config.sites]
SITES += [("experts", site) for site in ("up", "product")]
# Seen: 4e-14 in float64, 4e-6 in float32.
ROUNDING = {"float64": 2e-13, "float32": 2e-5}


class Frozen:
    """The first value under each name, whatever comes later."""

    def __init__(self) -> None:
        self.values: dict[Hashable, np.ndarray] = {}

    def __call__(self, value: np.ndarray, *name: Hashable) -> np.ndarray:
        return self.values.setdefault(name, value)


def frozen_forward(
    lm: LanguageModel, tokens: np.ndarray, hold: Frozen, site: str, shift: np.ndarray, read: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logits [T, V] and activations [L, T, F] at the site, shift [L, F] added at token `read`."""
    c = lm.config
    weights = {name: np.asarray(leaf, np.float64) for name, leaf in leaves(lm.params).items()}
    post = c.norm_placement == "post"

    def weight(name: str, layer: int | None) -> np.ndarray:
        return weights[name] if layer is None else weights[name][layer]

    def norm(x: np.ndarray, name: str, layer: int | None = None) -> np.ndarray:
        if c.norm == "layer":
            x = x - x.mean(-1, keepdims=True)
        size = np.sqrt((x**2).mean(-1, keepdims=True) + c.norm_eps)
        bias = weight(f"{name}.bias", layer) if f"{name}.bias" in weights else 0
        return x / hold(size, name, layer) * weight(f"{name}.scale", layer) + bias

    def linear(x: np.ndarray, name: str, layer: int | None = None) -> np.ndarray:
        kernel = weight(f"{name}.kernel", layer).reshape(x.shape[-1], -1)
        bias = weight(f"{name}.bias", layer).reshape(-1) if f"{name}.bias" in weights else 0
        return x @ kernel + bias

    def activate(x: np.ndarray, name: str, layer: int | None = None) -> np.ndarray:
        return x * hold(_activation(c, x) / x, "gain", name, layer)

    def attend(x: np.ndarray, layer: int) -> np.ndarray:
        t = len(x)
        query, key, value = (
            linear(x, f"blocks.attention.{name}", layer).reshape(t, -1, c.head_width)
            for name in ("query", "key", "value")
        )
        if c.rope is not None:
            query, key = _rotated(c, c.rope, query), _rotated(c, c.rope, key)
        heads = []
        for head in range(c.heads):
            shared = head // (c.heads // c.kv_heads)
            scores = query[:, head] @ key[:, shared].T / np.sqrt(c.head_width)
            if c.causal:
                scores[np.triu_indices(t, 1)] = -np.inf
            heads.append(hold(softmax(scores), "pattern", layer, head) @ value[:, shared])
        return linear(np.concatenate(heads, axis=1), "blocks.attention.out", layer)

    def widened(x: np.ndarray, name: str, layer: int) -> np.ndarray:
        if not c.experts:
            return linear(x, f"blocks.ffn.{name}", layer)
        kernel = weight(f"blocks.ffn.{name}.kernel", layer)
        return x @ kernel.swapaxes(0, 1).reshape(c.width, -1)

    def shifted(x: np.ndarray, name: str, layer: int) -> np.ndarray:
        if name == site:
            x = x.copy()
            x[read] += shift[layer]
            activations.append(x)
        return x

    activations: list[np.ndarray] = []
    x = weights["embedding.token"][tokens]
    if c.rope is None:
        x = x + weights["embedding.position"][: len(tokens)]
    if c.token_types:
        x = x + weights["embedding.token_type"][0]
    if post:
        x = norm(x, "embedding.norm")
    for layer in range(c.layers):
        if post:
            x = norm(x + attend(x, layer), "blocks.attention_norm", layer)
            inner = x
        else:
            x = x + attend(norm(x, "blocks.attention_norm", layer), layer)
            inner = norm(x, "blocks.ffn_norm", layer)
        up = widened(inner, "up", layer)
        if c.gated:
            gate = activate(widened(inner, "gate", layer), "gate", layer)
            up = shifted(up, "up", layer)
            half = hold(gate, "gate", layer) * up + gate * hold(up, "up", layer)
            hidden = shifted(half / 2, "product", layer)
        else:
            hidden = shifted(activate(up, "up", layer), "act", layer)
        if c.experts:
            # 0 for those that a token does not pass.
            scores = softmax(linear(inner, "blocks.ffn.router", layer))
            chosen = np.argsort(-scores, axis=1, kind="stable")[:, : c.active_experts]
            share = hold(_shares(c, scores, chosen), "router", layer)
            hidden = hidden * share.repeat(c.expert_neurons, axis=1)
        x = x + linear(hidden, "blocks.ffn.down", layer)
        if post:
            x = norm(x, "blocks.ffn_norm", layer)
    if c.mlm_head:
        x = activate(linear(x, "head.dense"), "head")
    embedding = weights["embedding.token" if c.tied else "head.output"]
    x = norm(x, "head.dense_norm" if c.mlm_head else "head.norm")
    logits = x @ embedding.T + weights.get("head.bias", np.zeros(1))
    return logits, np.stack(activations)


def relevance(
    lm: LanguageModel, probes: Probes, prompt: int, target: int, site: str, output: str
) -> np.ndarray:
    """a · ∂output/∂a [L, F] of the frozen model, of a target of any number of tokens."""
    tokens = probes.tokens[prompt, probes.mask[prompt]]
    read = int(probes.mask[prompt, : probes.read[prompt]].sum())
    ids = probes.target_ids[prompt, target, probes.target_mask[prompt, target]]
    tokens = np.concatenate([tokens, ids[:-1]])
    scored = read + np.arange(len(ids))
    hold, none = Frozen(), np.zeros((lm.config.layers, lm.config.neurons))
    plain, activations = frozen_forward(lm, tokens, hold, site, none, read)
    np.testing.assert_allclose(plain, full_forward(lm, tokens)[0], rtol=1e-12, atol=1e-12)
    probability = softmax(plain[scored])
    own = np.arange(len(ids)), ids
    result = np.empty_like(none)
    for neuron in np.ndindex(result.shape):
        moved = none.copy()
        moved[neuron] = 1
        change = (frozen_forward(lm, tokens, hold, site, moved, read)[0] - plain)[scored]
        # The softmax is the output's own, not the model's: ∂ log p_t = ∂ z_t - Σ_v p_v ∂ z_v.
        slopes = {"logit": change[own].sum()}
        slopes["log_probability"] = slopes["logit"] - (probability * change).sum()
        slopes["probability"] = probability[own].prod() * slopes["log_probability"]
        result[neuron] = slopes[output]
    return result * activations[:, read]


@pytest.mark.parametrize(("shape", "site"), SITES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_relevance_of_every_neuron(shape, site, dtype):
    with precision(dtype):
        lm = tiny(shape, dtype)
        probes = tiny_probes(lm)
        found = estimate(lm, probes, "relp", site)
        assert found.shape == (3, 2, 3, 20) and found.dtype == np.dtype(dtype)
        for b, k in ((0, 0), (2, 1)):
            expected = relevance(lm, probes, b, k, site, "probability")
            assert error(found[b, k], expected) < ROUNDING[dtype]


@pytest.mark.parametrize("output", ["log_probability", "logit"])
def test_other_outputs(output):
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm)
        found = estimate(lm, probes, "relp", output=output)
        expected = relevance(lm, probes, 1, 0, "up", output)
        assert error(found[1, 0], expected) < ROUNDING["float64"]


def test_joint_targets():
    """Later positions are reached through values alone, since attention patterns are held."""
    with precision("float64"):
        lm = tiny("gated", "float64")
        probes = tiny_probes(lm, JOINT_TARGETS, "all")
        found = estimate(lm, probes, "relp", "product")
        for b, k in ((0, 0), (1, 0), (2, 1)):
            expected = relevance(lm, probes, b, k, "product", "probability")
            assert error(found[b, k], expected) < ROUNDING["float64"]


@pytest.mark.parametrize("shape", [*SHAPES, "experts"])
def test_the_frozen_model_is_affine(shape):
    """What the tests above take for a derivative is one: differences grow with the step."""
    lm = tiny(shape)
    probes = tiny_probes(lm)
    tokens, site = probes.tokens[0, probes.mask[0]], lm.config.sites[0]
    hold, read = Frozen(), int(probes.read[0])
    shift = np.zeros((3, 20))
    plain, _ = frozen_forward(lm, tokens, hold, site, shift, read)
    shift[0, 3], shift[1, 7] = 1.0, -2.0
    once, _ = frozen_forward(lm, tokens, hold, site, shift, read)
    far, _ = frozen_forward(lm, tokens, hold, site, 50 * shift, read)
    assert error(far - plain, 50 * (once - plain)) < 1e-11
    # The true model is not.
    true = full_forward(lm, tokens, site=site, shift=50 * shift, read=read)[0] - plain
    assert error(true, 50 * (once - plain)) > 0.1


def test_sites_share_the_product():
    lm = tiny("gated")
    probes = tiny_probes(lm)
    up, product = (estimate(lm, probes, "relp", site) for site in ("up", "product"))
    assert error(up, product / 2) < 1e-6


def test_the_rules_change_the_derivative_alone():
    lm = tiny("bert")
    probes = tiny_probes(lm)
    ((_, plain, activation, computed),) = gradient_batches(lm, probes)
    ((_, ruled, same, relevant),) = gradient_batches(lm, probes, linearised=True)
    np.testing.assert_array_equal(activation, same)
    assert error(np.asarray(ruled), np.asarray(plain)) < 1e-6
    assert error(np.asarray(relevant), np.asarray(computed)) > 0.1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gains_are_what_activations_multiply_by(name):
    with precision("float64"):
        x = jnp.arange(-120, 121, dtype=jnp.float64) / 10
        np.testing.assert_allclose(x * GAINS[name](x), ACTIVATIONS[name](x), rtol=1e-10, atol=1e-15)
        # Finite at 0, where act(x) / x is not, and in both directions.
        assert jnp.isfinite(GAINS[name](x)).all() and (x == 0).any()
        held = jax.grad(lambda x: (x * jax.lax.stop_gradient(GAINS[name](x))).sum())(x)
        np.testing.assert_allclose(held, GAINS[name](x))
