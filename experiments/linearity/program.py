"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
from dataclasses import dataclass

import numpy as np

import negjax
from experiments.inputs import curves, facts, fitted_curves
from experiments.linearity import report as linearity_report
from experiments.linearity.results import analyse
from experiments.running import common
from experiments.running.settings import define, recorded, setting
from experiments.running.study import Findings, Finished, Study, measured
from negjax.storage import store
from negjax.storage.store import RunFolder


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is asked of this study alone."""

    measure: str = setting(
        "response",
        "response: few replays a neuron, read off a series; grid: every shift is replayed; both: "
        "the series is compared with the grid.",
        choices=["response", "grid", "both"],
    )

    @property
    def measures(self) -> tuple[str, ...]:
        """Ways to measure, the first of which is reported."""
        return ("response", "grid") if self.measure == "both" else (self.measure,)


FLAGS = define(Settings)

# Prompts whose gradients are taken and saved together, at least.
GRADIENT_PROMPTS = 64


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    sampling, settings = curves.read(), FLAGS.read()
    measures = settings.measures
    inputs = facts.load_inputs(24)
    neurons = curves.choose_neurons(inputs, sampling)
    replays = sampling.grid.size if "grid" in measures else sampling.nodes
    group = sampling.together(neurons.shape[1], replays)

    def findings(folder: RunFolder, finished: Finished) -> Findings | None:
        done = [item.prompts for item in finished.work if item.prompts]
        if not done:
            return None
        fitted = fitted_curves.read(
            folder, done, radius=sampling.range, step=sampling.step, measures=measures
        )
        results = analyse(inputs, folder, done, fitted)
        return linearity_report.findings(inputs, folder, results, finished)

    return Study(
        name="linearity",
        settings={
            **facts.input_settings(inputs),
            **sampling.recorded,
            "step": sampling.step,
            **recorded(settings),
            "group": group,
        },
        arrays=_specs(neurons.shape[0], neurons.shape[1], group, sampling, measures),
        attributes={"site": inputs.site, **sampling.attributes},
        measure=measured(
            lambda _: _work(inputs, sampling, measures, neurons, group), "neuron", divisible=True
        ),
        results=findings,
    )


def _specs(
    prompts: int, neurons: int, group: int, sampling: curves.Settings, measures: tuple[str, ...]
) -> dict[str, store.ArraySpec]:
    found = curves.specs(prompts, neurons, group)
    if "response" in measures:
        found |= curves.series_specs(prompts, neurons, group, sampling)
    if "grid" in measures:
        b, n, x = ("prompt", prompts), ("neuron", neurons), ("shift", sampling.grid.size)
        unshifted = "P(answer), computed as the neuron's rows are"
        found |= {
            "shifts": store.ArraySpec(
                shape=(x[1],), dtype="float64", axes=("shift",), meaning="units of the activation"
            ),
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
    inputs: facts.Inputs,
    sampling: curves.Settings,
    measures: tuple[str, ...],
    neurons: np.ndarray,
    group: int,
) -> list[_Group]:
    total, each = neurons.shape[:2]
    work = []
    if "grid" in measures:
        work.append(_Group("shifts", 0, lambda: ((slice(None),), {"shifts": sampling.grid}), None))
    # A gradient pass is at its best with many prompts, and is lost where a run is cut off.
    together = -(-GRADIENT_PROMPTS // group) * group
    for block in curves.groups(range(total), together):
        differentiate = functools.partial(_gradients, inputs, neurons, block)
        work.append(_Group(f"gradients of {_named(block)}", 0, differentiate, None))
        for prompts in curves.groups(block, group):
            measure = functools.partial(_curves, inputs, sampling, measures, neurons, prompts)
            work.append(_Group(_named(prompts), len(prompts) * each, measure, prompts))
    return work


def _named(prompts: range) -> str:
    return f"prompts {prompts[0]} to {prompts[-1]}"


def _gradients(inputs: facts.Inputs, neurons: np.ndarray, prompts: range) -> common.Values:
    return (slice(prompts.start, prompts.stop),), curves.chosen_gradients(inputs, neurons, prompts)


def _curves(
    inputs: facts.Inputs,
    sampling: curves.Settings,
    measures: tuple[str, ...],
    neurons: np.ndarray,
    prompts: range,
) -> common.Values:
    at = slice(prompts.start, prompts.stop)
    # The grid alone does not measure the rounding noise.
    measure = curves.series if "response" in measures else curves.noise
    found = measure(inputs, sampling, neurons, prompts)
    if "grid" in measures:
        sweep = negjax.sweep(
            inputs.lm,
            inputs.probes.select(list(prompts)),
            neurons[at],
            sampling.grid,
            facts.convention(),
            inputs.site,
            budget_bytes=common.budget_bytes(),
        )
        found |= {
            "probability": np.exp(sweep.log_probability, dtype=np.float64),
            "unshifted": np.exp(sweep.baseline_log_probability, dtype=np.float64),
        }
    return (at,), found
