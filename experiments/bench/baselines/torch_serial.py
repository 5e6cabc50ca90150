"""Baseline `serial`: hooks on a `transformers` model, one full forward at a time.

The procedure of the original implementation (arXiv 2412.18053): nothing is cached, nothing is
batched over neurons, shifts or targets, whole sequences run through all layers, and logits are
computed at every position. Of its mistakes none is kept: a gradient is that of its own row.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
import transformers

from experiments.bench.baselines.torch_model import (
    Convention,
    Integers,
    Site,
    check_site,
    read_positions,
    signs,
)

Edit = Callable[[torch.Tensor], torch.Tensor]


@contextmanager
def _edited(
    model: transformers.LlamaForCausalLM, layer: int, site: Site, edit: Edit
) -> Iterator[None]:
    """While open, the activations [B, T, F] of one layer's site are replaced by `edit` of them."""
    mlp = model.model.layers[layer].mlp
    if site == "up":
        handle = mlp.up_proj.register_forward_hook(lambda _module, _input, output: edit(output))
    else:
        handle = mlp.down_proj.register_forward_pre_hook(lambda _module, args: (edit(args[0]),))
    try:
        yield
    finally:
        handle.remove()


def serial_sweep(
    model: transformers.LlamaForCausalLM,
    tokens: Integers,
    target: int,
    neurons: Integers,
    shifts: np.ndarray,
    convention: Convention = "signed",
    site: Site = "up",
) -> np.ndarray:
    """P(target) [N, X] with one neuron shifted at the read position, two full forwards for each.

    Args:
        model: from `llama_from_tensors`.
        tokens: [T], no padding; the read position is the last.
        target: vocabulary index whose probability is read.
        neurons: [N, 2], (layer, index).
        shifts: [X], in units of the activation.
    """
    check_site(site)
    ids = torch.tensor(np.asarray(tokens))[None]

    @torch.no_grad()
    def forward(layer: int, edit: Edit) -> float:
        with _edited(model, layer, site, edit):
            logits = model(input_ids=ids, use_cache=False).logits
        return logits[0, -1].softmax(-1)[target].item()

    def shifted(layer: int, index: int, shift: float) -> float:
        seen = []

        def look(activation: torch.Tensor) -> torch.Tensor:
            seen.append(activation[0, -1, index])
            return activation

        def add(activation: torch.Tensor) -> torch.Tensor:
            activation[0, -1, index] += shift * signs(seen[0], convention)
            return activation

        forward(layer, look)
        return forward(layer, add)

    rows = [[shifted(int(n[0]), int(n[1]), float(x)) for x in shifts] for n in neurons]
    return np.array(rows).reshape(len(neurons), len(shifts))


def serial_neurgrad(
    model: transformers.LlamaForCausalLM,
    tokens: Integers,
    mask: Integers,
    targets: Integers,
    site: Site = "up",
) -> tuple[np.ndarray, np.ndarray]:
    """Computed gradients [B, K, L, F] and P(target) [B, K], a full backward for each target.

    Args:
        model: from `llama_from_tensors`.
        tokens: [B, T], padded on either side.
        mask: [B, T], 1 where a token is real.
        targets: [B, K], vocabulary indices.
    """
    check_site(site)
    ids, real, wanted = (torch.tensor(np.asarray(a)).long() for a in (tokens, mask, targets))
    row, read = torch.arange(len(ids)), read_positions(real)
    kept: list[torch.Tensor] = []

    def keep(activation: torch.Tensor) -> torch.Tensor:
        kept.append(activation)
        return activation

    embedded = model.get_input_embeddings()(ids).requires_grad_()
    with ExitStack() as hooks:
        for layer in range(model.config.num_hidden_layers):
            hooks.enter_context(_edited(model, layer, site, keep))
        logits = model(
            inputs_embeds=embedded,
            attention_mask=real,
            position_ids=(real.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        ).logits
    probability = logits[row, read].softmax(-1).gather(1, wanted)
    computed = []
    for column in probability.unbind(1):
        gradients = torch.autograd.grad(column.sum(), kept, retain_graph=True)
        computed.append(torch.stack([g[row, read] for g in gradients], 1))
    return torch.stack(computed, 1).cpu().numpy(), probability.detach().cpu().numpy()
