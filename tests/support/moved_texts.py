"""Whole texts, run without a cache while neurons are moved: `generate` must agree with them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.model.language_model import LanguageModel
from negjax.model.placement import Placement
from negjax.replay.suffixes import block_at, layer_count, stacked_blocks
from tests.support.reference import full_forward


class Written(NamedTuple):
    """A direction that is moved."""

    place: str
    layer: int
    vector: np.ndarray
    """[D]."""
    how: str
    x: float


def whole_texts(
    lm: LanguageModel,
    texts: list[list[int]],
    moved: list[range],
    site: str,
    how: dict[tuple[int, int], tuple[str, float]],
    written: Sequence[Written] = (),
) -> np.ndarray:
    """Log-probabilities [2, B, T, V] of what follows each token, without and with neurons moved.

    Args:
        texts: token ids.
        moved: of each text the positions at which neurons are moved.
        how: by neuron (layer, index): what is done to it, and its x.
        written: what is done along directions.
    """
    length = max(map(len, texts))
    tokens = np.zeros((len(texts), length), np.int32)
    there = np.zeros(tokens.shape, bool)
    for row, (text, positions) in enumerate(zip(texts, moved, strict=True)):
        tokens[row, : len(text)] = text
        there[row, list(positions)] = True
    mask = np.arange(length) < np.asarray([[len(text)] for text in texts])
    kept = np.ones((lm.config.layers, lm.config.neurons))
    added, signed = np.zeros((2, *kept.shape))
    for neuron, (move, value) in how.items():
        if move in ("scale", "clamp"):
            kept[neuron] = value if move == "scale" else 0
        if move in ("additive", "clamp"):
            added[neuron] = value
        if move == "signed":
            signed[neuron] = value
    both = _run(lm.graphdef, lm.params, site, tokens, mask, there, kept, added, signed, written)
    return np.asarray(jax.nn.log_softmax(jnp.stack(both)))


def _run(
    graphdef: nnx.GraphDef[Any],
    params: nnx.State[Any, Any],
    site: str,
    tokens: np.ndarray,
    mask: np.ndarray,
    there: np.ndarray,
    kept: np.ndarray,
    added: np.ndarray,
    signed: np.ndarray,
    written: Sequence[Written],
) -> tuple[jax.Array, jax.Array]:
    model = nnx.merge(graphdef, params)
    structure, blocks = stacked_blocks(model)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    where = Placement(positions=positions, mask=jnp.asarray(mask), prefix_mask=None)
    plain = shifted = model.embedding(tokens, positions)[:, None]

    def write(layer: int, place: str, h: jax.Array) -> jax.Array:
        total = jnp.zeros_like(h)
        for one in written:
            if (one.layer, one.place) == (layer, place):
                held = h @ one.vector / (one.vector @ one.vector)
                after = {"additive": held + one.x, "scale": one.x * held, "clamp": one.x}
                change = jnp.where(there[:, None], after[one.how] - held, 0)
                total = total + change[..., None] * one.vector
        return total

    for layer in range(layer_count(blocks)):
        block = block_at(structure, blocks, layer)

        def activation(inner: dict[str, jax.Array], block: Any = block) -> jax.Array:
            flat = {name: x.reshape(-1, *x.shape[3:]) for name, x in inner.items()}
            return block.ffn.by_neuron(flat)[site].reshape(*tokens.shape, -1)

        mid, _ = block.attend(plain, where.at(layer), None)
        out, inner = block.feed_forward(plain, mid)
        before, routes = activation(inner), inner.get("routes")
        plain = block.finish(mid, out)
        shifted = shifted + write(layer, "residual_before", shifted)
        to_attention = write(layer, "attention_out", shifted)
        mid, _ = block.attend(shifted, where.at(layer), None, write=to_attention)
        found = activation(block.feed_forward(shifted, mid, routes=routes)[1])
        wanted = kept[layer] * found + added[layer]
        wanted = wanted + signed[layer] * jnp.where(before > 0, 1, -1)
        shift = jnp.where(there[..., None], wanted - found, 0)[:, None]
        out, _ = block.feed_forward(shifted, mid, shift, site, routes=routes)
        shifted = block.finish(mid, out + write(layer, "ffn_out", mid))
        shifted = shifted + write(layer, "residual_after", shifted)
    return model.logits(plain[:, 0]), model.logits(shifted[:, 0])


def greedy_text(
    lm: LanguageModel, prompt: str, count: int, shift: np.ndarray | None = None, site: str = "up"
) -> str:
    """So many words after a prompt, the likeliest, under a shift [L, F] from its last token on."""
    ids = lm.tokenizer(prompt)["input_ids"]
    length = len(ids)
    for _ in range(count):
        at = np.arange(length - 1, len(ids))
        logits, _ = full_forward(lm, np.asarray(ids), site=site, shift=shift, read=at)
        ids = [*ids, int(logits[-1].argmax())]
    return "".join(f" {lm.tokenizer.decode([token])}" for token in ids[length:])
