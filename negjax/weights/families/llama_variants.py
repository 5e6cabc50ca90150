"""Llama's relatives: what distinguishes each, one entry a `model_type`.

Sources: Llama (arXiv 2302.13971, 2307.09288, 2407.21783), SmolLM2 (arXiv 2502.02737; a Llama),
Mistral (arXiv 2310.06825), Qwen2.5 (arXiv 2412.15115), Qwen3 (arXiv 2505.09388).
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Literal

AttentionBias = Literal["none", "inputs", "setting"]
"""Biases of the attention's projections: none; of queries, keys and values; of these and of the
output, as the setting `attention_bias` says."""

QKNorm = Literal["none", "head", "width"]
"""Norm of queries and keys: none, within each head, over all heads."""

Window = Literal["none", "always", "flagged"]
"""What the setting `sliding_window` means: nothing to transformers, though a file that has it means
another program's; a window of all layers, 4,096 where the file does not mention it; one of some
layers, if `use_sliding_window` says so."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlamaVariant:
    """What a relative of Llama computes, where relatives differ, and how its files are called."""

    name: str
    """`model_type` in config.json."""
    classes: str
    """What the names of its classes in transformers begin with."""
    attention_bias: AttentionBias = "none"
    ffn_bias_setting: bool = False
    """Whether the feed-forward layers have biases where the setting `mlp_bias` says so."""
    qk_norm: QKNorm = "none"
    head_width: int | None = None
    """Where config.json does not say it; None: the width by the number of heads."""
    window: Window = "none"
    gguf_architecture: str | None = None
    """`general.architecture` of its GGUF files; None: they call themselves another variant."""
    gguf_interleaves: bool = False
    """Whether those files interleave the halves of a head, which RoPE turns against each other."""
    harmless: Collection[str] = ("is_llama_config",)
    """Keys of its config.json that change nothing, beside those of every family."""
    short_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Hub ids of its models that people ask for most."""


VARIANTS = (
    LlamaVariant(
        name="llama",
        classes="Llama",
        attention_bias="setting",
        ffn_bias_setting=True,
        gguf_architecture="llama",
        gguf_interleaves=True,
        short_names={
            "llama-2-7b": "meta-llama/Llama-2-7b-hf",
            "llama-2-13b": "meta-llama/Llama-2-13b-hf",
            "llama-2-70b": "meta-llama/Llama-2-70b-hf",
            "llama-3-8b": "meta-llama/Meta-Llama-3-8B",
            "llama-3-70b": "meta-llama/Meta-Llama-3-70B",
            "llama-3.1-8b": "meta-llama/Llama-3.1-8B",
            "llama-3.2-1b": "meta-llama/Llama-3.2-1B",
            "llama-3.2-3b": "meta-llama/Llama-3.2-3B",
            "smollm2-135m": "HuggingFaceTB/SmolLM2-135M",
            "smollm2-360m": "HuggingFaceTB/SmolLM2-360M",
            "smollm2-1.7b": "HuggingFaceTB/SmolLM2-1.7B",
        },
    ),
    LlamaVariant(
        name="mistral",
        classes="Mistral",
        window="always",
        short_names={"mistral-7b": "mistralai/Mistral-7B-v0.1"},
    ),
    LlamaVariant(
        name="qwen2",
        classes="Qwen2",
        attention_bias="inputs",
        window="flagged",
        gguf_architecture="qwen2",
        short_names={
            "qwen2.5-0.5b": "Qwen/Qwen2.5-0.5B",
            "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B",
            "qwen2.5-7b": "Qwen/Qwen2.5-7B",
        },
    ),
    LlamaVariant(
        name="qwen3",
        classes="Qwen3",
        attention_bias="setting",
        qk_norm="head",
        head_width=128,
        window="flagged",
        gguf_architecture="qwen3",
        short_names={"qwen3-0.6b": "Qwen/Qwen3-0.6B", "qwen3-8b": "Qwen/Qwen3-8B"},
    ),
)
"""All of them; GGUF files of Mistral and SmolLM2 call themselves `llama`."""
