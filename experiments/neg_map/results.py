"""What the map reports of each prompt, computed from the measurements that its folder holds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from experiments.reporting import statistics
from experiments.reporting.statistics import Agreement, RangeStatistics
from negjax.execution.conventions import Convention, sign
from negjax.storage.store import RunFolder


@dataclass(frozen=True, kw_only=True)
class Named:
    """A neuron to point at."""

    layer: int
    neuron: int
    value: float
    """NEG."""


@dataclass(frozen=True, kw_only=True)
class Map:
    """One prompt's neurons; [l, F] for its l finished layers."""

    prompt: int
    layers: np.ndarray
    """[l], their numbers."""
    probability: float
    """P(answer), unperturbed."""
    noise: float
    """Standard deviation of P from rounding."""
    bound: float
    """Largest |ΔP| that rounding alone explains."""
    activation: np.ndarray
    computed: np.ndarray
    """CG."""
    slope: np.ndarray
    """NEG."""
    pearson: np.ndarray
    largest_change: np.ndarray
    statistics: RangeStatistics
    """Of all its neurons."""
    convention: Convention
    """Of the shifts."""

    @property
    def neurgrad(self) -> np.ndarray:
        """[l, F]."""
        return self.computed * sign(self.activation)

    @property
    def predicted(self) -> tuple[str, np.ndarray, Agreement]:
        """Name, values [l, F] and agreement with NEG of the slope at 0 under the convention."""
        agreements = self.statistics.predictions
        if self.convention == "signed":
            return "NeurGrad", self.neurgrad, agreements["neurgrad"]
        return "CG", self.computed, agreements["computed"]

    def strongest(self, count: int) -> list[Named]:
        """The `count` neurons of largest |NEG|, the strongest first."""
        return strongest(self.layers, self.slope, count)


def strongest(layers: np.ndarray, slope: np.ndarray, count: int) -> list[Named]:
    """Returns the neurons of largest |NEG|, the lowest flat index first among equals.

    Args:
        layers: [l], numbers of the layers.
        slope: [l, F], NEG.
        count: how many.
    """
    flat = np.argsort(-np.abs(slope).reshape(-1), kind="stable")[:count]
    return [
        Named(layer=int(layers[row]), neuron=int(i), value=float(slope[row, i]))
        for row, i in zip(*np.divmod(flat, slope.shape[1]), strict=True)
    ]


def read_map(
    folder: RunFolder,
    prompt: int,
    layers: Sequence[int],
    shifts: np.ndarray,
    convention: Convention,
) -> Map:
    """Reads a prompt's finished layers and fits lines to their changes at shifts [X]."""
    changes = np.stack([folder.read("change", (prompt, layer)) for layer in layers])
    activation = folder.read("activation", (prompt,))[layers]
    computed = folder.read("computed", (prompt,))[layers]
    noise = folder.read("noise", (prompt,))
    bound = statistics.noise_bound(noise)
    fits = statistics.fit(shifts, changes)
    predictions = {"neurgrad": computed * sign(activation), "computed": computed}
    shape = activation.shape
    return Map(
        prompt=prompt,
        layers=np.asarray(layers),
        probability=float(folder.read("baseline", (prompt,))),
        noise=float(noise),
        bound=float(bound),
        activation=activation,
        computed=computed,
        slope=fits.slope.reshape(shape),
        pearson=fits.pearson.reshape(shape),
        largest_change=fits.largest_change.reshape(shape),
        statistics=statistics.range_statistics(
            float(np.abs(shifts).max()),
            fits,
            np.full(activation.size, bound),
            {name: value.reshape(-1) for name, value in predictions.items()},
        ),
        convention=convention,
    )


def neuron_table(of_prompt: Map) -> pa.Table:
    """Returns one row a neuron of a prompt."""
    size, neurons = of_prompt.slope.size, of_prompt.slope.shape[1]
    columns = {
        "prompt": np.full(size, of_prompt.prompt),
        "layer": np.repeat(of_prompt.layers, neurons),
        "neuron": np.tile(np.arange(neurons), len(of_prompt.layers)),
        "activation": of_prompt.activation,
        "computed": of_prompt.computed,
        "neurgrad": of_prompt.neurgrad,
        "neg": of_prompt.slope,
        "pearson": of_prompt.pearson,
        "largest_change": of_prompt.largest_change,
        "within_noise": of_prompt.largest_change < of_prompt.bound,
    }
    return pa.table({name: value.reshape(-1) for name, value in columns.items()})
