"""GGUF files of GPT-NeoX and Pythia: what their metadata mean, and what was done to weights.

They do not say the activation function: it is Pythia's, `gelu`. Source: llama.cpp's converter.
"""

from collections.abc import Mapping
from typing import Any

from negjax.model.config import ModelConfig
from negjax.weights.families.common import GGUF_SIZES, GGUFForm
from negjax.weights.tensors import LazyTensor, Rearranged

KEYS = GGUF_SIZES | {
    "attention.layer_norm_epsilon": "layer_norm_eps",
    "rope.freq_base": "rotary_emb_base",
    "use_parallel_residual": "use_parallel_residual",
}


def _rotary_share(metadata: Mapping[str, Any], origin: str) -> dict[str, Any]:
    width, heads = metadata.get("embedding_length"), metadata.get("attention.head_count")
    if not (isinstance(width, int) and isinstance(heads, int) and 0 < heads <= width):
        return {}  # The reader of the settings says what is missing.
    return {"rotary_pct": metadata.get("rope.dimension_count", width // heads) / (width // heads)}


def _by_head(tensor: LazyTensor, source: str, config: ModelConfig) -> LazyTensor:
    """GGUF files hold all heads' queries, then their keys, then their values."""
    if "query_key_value" not in source:
        return tensor
    sizes = (("n", 3), ("h", config.heads))
    return tensor.then(Rearranged("(n h c) ... -> (h n c) ...", sizes))


GPT_NEOX_FORM = GGUFForm(architecture="gptneox", keys=KEYS, undo=_by_head, complete=_rotary_share)
