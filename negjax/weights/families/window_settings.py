"""Which layers see how far, as config.json says it, in the four ways of the Llama relatives."""

from typing import Any, Literal

from negjax.model.config import ModelConfig
from negjax.weights.families.settings import Settings, unwritable

FULL, WINDOWED = "full_attention", "sliding_attention"
"""Types of layers."""

WindowRule = Literal["none", "always", "flagged", "typed"]
"""What the setting `sliding_window` means. none: nothing to transformers, though a file that has it
means another program's, whose context is cut to it. always: a window of all layers, 4,096 where the
file does not mention it. flagged: one of some layers, if `use_sliding_window` says so. typed: one
of the layers that `layer_types` names, or else of all but every n-th."""

Windows = tuple[int | None, ...]


def read_windows(
    settings: Settings, rule: WindowRule, layers: int, period: int, unplaced: tuple[int, ...]
) -> Windows:
    """Windows by layer; empty where there is none.

    Args:
        period: n of the rule `typed`.
        unplaced: layers without RoPE: where the file has a rule `flagged`, those and no others
            have a window unless the file lists types of layers.

    Raises:
        ValueError: naming the file and the key.
    """
    if rule == "none":
        return ()
    window = settings.raw("sliding_window", None)
    if rule == "always" and window is None and "sliding_window" in settings:
        return ()
    if rule == "flagged":
        active = settings.flag("use_sliding_window", False)
        windowed = _flagged(settings, layers, unplaced)
        if not active or window is None or not any(windowed):
            return ()
    elif rule == "typed":
        windowed = _typed(settings, layers, period)
    else:
        settings.flag("use_sliding_window", True)
        layer_types(settings, layers)
        windowed = [True] * layers
    size = settings.integer("sliding_window", 4096)
    return tuple(size if there else None for there in windowed)


def foreign_window(settings: Settings, rule: WindowRule, context: int) -> int:
    """The context, cut to the window of a file whose family has none."""
    if rule != "none":
        return context
    active = settings.flag("use_sliding_window", True)
    layer_types(settings, None)
    settings.raw("max_window_layers", None)
    window = settings.raw("sliding_window", None)
    return min(context, settings.integer("sliding_window")) if active and window else context


def write_windows(config: ModelConfig, rule: WindowRule) -> dict[str, Any]:
    """The settings that `read_windows` reads as the config's."""
    sizes = {window for window in config.windows if window is not None}
    if rule == "none" and not sizes:
        return {}
    if len(sizes) > 1 or (rule == "none") or (rule == "always" and None in config.windows):
        raise unwritable("windows", config.windows)
    size = next(iter(sizes), None)
    if rule == "always":
        return {"sliding_window": size}
    windows = config.windows or (None,) * config.layers
    types = [FULL if window is None else WINDOWED for window in windows]
    if rule == "flagged":
        flagged = {"use_sliding_window": size is not None}
        return (
            flagged if size is None else {**flagged, "sliding_window": size, "layer_types": types}
        )
    # transformers wants a number in any case.
    return {"sliding_window": size or config.context_length, "layer_types": types}


def layer_types(settings: Settings, layers: int | None) -> list[str] | None:
    """`layer_types`, one a layer; None where the file has none."""
    kinds = settings.raw("layer_types", None)
    if kinds is None:
        return None
    settings.each_of("layer_types", FULL, WINDOWED)
    if layers is not None and len(kinds) != layers:
        raise settings.wrong("layer_types", f"a list of {layers} types, one a layer")
    return list(kinds)


def _flagged(settings: Settings, layers: int, unplaced: tuple[int, ...]) -> list[bool]:
    full_layers = settings.raw("max_window_layers", 28)
    if isinstance(full_layers, bool) or not isinstance(full_layers, int):
        raise settings.wrong("max_window_layers", "a whole number")
    kinds = layer_types(settings, layers)
    if kinds is not None:
        return [kind == WINDOWED for kind in kinds]
    if unplaced:
        return [layer in unplaced for layer in range(layers)]
    return [layer >= full_layers for layer in range(layers)]


def _typed(settings: Settings, layers: int, period: int) -> list[bool]:
    for key in ("sliding_window_pattern", "_sliding_window_pattern"):
        period = settings.integer(key, period)
    kinds = layer_types(settings, layers)
    if kinds is None:
        return [(layer + 1) % period != 0 for layer in range(layers)]
    return [kind == WINDOWED for kind in kinds]
