"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
from dataclasses import dataclass

import numpy as np
from absl import flags

import negjax
from experiments.inputs import curves, facts
from experiments.inputs.curves import Plan
from experiments.linearity import page as linearity_page
from experiments.linearity import results as linearity_results
from experiments.running import common, terminal
from negjax.storage import store

_MEASURE = flags.DEFINE_enum(
    "measure",
    "response",
    ["response", "grid", "both"],
    "response: few replays a neuron, read off a series; grid: every shift is replayed; both: the "
    "series is compared with the grid.",
)

# Prompts whose gradients are taken and saved together, at least.
GRADIENT_PROMPTS = 64


def main() -> int:
    """Runs the experiment; returns the exit status."""
    plan, measures = curves.read_plan(), _measures()
    inputs = facts.load_inputs(24)
    neurons = curves.choose_neurons(inputs, plan)
    group = curves.group_size(
        neurons.shape[1], plan.grid.size if "grid" in measures else plan.nodes
    )
    settings = {
        "experiment": "linearity",
        **facts.input_settings(inputs),
        **plan.settings,
        "step": plan.step,
        "measure": _MEASURE.value,
        "group": group,
    }
    attributes = {"site": inputs.site, **plan.attributes}
    specs = _specs(neurons.shape[0], neurons.shape[1], group, plan, measures)
    with common.open_folder("linearity", settings, specs, attributes) as folder:
        work = _work(inputs, plan, measures, neurons, group)
        complete = common.measure_all(folder, work, "neuron")
        if not complete:
            common.say_interrupted(folder, work)
        done = [item.prompts for item in work if item.name in folder.finished and item.prompts]
        if not done:
            return 130
        results = linearity_results.analyse(
            inputs, folder, done, radius=plan.radius, step=plan.step, measures=measures
        )
        linearity_page.write(inputs, folder, results, complete)
    terminal.say(linearity_page.printed(inputs, folder, results))
    return 0 if complete else 130


def _measures() -> tuple[str, ...]:
    return ("response", "grid") if _MEASURE.value == "both" else (_MEASURE.value,)


def _specs(
    prompts: int, neurons: int, group: int, plan: Plan, measures: tuple[str, ...]
) -> dict[str, store.ArraySpec]:
    found = curves.specs(prompts, neurons, group)
    if "response" in measures:
        found |= curves.series_specs(prompts, neurons, group, plan)
    if "grid" in measures:
        b, n, x = ("prompt", prompts), ("neuron", neurons), ("shift", plan.grid.size)
        unshifted = "P(answer), computed as the neuron's rows are"
        found |= {
            "shifts": store.ArraySpec((x[1],), "float64", ("shift",), "units of the activation"),
            "probability": curves.array_spec(
                group, "float64", "P(answer) under the shift", b, n, x
            ),
            "unshifted": curves.array_spec(group, "float64", unshifted, b, n),
        }
    return found


@dataclass(frozen=True)
class _Group(common.Work):
    prompts: range | None
    """Whose curves it measures; None: it measures something else."""


def _work(
    inputs: facts.Inputs, plan: Plan, measures: tuple[str, ...], neurons: np.ndarray, group: int
) -> list[_Group]:
    total, each = neurons.shape[:2]
    work = []
    if "grid" in measures:
        work.append(_Group("shifts", 0, lambda: ((slice(None),), {"shifts": plan.grid}), None))
    # A gradient pass is at its best with many prompts, and is lost where a run is cut off.
    together = -(-GRADIENT_PROMPTS // group) * group
    for block in curves.groups(range(total), together):
        differentiate = functools.partial(_gradients, inputs, neurons, block)
        work.append(_Group(f"gradients of {_named(block)}", 0, differentiate, None))
        for prompts in curves.groups(block, group):
            measure = functools.partial(_curves, inputs, plan, measures, neurons, prompts)
            work.append(_Group(_named(prompts), len(prompts) * each, measure, prompts))
    return work


def _named(prompts: range) -> str:
    return f"prompts {prompts[0]} to {prompts[-1]}"


def _gradients(inputs: facts.Inputs, neurons: np.ndarray, prompts: range) -> common.Values:
    return (slice(prompts.start, prompts.stop),), curves.chosen_gradients(inputs, neurons, prompts)


def _curves(
    inputs: facts.Inputs,
    plan: Plan,
    measures: tuple[str, ...],
    neurons: np.ndarray,
    prompts: range,
) -> common.Values:
    at = slice(prompts.start, prompts.stop)
    # The grid alone does not measure the rounding noise.
    measure = curves.series if "response" in measures else curves.noise
    found = measure(inputs, plan, neurons, prompts)
    if "grid" in measures:
        sweep = negjax.sweep(
            inputs.lm,
            inputs.probes.select(list(prompts)),
            neurons[at],
            plan.grid,
            facts.convention(),
            inputs.site,
            budget_bytes=common.budget_bytes(),
        )
        found |= {
            "probability": np.exp(sweep.log_probability, dtype=np.float64),
            "unshifted": np.exp(sweep.baseline_log_probability, dtype=np.float64),
        }
    return (at,), found
