"""Configs of every family, drawn at random."""

import dataclasses
from typing import Any

from hypothesis import strategies as st

from negjax.model.config import ModelConfig
from negjax.storage.given_files import read_json
from negjax.weights.families import FAMILIES, family_of
from negjax.weights.families.llama_mixtures import MIXTURES
from negjax.weights.families.llama_variants import VARIANTS
from tests.support.places import STORED
from tests.support.published_configs import PUBLISHED

GOLDEN = STORED / "families"
CASES = sorted(path.name for path in GOLDEN.iterdir())


def read(raw: dict[str, Any]) -> ModelConfig:
    """The config that a config.json means."""
    return family_of(raw["model_type"], "config.json").config_from_hf(raw, "config.json")


# A config of each family that is no relative of Llama.
OTHERS = {
    config.family: config
    for config in (read(read_json(GOLDEN / case / "config.json")) for case in CASES)
    if config.family not in {variant.name for variant in (*VARIANTS, *MIXTURES)}
}


# Settings of mixtures, and the least of each.
EXPERTS = {
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 1,
    "num_experts": 3,
    "num_local_experts": 3,
}


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    """Configs of every family, with sizes that differ wherever they may."""
    family = draw(st.sampled_from(sorted(FAMILIES)))
    kv_heads, sharing = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    sizes: dict[str, Any] = {
        "family": family,
        "layers": draw(st.integers(1, 3)),
        "neurons": draw(st.integers(1, 7)),
        "tied": draw(st.booleans()),
    }
    if family in OTHERS:
        base = OTHERS[family]
        head_width = 2 * draw(st.integers(1, 3))
        sizes |= {"heads": kv_heads, "kv_heads": kv_heads, "head_width": head_width}
        sizes |= {"width": kv_heads * head_width, "context_length": draw(st.integers(1, 9))}
        if base.rope is not None:
            width = 2 if head_width > 2 and base.rope.width else None
            sizes["rope"] = dataclasses.replace(base.rope, width=width)
        if sizes["layers"] == 1:
            sizes |= {"windows": (), "local_rope": None}
        else:
            sizes["windows"] = base.windows[: sizes["layers"]]
        return dataclasses.replace(base, vocab_size=11, **sizes)
    raw = next(raw for raw, _ in PUBLISHED.values() if raw["model_type"] == family)
    # What is listed by layer follows from the number of layers where it is not listed.
    raw = {key: raw[key] for key in raw if key not in ("layer_types", "no_rope_layers")}
    change: dict[str, Any] = {
        "vocab_size": 11,
        "hidden_size": draw(st.integers(1, 9)),
        "num_hidden_layers": sizes["layers"],
        "intermediate_size": sizes["neurons"],
        "num_attention_heads": kv_heads * sharing,
        "num_key_value_heads": kv_heads,
        "head_dim": 2 * draw(st.integers(1, 3)),
        "tie_word_embeddings": sizes["tied"],
        "rope_scaling": None,
        "partial_rotary_factor": 1.0,
    }
    for key, least in EXPERTS.items():
        change |= {key: draw(st.integers(least, least + 2))} if key in raw else {}
    for key in ("attention_bias", "mlp_bias"):
        change |= {key: draw(st.booleans())} if raw.get(key) is False else {}
    # Phi-3's are always without.
    return read(raw | change | ({"attention_bias": False} if family == "phi3" else {}))
