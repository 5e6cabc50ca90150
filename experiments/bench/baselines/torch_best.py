"""Baseline `best`: the best hand-written PyTorch for the two things that are measured, on CPUs.

On CUDA it runs as well, without what is peculiar to CPUs.

Float32 on a model from `torch_model.llama_from_tensors`, packed once by `torch_forward.pack`.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F

from experiments.bench.baselines.torch_forward import (
    Matrix,
    Trace,
    Weights,
    angles,
    forward,
    head_rows,
    inverse_rms,
    log_sum_exp,
    rotate,
    swiglu,
)
from experiments.bench.baselines.torch_model import Convention, Integers, Site, check_site, signs


@torch.no_grad()
def best_sweep(
    weights: Weights,
    tokens: Integers,
    target: int,
    neurons: Integers,
    shifts: np.ndarray,
    convention: Convention = "signed",
    site: Site = "up",
    chunk: int = 512,
) -> np.ndarray:
    """P(target) [N, X] with one neuron shifted at the read position.

    A row is the residual [D] that one neuron and shift leave after their layer. Rows are sorted by
    layer and batched; going up, a chunk's rows join when their layer has been passed.

    Args:
        weights: from `pack`.
        tokens: [T], no padding; the read position is the last.
        target: vocabulary index whose probability is read.
        neurons: [N, 2], (layer, index).
        shifts: [X], in units of the activation.
        chunk: rows at a time.
    """
    check_site(site)
    prompt = torch.tensor(np.asarray(tokens)).long()
    if len(prompt) < 2:
        raise ValueError(f"tokens has {len(prompt)}; expected one or more before the last")
    layer, index = torch.tensor(np.asarray(neurons)).long().reshape(-1, 2).unbind(1)
    layer, order = layer.sort()
    index = index[order]
    # With the read position as origin, rows need no rotation.
    trace = forward(weights, [prompt], origin=len(prompt) - 1)
    active = F.silu(trace.gate[layer, 0, index])
    site_value = trace.up[layer, 0, index] * (active if site == "product" else 1.0)
    gain = signs(site_value, convention) * (active if site == "up" else 1.0)
    delta = (gain[:, None] * torch.tensor(np.asarray(shifts)).to(gain)).flatten()
    columns = [weights.blocks[n].down.dense[:, i] for n, i in zip(layer, index, strict=True)]
    direction, start = torch.stack(columns), trace.resid[layer + 1, 0]
    neuron = torch.arange(len(layer)).repeat_interleave(len(shifts))
    result = torch.empty(len(neuron))
    for rows in torch.arange(len(neuron)).split(chunk):
        of = neuron[rows]
        x = torch.addcmul(start[of], delta[rows, None], direction[of])
        _replay(weights, trace, x, layer[of])
        x *= inverse_rms(x, weights.epsilon)
        logit = x @ head_rows(weights, torch.tensor(target))
        result[rows] = (logit - log_sum_exp(weights, x)).exp()
    probability = torch.empty(len(layer), len(shifts))
    probability[order] = result.view(len(layer), -1)
    return probability.cpu().numpy()


def _replay(weights: Weights, trace: Trace, x: torch.Tensor, layer: torch.Tensor) -> None:
    """Carry rows x [R, D] in place through the layers above their own, layer [R] ascending."""
    g, m = weights.kv_heads, weights.group
    c = 2 * len(weights.frequencies)
    t = int(trace.lengths[0]) - 1
    for above in range(int(layer[0]) + 1, len(weights.blocks)):
        block, rows = weights.blocks[above], int((layer < above).sum())
        resid = x[:rows]
        qkv = block.qkv(resid * inverse_rms(resid, weights.epsilon)).unflatten(-1, (-1, c))
        query = qkv[:, : g * m].unflatten(1, (g, m))
        own_key, own_value = qkv[:, g * m : -g, None], qkv[:, -g:, None]
        # [G, M, R, C] over the one prefix [G, M, T, C]: neither queries nor keys are copied.
        mixed, total = _attend(
            query.permute(1, 2, 0, 3),
            trace.keys[above, 0, :, None, :t].expand(g, m, t, c),
            trace.values[above, 0, :, None, :t].expand(g, m, t, c),
        )
        # The row's own token joins: its weight is exp(own) / (exp(own) + exp(total)).
        own = (query * own_key).sum(-1).sub_(total.permute(2, 0, 1)).sigmoid_()
        mixed = torch.lerp(mixed.permute(2, 0, 1, 3), own_value, own[..., None])
        resid += block.out(mixed.reshape(rows, -1))
        resid += block.down(swiglu(block.gate_up(resid * inverse_rms(resid, weights.epsilon))))


def _attend(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention's result [G, M, R, C] and the log of its weights' sum [G, M, R]."""
    if query.device.type != "cpu":
        return attend_plainly(query, keys, values)
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return attend(query, keys, values, scale=1.0)


def attend_plainly(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same on any device, for queries [G, M, R, C] over keys and values [G, M, T, C]."""
    score = query @ keys.transpose(2, 3)
    total = score.logsumexp(-1)
    return score.sub_(total[..., None]).exp_() @ values, total


@torch.no_grad()
def best_neurgrad(
    weights: Weights,
    tokens: Integers,
    mask: Integers,
    targets: Integers,
    site: Site = "up",
    head: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Computed gradients [B, K, L, F] and P(target) [B, K], the backward of one token by hand.

    One forward over all real tokens; then the vector-Jacobian product of the read token alone,
    over the keys and values before it, for all targets at once: B·K rows a layer.

    Args:
        weights: from `pack`.
        tokens: [B, T], padded on either side.
        mask: [B, T], 1 where a token is real.
        targets: [B, K], vocabulary indices.
        head: how many leading real tokens all prompts share; these are computed once.
    """
    check_site(site)
    ids, real, wanted = (torch.tensor(np.asarray(a)).long() for a in (tokens, mask, targets))
    trace = forward(weights, [i[r.bool()] for i, r in zip(ids, real, strict=True)], head)
    last = trace.resid[-1]
    normed = last * inverse_rms(last, weights.epsilon)
    total = log_sum_exp(weights, normed)[:, None]
    rows = head_rows(weights, wanted)
    probability = (torch.einsum("bd,bkd->bk", normed, rows) - total).exp()
    # dP_k / dh = P_k (W_k - Σ_v P_v W_v): the sum is the same for all targets.
    mean = sum(part.back((part(normed) - total).exp_()) for part in weights.head)
    grad = probability[..., None] * (rows - mean[:, None])
    grad = _norm_backward(last, grad, weights.epsilon)
    computed = grad.new_empty(len(weights.blocks), *wanted.shape, trace.up.shape[-1])
    for layer in reversed(range(len(weights.blocks))):
        block, gate, up = weights.blocks[layer], trace.gate[layer], trace.up[layer]
        sigmoid = gate.sigmoid()
        product = block.down.back(grad)
        grad_up = product * (gate * sigmoid)[:, None]
        computed[layer] = product if site == "product" else grad_up
        if layer == 0:
            break
        grad_gate = product * (up * sigmoid * (1 + gate * (1 - sigmoid)))[:, None]
        grad_normed = block.gate_up.back(torch.cat([grad_gate, grad_up], -1))
        grad = grad + _norm_backward(trace.mid[layer], grad_normed, weights.epsilon)
        grad_qkv = _attention_backward(weights, trace, layer, block.out.back(grad))
        grad_normed = block.qkv.back(grad_qkv)
        grad = grad + _norm_backward(trace.resid[layer], grad_normed, weights.epsilon)
    return computed.permute(1, 2, 0, 3).contiguous().cpu().numpy(), probability.cpu().numpy()


def _norm_backward(x: torch.Tensor, grad: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Gradient [B, K, D] at x [B, D] from that at x / rms(x)."""
    inverse = inverse_rms(x, epsilon)[:, None]
    normed = x[:, None] * inverse
    return inverse * (grad - normed * (grad * normed).mean(-1, keepdim=True))


def _attention_backward(
    weights: Weights, trace: Trace, layer: int, grad: torch.Tensor
) -> torch.Tensor:
    """Gradient [B, K, (H + 2G)·C] at the read token's projections from that at attention's result.

    Keys and values of the tokens before it are constants; its own are the last of its prompt.
    """
    g, m = weights.kv_heads, weights.group
    b, k, _ = grad.shape
    keys, values, query = trace.keys[layer], trace.values[layer], trace.query[layer]
    read = trace.lengths - 1
    grad = grad.view(b, k, g, m, -1).transpose(1, 2)  # [B, G, K, M, C]
    score = query @ keys.transpose(2, 3)
    hidden = torch.arange(keys.shape[2]) > read[:, None]
    weight = score.masked_fill(hidden[:, None, None], -torch.inf).softmax(-1)[:, :, None]
    grad_weight = (grad.flatten(2, 3) @ values.transpose(2, 3)).view(b, g, k, m, -1)
    grad_score = weight * (grad_weight - (grad_weight * weight).sum(-1, keepdim=True))
    grad_query = (grad_score.flatten(2, 3) @ keys).view(grad.shape)
    row = torch.arange(b)
    own_score, own_weight = grad_score[row, ..., read], weight[row, ..., read]
    grad_key = torch.einsum("bgkm,bgmc->bkgc", own_score, query)
    grad_value = torch.einsum("bgm,bgkmc->bkgc", own_weight[:, :, 0], grad)
    turned = torch.cat([grad_query.transpose(1, 2).flatten(2, 3), grad_key], 2)
    cos, sin = angles(weights, read[:, None])
    return torch.cat([rotate(turned, cos, -sin), grad_value], 2).flatten(2)


def matmul_rate(m: int = 4096, k: int = 1536, n: int = 1536, repeats: int = 10) -> float:
    """FLOP/s of a plain float32 product [m, k] x [k, n], by the kernels used here: best of some."""
    matrix, x, seconds = Matrix(torch.randn(n, k)), torch.randn(m, k), []
    for _ in range(repeats):
        begin = time.perf_counter()
        matrix(x)
        if x.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return 2 * m * k * n / min(seconds)
