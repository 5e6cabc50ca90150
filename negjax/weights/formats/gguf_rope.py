"""RoPE's scaling as metadata and tensors of a GGUF file say it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from negjax.model.rope import yarn_factor

DIVISORS = "rope_freqs.weight"
"""Tensor of the divisor of each frequency, in which Llama 3's scaling is stored."""
FACTORS = {"short_factor": "rope_factors_short.weight", "long_factor": "rope_factors_long.weight"}
"""By the key of `rope_scaling`, the tensors of `longrope`."""
KINDS = ("none", "linear", "yarn", "longrope")

_YARN = {
    "yarn_beta_fast": "beta_fast",
    "yarn_beta_slow": "beta_slow",
    "yarn_attn_factor": "attention_factor",
}
_YARN_USUAL = {"yarn_ext_factor": 1.0, "yarn_log_multiplier": 0.0}
"""What changes nothing with this value."""


def rope_scaling(
    metadata: dict[str, Any],
    factors: Mapping[str, Sequence[float]],
    context: object,
    origin: str,
) -> dict[str, Any] | None:
    """`rope_scaling` of config.json; None where there is none.

    Args:
        metadata: by key after the architecture; what it understands is taken out.
        factors: by key of `rope_scaling`, values of the tensors in `FACTORS` that are there.
        context: the model's context length, as the file gives it.
        origin: the file, for errors.

    Raises:
        ValueError: the kind is not implemented, or a part of it is missing.
    """
    kind = metadata.pop("rope.scaling.type", "longrope" if factors else "linear")
    if kind not in KINDS:
        raise ValueError(
            f"{origin}: rope.scaling.type is {kind!r}; expected one of {', '.join(KINDS)}"
        )
    metadata.pop("rope.scaling.finetuned", None)
    original = metadata.pop("rope.scaling.original_context_length", context)
    if kind == "longrope":
        return _longrope(metadata, factors, original, origin)
    older = metadata.pop("rope.scale_linear", 1.0)
    # 0 stands for none.
    factor = metadata.pop("rope.scaling.factor", older) or 1.0
    if kind == "none" or (kind == "linear" and factor == 1.0):
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    for key, usual in _YARN_USUAL.items():
        if metadata.get(f"rope.scaling.{key}") == usual:
            del metadata[f"rope.scaling.{key}"]
    given = {
        theirs: metadata.pop(f"rope.scaling.{key}")
        for key, theirs in _YARN.items()
        if f"rope.scaling.{key}" in metadata
    }
    usual = yarn_factor(factor)
    attention = given.pop("attention_factor", usual)
    if not math.isclose(attention, usual, rel_tol=1e-4):
        # Programs differ in whether it replaces the usual one or multiplies it.
        raise ValueError(
            f"{origin}: rope.scaling.yarn_attn_factor is {attention}, expected {usual:.6g}, 0.1 · "
            f"log({factor}) + 1; what another one means differs between programs"
        )
    yarn = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    return yarn | given


def _longrope(
    metadata: dict[str, Any],
    factors: Mapping[str, Sequence[float]],
    original: object,
    origin: str,
) -> dict[str, Any]:
    attention = metadata.pop("rope.scaling.attn_factor", None)
    missing = [name for key, name in FACTORS.items() if key not in factors]
    if attention is None:
        missing.append("rope.scaling.attn_factor")
    if missing:
        raise ValueError(
            f"{origin}: RoPE's scaling is longrope, and {' and '.join(missing)} missing; convert "
            "the model to GGUF again"
        )
    return {
        "rope_type": "longrope",
        "original_max_position_embeddings": original,
        "attention_factor": attention,
        **factors,
    }
