"""Forward passes over whole sequences: what the library's own are tested against."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from negjax.inputs.probes import Probes
from negjax.model.config import ModelConfig
from negjax.model.language_model import LanguageModel
from negjax.model.placement import Placement
from negjax.model.rope import Rope
from negjax.model.transformer import Transformer
from tests.support.tiny_models import leaves

Written = tuple[str, np.ndarray]
"""A place of a layer, and what is written there [L, D], or [L, n, D] at n tokens."""


def reference_logits(
    graphdef: nnx.GraphDef[Transformer], params: nnx.State, tokens: jax.Array, mask: jax.Array
) -> jax.Array:
    """Logits [P, S, V] of tokens [P, S] that count where mask [P, S] is True."""
    model = nnx.merge(graphdef, params)
    positions = jnp.maximum(jnp.cumsum(mask, -1) - 1, 0)
    where = Placement(positions=positions, mask=mask, prefix_mask=None)
    resid = model.embedding(tokens, positions)
    block_def, blocks = nnx.split(model.blocks)
    for layer in range(jax.tree.leaves(blocks)[0].shape[0]):
        block = nnx.merge(block_def, jax.tree.map(lambda leaf, at=layer: leaf[at], blocks))
        resid = block(resid[:, None], where.at(layer), None)[:, 0]
    return model.logits(resid)


def full_forward(
    lm: LanguageModel,
    tokens: np.ndarray,
    *,
    site: str = "",
    shift: np.ndarray | None = None,
    held: np.ndarray | None = None,
    read: int | np.ndarray = 0,
    reroute: bool = False,
    written: Written | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits [T, V] and activations [L, T, F] by site of one sequence [T], in float64 NumPy.

    Beside the sites there are `mid` [L, T, D], the residual that enters the feed-forward layer,
    `entering` and `leaving`, those that enter and leave the layer, and with experts `routes`
    [L, T, k], which of them tokens pass, and `share` [L, T, F], the weights
    with which neurons count.

    Written out plainly, over all tokens in all layers, sharing nothing with `negjax.model` but the
    config and RoPE's frequencies. `shift` [L, F] is added at `site`, at token(s) `read`, also as
    [L, n, F]; where `held` [L, F] is True it takes the activation's place. Under it
    tokens pass the experts that they pass without, unless they `reroute`. `written` is added at its
    place, at token(s) `read`.
    """
    c = lm.config
    weights = float64_weights(lm)
    x = weights["embedding.token"][tokens] * c.embedding_scale
    if c.rope is None:
        x = x + weights["embedding.position"][c.position_offset :][: len(tokens)]
    if c.token_types:
        x = x + weights["embedding.token_type"][0]
    if c.embedding_norm:
        x = normed(c, weights, x, "embedding.norm")
    before = c.norm_placement in ("pre", "sandwich")
    after = c.norm_placement in ("output", "sandwich")
    post = c.norm_placement == "post"
    names = (*c.sites, "mid", "entering", "leaving", *(("routes", "share") if c.experts else ()))
    activations: dict[str, list[np.ndarray]] = {name: [] for name in names}
    keep = c.experts and not reroute and (shift is not None or written is not None)
    routes = full_forward(lm, tokens)[1]["routes"] if keep else None
    for layer in range(c.layers):
        block = {
            name.removeprefix("blocks."): array[layer]
            for name, array in weights.items()
            if name.startswith("blocks.")
        }

        def linear(x: np.ndarray, name: str, block: dict[str, np.ndarray] = block) -> np.ndarray:
            kernel = block[f"{name}.kernel"].reshape(x.shape[-1], -1)
            return x @ kernel + block.get(f"{name}.bias", np.zeros(1)).reshape(-1)

        def layer_norm(x: np.ndarray, name: str, layer: int = layer) -> np.ndarray:
            return normed(c, weights, x, f"blocks.{name}", layer)

        def shifted(x: np.ndarray, name: str, layer: int = layer) -> np.ndarray:
            x = x.copy()
            if name == site and shift is not None:
                if held is not None:
                    x[np.ix_(np.atleast_1d(read), held[layer])] = 0
                x[read] += shift[layer]
            activations[name].append(x)
            return x

        def plus(x: np.ndarray, place: str, layer: int = layer) -> np.ndarray:
            if written is None or written[0] != place:
                return x
            x = x.copy()
            x[read] += written[1][layer]
            return x

        activations["entering"].append(x)
        entering = x = plus(x, "residual_before")
        inner = layer_norm(x, "attention_norm") if before and (layer or c.first_norm) else x
        query, key, value = (linear(inner, f"attention.{n}") for n in ("query", "key", "value"))
        if c.qk_norm != "none":
            query = _heads_normed(c, weights, query, layer, "query")
            key = _heads_normed(c, weights, key, layer, "key")
        out = linear(_attention(c, layer, query, key, value), "attention.out")
        out = plus(out, "attention_out")
        x = x + c.residual_scale * (layer_norm(out, "attention_out_norm") if after else out)
        x = layer_norm(x, "attention_norm") if post else x
        activations["mid"].append(x)
        inner = x if c.parallel == "none" else entering
        if before:
            inner = layer_norm(inner, "attention_norm" if c.parallel == "shared" else "ffn_norm")
        if c.experts:
            # The neurons of an expert that a token does not pass are 0, and write nothing.
            scores = softmax(linear(inner, "ffn.router"))
            chosen = np.argsort(-scores, axis=1, kind="stable")[:, : c.active_experts]
            chosen = chosen if routes is None else routes[layer]
            activations["routes"].append(chosen)
            share = _shares(c, scores, chosen)
            each = share.repeat(c.neurons // c.experts, axis=1)
            activations["share"].append(each)
            gate_up = (
                np.einsum("td,edi->tei", inner, block[f"ffn.{name}.kernel"]).reshape(len(x), -1)
                for name in ("gate", "up")
            )
            gate, up = (np.where(each > 0, value, 0) for value in gate_up)
            up = np.where(each > 0, shifted(up, "up"), 0)
            hidden = np.where(each > 0, shifted(_activation(c, gate) * up, "product"), 0) * each
        elif c.gated:
            gate = _activation(c, linear(inner, "ffn.gate"))
            hidden = shifted(gate * shifted(linear(inner, "ffn.up"), "up"), "product")
        else:
            hidden = shifted(_activation(c, linear(inner, "ffn.up")), "act")
        out = plus(linear(hidden, "ffn.down"), "ffn_out")
        x = x + c.residual_scale * (layer_norm(out, "ffn_out_norm") if after else out)
        x = layer_norm(x, "ffn_norm") if post else x
        activations["leaving"].append(x)
        x = plus(x, "residual_after")
    found = {name: np.stack(layers) for name, layers in activations.items()}
    return read_out(c, weights, x), found


def float64_weights(lm: LanguageModel) -> dict[str, np.ndarray]:
    """Parameters by dotted path."""
    return {name: np.asarray(leaf, np.float64) for name, leaf in leaves(lm.params).items()}


def normed(
    c: ModelConfig,
    weights: dict[str, np.ndarray],
    x: np.ndarray,
    name: str,
    layer: int | None = None,
) -> np.ndarray:
    """x [..., D] through the norm of that name; of a block's, in that layer."""
    scale, bias = weights[f"{name}.scale"] + c.norm_offset, weights.get(f"{name}.bias")
    if layer is not None:
        scale, bias = scale[layer], bias if bias is None else bias[layer]
    if c.norm == "layer":
        x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + c.norm_eps) * scale
    return x if bias is None else x + bias


def read_out(c: ModelConfig, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Logits [..., V] of last residuals [..., D]."""
    none = np.zeros(1)
    if c.final_norm:
        x = normed(c, weights, x, "head.norm")
    if c.mlm_head:
        x = x @ weights["head.dense.kernel"] + weights.get("head.dense.bias", none)
        x = normed(c, weights, _activation(c, x), "head.dense_norm")
    embedding = weights["embedding.token" if c.tied else "head.output"]
    logits = c.logit_scale * (x @ embedding.T) + weights.get("head.bias", none)
    return logits if c.logit_cap is None else c.logit_cap * np.tanh(logits / c.logit_cap)


def _shares(c: ModelConfig, share: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """[T, E], weights of the experts [T, k] that tokens pass, 0 of the others."""
    kept = np.zeros_like(share)
    np.put_along_axis(kept, chosen, np.take_along_axis(share, chosen, 1), 1)
    return kept / kept.sum(1, keepdims=True) if c.router_normalised else kept


def _heads_normed(
    c: ModelConfig, weights: dict[str, np.ndarray], x: np.ndarray, layer: int, kind: str
) -> np.ndarray:
    """Queries or keys [T, heads · C], normed in each head or over all."""
    name = f"blocks.attention.{kind}_norm"
    parts = x.reshape(len(x), -1, c.head_width) if c.qk_norm == "head" else x
    return normed(c, weights, parts, name, layer).reshape(x.shape)


def _attention(
    c: ModelConfig, layer: int, query: np.ndarray, key: np.ndarray, value: np.ndarray
) -> np.ndarray:
    """Head by head: [T, H · C] of queries [T, H · C], keys and values [T, G · C]."""
    t = len(query)
    query = query.reshape(t, c.heads, c.head_width)
    key, value = (x.reshape(t, c.kv_heads, c.head_width) for x in (key, value))
    window = c.windows[layer] if c.windows else None
    rope = c.rope if window is None or c.local_rope is None else c.local_rope
    if rope is not None and layer not in c.unplaced_layers:
        query, key = (_rotated(c, rope, x) for x in (query, key))
    scale = c.head_width**-0.5 if c.attention_scale is None else c.attention_scale
    apart = np.abs(np.arange(t)[:, None] - np.arange(t))
    heads = []
    for head in range(c.heads):
        shared = head // (c.heads // c.kv_heads)
        scores = query[:, head] @ key[:, shared].T * scale
        if c.attention_cap is not None:
            scores = c.attention_cap * np.tanh(scores / c.attention_cap)
        if c.causal:
            scores[np.triu_indices(t, 1)] = -np.inf
        if window is not None:
            scores[apart >= window] = -np.inf
        heads.append(softmax(scores) @ value[:, shared])
    return np.concatenate(heads, axis=1)


def _rotated(c: ModelConfig, rope: Rope, x: np.ndarray) -> np.ndarray:
    """RoPE of x [T, heads, C], its angles and their sines in float32 as checkpoints define them."""
    angle = np.arange(len(x), dtype=np.float32)[:, None] * rope.frequencies(c.head_width)
    cos, sin = (np.asarray(f(jnp.asarray(angle)), np.float64)[:, None] for f in (jnp.cos, jnp.sin))
    width = 2 * angle.shape[1]
    turning = x[..., :width] * rope.attention_factor
    if rope.neighbours:
        pairs = turning.reshape(*turning.shape[:-1], -1, 2)
    else:
        pairs = turning.reshape(*turning.shape[:-1], 2, -1).swapaxes(-1, -2)
    # A pair is a complex number, which is multiplied by e^(i · angle).
    turned = (pairs[..., 0] + 1j * pairs[..., 1]) * (cos + 1j * sin)
    pairs = np.stack([turned.real, turned.imag], -1)
    turning = (pairs if rope.neighbours else pairs.swapaxes(-1, -2)).reshape(turning.shape)
    return np.concatenate([turning, x[..., width:]], axis=-1)


def _activation(c: ModelConfig, x: np.ndarray) -> np.ndarray:
    if c.activation == "silu":
        return x / (1 + np.exp(-x))
    if c.activation == "relu":
        return np.maximum(x, 0)
    if c.activation == "gelu":
        return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    weight = np.exp(scores - scores.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)


def joint_scores(
    lm: LanguageModel,
    probes: Probes,
    prompt: int,
    target: int,
    site: str = "",
    shift: np.ndarray | None = None,
    held: np.ndarray | None = None,
    at: np.ndarray | None = None,
    written: Written | None = None,
) -> tuple[float, float]:
    """Log-probability and summed logits of a target's tokens, one after another, by full forwards.

    Shifts are at the read position, or at tokens `at`.

    Each of its tokens is predicted by a forward of its own, over the prompt and those before it.
    """
    tokens, read = _unpadded(probes, prompt)
    ids = probes.target_ids[prompt, target, probes.target_mask[prompt, target]]
    log_probability = logit = 0.0
    places = read if at is None else at
    for step, index in enumerate(ids):
        given = np.concatenate([tokens, ids[:step]])
        row = read if step == 0 else len(given) - 1
        how: dict[str, Any] = {"shift": shift, "held": held, "written": written}
        logits, _ = full_forward(lm, given, site=site, read=places, **how)
        log_probability += float(np.log(softmax(logits[row])[index]))
        logit += float(logits[row, index])
    return log_probability, logit


def read_states(lm: LanguageModel, probes: Probes, prompt: int) -> dict[str, np.ndarray]:
    """What `full_forward` finds at a prompt's read position: [L, F] by site, and `mid` [L, D]."""
    tokens, read = _unpadded(probes, prompt)
    return {name: layers[:, read] for name, layers in full_forward(lm, tokens)[1].items()}


def shifted_probabilities(
    lm: LanguageModel, probes: Probes, prompt: int, site: str, shift: np.ndarray
) -> np.ndarray:
    """[K], of a prompt's one-token targets with its activations shifted by [L, F]."""
    tokens, read = _unpadded(probes, prompt)
    logits, _ = full_forward(lm, tokens, site=site, shift=shift, read=read)
    return softmax(logits[read])[probes.target_ids[prompt, :, 0]]


def _unpadded(probes: Probes, prompt: int) -> tuple[np.ndarray, int]:
    """Tokens of a prompt, and the read position among them."""
    read = int(probes.mask[prompt, : probes.read[prompt]].sum())
    return probes.tokens[prompt, probes.mask[prompt]], read
