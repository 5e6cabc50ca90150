"""GPT-2: pre-norm, plain feed-forward, learned positions, one fused projection, tied embeddings.

Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
"""

from negjax.model.config import ModelConfig
from negjax.weights.conversion import Table
from negjax.weights.families.common import Family, GGUFForm
from negjax.weights.families.settings import Settings
from negjax.weights.families.sizes import Sizes
from negjax.weights.rules import Rule
from negjax.weights.tensors import LazyTensor, Rearranged

SIZES = Sizes(
    layers="n_layer",
    width="n_embd",
    neurons="n_inner",
    heads="n_head",
    context="n_positions",
    activation="activation_function",
    norm_eps="layer_norm_epsilon",
    usual_activation="gelu_new",
    usual_eps=None,
    wide=True,
    tied=True,
)

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
    settings.only("scale_attn_weights", True)
    settings.only("scale_attn_by_inverse_layer_idx", False)
    return ModelConfig(
        family="gpt2",
        **SIZES.read(settings),
        gated=False,
        norm_placement="pre",
        causal=True,
        rope=None,
        qkv_bias=True,
        out_bias=True,
        ffn_bias=True,
    )


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
        return tensor.then(Rearranged("o i -> i o"), tensor.shape[::-1])
    return tensor


FAMILY = Family(
    name="gpt2",
    architectures=("GPT2LMHeadModel", "GPT2Model"),
    read=_read,
    write=SIZES.write,
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
