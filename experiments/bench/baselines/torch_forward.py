"""A hand-written Llama forward for CPUs: the machinery of baseline `best`.

Plain functions over fused, packed matrices. Norm gains and the attention scale are folded into the
matrices that follow them; query, key and value share one product, gate and up another; matrices
are packed once for oneDNN, which is faster here than the library behind `F.linear`. Prompts of any
lengths are concatenated, never padded, and a head that they share is computed once. After the last
layer's attention only read positions are left. Axis letters as in the rest of the project; M is
H / G, the query heads that share a key/value head.
"""

import dataclasses

import torch
import torch.nn.functional as F
import transformers

_VOCABULARY_BLOCK = 8192
"""Logits are made this many at a time, so that they are summed up before they leave the cache."""


def _packed(dense: torch.Tensor) -> torch.Tensor | None:
    """A weight [out, in] in the layout that its products run fastest in, if there is one."""
    suited = dense.device.type == "cpu" and dense.dtype == torch.float32
    if not suited or not torch.backends.mkldnn.is_available():
        return None
    return torch.ops.mkldnn._reorder_linear_weight(dense, 512)


def _product(x: torch.Tensor, dense: torch.Tensor, packed: torch.Tensor | None) -> torch.Tensor:
    if packed is None:
        return F.linear(x, dense)
    return torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


class Matrix:
    """A weight [out, in], also packed for products in both directions."""

    def __init__(self, dense: torch.Tensor) -> None:
        self.dense = dense.detach().contiguous()
        self._forward = _packed(self.dense)
        self._backward = _packed(self.dense.t().contiguous())

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[..., out] of x [..., in]."""
        return _product(x, self.dense, self._forward)

    def back(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] of gradients x [..., out]."""
        return _product(x, self.dense.t(), self._backward)


@dataclasses.dataclass(frozen=True)
class Block:
    """One layer's matrices."""

    qkv: Matrix
    """[(H + 2G)·C, D], of the normed residual; queries come out scaled."""
    out: Matrix
    """[D, H·C]"""
    gate_up: Matrix
    """[2F, D], of the normed residual."""
    down: Matrix
    """[D, F]"""


@dataclasses.dataclass(frozen=True)
class Weights:
    """What `best` computes with, made once from a model by `pack`."""

    embedding: torch.Tensor
    """[V, D]"""
    blocks: tuple[Block, ...]
    head: tuple[Matrix, ...]
    """[V, D] in blocks of the vocabulary, of the normed residual."""
    frequencies: torch.Tensor
    """[C / 2], radians a position."""
    kv_heads: int
    group: int
    """Query heads a key/value head, M."""
    epsilon: float


@dataclasses.dataclass(frozen=True)
class Trace:
    """What a forward leaves: keys and values of all tokens, the rest at read positions only."""

    keys: torch.Tensor
    """[L, B, G, T, C], rotated; zero after a prompt's last token."""
    values: torch.Tensor
    """[L, B, G, T, C]"""
    lengths: torch.Tensor
    """[B]; the read position is lengths - 1."""
    resid: torch.Tensor
    """[L + 1, B, D], before each layer and after the last."""
    mid: torch.Tensor
    """[L, B, D], the residual between attention and MLP."""
    query: torch.Tensor
    """[L, B, G, M, C], rotated and scaled."""
    gate: torch.Tensor
    """[L, B, F], before the activation."""
    up: torch.Tensor
    """[L, B, F]"""


def pack(model: transformers.LlamaForCausalLM) -> Weights:
    """Fused and packed weights of a model.

    Raises:
        ValueError: the model has a bias, an activation or a rotary embedding not treated here.
    """
    config = model.config
    wanted = {"attention_bias": False, "mlp_bias": False, "hidden_act": "silu"}
    for name, value in wanted.items():
        if getattr(config, name) != value:
            raise ValueError(f"{name} is {getattr(config, name)!r}; expected {value!r}")
    rotary = model.model.rotary_emb
    if rotary.rope_type not in ("default", "linear", "llama3"):
        raise ValueError(f"rope type is {rotary.rope_type!r}; expected fixed frequencies")

    def block(layer: torch.nn.Module) -> Block:
        attention, mlp = layer.self_attn, layer.mlp
        query = attention.q_proj.weight * attention.scaling
        qkv = torch.cat([query, attention.k_proj.weight, attention.v_proj.weight])
        gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
        return Block(
            qkv=Matrix(qkv * layer.input_layernorm.weight),
            out=Matrix(attention.o_proj.weight),
            gate_up=Matrix(gate_up * layer.post_attention_layernorm.weight),
            down=Matrix(mlp.down_proj.weight),
        )

    head = model.lm_head.weight * model.model.norm.weight
    return Weights(
        embedding=model.model.embed_tokens.weight.detach(),
        blocks=tuple(block(layer) for layer in model.model.layers),
        head=tuple(Matrix(part) for part in head.split(_VOCABULARY_BLOCK)),
        frequencies=rotary.inv_freq,
        kv_heads=config.num_key_value_heads,
        group=config.num_attention_heads // config.num_key_value_heads,
        epsilon=config.rms_norm_eps,
    )


def inverse_rms(x: torch.Tensor, epsilon: float) -> torch.Tensor:
    """[..., 1] of x [..., D]."""
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    return square.div_(x.shape[-1]).add_(epsilon).rsqrt_()


def angles(weights: Weights, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [..., 1, C / 2] of positions [...]."""
    angle = positions[..., None, None] * weights.frequencies
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Heads [..., heads, C] turned by angles [..., 1, C / 2]."""
    left, right = x.chunk(2, -1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)


def swiglu(gate_up: torch.Tensor) -> torch.Tensor:
    """The product site [..., F] of [..., 2F], which it overwrites."""
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate, inplace=True).mul_(up)


def log_sum_exp(weights: Weights, x: torch.Tensor) -> torch.Tensor:
    """[R] over the vocabulary, of normed residuals [R, D], with a running maximum."""
    peak, total = x.new_full((len(x), 1), -torch.inf), x.new_zeros(len(x), 1)
    for part in weights.head:
        logits = part(x)
        higher = torch.maximum(peak, logits.amax(-1, keepdim=True))
        logits = logits.sub_(higher).exp_()
        total = total * (peak - higher).exp_() + logits.sum(-1, keepdim=True)
        peak = higher
    return (peak + total.log())[:, 0]


def head_rows(weights: Weights, targets: torch.Tensor) -> torch.Tensor:
    """Rows [..., D] of the output matrix that belong to the targets [...]."""
    flat = [
        weights.head[t // _VOCABULARY_BLOCK].dense[t % _VOCABULARY_BLOCK]
        for t in targets.flatten().tolist()
    ]
    return torch.stack(flat).view(*targets.shape, -1)


@torch.no_grad()
def forward(weights: Weights, prompts: list[torch.Tensor], head: int = 0, origin: int = 0) -> Trace:
    """One pass over the tokens of all prompts, concatenated.

    Args:
        prompts: B token vectors of any lengths.
        head: how many leading tokens the prompts share; these are computed once.
        origin: the position that is not rotated. Only differences of positions matter.
    """
    g, m = weights.kv_heads, weights.group
    c = 2 * len(weights.frequencies)
    depth, lengths = len(weights.blocks), [len(p) for p in prompts]
    if not 0 <= head < min(lengths):
        raise ValueError(f"head is {head}; expected less than the shortest prompt, {min(lengths)}")
    # Segments of the concatenation: the common head if any, then each prompt's own tokens.
    spans = [(slice(b, b + 1), head, n) for b, n in enumerate(lengths)]
    parts = [p[head:] for p in prompts]
    if head:
        spans.insert(0, (slice(None), 0, head))
        parts.insert(0, prompts[0][:head])
    sizes = [len(part) for part in parts]
    reads = torch.tensor(sizes).cumsum(0)[-len(prompts) :] - 1
    x = weights.embedding[torch.cat(parts)]
    cos, sin = angles(weights, torch.cat([torch.arange(a, z) for _, a, z in spans]) - origin)
    shape = (depth, len(prompts), g, max(lengths), c)
    keys, values = x.new_zeros(shape), x.new_zeros(shape)
    visible = [torch.ones(z - a, z).tril(a).bool() if a else None for _, a, z in spans]
    resid, mid, query, gate, up = [x[reads]], [], [], [], []
    for layer, block in enumerate(weights.blocks):
        qkv = block.qkv(x * inverse_rms(x, weights.epsilon)).unflatten(-1, (-1, c))
        turned = rotate(qkv[:, :-g], cos, sin)
        q_parts = turned[:, : g * m].unflatten(1, (g, m)).split(sizes)
        k_parts = turned[:, g * m :].split(sizes)
        v_parts = qkv[:, -g:].split(sizes)
        mixed = []
        for (rows, a, z), seen, q, k, v in zip(
            spans, visible, q_parts, k_parts, v_parts, strict=True
        ):
            keys[layer, rows, :, a:z] = k.transpose(0, 1)
            values[layer, rows, :, a:z] = v.transpose(0, 1)
            mixed.append(
                F.scaled_dot_product_attention(
                    q.permute(1, 2, 0, 3),
                    keys[layer, rows][0, :, None, :z].expand(g, m, z, c),
                    values[layer, rows][0, :, None, :z].expand(g, m, z, c),
                    attn_mask=seen,
                    is_causal=seen is None,
                    scale=1.0,
                ).permute(2, 0, 1, 3)
            )
        mixed_td = torch.cat(mixed).flatten(1)
        query.append(turned[reads, : g * m].unflatten(1, (g, m)))
        if layer == depth - 1:
            x, mixed_td = x[reads], mixed_td[reads]
            reads = torch.arange(len(prompts))
        x = x + block.out(mixed_td)
        mid.append(x[reads])
        gate_up = block.gate_up(x * inverse_rms(x, weights.epsilon))
        at_read = gate_up[reads].chunk(2, -1)
        gate.append(at_read[0])
        up.append(at_read[1])
        x = x.add_(block.down(swiglu(gate_up)))
        resid.append(x[reads])
    return Trace(
        keys,
        values,
        torch.tensor(lengths),
        *(torch.stack(kept) for kept in (resid, mid, query, gate, up)),
    )
