"""Llama and its relatives: RMS norms, gated feed-forward, RoPE, grouped-query attention.

What distinguishes one relative from another stands in `llama_variants`, with the sources.
"""

import functools
from typing import Any

from negjax.model.config import ModelConfig
from negjax.model.rope import Rope
from negjax.weights.conversion import Table
from negjax.weights.families.common import HF_NAMES_BY_ACTIVATION, Family
from negjax.weights.families.llama_gguf import gguf_form
from negjax.weights.families.llama_mixtures import MIXTURES
from negjax.weights.families.llama_variants import VARIANTS, LlamaVariant
from negjax.weights.families.modules import KEY, OUT, QUERY
from negjax.weights.families.rope_settings import (
    Defaults,
    read_rope,
    read_typed_ropes,
    write_rope,
    write_typed_ropes,
)
from negjax.weights.families.settings import Settings, unwritable
from negjax.weights.families.window_settings import (
    FULL,
    WINDOWED,
    foreign_window,
    read_windows,
    write_windows,
)
from negjax.weights.rules import Rule


def _read(settings: Settings, variant: LlamaVariant) -> ModelConfig:
    width = settings.integer("hidden_size")
    heads = settings.integer("num_attention_heads")
    layers = settings.integer("num_hidden_layers")
    settings.only("rope_interleaved", False)
    settings.only("use_mrope", False)
    settings.only("use_bidirectional_attention", False)
    settings.only("lm_head_bias", False)
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
    unplaced = _unplaced_layers(settings, variant, layers)
    windows = read_windows(settings, variant.window, layers, variant.period, unplaced)
    context = settings.integer("max_position_embeddings")
    rope, local_rope, context = _ropes(settings, variant, head_width, context)
    context = foreign_window(settings, variant.window, context)
    if local_rope is None and all(window is None or window >= context for window in windows):
        windows = ()
    return ModelConfig(
        family=variant.name,
        vocab_size=settings.integer("vocab_size"),
        layers=layers,
        width=width,
        **_networks(settings, variant),
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        context_length=context,
        activation=_activation(settings, variant),
        gated=True,
        norm="rms",
        norm_eps=settings.number("rms_norm_eps", 1e-6 if variant.norm_offset else None),
        norm_placement=variant.norm_placement,
        norm_offset=variant.norm_offset,
        causal=True,
        rope=rope,
        local_rope=local_rope,
        unplaced_layers=unplaced,
        windows=windows,
        qkv_bias=qkv_bias,
        out_bias=out_bias,
        ffn_bias=ffn_bias,
        qk_norm=variant.qk_norm,
        tied=settings.flag("tie_word_embeddings", variant.tied),
        **_numbers(settings, variant, width),
    )


def _networks(settings: Settings, variant: LlamaVariant) -> dict[str, Any]:
    """How many neurons a layer has, and in which experts."""
    names = variant.experts
    if names is None:
        return {"neurons": settings.integer("intermediate_size")}
    # Layers that have one network instead are not implemented, nor what OLMoE can do to queries.
    settings.only("decoder_sparse_step", 1)
    settings.only("mlp_only_layers", [])
    settings.only("clip_qkv", None)
    settings.integer("intermediate_size", 1)  # Of those other layers, or of an expert.
    # transformers calls the number of experts by either name, whatever the family's files do.
    (other,) = {"num_experts", "num_local_experts"} - {names.count}
    count = settings.integer(names.count, settings.integer(other) if other in settings else None)
    if settings.raw(other, count) != count:
        raise settings.wrong(other, f"the same as {names.count}, {count}")
    active = settings.integer("num_experts_per_tok")
    if active > count:
        raise settings.wrong("num_experts_per_tok", f"no more than {names.count}, {count}")
    normalised = names.normalised is None or settings.flag(names.normalised, False)
    return {
        "neurons": count * settings.integer(names.neurons),
        "experts": count,
        "active_experts": active,
        "router_normalised": normalised,
    }


def _activation(settings: Settings, variant: LlamaVariant) -> str:
    if variant.activation == "silu":
        return settings.activation(variant.activation_key, variant.activation)
    # Gemma's older files say "gelu", or both keys, and mean this one.
    for key in ("hidden_act", "hidden_activation"):
        settings.only(key, variant.activation, "gelu", "gelu_new")
    return settings.activation(variant.activation_key, variant.activation)


def _numbers(settings: Settings, variant: LlamaVariant, width: int) -> dict[str, Any]:
    """Fields of the config by name."""
    fields: dict[str, Any] = {"embedding_scale": width**0.5} if variant.scaled_embedding else {}
    for number in variant.numbers:
        missing = number.key not in settings and number.default is None
        if missing or (number.optional and number.key in settings and settings.null(number.key)):
            continue
        fields[number.field] = number.read(settings.number(number.key, number.default))
    return fields


def _unplaced_layers(settings: Settings, variant: LlamaVariant, layers: int) -> tuple[int, ...]:
    """Layers without RoPE."""
    if variant.rope_period is None:
        return ()
    period = settings.integer("no_rope_layer_interval", variant.rope_period)
    usual = [int((layer + 1) % period != 0) for layer in range(layers)]
    placed = settings.raw("no_rope_layers", usual)
    known = isinstance(placed, list) and len(placed) == layers
    if not known or any(isinstance(x, bool) or x not in (0, 1) for x in placed):
        raise settings.wrong(
            "no_rope_layers", f"a list of {layers} numbers, 1 with RoPE, 0 without"
        )
    return tuple(layer for layer, there in enumerate(placed) if not there)


def _ropes(
    settings: Settings, variant: LlamaVariant, head_width: int, context: int
) -> tuple[Rope, Rope | None, int]:
    """RoPE, that of layers with a window if it is another, and the context that both allow."""
    defaults = Defaults(
        head_width=head_width,
        context=context,
        theta=variant.theta,
        share=1.0 if variant.partial else None,
        other_names=variant.rope_names,
    )
    if variant.older_thetas is None:
        rope, context = read_rope(settings, defaults)
        return rope, None, context
    placed = read_typed_ropes(settings, defaults, variant.older_thetas)
    return placed[FULL].rope, placed[WINDOWED].rope, min(x.context for x in placed.values())


def _divided(width: int, heads: int) -> int | None:
    """head_dim where config.json leaves it out; None, hence an error, where it cannot."""
    return width // heads if width % heads == 0 else None


def _write(config: ModelConfig, variant: LlamaVariant) -> dict[str, Any]:
    settings = {
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.layers,
        "hidden_size": config.width,
        **_write_networks(config, variant),
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "max_position_embeddings": config.context_length,
        variant.activation_key: HF_NAMES_BY_ACTIVATION[config.activation],
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        **write_windows(config, variant.window),
    }
    for number in variant.numbers:
        value = getattr(config, number.field)
        settings[number.key] = None if value is None else number.write(value)
    if variant.rope_period is not None:
        settings["no_rope_layers"] = [
            int(layer not in config.unplaced_layers) for layer in range(config.layers)
        ]
    if config.rope is None or (variant.local_theta is None) != (config.local_rope is None):
        raise unwritable("rope", config.rope)
    if config.local_rope is None:
        settings |= write_rope(config.rope, config.head_width, config.context_length)
    else:
        ropes = {FULL: config.rope, WINDOWED: config.local_rope}
        settings |= write_typed_ropes(ropes, config.context_length)
    if variant.padding is not None and config.vocab_size <= variant.padding:
        settings["pad_token_id"] = None
    if variant.attention_bias == "setting":
        settings |= {"attention_bias": config.qkv_bias}
    if variant.ffn_bias_setting:
        settings |= {"mlp_bias": config.ffn_bias}
    return settings


def _write_networks(config: ModelConfig, variant: LlamaVariant) -> dict[str, Any]:
    names = variant.experts
    if (names is None) != (config.experts == 0):
        raise unwritable("experts", config.experts)
    if names is None:
        return {"intermediate_size": config.neurons}
    normalised = {} if names.normalised is None else {names.normalised: config.router_normalised}
    if names.normalised is None and not config.router_normalised:
        raise unwritable("router_normalised", False)
    return {
        names.count: config.experts,
        "num_experts_per_tok": config.active_experts,
        names.neurons: config.expert_neurons,
        **normalised,
    }


NORMS = {
    "pre": {"input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm"},
    "output": {
        "post_attention_layernorm": "attention_out_norm",
        "post_feedforward_layernorm": "ffn_out_norm",
    },
    "sandwich": {
        "input_layernorm": "attention_norm",
        "post_attention_layernorm": "attention_out_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "ffn_out_norm",
    },
}
"""By placement: the file's name of a norm and the block's."""


def _network_rules(config: ModelConfig, variant: LlamaVariant) -> list[Rule]:
    """Of a layer's feed-forward network, or of its experts and their router."""
    layer, to = "model.layers.{l}", "blocks.ffn"
    names = variant.experts
    if names is not None:
        gate, up, down = (f"{layer}.{names.expert}.{name}.weight" for name in names.gate_up_down)
        return [
            Rule(f"{layer}.{names.router}.weight", f"{to}.router.kernel", "x d -> d x"),
            Rule(gate, f"{to}.gate.kernel", "i d -> d i"),
            Rule(up, f"{to}.up.kernel", "i d -> d i"),
            Rule(down, f"{to}.down.kernel", "d i -> i d"),
        ]
    rules = [Rule(f"{layer}.mlp.down_proj.weight", f"{to}.down.kernel", "d f -> f d")]
    if variant.fused:
        gate_up = (f"{to}.gate.kernel", f"{to}.up.kernel")
        return [*rules, Rule(f"{layer}.mlp.gate_up_proj.weight", gate_up, "(n f) d -> n d f")]
    return [
        *rules,
        Rule(f"{layer}.mlp.gate_proj.weight", f"{to}.gate.kernel", "f d -> d f"),
        Rule(f"{layer}.mlp.up_proj.weight", f"{to}.up.kernel", "f d -> d f"),
    ]


def _table(config: ModelConfig, variant: LlamaVariant) -> Table:
    layer, block = "model.layers.{l}", "blocks"
    attention, to = f"{layer}.self_attn", f"{block}.attention"
    kernels = tuple(f"{to}.{name}.kernel" for name in ("query", "key", "value"))
    rules = [
        Rule("model.embed_tokens.weight", "embedding.token", "v d -> v d"),
        Rule(f"{attention}.o_proj.weight", f"{to}.out.kernel", OUT),
        *_network_rules(config, variant),
    ]
    for name, norm in NORMS[config.norm_placement].items():
        rules.append(Rule(f"{layer}.{name}.weight", f"{block}.{norm}.scale", "d -> d"))
    if variant.fused:
        rules.append(Rule(f"{attention}.qkv_proj.weight", kernels, (QUERY, KEY, KEY)))
    else:
        rules += [
            Rule(f"{attention}.q_proj.weight", kernels[0], QUERY),
            Rule(f"{attention}.k_proj.weight", kernels[1], KEY),
            Rule(f"{attention}.v_proj.weight", kernels[2], KEY),
        ]
    if config.qkv_bias:
        rules += [
            Rule(f"{attention}.q_proj.bias", f"{to}.query.bias", "(h c) -> h c"),
            Rule(f"{attention}.k_proj.bias", f"{to}.key.bias", "(g c) -> g c"),
            Rule(f"{attention}.v_proj.bias", f"{to}.value.bias", "(g c) -> g c"),
        ]
    if config.out_bias:
        rules.append(Rule(f"{attention}.o_proj.bias", f"{to}.out.bias", "d -> d"))
    if config.qk_norm != "none":
        query, key = ("c", "c") if config.qk_norm == "head" else ("(h c)", "(g c)")
        rules += [
            Rule(f"{attention}.q_norm.weight", f"{to}.query_norm.scale", f"{query} -> {query}"),
            Rule(f"{attention}.k_norm.weight", f"{to}.key_norm.scale", f"{key} -> {key}"),
        ]
    if config.ffn_bias:
        rules += [
            Rule(f"{layer}.mlp.gate_proj.bias", f"{block}.ffn.gate.bias", "f -> f"),
            Rule(f"{layer}.mlp.up_proj.bias", f"{block}.ffn.up.bias", "f -> f"),
            Rule(f"{layer}.mlp.down_proj.bias", f"{block}.ffn.down.bias", "d -> d"),
        ]
    rules.append(Rule("model.norm.weight", "head.norm.scale", "d -> d"))
    if not config.tied:
        rules.append(Rule("lm_head.weight", "head.output", "v d -> v d"))
    return Table(
        rules=tuple(rules),
        duplicates=(("lm_head.weight", "model.embed_tokens.weight"),) if config.tied else (),
        ignored=(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
    )


def relative(variant: LlamaVariant) -> Family:
    """The family that an entry describes."""
    return Family(
        name=variant.name,
        architectures=(f"{variant.classes}ForCausalLM", f"{variant.classes}Model"),
        read=functools.partial(_read, variant=variant),
        write=functools.partial(_write, variant=variant),
        table=functools.partial(_table, variant=variant),
        harmless=variant.harmless,
        short_names=variant.short_names,
        gguf=gguf_form(variant),
    )


FAMILIES = tuple(map(relative, (*VARIANTS, *MIXTURES)))
