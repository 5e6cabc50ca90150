"""The transformer of all families: embeddings, one stacked block, output head.

They differ by `ModelConfig` alone; sources stand with each family in `negjax.weights.families`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from negjax.model.attention import Attention, KeysValues
from negjax.model.config import ModelConfig
from negjax.model.experts import Experts
from negjax.model.layers import FeedForward, Linear, Norm, activate, compute_dtype, soft_capped
from negjax.model.placement import Placement
from negjax.model.products import Products


class Block(nnx.Module):
    """Attention and feed-forward, each around a residual; norms where the config says."""

    def __init__(self, config: ModelConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def norm(there: bool) -> Norm | None:
            return Norm(config, "D", config.width, dtype=dtype) if there else None

        self.placement = config.norm_placement
        outputs = self.placement in ("output", "sandwich")
        self.attention_norm = norm(self.placement != "output")
        self.attention = Attention(config, dtype=dtype, rngs=rngs)
        self.attention_out_norm = norm(outputs)
        self.ffn_norm = norm(self.placement != "output" and config.parallel != "shared")
        network = Experts if config.experts else FeedForward
        self.ffn = network(config, dtype=dtype, rngs=rngs)
        self.ffn_out_norm = norm(outputs)
        self.first_norm = config.first_norm
        self.parallel = config.parallel
        self.residual_scale = config.residual_scale

    def keys_values(self, resid: jax.Array, where: Placement) -> KeysValues:
        """Keys and values [P, R, S, G, C] of the residual [P, R, S, D] entering the block."""
        return self.attention.keys_values(self._attention_input(resid, where), where)

    def attend(
        self,
        resid: jax.Array,
        where: Placement,
        prefix: KeysValues | None,
        head: KeysValues | None = None,
        products: Products | None = None,
        write: jax.Array | None = None,
    ) -> tuple[jax.Array, KeysValues]:
        """Residual [P, R, S, D] that attention has written to, and the tokens' own keys and
        values.

        Args:
            write: [P, R, S, D], an intervention's, part of what attention returns.
        """
        x = self._attention_input(resid, where)
        out, own = self.attention(x, where, prefix, head, products)
        out = out if write is None else out + write
        return self._joined(resid, out, self.attention_norm, self.attention_out_norm), own

    def feed_forward(
        self,
        resid: jax.Array,
        mid: jax.Array,
        shift: jax.Array | None = None,
        site: str = "",
        held: jax.Array | None = None,
        products: Products | None = None,
        routes: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """FFN output and intermediates.

        Args:
            resid: entering the block.
            mid: what `attend` has made of it.
            routes: experts that are held, of a layer that has them.
        """
        x = mid if self.parallel == "none" else resid
        norm = self.attention_norm if self.parallel == "shared" else self.ffn_norm
        x = x if norm is None or self.placement == "post" else norm(x)
        if isinstance(self.ffn, Experts):
            return self.ffn(x, shift, site, held, routes)
        return self.ffn(x, shift, site, held, products)

    def finish(self, mid: jax.Array, ffn_out: jax.Array) -> jax.Array:
        """Residual leaving the block. An intervention's write is part of `ffn_out`."""
        return self._joined(mid, ffn_out, self.ffn_norm, self.ffn_out_norm)

    def write_alone(self, mid: jax.Array, ffn_out: jax.Array, write: jax.Array) -> jax.Array:
        """Residual leaving the block if of `ffn_out` there were nothing but a write.

        A norm of the output keeps the denominator of the whole output: a write is what it is beside
        the others, and does not grow where they are left out.
        """
        if self.ffn_out_norm is None:
            return self.finish(mid, write)
        return mid + self.residual_scale * self.ffn_out_norm.part(write, ffn_out)

    def __call__(self, resid: jax.Array, where: Placement, prefix: KeysValues | None) -> jax.Array:
        """Residual leaving the block, [P, R, S, D] -> [P, R, S, D]."""
        mid, _ = self.attend(resid, where, prefix)
        return self.finish(mid, self.feed_forward(resid, mid, routes=where.routed)[0])

    def _joined(
        self, resid: jax.Array, out: jax.Array, norm: Norm | None, out_norm: Norm | None
    ) -> jax.Array:
        """The residual with what a sublayer returns."""
        out = out if out_norm is None else out_norm(out)
        out = out if self.residual_scale == 1 else out * self.residual_scale
        return norm(resid + out) if norm is not None and self.placement == "post" else resid + out

    def _attention_input(self, resid: jax.Array, where: Placement) -> jax.Array:
        if self.attention_norm is None or self.placement == "post":
            return resid
        normed = self.attention_norm(resid)
        if self.first_norm:
            return normed
        assert where.layer is not None
        return jnp.where(jnp.asarray(where.layer) == 0, resid, normed)


class Embedding(nnx.Module):
    """Token embeddings, plus learned positions, token types and a norm where a family has them."""

    def __init__(self, config: ModelConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        def table(axes: str, rows: int) -> nnx.Param[Any]:
            value = jax.random.normal(rngs.params(), (rows, config.width), dtype) * 0.02
            return nnx.Param(value, axes=axes)

        self.token = table("VD", config.vocab_size)
        positions = config.context_length + config.position_offset
        self.position = None if config.rope else table("TD", positions)
        self.token_type = table("ED", config.token_types) if config.token_types else None
        norm = config.embedding_norm
        self.norm = Norm(config, "D", config.width, dtype=dtype) if norm else None
        self.scale = config.embedding_scale
        self.first_position = config.position_offset

    def __call__(self, tokens: jax.Array, positions: jax.Array) -> jax.Array:
        """Residual [..., D] of tokens [...] at positions [...]."""
        dtype = compute_dtype(self.token.dtype)
        x = self.token[...][tokens].astype(dtype)
        x = x if self.scale == 1 else x * self.scale
        if self.position is not None:
            x = x + self.position[...][positions + self.first_position].astype(dtype)
        if self.token_type is not None:
            x = x + self.token_type[0].astype(dtype)
        return x if self.norm is None else self.norm(x)


class Head(nnx.Module):
    """From the last residual to what meets the output embedding, and that embedding's extras."""

    def __init__(self, config: ModelConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        d, mlm = {"D": config.width}, config.mlm_head
        self.norm = Norm(config, "D", config.width, dtype=dtype) if config.final_norm else None
        # A masked LM's: dense, activation, norm.
        self.dense = (
            Linear(d, d, bias=config.mlm_head_bias, dtype=dtype, rngs=rngs) if mlm else None
        )
        self.dense_norm = Norm(config, "D", config.width, dtype=dtype) if mlm else None
        self.output = (
            None
            if config.tied
            else nnx.Param(
                jax.random.normal(rngs.params(), (config.vocab_size, config.width), dtype) * 0.02,
                axes="VD",
            )
        )
        self.bias = (
            nnx.Param(jnp.zeros((config.vocab_size,), dtype), axes="V")
            if config.output_bias
            else None
        )
        self.scale = config.logit_scale
        self.activation = config.activation
        self.linearised = False

    def features(self, resid: jax.Array) -> jax.Array:
        """What the output embedding reads, [..., D]."""
        x = resid if self.norm is None else self.norm(resid)
        if self.dense is not None and self.dense_norm is not None:
            x = self.dense_norm(activate(self.activation, self.dense(x), self.linearised))
        return x if self.scale == 1 else x * self.scale


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
        self.logit_cap = config.logit_cap

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
        if self.head.bias is not None:
            logits = logits + self.head.bias[...].astype(x.dtype)
        return self.capped(logits)

    def capped(self, logits: jax.Array) -> jax.Array:
        """Logits, of which none is larger than the cap."""
        return soft_capped(logits, self.logit_cap)

    def cap_slope(self, logits: jax.Array) -> jax.Array | None:
        """Derivative of `capped` where it returns `logits`; None without a cap."""
        return None if self.logit_cap is None else 1 - jnp.square(logits / self.logit_cap)


def linearise(graphdef: nnx.GraphDef[Transformer], params: nnx.State[Any, Any]) -> Transformer:
    """The same model, to be differentiated by the rules of relevance patching.

    It computes what the model computes, from factors some of which count as constant in a
    derivative, so that what is left is linear, biases aside:

    | module | held constant | rule, and where it is from |
    |---|---|---|
    | norm | the denominator | LN (Ali et al. 2022, arXiv 2202.07304) |
    | attention | the softmax's weights | AH (the same) |
    | activation function, act(x) = x · gain(x) | gain(x) | identity (Jafari et al. 2024) |
    | router of experts | the weights that it gives | AH, as of the softmax that they are |
    | product of a gated feed-forward layer | half of it: each factor gets ½ | half (the same) |
    | linear map, embedding, residual sum, multiplier | nothing | 0 (Montavon et al. 2019) |

    A norm is one wherever it stands, of what a sublayer returns, too. Norms of queries and keys,
    RoPE, windows and the cap of scores are inside the softmax's weights, hence constant.

    Source: Jafari et al., RelP, 2025 (arXiv 2508.21258). The cap of the logits and the softmax over
    the vocabulary are part of the output that is differentiated, not of the model.
    """
    model = nnx.merge(graphdef, params)
    model.set_attributes(linearised=True)
    return model
