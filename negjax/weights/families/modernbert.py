"""ModernBERT with its masked-LM head: pre-norm, gated feed-forward, RoPE, local and global layers.

Source: Warner et al., arXiv 2412.13663; further details: the class in transformers.
"""

from typing import Any

from negjax.model.config import ModelConfig
from negjax.weights.conversion import Table
from negjax.weights.families.bert import OTHER_TASKS
from negjax.weights.families.common import Family
from negjax.weights.families.modules import module_table
from negjax.weights.families.rope_settings import Defaults, read_typed_ropes, write_typed_ropes
from negjax.weights.families.settings import ACTIVATIONS_BY_HF_NAME, Settings, unwritable
from negjax.weights.families.sizes import Sizes
from negjax.weights.families.window_settings import FULL, WINDOWED, Windows, layer_types
from negjax.weights.rules import Rule

SIZES = Sizes(
    activation="hidden_activation",
    norm_eps="norm_eps",
    usual_activation="gelu",
    usual_eps=1e-5,
    tied=True,
)
GLOBAL_THETA, LOCAL_THETA = "global_rope_theta", "local_rope_theta"
USUAL_PADDING = 50283
"""The padding token where config.json does not say it."""
PERIOD, LOCAL = "global_attn_every_n_layers", "local_attention"


def _read(settings: Settings) -> ModelConfig:
    fields = SIZES.read(settings)
    settings.only("rope_scaling", None)
    same = [name for name, ours in ACTIVATIONS_BY_HF_NAME.items() if ours == fields["activation"]]
    # The library's head has the layers' activation.
    settings.only("classifier_activation", *sorted(same, key=lambda name: name != "gelu"))
    windows = _windows(settings, fields["layers"])
    for key in (GLOBAL_THETA, LOCAL_THETA):
        if settings.null(key):
            raise settings.wrong(key, "a positive number")
    defaults = Defaults(head_width=fields["head_width"], context=fields["context_length"])
    older = {FULL: (GLOBAL_THETA, 160_000.0), WINDOWED: (LOCAL_THETA, 10_000.0)}
    placed = read_typed_ropes(settings, defaults, older)
    attention_bias = settings.flag("attention_bias", False)
    return ModelConfig(
        family="modernbert",
        **fields | {"context_length": min(kind.context for kind in placed.values())},
        gated=True,
        norm_placement="pre",
        norm_bias=settings.flag("norm_bias", False),
        first_norm=False,
        embedding_norm=True,
        causal=False,
        rope=placed[FULL].rope,
        local_rope=placed[WINDOWED].rope if windows else None,
        windows=windows,
        qkv_bias=attention_bias,
        out_bias=attention_bias,
        ffn_bias=settings.flag("mlp_bias", False),
        mlm_head=True,
        mlm_head_bias=settings.flag("classifier_bias", False),
        output_bias=settings.flag("decoder_bias", True),
    )


def _windows(settings: Settings, layers: int) -> Windows:
    """By layer; a token sees as many before it as after it, half of `local_attention` each."""
    window = settings.integer(LOCAL, 128) // 2 + 1
    period = settings.integer(PERIOD, 3)
    kinds = layer_types(settings, layers)
    if kinds is None:
        local = [layer % period != 0 for layer in range(layers)]
    else:
        local = [kind == WINDOWED for kind in kinds]
    return tuple(window if there else None for there in local) if any(local) else ()


def _write(config: ModelConfig) -> dict[str, Any]:
    sizes = {window for window in config.windows if window is not None}
    if config.rope is None or len(sizes) > 1 or (config.local_rope is None) == bool(sizes):
        raise unwritable("windows", config.windows)
    ropes, thetas = {FULL: config.rope}, {GLOBAL_THETA: config.rope.theta}
    settings: dict[str, Any] = {}
    if config.local_rope is not None:
        ropes[WINDOWED], thetas[LOCAL_THETA] = config.local_rope, config.local_rope.theta
        settings[LOCAL] = max(2 * (sizes.pop() - 1), 1)
    local = [window is not None for window in config.windows or (None,) * config.layers]
    periods = [
        period
        for period in range(1, config.layers + 1)
        if local == [layer % period != 0 for layer in range(config.layers)]
    ]
    if periods:
        # Older versions of transformers know this key alone.
        settings[PERIOD] = periods[0]
    else:
        settings["layer_types"] = [WINDOWED if there else FULL for there in local]
    if config.vocab_size <= USUAL_PADDING:
        # transformers would not make the embedding.
        settings["pad_token_id"] = None
    return {
        **SIZES.write(config),
        **settings,
        **thetas,
        **write_typed_ropes(ropes, config.context_length),
        "norm_bias": config.norm_bias,
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.ffn_bias,
        "classifier_bias": config.mlm_head_bias,
        "classifier_activation": SIZES.write(config)[SIZES.activation],
        "decoder_bias": config.output_bias,
    }


def _table(config: ModelConfig) -> Table:
    layer, attention, ffn = "model.layers.{l}", "blocks.attention", "blocks.ffn"
    three = tuple(f"{attention}.{name}" for name in ("query", "key", "value"))
    kernels, biases = (tuple(f"{module}.{part}" for module in three) for part in ("kernel", "bias"))
    rules = [
        Rule(f"{layer}.attn.Wqkv.weight", kernels, "(n h c) d -> n d h c"),
        Rule(
            f"{layer}.mlp.Wi.weight", (f"{ffn}.gate.kernel", f"{ffn}.up.kernel"), "(n f) d -> n d f"
        ),
    ]
    if config.qkv_bias:
        rules.append(Rule(f"{layer}.attn.Wqkv.bias", biases, "(n h c) -> n h c"))
    if config.ffn_bias:
        gate_up = (f"{ffn}.gate.bias", f"{ffn}.up.bias")
        rules.append(Rule(f"{layer}.mlp.Wi.bias", gate_up, "(n f) -> n f"))
    return module_table(
        {
            "embedding.token": "model.embeddings.tok_embeddings",
            "embedding.norm": "model.embeddings.norm",
            "blocks.attention_norm": f"{layer}.attn_norm",
            "blocks.attention.out": f"{layer}.attn.Wo",
            "blocks.ffn_norm": f"{layer}.mlp_norm",
            "blocks.ffn.down": f"{layer}.mlp.Wo",
            "head.norm": "model.final_norm",
            "head.dense": "head.dense",
            "head.dense_norm": "head.norm",
        },
        config,
        decoder="decoder",
        rules=rules,
        other_heads=("classifier", "qa_outputs"),
        renames=((r"^(?=(embeddings|layers|final_norm)\.)", "model."),),
    )


FAMILY = Family(
    name="modernbert",
    architectures=tuple(f"ModernBert{kind}" for kind in ("ForMaskedLM", *OTHER_TASKS)),
    read=_read,
    write=_write,
    table=_table,
    # Initialisation, dropout and losses; how padding is done without; heads of other tasks; names
    # of other families' settings, which the class does not read.
    harmless=(
        *("initializer_cutoff_factor", "embedding_dropout", "mlp_dropout", "sparse_prediction"),
        *("sparse_pred_ignore_index", "deterministic_flash_attn", "reference_compile"),
        *("repad_logits_with_grad", "classifier_pooling", "position_embedding_type"),
        "layer_norm_eps",
    ),
    short_names={
        "modernbert-base": "answerdotai/ModernBERT-base",
        "modernbert-large": "answerdotai/ModernBERT-large",
    },
)
