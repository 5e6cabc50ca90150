"""Llama's relatives: what distinguishes each, one entry a `model_type`.

Sources: Llama (arXiv 2302.13971, 2307.09288, 2407.21783), SmolLM2 (arXiv 2502.02737; a Llama),
Mistral (arXiv 2310.06825), Qwen2.5 (arXiv 2412.15115), Qwen3 (arXiv 2505.09388), Gemma (arXiv
2403.08295, 2408.00118, 2503.19786), Granite (arXiv 2405.04324), OLMo 2 and 3 (arXiv 2501.00656,
2512.13961), Phi-3 (arXiv 2404.14219); SmolLM3 and further details: the classes in transformers.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Literal

from negjax.weights.families.window_settings import FULL, WINDOWED, WindowRule

AttentionBias = Literal["none", "inputs", "setting"]
"""Biases of the attention's projections: none; of queries, keys and values; of these and of the
output, as the setting `attention_bias` says."""

QKNorm = Literal["none", "head", "width"]
"""Norm of queries and keys: none, within each head, over all heads."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Number:
    """A setting of config.json that is a number of `ModelConfig`."""

    key: str
    field: str
    default: float | None
    """Where the file does not say it."""
    optional: bool = False
    """Whether null means that there is none."""
    read: Callable[[float], float] = float
    write: Callable[[float], float] = float
    """The inverse."""
    gguf_key: str | None = None
    """What GGUF files call it, after the architecture and a dot; None: they do not say it."""


def _inverse(number: float) -> float:
    return 1 / number


CAPS = tuple(
    Number(key=key, field=field, default=default, optional=True, gguf_key=key)
    for key, field, default in (
        ("attn_logit_softcapping", "attention_cap", 50.0),
        ("final_logit_softcapping", "logit_cap", 30.0),
    )
)
NO_CAPS = tuple(dataclasses.replace(cap, default=None) for cap in CAPS)
QUERY_SCALE = Number(
    key="query_pre_attn_scalar",
    field="attention_scale",
    default=256.0,
    read=lambda number: number**-0.5,
    write=lambda scale: round(scale**-2),
)
MULTIPLIERS = (
    *(
        Number(key=f"{name}_multiplier", field=f"{name}_scale", default=1.0, gguf_key=gguf_key)
        for name, gguf_key in (
            ("embedding", "embedding_scale"),
            ("residual", "residual_scale"),
            ("attention", "attention.scale"),
        )
    ),
    Number(
        key="logits_scaling",
        field="logit_scale",
        default=1.0,
        read=_inverse,
        write=_inverse,
        gguf_key="logit_scale",
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertNames:
    """What config.json and files of weights call experts."""

    count: str = "num_experts"
    neurons: str = "intermediate_size"
    """Of one expert."""
    normalised: str | None = "norm_topk_prob"
    """Setting that makes the weights of a token's experts add up to 1; None: they always do."""
    router: str = "mlp.gate"
    expert: str = "mlp.experts.{x}"
    gate_up_down: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
    gguf_normalised: bool = True
    """What llama.cpp does instead of asking for the setting `normalised`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlamaVariant:
    """What a relative of Llama computes, where relatives differ, and how its files are called."""

    name: str
    """`model_type` in config.json."""
    classes: str
    """What the names of its classes in transformers begin with."""
    activation_key: str = "hidden_act"
    activation: str = "silu"
    """transformers' name of the activation function where config.json does not say it."""
    attention_bias: AttentionBias = "none"
    ffn_bias_setting: bool = False
    """Whether the feed-forward layers have biases where the setting `mlp_bias` says so."""
    qk_norm: QKNorm = "none"
    norm_placement: Literal["pre", "output", "sandwich"] = "pre"
    norm_offset: float = 0.0
    scaled_embedding: bool = False
    """Whether token embeddings are multiplied by the root of the width."""
    tied: bool = False
    """Whether embeddings are tied where config.json does not say it."""
    fused: bool = False
    """Whether one tensor holds queries, keys and values, and one gate and up."""
    experts: ExpertNames | None = None
    """None: a layer has one feed-forward network."""
    numbers: tuple[Number, ...] = ()
    head_width: int | None = None
    """Where config.json does not say it; None: the width by the number of heads."""
    window: WindowRule = "none"
    period: int = 1
    """Every layer of this number is without the window of the rule `typed`."""
    theta: float = 10000.0
    """RoPE's base where config.json does not say it."""
    local_theta: tuple[str, float] | None = None
    """The older key and the default of RoPE's base in layers with a window, where it is another."""
    partial: bool = False
    """Whether a part of a head's entries turns, where `partial_rotary_factor` says so."""
    rope_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Kinds of RoPE as older files call them."""
    rope_period: int | None = None
    """Every layer of this number is without RoPE where `no_rope_layers` does not say it."""
    padding: int | None = None
    """transformers' padding token where config.json does not say it, if it has one: the file of a
    smaller vocabulary must say that there is none."""
    gguf_architecture: str | None = None
    """`general.architecture` of its GGUF files; None: they call themselves another variant."""
    gguf_marker: str | None = None
    """The key after the architecture and a dot by which they differ from another variant's."""
    gguf_interleaves: bool = False
    """Whether those files interleave the halves of a head, which RoPE turns against each other."""
    gguf_layers: tuple[int, ...] = ()
    """Layers of the published models whose `QUERY_SCALE` is known: of the largest the width by the
    number of heads, of the others the head width."""
    harmless: Collection[str] = ("is_llama_config",)
    """Keys of its config.json that change nothing, beside those of every family."""
    short_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Hub ids of its models that people ask for most."""

    @property
    def older_thetas(self) -> dict[str, tuple[str, float]] | None:
        """By type of layer, for `read_typed_ropes`; None: one RoPE serves all layers."""
        if self.local_theta is None:
            return None
        return {FULL: ("rope_theta", self.theta), WINDOWED: self.local_theta}


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
    LlamaVariant(
        name="gemma",
        classes="Gemma",
        activation="gelu_pytorch_tanh",
        attention_bias="setting",
        norm_offset=1.0,
        scaled_embedding=True,
        tied=True,
        head_width=256,
        gguf_architecture="gemma",
        short_names={"gemma-2b": "google/gemma-2b", "gemma-7b": "google/gemma-7b"},
    ),
    LlamaVariant(
        name="gemma2",
        classes="Gemma2",
        activation_key="hidden_activation",
        activation="gelu_pytorch_tanh",
        attention_bias="setting",
        norm_placement="sandwich",
        norm_offset=1.0,
        scaled_embedding=True,
        tied=True,
        numbers=(*CAPS, QUERY_SCALE),
        head_width=256,
        window="typed",
        period=2,
        gguf_architecture="gemma2",
        gguf_layers=(26, 42, 46),
        short_names={"gemma-2-2b": "google/gemma-2-2b", "gemma-2-9b": "google/gemma-2-9b"},
    ),
    LlamaVariant(
        name="gemma3_text",
        classes="Gemma3",
        activation_key="hidden_activation",
        activation="gelu_pytorch_tanh",
        attention_bias="setting",
        qk_norm="head",
        norm_placement="sandwich",
        norm_offset=1.0,
        scaled_embedding=True,
        tied=True,
        numbers=(*NO_CAPS, QUERY_SCALE),
        head_width=256,
        window="typed",
        period=6,
        theta=1e6,
        local_theta=("rope_local_base_freq", 1e4),
        gguf_architecture="gemma3",
        gguf_layers=(18, 26, 34, 48, 62),
        short_names={"gemma-3-270m": "google/gemma-3-270m", "gemma-3-1b": "google/gemma-3-1b-pt"},
    ),
    LlamaVariant(
        name="granite",
        classes="Granite",
        attention_bias="setting",
        ffn_bias_setting=True,
        numbers=MULTIPLIERS,
        gguf_architecture="granite",
        gguf_interleaves=True,
        short_names={"granite-3.3-2b": "ibm-granite/granite-3.3-2b-base"},
    ),
    LlamaVariant(
        name="olmo2",
        classes="Olmo2",
        attention_bias="setting",
        qk_norm="width",
        norm_placement="output",
        gguf_architecture="olmo2",
        short_names={"olmo-2-1b": "allenai/OLMo-2-0425-1B", "olmo-2-7b": "allenai/OLMo-2-1124-7B"},
    ),
    LlamaVariant(
        name="olmo3",
        classes="Olmo3",
        attention_bias="setting",
        qk_norm="width",
        norm_placement="output",
        window="typed",
        period=4,
        theta=5e5,
        local_theta=("rope_theta", 5e5),
        gguf_architecture="olmo2",
        gguf_marker="attention.sliding_window",
        short_names={"olmo-3-7b": "allenai/Olmo-3-1025-7B"},
    ),
    LlamaVariant(
        name="smollm3",
        classes="SmolLM3",
        attention_bias="setting",
        ffn_bias_setting=True,
        tied=True,
        window="flagged",
        theta=2e6,
        rope_period=4,
        padding=128004,
        gguf_architecture="smollm3",
        gguf_interleaves=True,
        short_names={"smollm3-3b": "HuggingFaceTB/SmolLM3-3B-Base"},
    ),
    LlamaVariant(
        name="phi3",
        classes="Phi3",
        fused=True,
        window="always",
        partial=True,
        padding=32000,
        rope_names={"su": "longrope", "yarn": "longrope"},
        # Where there is no scaling it means nothing.
        harmless=("full_attn_mod", "interpolate_factor", "original_max_position_embeddings"),
        gguf_architecture="phi3",
        short_names={
            "phi-3-mini": "microsoft/Phi-3-mini-4k-instruct",
            "phi-4-mini": "microsoft/Phi-4-mini-instruct",
        },
    ),
)
"""All but `llama_mixtures`; GGUF files of Mistral and SmolLM2 call themselves `llama`."""
