"""GGUF files of Llama and its relatives: what their metadata mean, and what was done to weights.

Sources: llama.cpp's converter of each, and, for what the files do not say, what llama.cpp does with
them (src/models).
"""

import functools
from collections.abc import Mapping
from typing import Any

from negjax.model.config import ModelConfig
from negjax.weights.families.common import GGUF_SIZES, GGUFForm
from negjax.weights.families.llama_variants import QUERY_SCALE, LlamaVariant
from negjax.weights.families.window_settings import FULL, WINDOWED
from negjax.weights.tensors import LazyTensor, Less, Rearranged

KEYS = GGUF_SIZES | {
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
WINDOW_KEYS = {
    "attention.sliding_window": "sliding_window",
    "attention.sliding_window_pattern": "sliding_window_pattern",
}
"""Of families whose layers see as far as the file says; in others a window cuts the context."""
THETA = 10000.0
"""RoPE's base where a file does not say it, whatever a family's config.json means then."""


def gguf_form(variant: LlamaVariant) -> GGUFForm | None:
    """What the GGUF files of a variant look like; None: it has none of its own."""
    if variant.gguf_architecture is None:
        return None
    keys = KEYS | {number.gguf_key: number.key for number in variant.numbers if number.gguf_key}
    if _says_windows(variant):
        keys |= WINDOW_KEYS
    if variant.experts is not None:
        keys |= {"expert_count": variant.experts.count, "expert_used_count": "num_experts_per_tok"}
        keys["expert_feed_forward_length"] = variant.experts.neurons
    if variant.local_theta is not None and variant.local_theta[0] != "rope_theta":
        keys["rope.freq_base_swa"] = variant.local_theta[0]
    return GGUFForm(
        architecture=variant.gguf_architecture,
        keys=keys,
        undo=functools.partial(_undo, variant=variant),
        complete=functools.partial(_complete, variant=variant),
        marker=variant.gguf_marker,
    )


def _complete(metadata: Mapping[str, Any], origin: str, variant: LlamaVariant) -> dict[str, Any]:
    """Settings of config.json that metadata mean without saying them, or say in another way."""
    width, heads = metadata.get("embedding_length"), metadata.get("attention.head_count")
    if not (isinstance(width, int) and isinstance(heads, int) and heads):
        return {}  # The reader of the settings says what is missing.
    head_width = metadata.get("attention.key_length", width // heads)
    if not (isinstance(head_width, int) and head_width):
        return {}
    settings = {"head_dim": head_width, "rope_theta": metadata.get("rope.freq_base", THETA)}
    turned = metadata.get("rope.dimension_count")
    if variant.experts is not None and variant.experts.normalised is not None:
        settings[variant.experts.normalised] = variant.experts.gguf_normalised
    if variant.partial and turned is not None:
        settings["partial_rotary_factor"] = turned / head_width
    if QUERY_SCALE in variant.numbers:
        settings[QUERY_SCALE.key] = _query_scalar(metadata, head_width, origin, variant)
    for number in variant.numbers:
        # Without it config.json means 1, and llama.cpp the root of the head width.
        if number.gguf_key == "attention.scale" and number.gguf_key not in metadata:
            raise _missing(origin, variant, number.gguf_key)
    return settings | _windows(metadata, origin, variant)


def _query_scalar(
    metadata: Mapping[str, Any], head_width: int, origin: str, variant: LlamaVariant
) -> int:
    """What queries are divided by the root of: no metadata say it, the model's size does."""
    layers = metadata.get("block_count")
    width_per_head: int = metadata["embedding_length"] // metadata["attention.head_count"]
    if head_width == width_per_head or layers in variant.gguf_layers:
        return width_per_head if layers == max(variant.gguf_layers) else head_width
    raise ValueError(
        f"{origin}: {variant.gguf_architecture}.block_count is {layers}, and GGUF files do not say "
        f"how queries are scaled: negjax knows it of models with "
        f"{', '.join(map(str, variant.gguf_layers))} layers; load the model in Hugging Face layout"
    )


def _windows(metadata: Mapping[str, Any], origin: str, variant: LlamaVariant) -> dict[str, Any]:
    window = metadata.get("attention.sliding_window")
    pattern = metadata.get("attention.sliding_window_pattern")
    if variant.window == "always":
        says = _says_windows(variant)
        if says and window is None:
            raise _missing(origin, variant, "attention.sliding_window")
        return {} if says and window else {"sliding_window": None}
    if variant.window == "typed" and isinstance(pattern, list):
        types = [WINDOWED if windowed else FULL for windowed in pattern]
        return {"sliding_window_pattern": None, "layer_types": types}
    if variant.local_theta is not None and window is None:
        # The converter leaves it out where every layer sees the whole text.
        return {"sliding_window_pattern": 1}
    return {}


def _says_windows(variant: LlamaVariant) -> bool:
    """Whether its files' windows are windows; in those of `llama`, one cuts the context."""
    return variant.window in ("typed", "always") and variant.gguf_architecture != "llama"


def _missing(origin: str, variant: LlamaVariant, key: str) -> ValueError:
    return ValueError(
        f"{origin}: {variant.gguf_architecture}.{key} is missing, and negjax does not guess it; "
        "convert the model to GGUF again"
    )


def _undo(
    tensor: LazyTensor, source: str, config: ModelConfig, variant: LlamaVariant
) -> LazyTensor:
    """A tensor as the converter found it."""
    heads = {"q_proj": config.heads, "k_proj": config.kv_heads}.get(source.split(".")[-2])
    if variant.gguf_interleaves and heads is not None:
        # llama.cpp's RoPE turns neighbours.
        sizes = (("h", heads), ("half", 2))
        return tensor.then(Rearranged("(h i half) ... -> (h half i) ...", sizes))
    if variant.norm_offset and source.endswith("norm.weight"):
        # The converter adds it to the weights.
        return tensor.then(Less(variant.norm_offset))
    return tensor
