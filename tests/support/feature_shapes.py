"""Tiny models of what blocks learned for further families, one shape a family's features."""

import dataclasses

from negjax.model.config import ModelConfig
from negjax.model.rope import Rope, YarnScaling
from tests.support.block_shapes import BERT, GATED, GPT2

GEMMA2 = dataclasses.replace(
    GATED,
    activation="gelu_tanh",
    norm_placement="sandwich",
    norm_offset=1.0,
    embedding_scale=4.0,
    attention_scale=0.3,
    attention_cap=1.5,
    logit_cap=2.0,
    windows=(3, None, 3),
    tied=True,
)
YARN = YarnScaling(factor=4.0, original_context=8, beta_fast=2.0, beta_slow=0.5)
MODERNBERT = dataclasses.replace(
    GATED,
    kv_heads=4,
    activation="gelu",
    norm="layer",
    norm_bias=False,
    first_norm=False,
    embedding_norm=True,
    causal=False,
    rope=Rope(theta=160000.0),
    local_rope=Rope(theta=100.0),
    windows=(None, 3, 2),
    mlm_head=True,
    mlm_head_bias=False,
    output_bias=True,
    tied=True,
)
FEATURES: dict[str, ModelConfig] = {
    "sandwich norms, caps, windows": GEMMA2,
    "two RoPEs, normed heads": dataclasses.replace(
        GEMMA2,
        attention_cap=None,
        logit_cap=None,
        qk_norm="head",
        local_rope=Rope(theta=30.0),
    ),
    "norms of outputs and of all queries": dataclasses.replace(
        GATED, norm_placement="output", qk_norm="width", windows=(2, 4, None)
    ),
    "multipliers": dataclasses.replace(
        GATED, embedding_scale=3.0, residual_scale=0.4, attention_scale=0.2, logit_scale=0.25
    ),
    "layers without RoPE": dataclasses.replace(GATED, unplaced_layers=(1,)),
    "YaRN of half a head": dataclasses.replace(
        GATED,
        head_width=8,
        rope=Rope(theta=10000.0, yarn=YARN, width=4, attention_factor=1.2),
        local_rope=Rope(theta=10000.0, width=4),
        windows=(None, 3, 3),
    ),
    "parallel, partial rotary": dataclasses.replace(
        GPT2, parallel="apart", rope=Rope(theta=10000.0, width=2), tied=False
    ),
    "parallel with one norm, neighbours": dataclasses.replace(
        GPT2,
        parallel="shared",
        rope=Rope(theta=10000.0, width=2, neighbours=True),
        qkv_bias=False,
        out_bias=False,
        output_bias=True,
        tied=False,
    ),
    "positions from the third row on": dataclasses.replace(
        GPT2, activation="relu", position_offset=2
    ),
    "experts": dataclasses.replace(GATED, experts=5, active_experts=2),
    "experts whose weights do not add up to 1": dataclasses.replace(
        GATED, experts=4, active_experts=3, router_normalised=False, qk_norm="head"
    ),
    "windows of a masked LM": MODERNBERT,
    "a masked LM's positions from the third row on": dataclasses.replace(
        BERT, position_offset=2, token_types=1
    ),
}
