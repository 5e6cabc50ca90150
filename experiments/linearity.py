"""Is the relation between a neuron's activation and the probability of the answer linear?

    python -m experiments.linearity --flagfile=experiments/flagfiles/linearity_quick.flags

Time: 2 minutes on 2 cores with the embedded model (48 prompts × 40 neurons, shifts ±10 by 0.2);
quickstart.flags (24 × 40) takes 1, linearity_paper.flags (723 × 1,000) some 10 hours.
Expected: within ±2, |r| ≥ 0.95 for over 90% of the neurons, about half of them positive, and
NeurGrad close to NEG.
Paper: Zhao, Jiang, Yoshinaga, *Neuron Empirical Gradient*, ACL 2025, arXiv 2412.18053.

Shifts random neurons one at a time and measures, for each shift range, how linear P(answer) is in
the activation (Pearson r), how steep (NEG), and how well NeurGrad tells the steepness. Curves are
measured as Chebyshev series (`negjax.response`), on the plain grid, or both, which compares them.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from absl import flags

import negjax
from experiments import common, linearity_page, linearity_results
from negjax import store
from negjax.interventions import CALL_TOKENS
from negjax.neurons import all_neurons, random_neurons

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
_MEASURE = flags.DEFINE_enum(
    "measure",
    "response",
    ["response", "grid", "both"],
    "response: few replays a neuron, read off a series; grid: every shift is replayed; both: the "
    "series is compared with the grid.",
)
_GROUP = flags.DEFINE_integer(
    "group",
    None,
    "Prompts that are measured and saved together. Default: by the number of neurons.",
    lower_bound=1,
)

# Prompts whose gradients are taken and saved together, at least.
GRADIENT_PROMPTS = 64


@dataclass(frozen=True)
class Plan:
    """What to measure, checked before anything slow begins."""

    neurons: int | Literal["all"]
    radius: float
    grid: np.ndarray
    """[X], shifts of the plain grid."""
    measures: tuple[str, ...]
    nodes: int

    @property
    def most_nodes(self) -> int:
        """Of a series that was refined."""
        return 3 * self.nodes


def main() -> int:
    """Runs the experiment; returns the exit status."""
    plan = _plan()
    inputs = common.load_inputs(24)
    neurons = _neurons(inputs, plan)
    group = _GROUP.value or _group_size(neurons.shape[1], plan)
    settings = {
        "experiment": "linearity",
        **common.input_settings(inputs),
        "neurons": plan.neurons,
        "range": plan.radius,
        "step": _STEP.value,
        "measure": _MEASURE.value,
        "nodes": plan.nodes,
        "group": group,
    }
    attributes = {
        "site": inputs.site,
        "convention": common.convention(),
        "output": "probability",
        "radius": plan.radius,
    }
    specs = _specs(neurons.shape[0], neurons.shape[1], group, plan)
    with common.open_folder("linearity", settings, specs, attributes) as folder:
        work = _work(inputs, plan, neurons, group)
        complete = common.measure_all(folder, work, "neuron")
        if not complete:
            common.say_interrupted(folder, work)
        done = [item.prompts for item in work if item.name in folder.finished and item.prompts]
        if not done:
            return 130
        results = linearity_results.analyse(
            inputs,
            folder,
            done,
            radius=plan.radius,
            step=_STEP.value,
            measures=plan.measures,
        )
        linearity_page.write(inputs, folder, results, complete)
    print(linearity_page.printed(inputs, folder, results))
    return 0 if complete else 130


def _plan() -> Plan:
    neurons: int | Literal["all"] = "all"
    if _NEURONS.value != "all":
        try:
            neurons = int(_NEURONS.value)
        except ValueError:
            raise ValueError(f"--neurons={_NEURONS.value}: expected a number, or all") from None
    for flag in (_RANGE, _STEP):
        if not np.isfinite(flag.value):
            raise ValueError(f"--{flag.name}={flag.value}: expected a finite number")
    measures = ("response", "grid") if _MEASURE.value == "both" else (_MEASURE.value,)
    return Plan(
        neurons,
        _RANGE.value,
        negjax.paper_grid(_RANGE.value, _STEP.value),
        measures,
        _NODES.value,
    )


def _neurons(inputs: common.Inputs, plan: Plan) -> np.ndarray:
    """[B, N, 2]."""
    config, prompts = inputs.lm.config, len(inputs.probes)
    if plan.neurons == "all":
        every = all_neurons(config)
        return np.broadcast_to(every, (prompts, *every.shape))
    return random_neurons(config, plan.neurons, prompts, common.seed())


def _group_size(neurons: int, plan: Plan) -> int:
    rows = neurons * (plan.grid.size if "grid" in plan.measures else plan.nodes)
    return max(1, min(32, CALL_TOKENS // rows))


def _specs(prompts: int, neurons: int, group: int, plan: Plan) -> dict[str, store.ArraySpec]:
    b, n = ("prompt", prompts), ("neuron", neurons)

    def spec(dtype: str, meaning: str, *axes: tuple[str, int]) -> store.ArraySpec:
        names, shape = zip(*axes, strict=True)
        return store.ArraySpec(shape, dtype, names, meaning, (min(group, prompts), *shape[1:]))

    specs = {
        "neurons": spec("int32", "layer and index of each neuron", b, n, ("layer_index", 2)),
        "activation": spec("float64", "activation a, unperturbed", b, n),
        "computed": spec("float64", "CG = dP/da, per unit of activation", b, n),
        "baseline": spec("float64", "P(answer), unperturbed", b),
        "noise": spec("float64", "standard deviation of P from rounding", b),
    }
    if "response" in plan.measures:
        meaning = "P = Σ coefficient_k T_k(shift / radius), Chebyshev polynomials of the first kind"
        specs |= {
            "coefficients": spec("float64", meaning, b, n, ("degree", plan.most_nodes)),
            "nodes": spec("int32", "replays spent on the neuron", b, n),
            "error": spec("float64", "estimated largest error of the series in P", b, n),
        }
    if "grid" in plan.measures:
        x = ("shift", plan.grid.size)
        specs |= {
            "shifts": store.ArraySpec((x[1],), "float64", ("shift",), "units of the activation"),
            "probability": spec("float64", "P(answer) under the shift", b, n, x),
            "unshifted": spec("float64", "P(answer), computed as the neuron's rows are", b, n),
        }
    return specs


@dataclass(frozen=True)
class _Group(common.Work):
    prompts: range | None
    """Whose curves it measures; None: it measures something else."""


def _work(inputs: common.Inputs, plan: Plan, neurons: np.ndarray, group: int) -> list[_Group]:
    total, each = neurons.shape[:2]
    work = []
    if "grid" in plan.measures:
        work.append(_Group("shifts", 0, lambda: ((slice(None),), {"shifts": plan.grid}), None))
    # A gradient pass is at its best with many prompts, and is lost where a run is cut off.
    together = -(-GRADIENT_PROMPTS // group) * group
    for first in range(0, total, together):
        block = range(first, min(first + together, total))
        differentiate = functools.partial(_gradients, inputs, neurons, block)
        work.append(_Group(f"gradients of {_named(block)}", 0, differentiate, None))
        for start in block[::group]:
            prompts = range(start, min(start + group, block.stop))
            measure = functools.partial(_curves, inputs, plan, neurons, prompts)
            work.append(_Group(_named(prompts), len(prompts) * each, measure, prompts))
    return work


def _named(prompts: range) -> str:
    return f"prompts {prompts[0]} to {prompts[-1]}"


def _gradients(inputs: common.Inputs, neurons: np.ndarray, prompts: range) -> common.Values:
    """Activation and CG of the chosen neurons of some prompts."""
    at = slice(prompts.start, prompts.stop)
    chosen = neurons[at]
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
    return (at,), {"neurons": chosen, **found}


def _curves(
    inputs: common.Inputs, plan: Plan, neurons: np.ndarray, prompts: range
) -> common.Values:
    at = slice(prompts.start, prompts.stop)
    probes, chosen = inputs.probes.select(list(prompts)), neurons[at]
    series = "response" in plan.measures
    # The grid alone does not measure the rounding noise; a short series of one neuron does.
    response = negjax.response(
        inputs.lm,
        probes,
        chosen if series else chosen[:, :1],
        plan.radius,
        plan.nodes,
        common.convention(),
        inputs.site,
        max_nodes=plan.most_nodes if series else plan.nodes,
        seed=common.seed(),
        budget_bytes=common.budget_bytes(),
    )
    found = {"baseline": response.baseline, "noise": response.noise}
    if series:
        missing = plan.most_nodes - response.coefficients.shape[-1]
        coefficients = np.pad(response.coefficients, ((0, 0), (0, 0), (0, missing)))
        found |= {
            "coefficients": coefficients,
            "nodes": response.nodes,
            "error": response.error,
        }
    if "grid" in plan.measures:
        sweep = negjax.sweep(
            inputs.lm,
            probes,
            chosen,
            plan.grid,
            common.convention(),
            inputs.site,
            budget_bytes=common.budget_bytes(),
        )
        found |= {
            "probability": np.exp(sweep.log_probability, dtype=np.float64),
            "unshifted": np.exp(sweep.baseline_log_probability, dtype=np.float64),
        }
    return (at,), found


if __name__ == "__main__":
    common.run(main)
