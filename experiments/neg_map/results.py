"""What the map reports of each prompt, computed from the measurements that its folder holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from experiments.inputs import facts
from experiments.reporting import statistics
from experiments.reporting.statistics import Agreement, RangeStatistics
from negjax.execution.conventions import sign
from negjax.measurements.linearity import paper_grid
from negjax.storage.store import RunFolder

PREDICTIONS = {"neurgrad": "NeurGrad", "computed": "CG"}
"""Of NEG, by name of their column."""


class Grid(NamedTuple):
    """What NEG is the slope over, and what was replayed for it."""

    radius: float
    step: float
    shifts: np.ndarray
    """Replayed, ±, ascending."""


@dataclass(frozen=True, kw_only=True)
class Map:
    """One prompt's neurons in its l finished layers."""

    prompt: int
    text: str
    answer: str
    layers: np.ndarray
    """[l], their numbers."""
    probability: float
    """P(answer), unperturbed."""
    noise: float
    """Standard deviation of P from rounding."""
    bound: float
    """Largest |ΔP| that rounding alone explains."""
    neurons: Mapping[str, np.ndarray]
    """[l · F] each: prompt, layer, neuron, activation, computed, neurgrad, neg …"""
    statistics: RangeStatistics
    """Of all its neurons."""
    predictor: str
    """The one of `PREDICTIONS` that is the slope at 0 under the shift convention."""

    @property
    def name(self) -> str:
        """Of the predictor, for readers."""
        return PREDICTIONS[self.predictor]

    @property
    def agreement(self) -> Agreement:
        """Of the predictor with NEG."""
        return self.statistics.predictions[self.predictor]

    @property
    def size(self) -> int:
        """How many neurons."""
        return len(self.neurons["neg"])

    @property
    def rule_error(self) -> float:
        """Median over the neurons of the error of NEG, over the median |NEG|."""
        size = float(np.median(np.abs(self.neurons["neg"])))
        return float(np.median(self.neurons["error"])) / size if size else 0.0

    @property
    def within_noise(self) -> float:
        """Share of the neurons that never leave it."""
        return self.statistics.within_noise / self.size

    def grid(self, column: str) -> np.ndarray:
        """A column as [l, F]."""
        return self.neurons[column].reshape(len(self.layers), -1)

    def strongest(self, count: int) -> list[dict[str, Any]]:
        """The neurons of largest |NEG|, each by column."""
        return self._rows(strongest(self.neurons["neg"], count))

    def furthest(self, count: int) -> list[dict[str, Any]]:
        """The neurons whose NEG is furthest from the predictor's, each by column."""
        rows = strongest(self.neurons["neg"] - self.neurons[self.predictor], count)
        return self._rows(rows)

    def _rows(self, rows: np.ndarray) -> list[dict[str, Any]]:
        return [{name: values[row].item() for name, values in self.neurons.items()} for row in rows]


def strongest(slope: np.ndarray, count: int) -> np.ndarray:
    """Returns the indices of the largest |slope| [n], the lowest index first among equals."""
    return np.argsort(-np.abs(slope), kind="stable")[:count]


def read_map(
    inputs: facts.Inputs,
    folder: RunFolder,
    prompt: int,
    layers: Sequence[int],
    grid: Grid,
) -> Map:
    """Reads a prompt's finished layers."""
    change, slope, error, pearson = (
        np.stack([folder.read(name, (prompt, layer)) for layer in layers])
        for name in ("change", "neg", "error", "pearson")
    )
    fits = statistics.Fits(
        points=len(paper_grid(grid.radius, grid.step)),
        slope=slope.reshape(-1),
        pearson=pearson.reshape(-1),
        largest_change=np.abs(change).max(-1).reshape(-1),
    )
    activation, computed = (
        folder.read(name, (prompt,))[layers] for name in ("activation", "computed")
    )
    width, size = activation.shape[1], activation.size
    noise = folder.read("noise", (prompt,))
    bound = statistics.noise_bound(noise)
    neurons = {
        "prompt": np.full(size, prompt),
        "layer": np.repeat(layers, width),
        "neuron": np.tile(np.arange(width), len(layers)),
        "activation": activation.reshape(-1),
        "computed": computed.reshape(-1),
        "neurgrad": (computed * sign(activation)).reshape(-1),
        "neg": fits.slope,
        "error": error.reshape(-1),
        "pearson": fits.pearson,
        "largest_change": fits.largest_change,
        "within_noise": fits.largest_change < bound,
    }
    predictions = {name: neurons[name] for name in PREDICTIONS}
    return Map(
        prompt=prompt,
        text=inputs.probes.prompts[prompt],
        answer=inputs.probes.targets[prompt][0],
        layers=np.asarray(layers),
        probability=float(folder.read("baseline", (prompt,))),
        noise=float(noise),
        bound=float(bound),
        neurons=neurons,
        statistics=statistics.range_statistics(
            grid.radius, fits, np.full(size, bound), predictions
        ),
        predictor="neurgrad" if facts.convention() == "signed" else "computed",
    )
