"""RoPE as config.json says it: one for all layers, or one a type of layer; older and newer keys.

Frequencies follow `transformers.modeling_rope_utils`. Two kinds depend on how long a text is:
`dynamic` begins to slow down beyond `max_position_embeddings`, and `longrope` takes other factors
beyond `original_max_position_embeddings`. Both are read as what they are up to there, which is then
the model's context.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from negjax.model.rope import Llama3Scaling, Rope, YarnScaling, yarn_factor
from negjax.weights.families.settings import Settings, unwritable

KINDS = ("default", "linear", "dynamic", "llama3", "yarn", "longrope")


class Defaults(NamedTuple):
    """What RoPE is where config.json does not say."""

    head_width: int
    context: int
    """`max_position_embeddings`."""
    theta: float = 10000.0
    share: float | None = None
    """Which part of a head's entries turns; None: all of them, and no file may say otherwise."""
    other_names: Mapping[str, str] = {}
    """Kinds as older files of the family call them."""


class Placed(NamedTuple):
    """RoPE, and the tokens up to which it is this one."""

    rope: Rope
    context: int


def read_rope(settings: Settings, defaults: Defaults) -> Placed:
    """RoPE as `rope_parameters` gives it, or the older `rope_theta` and `rope_scaling`.

    Raises:
        ValueError: naming the file and the key.
    """
    newer, older = settings.raw("rope_parameters", None), settings.raw("rope_scaling", None)
    if newer is not None and older is not None and newer != older:
        raise settings.wrong("rope_scaling", f"the same as rope_parameters, {newer!r}")
    inner = settings.nested("rope_parameters") or settings.nested("rope_scaling")
    theta = settings.number("rope_theta", defaults.theta)
    defaults = defaults._replace(theta=theta, share=_share(settings, defaults))
    placed = _read(inner, settings, defaults, typed=False)
    if settings.raw("rope_theta", placed.rope.theta) != placed.rope.theta:
        raise settings.wrong("rope_theta", f"the same as in rope_parameters, {placed.rope.theta}")
    return placed


def read_typed_ropes(
    settings: Settings, defaults: Defaults, older_thetas: Mapping[str, tuple[str, float]]
) -> dict[str, Placed]:
    """RoPE by type of layer, of families whose layers differ in it.

    Args:
        older_thetas: by type of layer the older key of its base, and the base without it. What the
            older `rope_scaling` says is of the first type alone.

    Raises:
        ValueError: naming the file and the key.
    """
    newer = settings.nested("rope_parameters")
    scaling = settings.nested("rope_scaling")
    one_base = len({key for key, _ in older_thetas.values()}) == 1
    # Of families with one base, transformers 5.3 wrote one object of all layers.
    flat = newer is not None and one_base and "rope_type" in newer
    if newer is not None and flat:
        newer.only("rope_type", "default")
    defaults = defaults._replace(share=_share(settings, defaults))
    placed = {}
    for kind, (key, theta) in older_thetas.items():
        older = settings.number(key, theta)
        inner = scaling
        if newer is not None:
            inner = newer if flat else newer.nested(kind)
        placed[kind] = _read(inner, settings, defaults._replace(theta=older), typed=True)
        if key in settings and newer is not None and older != placed[kind].rope.theta:
            raise settings.wrong(key, f"the same as in rope_parameters, {placed[kind].rope.theta}")
        scaling = None
    return placed


def _read(inner: Settings | None, outer: Settings, defaults: Defaults, *, typed: bool) -> Placed:
    """What the object `inner` says, of a type of layers or of all, beside the whole config.json."""
    settings = Settings({}, outer.origin) if inner is None else inner
    theta = settings.number("rope_theta", defaults.theta)
    share = _share(settings, defaults)
    turned = int(defaults.head_width * (1.0 if share is None else share))
    if not 0 < turned <= defaults.head_width or turned % 2:
        where = settings if "partial_rotary_factor" in settings else outer
        raise where.wrong(
            "partial_rotary_factor",
            f"a share of the head width, {defaults.head_width}, that is an even number of entries",
        )
    rope = Rope(theta=theta, width=None if turned == defaults.head_width else turned)
    given = settings.raw("rope_type", settings.raw("type", "default"))
    kind = defaults.other_names.get(given, given) if isinstance(given, str) else given
    if kind not in KINDS:
        known = ", ".join(KINDS)
        key = "rope_type" if "rope_type" in settings else "type"
        raise settings.wrong(key, f"one of {known}: negjax implements no other RoPE scaling")
    context = defaults.context
    if kind == "dynamic":
        settings.number("factor")
        settings.raw("original_max_position_embeddings", None)
    if kind in ("default", "dynamic"):
        return Placed(rope, context)
    if kind == "linear":
        linear = dataclasses.replace(rope, linear_factor=settings.number("factor"))
        return Placed(linear, context)
    original = settings.integer("original_max_position_embeddings", context)
    if not typed:  # Phi-3's files say it outside, too.
        original = outer.integer("original_max_position_embeddings", original)
    if kind == "llama3":
        scaling = Llama3Scaling(
            factor=settings.number("factor"),
            low_freq_factor=settings.number("low_freq_factor"),
            high_freq_factor=settings.number("high_freq_factor"),
            original_context=original,
        )
        return Placed(dataclasses.replace(rope, llama3=scaling), context)
    factor = settings.number("factor", context / original)
    if kind == "longrope":
        longrope = _longrope(settings, rope, turned // 2, factor, original)
        return Placed(longrope, min(context, original))
    yarn = YarnScaling(
        factor=factor,
        original_context=original,
        beta_fast=settings.number("beta_fast", 32.0),
        beta_slow=settings.number("beta_slow", 1.0),
        truncate=settings.flag("truncate", True),
    )
    scale, whole = settings.raw("mscale", None), settings.raw("mscale_all_dim", None)
    usual = yarn_factor(factor)
    if scale and whole:
        scale, whole = settings.number("mscale"), settings.number("mscale_all_dim")
        usual = yarn_factor(factor, scale) / yarn_factor(factor, whole)
    attention = settings.number("attention_factor", usual)
    return Placed(dataclasses.replace(rope, yarn=yarn, attention_factor=attention), context)


def _share(settings: Settings, defaults: Defaults) -> float | None:
    """Which part of a head's entries turns, where the family can turn a part."""
    if defaults.share is None:
        settings.only("partial_rotary_factor", 1.0)
        return None
    return settings.number("partial_rotary_factor", defaults.share)


def _longrope(settings: Settings, rope: Rope, pairs: int, factor: float, original: int) -> Rope:
    """The RoPE of texts within the original context (LongRoPE, arXiv 2402.13753)."""
    short, _ = (settings.numbers(key, pairs) for key in ("short_factor", "long_factor"))
    usual = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    attention = settings.number("attention_factor", usual)
    return dataclasses.replace(rope, factors=short, attention_factor=attention)


def write_rope(rope: Rope, head_width: int, context: int) -> dict[str, Any]:
    """The older keys, which older and newer transformers both read."""
    kind, scaling = _written(rope, context)
    written: dict[str, Any] = {
        "rope_theta": rope.theta,
        "rope_scaling": None if kind == "default" else {"rope_type": kind, **scaling},
    }
    if rope.width is not None:
        written["partial_rotary_factor"] = rope.width / head_width
    return written


def write_typed_ropes(ropes: Mapping[str, Rope], context: int) -> dict[str, Any]:
    """The newer keys, of RoPE by type of layer."""
    inner = {}
    for name, rope in ropes.items():
        kind, scaling = _written(rope, context)
        inner[name] = {"rope_type": kind, "rope_theta": rope.theta, **scaling}
    return {"rope_parameters": inner}


def _written(rope: Rope, context: int) -> tuple[str, dict[str, Any]]:
    """The kind and its settings but for the base."""
    if rope.neighbours:
        raise unwritable("rope", rope)
    if rope.yarn is not None:
        return "yarn", {
            "factor": rope.yarn.factor,
            "original_max_position_embeddings": rope.yarn.original_context,
            "beta_fast": rope.yarn.beta_fast,
            "beta_slow": rope.yarn.beta_slow,
            "truncate": rope.yarn.truncate,
            "attention_factor": rope.attention_factor,
        }
    if rope.factors is not None:
        # Of texts longer than the context nothing is known, and no such text is run.
        return "longrope", {
            "factor": 1.0,
            "original_max_position_embeddings": context,
            "short_factor": list(rope.factors),
            "long_factor": list(rope.factors),
            "attention_factor": rope.attention_factor,
        }
    if rope.llama3 is not None:
        return "llama3", {
            "factor": rope.llama3.factor,
            "low_freq_factor": rope.llama3.low_freq_factor,
            "high_freq_factor": rope.llama3.high_freq_factor,
            "original_max_position_embeddings": rope.llama3.original_context,
        }
    if rope.linear_factor != 1.0:
        return "linear", {"factor": rope.linear_factor}
    return "default", {}
