"""Sampled neurons and their response curves: flags and measurements that studies share."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import negjax
from experiments.inputs import facts
from experiments.running import common, messages
from experiments.running.settings import define, setting
from negjax.execution.row_plans import CALL_TOKENS
from negjax.inputs.neuron_files import SUFFIXES
from negjax.inputs.neurons import all_neurons, check_neurons, random_neurons
from negjax.model.meshes import to_host
from negjax.storage import store

_NUMBER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Whose curves are measured, and how far and how finely."""

    neurons: str = setting(
        "40",
        "Neurons a prompt, drawn by --seed for each prompt anew; or `all`; or a table of them, "
        ".csv or .parquet with columns layer, index and value, as `negjax.save_neurons` writes it.",
    )
    range: float = setting(10.0, "Largest shift, in units of the activation.", least=1e-6)
    step: float = setting(0.2, "Step of the shifts that a line is fitted to.", least=1e-6)
    nodes: int = setting(
        12,
        "Shifts at which every neuron is replayed for its Chebyshev series; a neuron whose curve "
        "is rough is replayed at three times as many.",
        least=4,
    )
    group: int | None = setting(
        None,
        "Prompts that are measured and saved together. Default: by the number of neurons.",
        least=1,
    )

    @property
    def named(self) -> np.ndarray | None:
        """[N, 2], layer and index of the neurons of a table; None: there is no table."""
        if self.neurons == "all" or _NUMBER.fullmatch(self.neurons):
            return None
        with messages.of_flag(FLAGS["neurons"]):
            if Path(self.neurons).suffix.lower() not in SUFFIXES:
                raise ValueError("expected a number, all, or a table of neurons: .csv or .parquet")
            return negjax.read_neurons(self.neurons).neurons

    @property
    def grid(self) -> np.ndarray:
        """[X], shifts of the plain grid."""
        return negjax.paper_grid(self.range, self.step)

    @property
    def most_nodes(self) -> int:
        """Of a series that was refined."""
        return 3 * self.nodes

    @property
    def recorded(self) -> dict[str, Any]:
        """What determines a series, for the run's folder."""
        named = self.named
        if named is not None:
            neurons: Any = hashlib.sha256(named.tobytes()).hexdigest()
        else:
            neurons = self.neurons if self.neurons == "all" else int(self.neurons)
        return {"neurons": neurons, "range": self.range, "nodes": self.nodes}

    @property
    def attributes(self) -> dict[str, Any]:
        """What a series is to be read with."""
        return {"convention": facts.convention(), "output": "probability", "radius": self.range}

    def together(self, neurons: int, replays: int) -> int:
        """Prompts to measure and save together, of so many neurons each and replays a neuron."""
        return self.group or max(1, min(32, CALL_TOKENS // (neurons * replays)))


FLAGS = define(Settings)


def read() -> Settings:
    """Returns the settings that the flags say.

    Raises:
        ValueError: a number of neurons that is none, a range or step that is not finite, a step
            larger than the range.
    """
    settings = FLAGS.read()
    _ = settings.named
    negjax.paper_grid(settings.range, settings.step)
    return settings


def choose_neurons(inputs: facts.Inputs, settings: Settings) -> np.ndarray:
    """Returns [B, N, 2], layer and index of the neurons of each prompt."""
    config, prompts, every = inputs.lm.config, len(inputs.probes), settings.named
    if every is None and settings.neurons != "all":
        return random_neurons(config, int(settings.neurons), prompts, common.seed())
    with messages.of_flag(FLAGS["neurons"]):
        every = all_neurons(config) if every is None else check_neurons(config, every, 1)[0]
    return np.broadcast_to(every, (prompts, *every.shape))


def groups(prompts: range, size: int) -> list[range]:
    """The prompts, in groups of `size`; the last may be smaller."""
    return [range(start, min(start + size, prompts.stop)) for start in prompts[::size]]


def array_spec(group: int, dtype: str, meaning: str, *axes: tuple[str, int]) -> store.ArraySpec:
    """An array whose first axis is saved by groups of prompts."""
    names, shape = zip(*axes, strict=True)
    return store.ArraySpec(
        shape=shape,
        dtype=dtype,
        axes=names,
        meaning=meaning,
        chunks=(min(group, shape[0]), *shape[1:]),
    )


def specs(prompts: int, neurons: int, group: int) -> dict[str, store.ArraySpec]:
    """Arrays of the neurons and prompts, however the curves are measured."""
    b, n = ("prompt", prompts), ("neuron", neurons)

    def spec(dtype: str, meaning: str, *axes: tuple[str, int]) -> store.ArraySpec:
        return array_spec(group, dtype, meaning, *axes)

    return {
        "neurons": spec("int32", "layer and index of each neuron", b, n, ("layer_index", 2)),
        "activation": spec("float64", "activation a, unperturbed", b, n),
        "computed": spec("float64", "CG = dP/da, per unit of activation", b, n),
        "baseline": spec("float64", "P(answer), unperturbed", b),
        "noise": spec("float64", "standard deviation of P from rounding", b),
    }


def series_specs(
    prompts: int, neurons: int, group: int, settings: Settings
) -> dict[str, store.ArraySpec]:
    """Arrays of the series."""
    b, n = ("prompt", prompts), ("neuron", neurons)
    meaning = "P = Σ coefficient_k T_k(shift / radius), Chebyshev polynomials of the first kind"
    degree = ("degree", settings.most_nodes)
    return {
        "coefficients": array_spec(group, "float64", meaning, b, n, degree),
        "nodes": array_spec(group, "int32", "replays spent on the neuron", b, n),
        "error": array_spec(group, "float64", "estimated largest error of the series in P", b, n),
    }


def chosen_gradients(
    inputs: facts.Inputs, neurons: np.ndarray, prompts: range
) -> dict[str, np.ndarray]:
    """Activation and CG of the chosen neurons [B, N, 2] of some prompts."""
    chosen = neurons[prompts.start : prompts.stop]
    gradients = {"activation": np.empty(chosen.shape[:2]), "computed": np.empty(chosen.shape[:2])}
    for index, _, activation, computed in negjax.gradient_batches(
        inputs.lm,
        inputs.probes.select(list(prompts)),
        inputs.site,
        budget_bytes=common.budget_bytes(),
    ):
        rows = np.arange(len(index))[:, None]
        layer, neuron = chosen[index, :, 0], chosen[index, :, 1]
        # Only what was chosen leaves the device.
        gradients["activation"][index] = to_host(activation[rows, layer, neuron])
        gradients["computed"][index] = to_host(computed[rows, 0, layer, neuron])
    return {"neurons": chosen, **gradients}


def series(
    inputs: facts.Inputs, settings: Settings, neurons: np.ndarray, prompts: range
) -> dict[str, np.ndarray]:
    """Series of the chosen neurons [B, N, 2] of some prompts, and the prompts' P and noise."""
    response = _response(inputs, settings, neurons, prompts, settings.most_nodes)
    missing = settings.most_nodes - response.coefficients.shape[-1]
    return {
        "baseline": response.baseline,
        "noise": response.noise,
        "coefficients": np.pad(response.coefficients, ((0, 0), (0, 0), (0, missing))),
        "nodes": response.nodes,
        "error": response.error,
    }


def noise(
    inputs: facts.Inputs, settings: Settings, neurons: np.ndarray, prompts: range
) -> dict[str, np.ndarray]:
    """The prompts' P and noise alone, which a short series of one neuron measures."""
    response = _response(inputs, settings, neurons[:, :1], prompts, settings.nodes)
    return {"baseline": response.baseline, "noise": response.noise}


def _response(
    inputs: facts.Inputs, settings: Settings, neurons: np.ndarray, prompts: range, most_nodes: int
) -> negjax.Response:
    return negjax.response(
        inputs.lm,
        inputs.probes.select(list(prompts)),
        neurons[prompts.start : prompts.stop],
        settings.range,
        settings.nodes,
        facts.convention(),
        inputs.site,
        max_nodes=most_nodes,
        seed=common.seed(),
        budget_bytes=common.budget_bytes(),
    )
