"""How well the effects of many neurons add up, from the measurements that a run's folder holds."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from experiments.multi_neuron.sets import Design
from experiments.reporting import intervals, statistics
from experiments.reporting.intervals import Estimate
from negjax.measurements.linearity import fit_changes
from negjax.storage.store import RunFolder

VARIANTS = {
    "added": "shifts are added to what the activations have become",
    "clamped": "activations are set to their unperturbed values plus the shifts",
}
"""What a set's values do to activations of several layers."""

PREDICTIONS = ("neg", "gradient")
"""Σ NEG x, and Σ x times the gradient along the convention's direction."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """How well a sum over neurons predicts the change that they make together."""

    pearson: float | None
    """Over all sets of all prompts."""
    pearson_interval: Estimate
    """The same with its interval over the prompts."""
    prompt_pearson: float | None
    """Median over prompts of the r of each one's sets."""
    explained_interval: Estimate
    """Likewise."""
    explained: float | None
    """Share of the measured changes' variance that the prediction explains, 1 - SSE/SST: 1 where
    it is right, below 0 where it is worse than the mean change."""
    slope: float | None
    """Of the line through the origin, measured on predicted: below 1, the change falls short."""
    impossible: float | None
    """Share of predictions of a P below 0 or above 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Additivity:
    """Sets of one size, and how they were chosen and shifted."""

    choice: str
    variant: str
    size: int
    magnitude: float | None
    """None: all of them."""
    signs: str | None
    """None: all of them."""
    sets: int
    predictions: dict[str, Prediction]
    change: float | None
    """Median |ΔP|."""
    kl: float | None
    """Median, nats."""
    entropy: float | None
    """Median change, nats."""
    kept_top: float | None
    """Share of the sets that leave the likeliest token in place."""
    within_noise: float | None
    """Share of the sets whose |ΔP| rounding alone explains."""

    @property
    def neg(self) -> Prediction:
        """Of Σ NEG x."""
        return self.predictions["neg"]

    @property
    def gradient(self) -> Prediction:
        """Of Σ gradient x."""
        return self.predictions["gradient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """Everything the report shows. Q counts sets of neurons, over prompts and choices."""

    choices: list[str]
    """Those of which something is finished, in the order asked for."""
    prompts: np.ndarray
    """[b], prompts of which something is finished."""
    probability: np.ndarray
    """[b], P(answer), unperturbed."""
    noise: np.ndarray
    """[b], rounding noise of P."""
    sets: dict[str, np.ndarray]
    """[Q] each: prompt, choice, size, draw, shift, predictions, and what was measured."""
    neurons: int
    """Whose NEG was measured, alone."""

    @property
    def sizes(self) -> list[int]:
        """Ascending."""
        return np.unique(self.sets["size"]).tolist()

    def sizes_of(self, choice: str) -> list[int]:
        """Those of one choice, ascending."""
        return np.unique(self.sets["size"][self.sets["choice"] == choice]).tolist()

    def by_size(
        self, choice: str, variant: str, magnitude: float | None = None
    ) -> list[Additivity]:
        """What holds of sets of each size, ascending."""
        return [self.of(choice, variant, size, magnitude) for size in self.sizes_of(choice)]

    @property
    def magnitudes(self) -> list[float]:
        """Ascending."""
        return np.unique(self.sets["magnitude"]).tolist()

    @property
    def signs(self) -> list[str]:
        """Those that were measured."""
        return np.unique(self.sets["signs"]).tolist()

    def of(
        self,
        choice: str,
        variant: str,
        size: int,
        magnitude: float | None = None,
        signs: str | None = None,
    ) -> Additivity:
        """What holds of sets of one size."""
        keep = (self.sets["choice"] == choice) & (self.sets["size"] == size)
        if magnitude is not None:
            keep &= self.sets["magnitude"] == magnitude
        if signs is not None:
            keep &= self.sets["signs"] == signs
        some = {name: values[keep] for name, values in self.sets.items()}
        change = some[f"change_{variant}"]
        return Additivity(
            choice=choice,
            variant=variant,
            size=size,
            magnitude=magnitude,
            signs=signs,
            sets=len(change),
            predictions={
                name: prediction(some[f"predicted_{name}"], change, some) for name in PREDICTIONS
            },
            change=statistics.median(np.abs(change)),
            kl=statistics.median(some[f"kl_{variant}"]),
            entropy=statistics.median(some[f"entropy_{variant}"] - some["entropy_before"]),
            kept_top=statistics.share(some[f"kept_top_{variant}"] == 1),
            within_noise=statistics.share(np.abs(change) < some["bound"]),
        )


def prediction(
    predicted: np.ndarray, change: np.ndarray, sets: Mapping[str, np.ndarray]
) -> Prediction:
    """How well predictions [Q] agree with changes [Q] of sets with `prompt` and `baseline` [Q]."""
    by_prompt = []
    for prompt in np.unique(sets["prompt"]):
        kept = sets["prompt"] == prompt
        r = statistics.correlation(predicted[kept], change[kept])
        by_prompt += [] if r is None else [r]
    slope = fit_changes(predicted, change)[0] if (predicted != 0).any() else None
    after = sets["baseline"] + predicted
    return Prediction(
        pearson=statistics.correlation(predicted, change),
        pearson_interval=intervals.pearson(predicted, change, sets["prompt"]),
        prompt_pearson=statistics.median(np.asarray(by_prompt)),
        explained=statistics.explained(predicted, change),
        explained_interval=intervals.explained(predicted, change, sets["prompt"]),
        slope=None if slope is None else float(slope),
        impossible=statistics.share((after < 0) | (after > 1)),
    )


def analyse(
    folder: RunFolder, done: Sequence[tuple[int, str]], designs: Mapping[str, Design]
) -> Results:
    """Reads what is finished.

    Args:
        done: (prompt, choice) pairs.
        designs: by choice, in the order of the folder's arrays.
    """
    choices = list(designs)
    parts = [_sets(folder, prompt, choices.index(c), c, designs[c]) for prompt, c in done]
    prompts = np.unique([prompt for prompt, _ in done])
    return Results(
        choices=[c for c in choices if any(c == finished for _, finished in done)],
        prompts=prompts,
        probability=folder.read("baseline")[prompts],
        noise=folder.read("noise")[prompts],
        sets={name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        neurons=sum(
            int(np.isfinite(folder.read("neg", (prompt, choices.index(c)))).sum())
            for prompt, c in done
        ),
    )


def _sets(
    folder: RunFolder, prompt: int, number: int, choice: str, sets: Design
) -> dict[str, np.ndarray]:
    count, at = len(sets), (prompt, number)
    noise = float(folder.read("noise", (prompt,)))
    columns = {
        "prompt": np.full(count, prompt),
        "choice": np.full(count, choice),
        "size": sets.size,
        "draw": sets.draw,
        "signs": np.where(sets.random_signs, "random", "same"),
        "shift": sets.shift,
        "magnitude": np.abs(sets.shift),
        "baseline": np.full(count, float(folder.read("baseline", (prompt,)))),
        "bound": np.full(count, float(statistics.noise_bound(np.asarray(noise)))),
        "entropy_before": np.full(count, float(folder.read("entropy_before", at))),
    }
    for name in PREDICTIONS:
        columns[f"predicted_{name}"] = folder.read(f"predicted_{name}", at)[:count]
    for name in ("change", "kl", "entropy", "kept_top"):
        values = folder.read(name, at)[:count]
        columns |= {f"{name}_{variant}": values[:, v] for v, variant in enumerate(VARIANTS)}
    return columns


def set_table(results: Results) -> pa.Table:
    """One row a set."""
    return pa.table(results.sets)


def neuron_table(folder: RunFolder, done: Sequence[tuple[int, str]]) -> pa.Table:
    """One row a neuron of a pool."""
    choices, parts = folder.attributes["choices"], []
    for prompt, choice in done:
        at = (prompt, choices.index(choice))
        neg = folder.read("neg", at)
        used = np.isfinite(neg)
        neurons = folder.read("neurons", at)[used]
        parts.append(
            pa.table(
                {
                    "prompt": np.full(used.sum(), prompt),
                    "choice": np.full(used.sum(), choice),
                    "layer": neurons[:, 0],
                    "neuron": neurons[:, 1],
                    "activation": folder.read("activation", at)[used],
                    "neg": neg[used],
                    "gradient": folder.read("gradient", at)[used],
                }
            )
        )
    return pa.concat_tables(parts)
