"""Neurons of a figure that a report's reader can point at: points with their curves, and maps.

The report holds them, and the script that draws them: nothing is loaded. Where no script runs, the
figure stays what it is, a picture.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, ClassVar

import numpy as np

from experiments.reporting.escaping import shortened, visible

MOST = 5_000
"""Points of a report: more would make its file larger than its pictures."""
MOST_LETTERS = 300
"""Of a prompt or an answer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Explorer:
    """Neurons by two numbers each, and their curves."""

    axes: tuple[str, str]
    """Names of `across` and `up`."""
    radius: float
    """Largest shift of the curves."""
    prompts: Sequence[tuple[str, str]]
    """Text and answer."""
    prompt: np.ndarray
    """[P], places in `prompts`."""
    layer: np.ndarray
    """[P]."""
    neuron: np.ndarray
    """[P], within the layer."""
    across: np.ndarray
    """[P], slope of the curve at no shift."""
    up: np.ndarray
    """[P], in the same unit."""
    baseline: np.ndarray
    """[P], value of the curve at no shift."""
    error: np.ndarray
    """[P], estimated largest error of the curve."""
    coefficients: np.ndarray
    """[P, m], of Chebyshev polynomials in shift / radius, low degree first."""

    kind: ClassVar[str] = "curves"
    """Class of its element."""
    modules: ClassVar[tuple[str, ...]] = ("curves.mjs", "explorer.mjs")
    function: ClassVar[str] = "explore"
    """That draws it."""

    @property
    def data(self) -> str:
        """What the script reads, as JSON that no HTML can end."""
        of_points = ("prompt", "layer", "neuron", "across", "up", "baseline", "error")
        given = {
            "axes": self.axes,
            "radius": self.radius,
            "prompts": [
                {"text": _short(text), "answer": _short(answer)} for text, answer in self.prompts
            ],
            "arrays": {name: packed(getattr(self, name)) for name in (*of_points, "coefficients")},
        }
        return _json(given)


@dataclass(frozen=True, kw_only=True, eq=False)
class MapExplorer:
    """All neurons of some layers: what was measured of each, and what predicts it."""

    names: tuple[str, str]
    """Of `across`, the prediction, and of `up`."""
    layer: np.ndarray
    """[l], numbers of the layers."""
    across: np.ndarray
    """[l, F], per unit of activation."""
    up: np.ndarray
    """[l, F], per unit of activation."""
    activation: np.ndarray
    """[l, F], without a shift."""

    kind: ClassVar[str] = "map"
    """Class of its element."""
    modules: ClassVar[tuple[str, ...]] = (
        *Explorer.modules,
        *("neuron_map.mjs", "map_explorer.mjs"),
    )
    function: ClassVar[str] = "exploreMap"

    @property
    def data(self) -> str:
        """What the script reads, as JSON that no HTML can end."""
        arrays = ("layer", "across", "up", "activation")
        packed_ones = {name: packed(getattr(self, name)) for name in arrays}
        return _json({"names": self.names, "arrays": packed_ones})


def _json(given: Mapping[str, Any]) -> str:
    text = json.dumps(given, allow_nan=False)
    return re.sub("[<>&]", lambda letter: f"\\u{ord(letter[0]):04x}", text)


def _short(text: str) -> str:
    return shortened(visible(text), MOST_LETTERS)


def packed(values: Any, kind: str = "<f4") -> str:
    """Numbers of a kind as base64, by default little-endian float32: what `unpacked` of curves.mjs
    reads."""
    return base64.b64encode(np.ascontiguousarray(values, kind).tobytes()).decode()


def chosen(count: int) -> np.ndarray:
    """Numbers of the points to show, of so many: all, or evenly spaced ones."""
    return np.arange(0, count, -(-count // MOST) or 1)


def script(live: Iterable[Explorer | MapExplorer]) -> str:
    """The modules of a page's explorers as one, which it holds; empty where there are none."""
    kinds = {type(explorer): explorer for explorer in live}.values()
    starts = [f"begin(document, '.{each.kind}', {each.function});" for each in kinds]
    return "\n".join([modules_of(kinds), *starts, ""]) if starts else ""


def modules_of(live: Iterable[Explorer | MapExplorer]) -> str:
    """Those that explorers need, each once."""
    folder = resources.files("experiments.reporting") / "static"
    names = dict.fromkeys(name for explorer in live for name in explorer.modules)
    return joined([folder / name for name in names])


def joined(modules: Sequence[Traversable]) -> str:
    """Modules as one script, each after those that it imports: a browser loads none from a disk."""
    texts = [module.read_text(encoding="utf-8") for module in modules]
    return re.sub(r"^import .*\n|^export ", "", "\n".join(texts), flags=re.MULTILINE)


def source_hash(text: str) -> str:
    """What a page's policy calls a script or style that it holds."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
