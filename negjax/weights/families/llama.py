"""Llama and its relatives: pre-norm, gated feed-forward, RoPE, grouped-query attention.

What distinguishes one relative from another stands in `llama_variants`, with the sources.
"""

import functools
from typing import Any

from einops import rearrange

from negjax.model.config import ModelConfig
from negjax.model.rope import Rope
from negjax.weights.conversion import LazyTensor, Rule, Table
from negjax.weights.families.common import HF_NAMES_BY_ACTIVATION, Family, GGUFForm
from negjax.weights.families.llama_variants import VARIANTS, LlamaVariant, Window
from negjax.weights.families.settings import Settings

WINDOWED = "sliding_attention"
"""Type of a layer that attends no further than the sliding window."""


GGUF_KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
}


def _read(settings: Settings, variant: LlamaVariant) -> ModelConfig:
    width = settings.integer("hidden_size")
    heads = settings.integer("num_attention_heads")
    layers = settings.integer("num_hidden_layers")
    settings.only("rope_interleaved", False)
    settings.only("use_mrope", False)
    qkv_bias, out_bias, ffn_bias = variant.attention_bias == "inputs", False, False
    if variant.attention_bias == "setting":
        qkv_bias = out_bias = settings.flag("attention_bias", False)
    elif variant.attention_bias == "none":
        settings.only("attention_bias", False)
    if variant.ffn_bias_setting:
        ffn_bias = settings.flag("mlp_bias", False)
    else:
        settings.only("mlp_bias", False)
    kv_heads = settings.integer("num_key_value_heads", heads)
    if heads % kv_heads:
        raise settings.wrong("num_key_value_heads", f"a divisor of num_attention_heads, {heads}")
    head_width = settings.integer("head_dim", variant.head_width or _divided(width, heads))
    return ModelConfig(
        family=variant.name,
        vocab_size=settings.integer("vocab_size"),
        layers=layers,
        width=width,
        neurons=settings.integer("intermediate_size"),
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        context_length=_context_length(settings, variant.window, layers),
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
        qk_norm=variant.qk_norm,
        tied=settings.flag("tie_word_embeddings", False),
    )


def _divided(width: int, heads: int) -> int | None:
    """head_dim where config.json leaves it out; None, hence an error, where it cannot."""
    return width // heads if width % heads == 0 else None


def _context_length(settings: Settings, kind: Window, layers: int) -> int:
    """Positions, no more than an active sliding window: up to it, attention is the full one."""
    positions = settings.integer("max_position_embeddings")
    window = settings.raw("sliding_window", None)
    full_layers = settings.raw("max_window_layers", 28)
    if isinstance(full_layers, bool) or not isinstance(full_layers, int):
        raise settings.wrong("max_window_layers", "a whole number")
    kinds = settings.raw("layer_types", None)
    if kinds is not None:
        settings.each_of("layer_types", "full_attention", WINDOWED)
    if kind == "flagged":
        active = settings.flag("use_sliding_window", False)
        active = active and (full_layers < layers if kinds is None else WINDOWED in kinds)
    elif kind == "always":
        # One for all layers, whatever else a file says; 4,096 where it does not mention it.
        settings.flag("use_sliding_window", True)
        active = window is not None or "sliding_window" not in settings
    else:
        # transformers gives this family no window: a file that has one means another program's.
        active = settings.flag("use_sliding_window", True) and window is not None
    return min(positions, settings.integer("sliding_window", 4096)) if active else positions


def _write(config: ModelConfig, variant: LlamaVariant) -> dict[str, Any]:
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
    if variant.window == "always":
        settings |= {"sliding_window": None}
    elif variant.window == "flagged":
        settings |= {"use_sliding_window": False}
    if variant.attention_bias == "setting":
        settings |= {"attention_bias": config.qkv_bias}
    if variant.ffn_bias_setting:
        settings |= {"mlp_bias": config.ffn_bias}
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
    if config.qk_norm == "head":
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


def _halves_together(tensor: LazyTensor, source: str, config: ModelConfig) -> LazyTensor:
    """Undoes what llama.cpp does for its RoPE of `llama`, which turns neighbours."""
    heads = {"q_proj": config.heads, "k_proj": config.kv_heads}.get(source.split(".")[-2])
    if heads is None:
        return tensor
    pattern = "(h i half) ... -> (h half i) ..."
    return LazyTensor(tensor.shape, lambda: rearrange(tensor.read(), pattern, h=heads, half=2))


def _unchanged(tensor: LazyTensor, source: str, config: ModelConfig) -> LazyTensor:
    return tensor


def _family(variant: LlamaVariant) -> Family:
    gguf = None
    if variant.gguf_architecture is not None:
        gguf = GGUFForm(
            architecture=variant.gguf_architecture,
            keys=GGUF_KEYS,
            undo=_halves_together if variant.gguf_interleaves else _unchanged,
        )
    return Family(
        name=variant.name,
        architectures=(f"{variant.classes}ForCausalLM", f"{variant.classes}Model"),
        read=functools.partial(_read, variant=variant),
        write=functools.partial(_write, variant=variant),
        table=_table,
        harmless=variant.harmless,
        short_names=variant.short_names,
        gguf=gguf,
    )


FAMILIES = tuple(map(_family, VARIANTS))
