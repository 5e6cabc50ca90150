"""Llama and its relatives: pre-norm, gated feed-forward, RoPE, grouped-query attention.

Sources: Llama (arXiv 2302.13971, 2307.09288, 2407.21783), SmolLM2 (arXiv 2502.02737; a Llama),
Mistral (arXiv 2310.06825), Qwen2.5 (arXiv 2412.15115), Qwen3 (arXiv 2505.09388).
"""

import functools
from typing import Any

from negjax.model.config import ModelConfig, Rope
from negjax.weights.conversion import Rule, Table
from negjax.weights.families.common import HF_NAMES_BY_ACTIVATION, Family
from negjax.weights.families.settings import Settings

WINDOWED = "sliding_attention"
"""Type of a layer that attends no further than the sliding window."""


def _read(settings: Settings, name: str) -> ModelConfig:
    width = settings.integer("hidden_size")
    heads = settings.integer("num_attention_heads")
    layers = settings.integer("num_hidden_layers")
    qkv_bias, out_bias, ffn_bias = name == "qwen2", False, False
    settings.only("rope_interleaved", False)
    settings.only("use_mrope", False)
    if name == "mistral":
        settings.only("attention_bias", False)
    elif name in ("llama", "qwen3"):
        qkv_bias = out_bias = settings.flag("attention_bias", False)
    if name == "llama":
        ffn_bias = settings.flag("mlp_bias", False)
    else:
        settings.only("mlp_bias", False)
    kv_heads = settings.integer("num_key_value_heads", heads)
    if heads % kv_heads:
        raise settings.wrong("num_key_value_heads", f"a divisor of num_attention_heads, {heads}")
    head_width = settings.integer("head_dim", 128 if name == "qwen3" else _divided(width, heads))
    return ModelConfig(
        family=name,
        vocab_size=settings.integer("vocab_size"),
        layers=layers,
        width=width,
        neurons=settings.integer("intermediate_size"),
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        context_length=_context_length(settings, name, layers),
        activation=settings.activation("hidden_act", "silu"),
        gated=True,
        norm="rms",
        norm_eps=settings.number("rms_norm_eps"),
        norm_placement="pre",
        causal=True,
        rope=settings.rope(),
        qkv_bias=qkv_bias,
        out_bias=out_bias,
        ffn_bias=ffn_bias,
        qk_norm=name == "qwen3",
        tied=settings.flag("tie_word_embeddings", False),
    )


def _divided(width: int, heads: int) -> int | None:
    """head_dim where config.json leaves it out; None, hence an error, where it cannot."""
    return width // heads if width % heads == 0 else None


def _context_length(settings: Settings, name: str, layers: int) -> int:
    """Positions, no more than an active sliding window: up to it, attention is the full one."""
    positions = settings.integer("max_position_embeddings")
    window = settings.raw("sliding_window", None)
    full_layers = settings.raw("max_window_layers", 28)
    if isinstance(full_layers, bool) or not isinstance(full_layers, int):
        raise settings.wrong("max_window_layers", "a whole number")
    kinds = settings.raw("layer_types", None)
    if kinds is not None:
        settings.each_of("layer_types", "full_attention", WINDOWED)
    if name in ("qwen2", "qwen3"):
        active = settings.flag("use_sliding_window", False)
        active = active and (full_layers < layers if kinds is None else WINDOWED in kinds)
    elif name == "mistral":
        # One for all layers, whatever else a file says; 4,096 where it does not mention it.
        settings.flag("use_sliding_window", True)
        active = window is not None or "sliding_window" not in settings
    else:
        # transformers gives this family no window: a file that has one means another program's.
        active = settings.flag("use_sliding_window", True) and window is not None
    return min(positions, settings.integer("sliding_window", 4096)) if active else positions


def _write(config: ModelConfig) -> dict[str, Any]:
    if config.rope is None or config.rope.factors is not None:
        raise ValueError(
            f"model config: rope is {config.rope!r}; config.json has no way to say this"
        )
    settings = {
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        "intermediate_size": config.neurons,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "max_position_embeddings": config.context_length,
        "hidden_act": HF_NAMES_BY_ACTIVATION[config.activation],
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        **_write_rope(config.rope),
    }
    if config.family == "llama":
        settings |= {"attention_bias": config.qkv_bias, "mlp_bias": config.ffn_bias}
    elif config.family == "mistral":
        settings |= {"sliding_window": None}
    elif config.family == "qwen2":
        settings |= {"use_sliding_window": False}
    else:
        settings |= {"use_sliding_window": False, "attention_bias": config.qkv_bias}
    return settings


def _write_rope(rope: Rope) -> dict[str, Any]:
    """The older keys, which older and newer transformers both read."""
    scaling = None
    if rope.llama3 is not None:
        scaling = {
            "rope_type": "llama3",
            "factor": rope.llama3.factor,
            "low_freq_factor": rope.llama3.low_freq_factor,
            "high_freq_factor": rope.llama3.high_freq_factor,
            "original_max_position_embeddings": rope.llama3.original_context,
        }
    elif rope.linear_factor != 1.0:
        scaling = {"rope_type": "linear", "factor": rope.linear_factor}
    return {"rope_theta": rope.theta, "rope_scaling": scaling}


def _table(config: ModelConfig) -> Table:
    layer, block = "model.layers.{l}", "blocks"
    rules = [
        Rule("model.embed_tokens.weight", "embedding.token", "v d -> v d"),
        Rule(f"{layer}.input_layernorm.weight", f"{block}.attention_norm.scale", "d -> d"),
        Rule(
            f"{layer}.self_attn.q_proj.weight",
            f"{block}.attention.query.kernel",
            "(h c) d -> d h c",
        ),
        Rule(
            f"{layer}.self_attn.k_proj.weight", f"{block}.attention.key.kernel", "(g c) d -> d g c"
        ),
        Rule(
            f"{layer}.self_attn.v_proj.weight",
            f"{block}.attention.value.kernel",
            "(g c) d -> d g c",
        ),
        Rule(
            f"{layer}.self_attn.o_proj.weight", f"{block}.attention.out.kernel", "d (h c) -> h c d"
        ),
        Rule(f"{layer}.post_attention_layernorm.weight", f"{block}.ffn_norm.scale", "d -> d"),
        Rule(f"{layer}.mlp.gate_proj.weight", f"{block}.ffn.gate.kernel", "f d -> d f"),
        Rule(f"{layer}.mlp.up_proj.weight", f"{block}.ffn.up.kernel", "f d -> d f"),
        Rule(f"{layer}.mlp.down_proj.weight", f"{block}.ffn.down.kernel", "d f -> f d"),
        Rule("model.norm.weight", "head.norm.scale", "d -> d"),
    ]
    if config.qkv_bias:
        rules += [
            Rule(f"{layer}.self_attn.q_proj.bias", f"{block}.attention.query.bias", "(h c) -> h c"),
            Rule(f"{layer}.self_attn.k_proj.bias", f"{block}.attention.key.bias", "(g c) -> g c"),
            Rule(f"{layer}.self_attn.v_proj.bias", f"{block}.attention.value.bias", "(g c) -> g c"),
        ]
    if config.out_bias:
        rules.append(
            Rule(f"{layer}.self_attn.o_proj.bias", f"{block}.attention.out.bias", "d -> d")
        )
    if config.qk_norm:
        rules += [
            Rule(
                f"{layer}.self_attn.q_norm.weight", f"{block}.attention.query_norm.scale", "c -> c"
            ),
            Rule(f"{layer}.self_attn.k_norm.weight", f"{block}.attention.key_norm.scale", "c -> c"),
        ]
    if config.ffn_bias:
        rules += [
            Rule(f"{layer}.mlp.gate_proj.bias", f"{block}.ffn.gate.bias", "f -> f"),
            Rule(f"{layer}.mlp.up_proj.bias", f"{block}.ffn.up.bias", "f -> f"),
            Rule(f"{layer}.mlp.down_proj.bias", f"{block}.ffn.down.bias", "d -> d"),
        ]
    if not config.tied:
        rules.append(Rule("lm_head.weight", "head.output", "v d -> v d"))
    return Table(
        rules=tuple(rules),
        duplicates=(("lm_head.weight", "model.embed_tokens.weight"),) if config.tied else (),
        ignored=(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
    )


def _family(name: str, prefix: str) -> Family:
    return Family(
        name=name,
        architectures=(f"{prefix}ForCausalLM", f"{prefix}Model"),
        read=functools.partial(_read, name=name),
        write=_write,
        table=_table,
        harmless=frozenset({"is_llama_config"}),
    )


FAMILIES = (
    _family("llama", "Llama"),
    _family("mistral", "Mistral"),
    _family("qwen2", "Qwen2"),
    _family("qwen3", "Qwen3"),
)
