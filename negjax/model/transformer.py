"""The transformer of all families: embeddings, one stacked block, output head.

Sources: Llama (arXiv 2302.13971), Qwen2.5 (arXiv 2412.15115), Qwen3 (arXiv 2505.09388), GPT-2
(Radford et al., 2019), BERT (arXiv 1810.04805). They differ by `ModelConfig` alone.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.model.attention import Attention, KeysValues
from negjax.model.config import ModelConfig
from negjax.model.layers import FeedForward, Linear, Norm, activate, compute_dtype
from negjax.model.packing import Packing
from negjax.model.products import Products


class Where(NamedTuple):
    """Where rows of tokens stand: the same for all layers."""

    positions: jax.Array | None
    """[P, S], position ids; None: all tokens stand at the origin (`Attention.seen_from`)."""
    mask: jax.Array
    """[P, S], True where a token is real."""
    prefix_mask: jax.Array | None
    """[P, T], True where a prefix token is real; None without a prefix."""
    head_mask: jax.Array | None = None
    """[T], True where a token of a common head is real; None without one."""
    packing: Packing | None = None
    """Of tokens [1, 1, N] and positions [1, N], where these are packed, unlike the masks."""


class Block(nnx.Module):
    """Attention, then feed-forward, each around a residual; norms before or after."""

    def __init__(self, config: ModelConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.attention_norm = Norm(config, "D", config.width, dtype=dtype)
        self.attention = Attention(config, dtype=dtype, rngs=rngs)
        self.ffn_norm = Norm(config, "D", config.width, dtype=dtype)
        self.ffn = FeedForward(config, dtype=dtype, rngs=rngs)
        self.post_norm = config.norm_placement == "post"

    def keys_values(self, resid: jax.Array, positions: jax.Array) -> KeysValues:
        """Keys and values [P, R, S, G, C] of the residual [P, R, S, D] entering the block."""
        return self.attention.keys_values(self._attention_input(resid), positions[:, None])

    def attend(
        self,
        resid: jax.Array,
        where: Where,
        prefix: KeysValues | None,
        head: KeysValues | None = None,
        products: Products | None = None,
    ) -> tuple[jax.Array, KeysValues]:
        """Residual between the two sublayers [P, R, S, D], and the tokens' own keys and values."""
        out, own = self.attention(
            self._attention_input(resid),
            None if where.positions is None else where.positions[:, None],
            where.mask,
            prefix,
            where.prefix_mask,
            head,
            where.head_mask,
            where.packing,
            products,
        )
        return self.attention_norm(resid + out) if self.post_norm else resid + out, own

    def feed_forward(
        self,
        mid: jax.Array,
        shift: jax.Array | None = None,
        site: str = "",
        held: jax.Array | None = None,
        products: Products | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """FFN output and intermediates for the residual between the sublayers."""
        x = mid if self.post_norm else self.ffn_norm(mid)
        return self.ffn(x, shift, site, held, products)

    def finish(self, mid: jax.Array, ffn_out: jax.Array) -> jax.Array:
        """Residual leaving the block. An intervention's write is part of `ffn_out`."""
        return self.ffn_norm(mid + ffn_out) if self.post_norm else mid + ffn_out

    def __call__(self, resid: jax.Array, where: Where, prefix: KeysValues | None) -> jax.Array:
        """Residual leaving the block, [P, R, S, D] -> [P, R, S, D]."""
        mid, _ = self.attend(resid, where, prefix)
        return self.finish(mid, self.feed_forward(mid)[0])

    def _attention_input(self, resid: jax.Array) -> jax.Array:
        return resid if self.post_norm else self.attention_norm(resid)


class Embedding(nnx.Module):
    """Token embeddings, plus learned positions, token types and a norm where a family has them."""

    def __init__(self, config: ModelConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def table(axes: str, rows: int) -> nnx.Param[Any]:
            value = jax.random.normal(rngs.params(), (rows, config.width), dtype) * 0.02
            return nnx.Param(value, axes=axes)

        self.token = table("VD", config.vocab_size)
        self.position = None if config.rope else table("TD", config.context_length)
        self.token_type = table("ED", config.token_types) if config.token_types else None
        post_norm = config.norm_placement == "post"
        self.norm = Norm(config, "D", config.width, dtype=dtype) if post_norm else None

    def __call__(self, tokens: jax.Array, positions: jax.Array) -> jax.Array:
        """Residual [..., D] of tokens [...] at positions [...]."""
        dtype = compute_dtype(self.token.dtype)
        x = self.token[...][tokens].astype(dtype)
        if self.position is not None:
            x = x + self.position[...][positions].astype(dtype)
        if self.token_type is not None:
            x = x + self.token_type[0].astype(dtype)
        return x if self.norm is None else self.norm(x)


class Head(nnx.Module):
    """From the last residual to what meets the output embedding, and that embedding's extras."""

    def __init__(self, config: ModelConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        d = {"D": config.width}
        # BERT's transform: dense, activation, norm. Elsewhere only the final norm.
        self.dense = Linear(d, d, bias=True, dtype=dtype, rngs=rngs) if config.mlm_head else None
        self.norm = Norm(config, "D", config.width, dtype=dtype)
        self.output = (
            None
            if config.tied
            else nnx.Param(
                jax.random.normal(rngs.params(), (config.vocab_size, config.width), dtype) * 0.02,
                axes="VD",
            )
        )
        self.bias = (
            nnx.Param(jnp.zeros((config.vocab_size,), dtype), axes="V") if config.mlm_head else None
        )
        self.activation = config.activation
        self.linearised = False

    def features(self, resid: jax.Array) -> jax.Array:
        """What the output embedding reads, [..., D]."""
        if self.dense is not None:
            resid = activate(self.activation, self.dense(resid), self.linearised)
        return self.norm(resid)


class Transformer(nnx.Module):
    """A language model. `blocks` holds all layers' parameters stacked along a leading axis L."""

    def __init__(
        self, config: ModelConfig, *, rngs: nnx.Rngs, dtype: jnp.dtype | None = None
    ) -> None:
        dtype = jnp.dtype("float32") if dtype is None else dtype

        @nnx.split_rngs(splits=config.layers)
        @nnx.vmap(in_axes=0, out_axes=0)
        def stacked(rngs: nnx.Rngs) -> Block:
            return Block(config, dtype=dtype, rngs=rngs)

        self.embedding = Embedding(config, dtype=dtype, rngs=rngs)
        self.blocks = stacked(rngs)
        self.head = Head(config, dtype=dtype, rngs=rngs)

    def output_embedding(self) -> jax.Array:
        """[V, D]."""
        return self.embedding.token[...] if self.head.output is None else self.head.output[...]

    def logits(self, resid: jax.Array) -> jax.Array:
        """Logits [..., V] of last residuals [..., D]."""
        return self.unembed(self.head.features(resid))

    def unembed(self, x: jax.Array) -> jax.Array:
        """Logits [..., V] of features [..., D]."""
        logits = (x.reshape(-1, x.shape[-1]) @ self.output_embedding().T.astype(x.dtype)).reshape(
            *x.shape[:-1], -1
        )
        return logits if self.head.bias is None else logits + self.head.bias[...].astype(x.dtype)


def linearise(graphdef: nnx.GraphDef[Transformer], params: nnx.State[Any, Any]) -> Transformer:
    """The same model, to be differentiated by the rules of relevance patching.

    It computes what the model computes, from factors some of which count as constant in a
    derivative, so that what is left is linear, biases aside:

    | module | held constant | rule, and where it is from |
    |---|---|---|
    | norm | the denominator | LN (Ali et al. 2022, arXiv 2202.07304) |
    | attention | the softmax's weights | AH (the same) |
    | activation function, act(x) = x · gain(x) | gain(x) | identity (Jafari et al. 2024) |
    | product of a gated feed-forward layer | half of it: each factor gets ½ | half (the same) |
    | linear map, embedding, residual sum | nothing | 0 (Montavon et al. 2019) |

    Source: Jafari et al., RelP, 2025 (arXiv 2508.21258). The softmax over the vocabulary is part of
    the output that is differentiated, not of the model.
    """
    model = nnx.merge(graphdef, params)
    model.set_attributes(linearised=True)
    return model
