"""Baseline `serial` of written texts: transformers' own `generate`, neurons shifted by hooks."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
import transformers

from experiments.bench.baselines.torch_model import Integers


@torch.no_grad()
def hooked_texts(
    model: transformers.LlamaForCausalLM,
    tokens: Integers,
    mask: Integers,
    neurons: Integers,
    shift: float,
    written: int,
) -> np.ndarray:
    """Probability [B, written] of each token that is written, likeliest first, under the shifts.

    Args:
        model: from `llama_from_tensors`.
        tokens: [B, T], padded on the right.
        mask: [B, T], 1 where a token is real.
        neurons: [N, 2], (layer, index) at site `up`, shifted at every token.
        shift: added to each of their activations.
        written: tokens of each text.
    """
    real = np.asarray(mask).astype(bool)
    # Texts are written on at their right: padding goes to the left.
    order = np.argsort(real, axis=1, kind="stable")
    ids, left = (
        torch.tensor(np.take_along_axis(np.asarray(values), order, axis=1)).long()
        for values in (tokens, real)
    )
    added = torch.zeros(len(model.model.layers), model.config.intermediate_size)
    for layer, index in np.asarray(neurons).tolist():
        added[layer, index] += shift

    def adding(row: torch.Tensor) -> Callable[..., torch.Tensor]:
        return lambda _module, _given, out: out + row

    with ExitStack() as hooks:
        for block, row in zip(model.model.layers, added, strict=True):
            hooks.enter_context(block.mlp.up_proj.register_forward_hook(adding(row)))
        found: Any = model.generate(
            ids,
            attention_mask=left,
            max_new_tokens=written,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
        )
    probability = torch.stack(found.logits, 1).softmax(-1)
    return probability.max(-1).values.cpu().numpy()
