"""A PyTorch Llama from arrays, and the checks that both baselines share."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import transformers

Site = Literal["up", "product"]
Convention = Literal["signed", "additive"]
Integers = np.ndarray | Sequence[Any]
"""Whole numbers, nested as deep as the axes that the docstring names."""


def llama_from_tensors(
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    dtype: torch.dtype = torch.float32,
) -> transformers.LlamaForCausalLM:
    """A frozen Llama in eval mode, with the attention that transformers picks by default.

    Args:
        config: what a Llama's `config.json` holds.
        tensors: weights by their Hugging Face names; `lm_head.weight` may be left out if the
            embeddings are tied.
        dtype: of the weights and of all arithmetic.

    Raises:
        ValueError: a weight is missing, unknown or of the wrong shape.
    """
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_dict(dict(config)))
    state = {name: torch.tensor(np.asarray(array)) for name, array in tensors.items()}
    if model.config.tie_word_embeddings:
        state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"tensors do not fit the config: {error}") from error
    return model.to(dtype).eval().requires_grad_(False)


def read_positions(mask: torch.Tensor) -> torch.Tensor:
    """Read positions [B]: the last real token of each row of a mask [B, T], padded on any side."""
    width = mask.shape[1]
    return width - 1 - mask.bool().flip(1).int().argmax(1)


def signs(activation: torch.Tensor, convention: Convention) -> torch.Tensor:
    """What a shift of +1 adds to each activation: s(a) under `signed`, +1 under `additive`."""
    if convention == "additive":
        return torch.ones_like(activation)
    if convention == "signed":
        return torch.where(activation > 0, 1.0, -1.0).to(activation.dtype)
    raise ValueError(f"convention is {convention!r}; expected 'signed' or 'additive'")


def check_site(site: str) -> None:
    """Refuse a site that a gated MLP does not have."""
    if site not in ("up", "product"):
        raise ValueError(f"site is {site!r}; expected 'up' or 'product'")
