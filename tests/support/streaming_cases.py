"""What is measured of streamed models, and beside which rate."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import negjax
from negjax.model.language_model import LanguageModel
from negjax.model.streamed import is_streamed, leaves
from tests.support import checkpoints
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "streaming.md"
PROMPTS, TARGETS, TOKENS = 64, 4, 16

Case = tuple[str, Callable[[], Any], float]
"""What it is, the work, and the operations that it cannot avoid."""


def layer_parameters(lm: LanguageModel) -> int:
    """Entries of a layer's matrices."""
    return sum(leaf.size for leaf in streamed(lm)) // lm.config.layers


def streamed(lm: LanguageModel) -> list[Any]:
    """Parameters that are not held."""
    return [leaf for leaf in leaves(lm.params) if is_streamed(leaf)]


def prompts(count: int, seed: int) -> list[str]:
    """Texts of 16 words that the vocabulary holds."""
    drawn = np.random.default_rng(seed).integers(1, 9000, (count, TOKENS))
    return [checkpoints.text(*row) for row in drawn]


def encoded(lm: LanguageModel, count: int, targets: int) -> negjax.Probes:
    """Prompts and answers of one word each."""
    words = np.random.default_rng(1).integers(1, 9000, (count, targets))
    answers = [[f" {checkpoints.word(n)}" for n in row] for row in words]
    return negjax.encode(lm, prompts(count, 0), answers, target_mode="first")


def neurgrad(lm: LanguageModel, budget_bytes: int) -> Case:
    """NeurGrad of 64 prompts with 4 targets."""
    probes = encoded(lm, PROMPTS, TARGETS)
    tokens = int(probes.mask.sum())
    operations = 2 * layer_parameters(lm) * lm.config.layers * (tokens + TARGETS * PROMPTS)
    what = f"NeurGrad of {PROMPTS} prompts of {tokens // PROMPTS} tokens, {TARGETS} targets"
    return what, lambda: negjax.neurgrad(lm, probes, budget_bytes=budget_bytes), operations


def product_rate(lm: LanguageModel) -> float:
    """Operations a second of a plain product in float32, as large as the model's."""
    a, b = jnp.ones((1024, lm.config.width)), jnp.ones((lm.config.width, lm.config.neurons))
    product = jax.jit(jnp.matmul)
    product(a, b).block_until_ready()
    best = 0.0
    for _ in range(4):
        start = time.perf_counter()
        product(a, b).block_until_ready()
        best = max(best, 2 * a.shape[0] * b.size / (time.perf_counter() - start))
    return best
