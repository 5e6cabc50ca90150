"""GPT-NeoX, GPT-J, OPT and Phi: causal, layer norms, plain feed-forward layers, which but in OPT
may read the residual that attention reads, too.

Sources: GPT-NeoX (arXiv 2204.06745), Pythia (arXiv 2304.01373; a GPT-NeoX), GPT-J (Wang and
Komatsuzaki, 2021), OPT (arXiv 2205.01068), Phi (arXiv 2306.11644); further details: the classes in
transformers.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from negjax.model.config import ModelConfig
from negjax.model.rope import Rope
from negjax.weights.conversion import Table
from negjax.weights.families import gpt2
from negjax.weights.families.common import Family, GGUFForm
from negjax.weights.families.gpt_neox_gguf import GPT_NEOX_FORM
from negjax.weights.families.modules import module_table
from negjax.weights.families.rope_settings import Defaults, read_rope, write_rope
from negjax.weights.families.settings import Settings, unwritable
from negjax.weights.families.sizes import Sizes
from negjax.weights.rules import Rule

Fields = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderVariant:
    """What one of them computes, and how its files are called."""

    name: str
    """`model_type` in config.json."""
    classes: str
    """What the names of its classes in transformers begin with."""
    sizes: Sizes
    read: Callable[[Settings, Fields], Fields]
    """Fields of `ModelConfig` in which they differ, from config.json and the fields of sizes."""
    write: Callable[[ModelConfig], dict[str, Any]]
    """The settings that it reads."""
    modules: Mapping[str, str]
    """The file's name of a module, by the model's."""
    decoder: str = "lm_head"
    fused: str | None = None
    """The file's name of the module that holds queries, keys and values, by head."""
    ignored: tuple[str, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    harmless: Collection[str] = ()
    """Keys of its config.json that change nothing, beside those of every family."""
    short_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Hub ids of its models that people ask for most."""
    gguf: GGUFForm | None = None


def _read(settings: Settings, variant: DecoderVariant) -> ModelConfig:
    fields = variant.sizes.read(settings)
    fields |= variant.read(settings, fields)
    return ModelConfig(
        family=variant.name, **fields, gated=False, norm_placement="pre", causal=True
    )


def _write(config: ModelConfig, variant: DecoderVariant) -> dict[str, Any]:
    return {**variant.sizes.write(config), **variant.write(config)}


def _table(config: ModelConfig, variant: DecoderVariant) -> Table:
    rules = []
    if variant.fused is not None:
        three = [f"blocks.attention.{name}" for name in ("query", "key", "value")]
        kernels, biases = (
            tuple(f"{module}.{part}" for module in three) for part in ("kernel", "bias")
        )
        rules.append(Rule(f"{variant.fused}.weight", kernels, "(h n c) d -> n d h c"))
        if config.qkv_bias:
            rules.append(Rule(f"{variant.fused}.bias", biases, "(h n c) -> n h c"))
    return module_table(
        variant.modules,
        config,
        decoder=variant.decoder,
        rules=rules,
        ignored=variant.ignored,
        renames=variant.renames,
    )


def _biases(there: bool, ffn: bool = True) -> Fields:
    return {"qkv_bias": there, "out_bias": there, "ffn_bias": ffn}


def _share(config: ModelConfig) -> tuple[Rope, float]:
    """RoPE, and which share of a head turns."""
    if config.rope is None:
        raise unwritable("rope", None)
    return config.rope, config.rope.turned(config.head_width) / config.head_width


def _read_rope(settings: Settings, fields: Fields, share: float) -> Fields:
    width, context = fields["head_width"], fields["context_length"]
    rope, context = read_rope(settings, Defaults(head_width=width, context=context, share=share))
    return {"rope": rope, "context_length": context}


def _read_gpt_neox(settings: Settings, fields: Fields) -> Fields:
    settings.same("rotary_pct", "partial_rotary_factor")
    settings.same("rotary_emb_base", "rope_theta")
    parallel = "apart" if settings.flag("use_parallel_residual", True) else "none"
    return {
        **_read_rope(settings, fields, share=0.25),
        **_biases(settings.flag("attention_bias", True)),
        "parallel": parallel,
    }


def _write_gpt_neox(config: ModelConfig) -> dict[str, Any]:
    rope, share = _share(config)
    written = write_rope(rope, config.head_width, config.context_length)
    return {
        # The names that older versions of transformers know alone.
        "rotary_pct": share,
        "rotary_emb_base": rope.theta,
        "rope_scaling": written["rope_scaling"],
        "use_parallel_residual": config.parallel == "apart",
        "attention_bias": config.qkv_bias,
    }


def _read_gptj(settings: Settings, fields: Fields) -> Fields:
    settings.only("rotary", True)
    settings.only("scale_attn_weights", True)
    turned, width = settings.integer("rotary_dim"), fields["head_width"]
    if turned % 2 or turned > width:
        raise settings.wrong("rotary_dim", f"an even number up to the head width, {width}")
    rope = Rope(theta=10000.0, neighbours=True, width=None if turned == width else turned)
    return {**_biases(False), "rope": rope, "parallel": "shared", "output_bias": True}


def _write_gptj(config: ModelConfig) -> dict[str, Any]:
    rope, _ = _share(config)
    if rope != Rope(theta=10000.0, neighbours=True, width=rope.width):
        raise unwritable("rope", rope)
    return {"rotary_dim": rope.turned(config.head_width)}


def _read_opt(settings: Settings, fields: Fields) -> Fields:
    settings.only("do_layer_norm_before", True)
    settings.only("_remove_final_layer_norm", False)
    settings.only("layer_norm_elementwise_affine", True)
    settings.only("word_embed_proj_dim", fields["width"])
    biased = settings.flag("enable_bias", True)
    return {**_biases(biased, biased), "rope": None, "position_offset": 2}


def _write_opt(config: ModelConfig) -> dict[str, Any]:
    return {"enable_bias": config.qkv_bias, "word_embed_proj_dim": config.width}


def _read_phi(settings: Settings, fields: Fields) -> Fields:
    settings.only("qk_layernorm", False)
    kv_heads = settings.integer("num_key_value_heads", fields["heads"])
    if fields["heads"] % kv_heads:
        raise settings.wrong("num_key_value_heads", f"a divisor of {fields['heads']} heads")
    return {
        **_read_rope(settings, fields, share=0.5),
        **_biases(True),
        "kv_heads": kv_heads,
        "parallel": "shared",
        "output_bias": True,
    }


def _write_phi(config: ModelConfig) -> dict[str, Any]:
    rope, share = _share(config)
    return {
        **write_rope(rope, config.head_width, config.context_length),
        "partial_rotary_factor": share,
        "num_key_value_heads": config.kv_heads,
    }


VARIANTS = (
    DecoderVariant(
        name="gpt_neox",
        classes="GPTNeoX",
        sizes=Sizes(usual_activation="gelu", usual_eps=1e-5),
        read=_read_gpt_neox,
        write=_write_gpt_neox,
        modules={
            "embedding.token": "gpt_neox.embed_in",
            "blocks.attention_norm": "gpt_neox.layers.{l}.input_layernorm",
            "blocks.attention.out": "gpt_neox.layers.{l}.attention.dense",
            "blocks.ffn_norm": "gpt_neox.layers.{l}.post_attention_layernorm",
            "blocks.ffn.up": "gpt_neox.layers.{l}.mlp.dense_h_to_4h",
            "blocks.ffn.down": "gpt_neox.layers.{l}.mlp.dense_4h_to_h",
            "head.norm": "gpt_neox.final_layer_norm",
        },
        fused="gpt_neox.layers.{l}.attention.query_key_value",
        decoder="embed_out",
        # Causal masks and frequencies, kept as buffers by older versions.
        ignored=(r"gpt_neox\.layers\.\d+\.attention\.((masked_)?bias|rotary_emb\.inv_freq)",),
        renames=(
            (r"^lm_head\.", "embed_out."),
            (r"^(?=(embed_in|layers|final_layer_norm)\.)", "gpt_neox."),
        ),
        harmless=("hidden_dropout",),
        short_names={
            "pythia-70m": "EleutherAI/pythia-70m",
            "pythia-160m": "EleutherAI/pythia-160m",
            "pythia-410m": "EleutherAI/pythia-410m",
            "pythia-1b": "EleutherAI/pythia-1b",
        },
        gguf=GPT_NEOX_FORM,
    ),
    DecoderVariant(
        name="gptj",
        classes="GPTJ",
        sizes=dataclasses.replace(gpt2.SIZES, usual_eps=1e-5, tied=False),
        read=_read_gptj,
        write=_write_gptj,
        modules={
            "embedding.token": "transformer.wte",
            "blocks.attention_norm": "transformer.h.{l}.ln_1",
            "blocks.attention.query": "transformer.h.{l}.attn.q_proj",
            "blocks.attention.key": "transformer.h.{l}.attn.k_proj",
            "blocks.attention.value": "transformer.h.{l}.attn.v_proj",
            "blocks.attention.out": "transformer.h.{l}.attn.out_proj",
            "blocks.ffn.up": "transformer.h.{l}.mlp.fc_in",
            "blocks.ffn.down": "transformer.h.{l}.mlp.fc_out",
            "head.norm": "transformer.ln_f",
        },
        ignored=(r"transformer\.h\.\d+\.attn\.((masked_)?bias|embed_positions)",),
        renames=((r"^(?=(wte|h|ln_f)\.)", "transformer."),),
        # Heads for other tasks.
        harmless=(
            *("summary_activation", "summary_proj_to_labels", "summary_type", "summary_use_proj"),
            "n_ctx",
        ),
        short_names={"gpt-j-6b": "EleutherAI/gpt-j-6b"},
    ),
    DecoderVariant(
        name="opt",
        classes="OPT",
        sizes=Sizes(
            neurons="ffn_dim",
            activation="activation_function",
            norm_eps=None,
            usual_activation="relu",
            usual_eps=1e-5,
            tied=True,
        ),
        read=_read_opt,
        write=_write_opt,
        modules={
            "embedding.token": "model.decoder.embed_tokens",
            "embedding.position": "model.decoder.embed_positions",
            "blocks.attention_norm": "model.decoder.layers.{l}.self_attn_layer_norm",
            "blocks.attention.query": "model.decoder.layers.{l}.self_attn.q_proj",
            "blocks.attention.key": "model.decoder.layers.{l}.self_attn.k_proj",
            "blocks.attention.value": "model.decoder.layers.{l}.self_attn.v_proj",
            "blocks.attention.out": "model.decoder.layers.{l}.self_attn.out_proj",
            "blocks.ffn_norm": "model.decoder.layers.{l}.final_layer_norm",
            "blocks.ffn.up": "model.decoder.layers.{l}.fc1",
            "blocks.ffn.down": "model.decoder.layers.{l}.fc2",
            "head.norm": "model.decoder.final_layer_norm",
        },
        renames=((r"^decoder\.", "model.decoder."),),
        harmless=("activation_dropout", "dropout", "init_std", "layerdrop"),
        short_names={"opt-125m": "facebook/opt-125m", "opt-1.3b": "facebook/opt-1.3b"},
    ),
    DecoderVariant(
        name="phi",
        classes="Phi",
        sizes=Sizes(usual_activation="gelu_new", usual_eps=1e-5),
        read=_read_phi,
        write=_write_phi,
        modules={
            "embedding.token": "model.embed_tokens",
            "blocks.attention_norm": "model.layers.{l}.input_layernorm",
            "blocks.attention.query": "model.layers.{l}.self_attn.q_proj",
            "blocks.attention.key": "model.layers.{l}.self_attn.k_proj",
            "blocks.attention.value": "model.layers.{l}.self_attn.v_proj",
            "blocks.attention.out": "model.layers.{l}.self_attn.dense",
            "blocks.ffn.up": "model.layers.{l}.mlp.fc1",
            "blocks.ffn.down": "model.layers.{l}.mlp.fc2",
            "head.norm": "model.final_layernorm",
        },
        ignored=(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
        short_names={"phi-1.5": "microsoft/phi-1_5", "phi-2": "microsoft/phi-2"},
    ),
)


def _family(variant: DecoderVariant) -> Family:
    return Family(
        name=variant.name,
        architectures=(f"{variant.classes}ForCausalLM", f"{variant.classes}Model"),
        read=functools.partial(_read, variant=variant),
        write=functools.partial(_write, variant=variant),
        table=functools.partial(_table, variant=variant),
        harmless=variant.harmless,
        short_names=variant.short_names,
        gguf=variant.gguf,
    )


FAMILIES = tuple(map(_family, VARIANTS))
