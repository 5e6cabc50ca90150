"""What an atlas measures, of what, and the arrays that hold it."""

from dataclasses import dataclass

import numpy as np

from experiments.atlas.settings import Settings
from experiments.inputs import facts, slopes
from experiments.inputs.text_tables import Texts
from negjax.storage.store import ArraySpec

TOGETHER = 64
"""Facts whose gradients are saved together."""
PAIRS = 1024
"""Curves that are saved together."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured, of what."""

    inputs: facts.Inputs
    settings: Settings
    rule: slopes.Settings
    texts: Texts

    @property
    def layers(self) -> list[int]:
        """That are shown."""
        return self.settings.layers(self.inputs.lm.config.layers)

    @property
    def width(self) -> int:
        """Neurons a layer."""
        return self.inputs.lm.config.neurons

    @property
    def facts(self) -> int:
        """How many are asked."""
        return len(self.inputs.probes)

    @property
    def neurons(self) -> int:
        """How many are shown."""
        return len(self.layers) * self.width

    @property
    def degrees(self) -> int:
        """Coefficients of a change within the range of NEG: of what its rule is exact for."""
        return len(self.rule.shifts) + 2

    @property
    def strong(self) -> int:
        """Neurons with curves on more facts."""
        return min(self.settings.strong_neurons, self.neurons)

    @property
    def most_nodes(self) -> int:
        """Of a curve that is rough."""
        return 3 * self.settings.curve_nodes

    @property
    def curves(self) -> int:
        """How many are measured."""
        own, most = self.settings.own_facts, self.settings.strong_facts
        return self.neurons * own + self.strong * (most - own)

    def pairs(self, layers: slice | None = None) -> np.ndarray:
        """[N, 2], layer and index of the neurons that are shown."""
        chosen = np.asarray(self.layers if layers is None else self.layers[layers])
        index = np.tile(np.arange(self.width), len(chosen))
        result: np.ndarray = np.stack([np.repeat(chosen, self.width), index], axis=-1)
        return result


def specs(plan: Plan) -> dict[str, ArraySpec]:
    """The arrays of a run."""
    settings = plan.settings
    sizes = {
        **{"fact": plan.facts, "layer": len(plan.layers), "neuron": plan.width},
        **{"sample": settings.sample_facts, "degree": plan.degrees, "curve": plan.curves},
        **{"node": plan.most_nodes, "token": settings.top_tokens, "way": 2, "of_pair": 3},
        **{"context": settings.top_contexts, "neighbour": settings.top_neighbours},
    }
    chunks = {"fact": TOGETHER, "curve": PAIRS, "layer": 1, "sample": 1}

    def spec(meaning: str, dtype: str, *axes: str, whole: tuple[str, ...] = ()) -> ArraySpec:
        return ArraySpec(
            shape=tuple(sizes[axis] for axis in axes),
            dtype=dtype,
            axes=axes,
            meaning=meaning,
            chunks=tuple(
                sizes[axis] if axis in whole else min(sizes[axis], chunks.get(axis, sizes[axis]))
                for axis in axes
            ),
        )

    place = ("layer", "neuron")
    per_unit = "P(answer) per unit of activation"
    return {
        "probability": spec("P(answer), unperturbed", "float64", "fact"),
        "slope": spec(
            f"derivative by the shift, {per_unit}", "float32", "fact", *place, whole=("layer",)
        ),
        "tokens": spec(
            "ids that rows of W_down raise, lower", "int32", "layer", "way", "neuron", "token"
        ),
        "firing": spec("share of tokens with act(gate) > 0", "float32", *place, whole=place),
        "mean": spec("activation, over tokens", "float32", *place, whole=place),
        "deviation": spec("standard deviation of it", "float32", *place, whole=place),
        "context_value": spec("largest activations", "float32", *place, "context", whole=place),
        "context_text": spec("number of their text", "int32", *place, "context", whole=place),
        "context_token": spec("number in the text", "int32", *place, "context", whole=place),
        "sampled": spec("number of the fact", "int32", "sample"),
        "neg": spec(f"slope over the grid, {per_unit}", "float32", "sample", *place),
        "neg_error": spec("of NEG, by a rule of lower order", "float32", "sample", *place),
        "neg_noise": spec("standard deviation of NEG by rounding", "float32", "sample"),
        "near": spec(
            "of Chebyshev polynomials in shift / neg_radius: ΔP",
            "float32",
            "sample",
            *place,
            "degree",
        ),
        "pair": spec("layer, index and fact of a curve", "int32", "curve", "of_pair"),
        "series": spec(
            "of Chebyshev polynomials in shift / curve_range: P", "float64", "curve", "node"
        ),
        "series_nodes": spec("replays spent on a curve", "int32", "curve"),
        "series_error": spec("estimated largest error of a curve", "float32", "curve"),
        "series_noise": spec("standard deviation of P by rounding", "float32", "curve"),
        "neighbour": spec("numbers of the neurons among those shown", "int32", *place, "neighbour"),
        "cosine": spec("of the slopes over the facts", "float32", *place, "neighbour"),
    }
