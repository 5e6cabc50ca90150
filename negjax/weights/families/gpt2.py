"""GPT-2: pre-norm, plain feed-forward, learned positions, one fused projection, tied embeddings.

Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
"""

from typing import Any

from negjax.model.config import ModelConfig
from negjax.weights.conversion import LazyTensor, Rule, Table
from negjax.weights.families.common import HF_NAMES_BY_ACTIVATION, Family, GGUFForm
from negjax.weights.families.settings import Settings

OTHER_NAMES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
"""Other families' names of its settings, which transformers takes as well."""

GGUF_KEYS = {
    "block_count": "n_layer",
    "context_length": "n_positions",
    "embedding_length": "n_embd",
    "feed_forward_length": "n_inner",
    "attention.head_count": "n_head",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
    "vocab_size": "vocab_size",
}


def _read(settings: Settings) -> ModelConfig:
    for other, key in OTHER_NAMES.items():
        settings.same(other, key)
    width, heads = settings.integer("n_embd"), settings.integer("n_head")
    settings.divides("n_head", "n_embd")
    settings.only("scale_attn_weights", True)
    settings.only("scale_attn_by_inverse_layer_idx", False)
    return ModelConfig(
        family="gpt2",
        vocab_size=settings.integer("vocab_size"),
        layers=settings.integer("n_layer"),
        width=width,
        neurons=settings.integer("n_inner", 4 * width),
        heads=heads,
        kv_heads=heads,
        head_width=width // heads,
        context_length=settings.integer("n_positions"),
        activation=settings.activation("activation_function", "gelu_new"),
        gated=False,
        norm="layer",
        norm_eps=settings.number("layer_norm_epsilon"),
        norm_placement="pre",
        causal=True,
        rope=None,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
        qk_norm="none",
        tied=settings.flag("tie_word_embeddings", True),
    )


def _write(config: ModelConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "n_layer": config.layers,
        "n_embd": config.width,
        "n_inner": config.neurons,
        "n_head": config.heads,
        "n_positions": config.context_length,
        "activation_function": HF_NAMES_BY_ACTIVATION[config.activation],
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tied,
    }


def _table(config: ModelConfig) -> Table:
    """Linear weights are stored [in, out] ("Conv1D"), unlike the other families'."""
    layer, block = "transformer.h.{l}", "blocks"
    attention = f"{block}.attention"
    kernels = (f"{attention}.query.kernel", f"{attention}.key.kernel", f"{attention}.value.kernel")
    biases = (f"{attention}.query.bias", f"{attention}.key.bias", f"{attention}.value.bias")
    rules = [
        Rule("transformer.wte.weight", "embedding.token", "v d -> v d"),
        Rule("transformer.wpe.weight", "embedding.position", "t d -> t d"),
        Rule(f"{layer}.ln_1.weight", f"{block}.attention_norm.scale", "d -> d"),
        Rule(f"{layer}.ln_1.bias", f"{block}.attention_norm.bias", "d -> d"),
        Rule(f"{layer}.attn.c_attn.weight", kernels, "d (n h c) -> n d h c"),
        Rule(f"{layer}.attn.c_attn.bias", biases, "(n h c) -> n h c"),
        Rule(f"{layer}.attn.c_proj.weight", f"{attention}.out.kernel", "(h c) d -> h c d"),
        Rule(f"{layer}.attn.c_proj.bias", f"{attention}.out.bias", "d -> d"),
        Rule(f"{layer}.ln_2.weight", f"{block}.ffn_norm.scale", "d -> d"),
        Rule(f"{layer}.ln_2.bias", f"{block}.ffn_norm.bias", "d -> d"),
        Rule(f"{layer}.mlp.c_fc.weight", f"{block}.ffn.up.kernel", "d f -> d f"),
        Rule(f"{layer}.mlp.c_fc.bias", f"{block}.ffn.up.bias", "f -> f"),
        Rule(f"{layer}.mlp.c_proj.weight", f"{block}.ffn.down.kernel", "f d -> f d"),
        Rule(f"{layer}.mlp.c_proj.bias", f"{block}.ffn.down.bias", "d -> d"),
        Rule("transformer.ln_f.weight", "head.norm.scale", "d -> d"),
        Rule("transformer.ln_f.bias", "head.norm.bias", "d -> d"),
    ]
    if not config.tied:
        rules.append(Rule("lm_head.weight", "head.output", "v d -> v d"))
    return Table(
        rules=tuple(rules),
        duplicates=(("lm_head.weight", "transformer.wte.weight"),) if config.tied else (),
        # Causal masks, kept as buffers by older versions.
        ignored=(r"transformer\.h\.\d+\.attn\.(masked_)?bias",),
        renames=((r"^(?=(wte|wpe|h|ln_f)\.)", "transformer."),),
    )


def _in_out(tensor: LazyTensor, source: str, config: ModelConfig) -> LazyTensor:
    """GGUF files hold linear weights as [out, in]."""
    if len(tensor.shape) == 2 and ".h." in source:
        return LazyTensor(tensor.shape[::-1], lambda: tensor.read().T)
    return tensor


FAMILY = Family(
    name="gpt2",
    architectures=("GPT2LMHeadModel", "GPT2Model"),
    read=_read,
    write=_write,
    table=_table,
    # An older name of n_positions, which transformers does not read; tokens that the first GPT had
    # and its heads for other tasks.
    harmless=frozenset(
        {
            "n_ctx",
            "n_special",
            "predict_special_tokens",
            "summary_activation",
            "summary_proj_to_labels",
            "summary_type",
            "summary_use_proj",
        }
    ),
    short_names={
        "gpt2": "openai-community/gpt2",
        "gpt2-medium": "openai-community/gpt2-medium",
        "gpt2-large": "openai-community/gpt2-large",
        "gpt2-xl": "openai-community/gpt2-xl",
    },
    gguf=GGUFForm(architecture="gpt2", keys=GGUF_KEYS, undo=_in_out),
)
