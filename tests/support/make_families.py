"""Makes docs/families.md, what runs, from the registry: `python -m tests.support.make_families`.

Differences from PyTorch are measured anew, with the stored models of `tests/golden/families`.
"""

import jax

from negjax.model.config import ModelConfig
from negjax.storage.given_files import read_json
from negjax.weights.families import FAMILIES
from negjax.weights.families.common import Family
from tests.support.family_logits import CASES, FOLDER, error
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "families.md"
HEAD = """# Families

What `negjax.load` reads, from the registry; `python -m tests.support.make_families` writes this
page. A family is a `model_type` of config.json. Safetensors directories of all of them load, and
GGUF files of the architectures that are named. Every family has tiny stored models, whose logits by
PyTorch in float64 are the reference. The last two columns are the largest difference of a logit,
over the largest logit, of all its stored models: with float32 weights, and with float64 weights,
where PyTorch's and XLA's float32 sines of RoPE differ in the last place. The limits that tests hold
to stand in [tolerances](tolerances.md).

| family | short names | sites | blocks | GGUF | stored models | float32 | float64 |
|---|---|---|---|---|---|---|---|
"""

PLACEMENTS = {
    "pre": "norms of what sublayers read",
    "post": "norms of sums",
    "output": "norms of what sublayers return",
    "sandwich": "norms of what sublayers read and return",
}


def features(c: ModelConfig) -> list[str]:
    """What a block of this config has, in words."""
    ropes = [rope for rope in c.ropes if rope is not None]
    scaled = (c.embedding_scale, c.residual_scale, c.logit_scale)
    words = {
        PLACEMENTS[c.norm_placement]: True,
        "none of the first layer's attention": not c.first_norm,
        "norm scales counted from 1": c.norm_offset,
        "a norm of the embeddings": c.embedding_norm,
        "norms of each query and key head": c.qk_norm == "head",
        "norms of all queries and keys together": c.qk_norm == "width",
        f"gated {c.activation}": c.gated,
        c.activation: not c.gated,
        "learned positions": not ropes,
        "RoPE": ropes,
        "RoPE of a part of each head": any(rope.width for rope in ropes),
        "RoPE of neighbours": any(rope.neighbours for rope in ropes),
        "two RoPEs": c.local_rope is not None,
        "layers without RoPE": c.unplaced_layers,
        "linear RoPE": any(rope.linear_factor != 1 for rope in ropes),
        "llama3": any(rope.llama3 for rope in ropes),
        "YaRN": any(rope.yarn for rope in ropes),
        "longrope": any(rope.factors for rope in ropes),
        "windows": c.windows,
        "experts": c.experts,
        "grouped queries": c.kv_heads < c.heads,
        "biases": c.qkv_bias or c.ffn_bias,
        "parallel sublayers": c.parallel != "none",
        "multipliers": any(scale != 1 for scale in scaled),
        "capped scores": c.attention_cap,
        "capped logits": c.logit_cap,
        "a masked LM's head": c.mlm_head,
    }
    return [word for word, there in words.items() if there]


def cases_of(family: Family) -> list[str]:
    """Names of its stored models."""
    return [
        case
        for case in CASES
        if read_json(FOLDER / case / "config.json")["model_type"] == family.name
    ]


def row(family: Family) -> list[str]:
    """Cells of a family, but for what is measured."""
    cases = cases_of(family)
    configs = [
        family.config_from_hf(read_json(FOLDER / case / "config.json"), case) for case in cases
    ]
    known = dict.fromkeys(word for config in configs for word in features(config))
    return [
        f"`{family.name}`",
        ", ".join(family.short_names),
        ", ".join(f"`{site}`" for site in configs[0].sites),
        ", ".join(known),
        "" if family.gguf is None else f"`{family.gguf.architecture}`",
        ", ".join(cases),
    ]


def measured(family: Family) -> list[str]:
    """Cells of differences from PyTorch."""
    single = max(error(case, "float32")[0] for case in cases_of(family))
    with jax.enable_x64(True):
        double = max(error(case, "float64")[0] for case in cases_of(family))
    return [f"{single:.0e}", f"{double:.0e}"]


def table(rows: list[list[str]]) -> str:
    """Markdown of cells."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


if __name__ == "__main__":
    families = FAMILIES.values()
    PAGE.write_text(HEAD + table([row(f) + measured(f) for f in families]), encoding="utf-8")
