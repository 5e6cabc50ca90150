"""Sampled neurons and their response curves: flags and measurements that experiments share."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from absl import flags

import negjax
from experiments.inputs import facts
from experiments.running import common
from negjax.execution.interventions import CALL_TOKENS
from negjax.inputs.neurons import all_neurons, random_neurons
from negjax.storage import store

_NEURONS = flags.DEFINE_string(
    "neurons", "40", "Neurons a prompt, drawn by --seed for each prompt anew; or `all`."
)
_RANGE = flags.DEFINE_float(
    "range", 10.0, "Largest shift, in units of the activation.", lower_bound=1e-6
)
_STEP = flags.DEFINE_float(
    "step", 0.2, "Step of the shifts that a line is fitted to.", lower_bound=1e-6
)
_NODES = flags.DEFINE_integer(
    "nodes",
    12,
    "Replays a neuron that a Chebyshev series starts with; rough curves get three times as many.",
    lower_bound=4,
)
_GROUP = flags.DEFINE_integer(
    "group",
    None,
    "Prompts that are measured and saved together. Default: by the number of neurons.",
    lower_bound=1,
)


@dataclass(frozen=True)
class Plan:
    """What to measure, checked before anything slow begins."""

    neurons: int | Literal["all"]
    radius: float
    step: float
    grid: np.ndarray
    """[X], shifts of the plain grid."""
    nodes: int

    @property
    def most_nodes(self) -> int:
        """Of a series that was refined."""
        return 3 * self.nodes

    @property
    def settings(self) -> dict[str, Any]:
        """What determines a series, as the run's settings hold it."""
        return {"neurons": self.neurons, "range": self.radius, "nodes": self.nodes}

    @property
    def attributes(self) -> dict[str, Any]:
        """What a series is to be read with."""
        return {"convention": facts.convention(), "output": "probability", "radius": self.radius}


def read_plan() -> Plan:
    """The plan that the flags say.

    Raises:
        ValueError: a number of neurons that is none, a range or step that is not finite, a step
            larger than the range.
    """
    neurons: int | Literal["all"] = "all"
    if _NEURONS.value != "all":
        try:
            neurons = int(_NEURONS.value)
        except ValueError:
            raise ValueError(f"--neurons={_NEURONS.value}: expected a number, or all") from None
    for flag in (_RANGE, _STEP):
        if not np.isfinite(flag.value):
            raise ValueError(f"--{flag.name}={flag.value}: expected a finite number")
    grid = negjax.paper_grid(_RANGE.value, _STEP.value)
    return Plan(neurons, _RANGE.value, _STEP.value, grid, _NODES.value)


def choose_neurons(inputs: facts.Inputs, plan: Plan) -> np.ndarray:
    """[B, N, 2]."""
    config, prompts = inputs.lm.config, len(inputs.probes)
    if plan.neurons == "all":
        every = all_neurons(config)
        return np.broadcast_to(every, (prompts, *every.shape))
    return random_neurons(config, plan.neurons, prompts, common.seed())


def group_size(neurons: int, replays: int) -> int:
    """Prompts to measure and save together, of so many neurons each and replays a neuron."""
    return _GROUP.value or max(1, min(32, CALL_TOKENS // (neurons * replays)))


def groups(prompts: range, size: int) -> list[range]:
    """The prompts, in groups of `size`; the last may be smaller."""
    return [range(start, min(start + size, prompts.stop)) for start in prompts[::size]]


def array_spec(group: int, dtype: str, meaning: str, *axes: tuple[str, int]) -> store.ArraySpec:
    """An array whose first axis is saved by groups of prompts."""
    names, shape = zip(*axes, strict=True)
    return store.ArraySpec(shape, dtype, names, meaning, (min(group, shape[0]), *shape[1:]))


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


def series_specs(prompts: int, neurons: int, group: int, plan: Plan) -> dict[str, store.ArraySpec]:
    """Arrays of the series."""
    b, n = ("prompt", prompts), ("neuron", neurons)
    meaning = "P = Σ coefficient_k T_k(shift / radius), Chebyshev polynomials of the first kind"
    degree = ("degree", plan.most_nodes)
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
    found = {"activation": np.empty(chosen.shape[:2]), "computed": np.empty(chosen.shape[:2])}
    for index, _, activation, computed in negjax.gradient_batches(
        inputs.lm,
        inputs.probes.select(list(prompts)),
        inputs.site,
        budget_bytes=common.budget_bytes(),
    ):
        rows = np.arange(len(index))[:, None]
        layer, neuron = chosen[index, :, 0], chosen[index, :, 1]
        found["activation"][index] = np.asarray(activation)[rows, layer, neuron]
        found["computed"][index] = np.asarray(computed)[rows, 0, layer, neuron]
    return {"neurons": chosen, **found}


def series(
    inputs: facts.Inputs, plan: Plan, neurons: np.ndarray, prompts: range
) -> dict[str, np.ndarray]:
    """Series of the chosen neurons [B, N, 2] of some prompts, and the prompts' P and noise."""
    response = _response(inputs, plan, neurons, prompts, plan.most_nodes)
    missing = plan.most_nodes - response.coefficients.shape[-1]
    return {
        "baseline": response.baseline,
        "noise": response.noise,
        "coefficients": np.pad(response.coefficients, ((0, 0), (0, 0), (0, missing))),
        "nodes": response.nodes,
        "error": response.error,
    }


def noise(
    inputs: facts.Inputs, plan: Plan, neurons: np.ndarray, prompts: range
) -> dict[str, np.ndarray]:
    """The prompts' P and noise alone, which a short series of one neuron measures."""
    response = _response(inputs, plan, neurons[:, :1], prompts, plan.nodes)
    return {"baseline": response.baseline, "noise": response.noise}


def _response(
    inputs: facts.Inputs, plan: Plan, neurons: np.ndarray, prompts: range, most_nodes: int
) -> negjax.Response:
    return negjax.response(
        inputs.lm,
        inputs.probes.select(list(prompts)),
        neurons[prompts.start : prompts.stop],
        plan.radius,
        plan.nodes,
        facts.convention(),
        inputs.site,
        max_nodes=most_nodes,
        seed=common.seed(),
        budget_bytes=common.budget_bytes(),
    )
