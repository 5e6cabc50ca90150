"""What the study of estimators measures, group by group, and the arrays it keeps."""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import negjax
from experiments.estimators.doses import both_signs
from experiments.estimators.settings import Settings
from experiments.inputs import curves, facts
from experiments.reporting.dose_grids import dose_unit
from experiments.running import common
from negjax.estimators.each_neuron import ablations
from negjax.execution.conventions import sign
from negjax.execution.interventions import grid_rows, intervene, with_baselines
from negjax.inputs.probes import Probes
from negjax.measurements.writes import write_norms
from negjax.storage import store


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure of whom, checked before anything slow begins."""

    inputs: facts.Inputs
    sampling: curves.Settings
    settings: Settings
    neurons: np.ndarray
    """[B, N, 2], layer and index of the sampled neurons of each prompt."""

    @property
    def group(self) -> int:
        """Prompts that are measured and saved together."""
        return self.sampling.together(self.neurons.shape[1], self.sampling.nodes)

    @property
    def groups(self) -> list[range]:
        """The prompts, in groups."""
        return curves.groups(range(len(self.neurons)), self.group)

    @property
    def doses(self) -> np.ndarray:
        """[2D], ascending, both signs."""
        return both_signs(np.asarray(self.settings.doses))


COSTS = {"ig": 20, "lpi": 34, "relp": 2, "ablation": 2}
"""About as many replays as an estimate of a neuron takes, beside 1: the bar's units."""


@dataclass(frozen=True)
class Group(common.Work):
    """Measurements of the sampled neurons of some prompts."""

    prompts: range


@dataclass(frozen=True)
class DosedLayer(common.Work):
    """Measurements of every neuron of a layer."""

    prompt: int
    layer: int


def array_specs(plan: Plan) -> dict[str, store.ArraySpec]:
    """Returns the arrays of a run: whatever a group of work saves is a whole chunk."""
    c, (prompts, each), group = plan.inputs.lm.config, plan.neurons.shape[:2], plan.group
    b, n = ("prompt", prompts), ("neuron", each)
    e = ("method", len(plan.settings.methods))
    h, layer = ("prompt", plan.settings.dosed_prompts), ("layer", c.layers)
    f, x = ("index", c.neurons), ("dose", plan.doses.size)
    change, kl = "P(answer) under the dose minus P(answer) without", "KL(P₀‖P) under the dose, nats"
    return {
        **curves.specs(prompts, each, group),
        **curves.series_specs(prompts, each, group, plan.sampling),
        "second": curves.array_spec(group, "float64", "second derivative of P by a", b, n),
        "estimates": store.ArraySpec(
            shape=(e[1], prompts, each),
            dtype="float64",
            axes=("method", "prompt", "neuron"),
            meaning="estimates of the sampled neurons",
            chunks=(1, min(group, prompts), each),
        ),
        "estimates_everywhere": store.ArraySpec(
            shape=(e[1], prompts, c.layers, c.neurons),
            dtype="float64",
            axes=("method", "prompt", "layer", "index"),
            meaning="estimates of all neurons of the dosed prompts, ablation aside",
            chunks=(1, 1, c.layers, c.neurons),
        ),
        "seconds": store.ArraySpec(
            shape=(e[1], prompts),
            dtype="float64",
            axes=("method", "prompt"),
            meaning="seconds a prompt, all neurons",
            chunks=(1, min(group, prompts)),
        ),
        "doses": store.ArraySpec(
            shape=(x[1],), dtype="float64", axes=("dose",), meaning="residual norm over write norm"
        ),
        "dose_activation": curves.array_spec(1, "float64", "activation a", h, layer, f),
        "dose_unit": curves.array_spec(1, "float64", "shift that dose 1 is", h, layer, f),
        "dose_change": _dosed_spec("float64", change, h, layer, f, x),
        "dose_kl": _dosed_spec("float64", kl, h, layer, f, x),
        "dose_entropy": _dosed_spec("float64", "entropy of P, nats", h, layer, f, x),
        "dose_top_token": _dosed_spec("int32", "most probable token", h, layer, f, x),
        "dose_ablation": _dosed_spec("float64", "P with the neuron at 0 minus P", h, layer, f),
        "dose_baseline_entropy": _dosed_spec("float64", "entropy without a dose", h, layer),
        "dose_baseline_top_token": _dosed_spec("int32", "most probable without", h, layer),
    }


def _dosed_spec(dtype: str, meaning: str, *axes: tuple[str, int]) -> store.ArraySpec:
    names, shape = zip(*axes, strict=True)
    return store.ArraySpec(
        shape=shape, dtype=dtype, axes=names, meaning=meaning, chunks=(1, 1, *shape[2:])
    )


def all_work(plan: Plan) -> list[common.Work]:
    """Group by group the curves and estimates of the sampled neurons, then the doses."""
    config, work = plan.inputs.lm.config, list[common.Work]()
    for some in plan.groups:
        size, name = len(some) * plan.neurons.shape[1], f"prompts {some[0]} to {some[-1]}"
        measure = functools.partial(_curves, plan, some)
        # The curvature takes as long as the series.
        replays = 2 * size * plan.sampling.nodes
        work.append(Group(f"curves of {name}", replays, measure, some))
        for method in plan.settings.methods:
            measure = functools.partial(_estimates, plan, some, method)
            replays = size * COSTS.get(method, 1)
            work.append(Group(f"{method} of {name}", replays, measure, some))
    work.append(common.Work("doses", 0, lambda: ((slice(None),), {"doses": plan.doses})))
    for number in range(plan.settings.dosed_prompts):
        units = functools.partial(_units, plan.inputs, number)
        work.append(common.Work(f"dose unit of prompt {number}", 0, units))
        for layer in plan.settings.layers(config.layers):
            measure = functools.partial(_dosed, plan, number, layer)
            name = f"doses of prompt {number}, layer {layer}"
            replays = config.neurons * (1 + plan.doses.size)
            work.append(DosedLayer(name, replays, measure, number, layer))
    return work


def done(plan: Plan, finished: Sequence[common.Work]) -> list[range]:
    """Returns the groups of prompts whose curves and estimates are all finished."""
    each = 1 + len(plan.settings.methods)
    prompts = [item.prompts for item in finished if isinstance(item, Group)]
    return [some for some in plan.groups if prompts.count(some) == each]


def _curves(plan: Plan, prompts: range) -> common.Values:
    inputs, at = plan.inputs, slice(prompts.start, prompts.stop)
    bend = negjax.curvature(
        inputs.lm,
        inputs.probes.select(list(prompts)),
        plan.neurons[at],
        inputs.site,
        budget_bytes=common.budget_bytes(),
    )
    return (at,), {
        "neurons": plan.neurons[at],
        "activation": bend.activation,
        "computed": bend.first,
        "second": bend.second,
        **curves.series(inputs, plan.sampling, plan.neurons, prompts),
    }


def _estimates(plan: Plan, prompts: range, method: str) -> common.Values:
    """A method's estimates; of the first group also its time, in a second call, once compiled."""
    inputs, settings, at_prompts = plan.inputs, plan.settings, slice(prompts.start, prompts.stop)
    probes, chosen = inputs.probes.select(list(prompts)), plan.neurons[at_prompts]
    b, c = len(prompts), inputs.lm.config
    everywhere = np.full((b, c.layers, c.neurons), np.nan)
    seconds = np.full(b, np.nan)
    at = (settings.methods.index(method), at_prompts)
    if method == "ablation":
        estimates = _ablations(inputs, probes, chosen)
        if prompts.start == 0:
            layer = np.full(c.neurons, c.layers // 2)
            middle = np.stack([layer, np.arange(c.neurons)], axis=-1)[None]
            first = probes.select([0])
            seconds[0] = c.layers * _second_time(lambda: _ablations(inputs, first, middle))
    else:

        def estimate() -> np.ndarray:
            return negjax.estimate(
                inputs.lm,
                probes,
                method,
                inputs.site,
                budget_bytes=common.budget_bytes(),
                steps=settings.ig_steps,
            )[:, 0]

        every = estimate()
        if prompts.start == 0:
            seconds[0] = _time(estimate) / b
        rows = np.arange(b)[:, None]
        estimates = every[rows, chosen[..., 0], chosen[..., 1]]
        dosed = np.asarray(prompts) < settings.dosed_prompts
        everywhere[dosed] = every[dosed]
    return at, {
        "estimates": estimates,
        "estimates_everywhere": everywhere,
        "seconds": seconds,
    }


def _ablations(inputs: facts.Inputs, probes: Probes, neurons: np.ndarray) -> np.ndarray:
    """Of some neurons [b, N, 2] and the only target, [b, N]."""
    budget = common.budget_bytes()
    return ablations(inputs.lm, probes, inputs.site, neurons=neurons, budget_bytes=budget)[:, 0]


def _second_time(call: Callable[[], object]) -> float:
    call()
    return _time(call)


def _time(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _units(inputs: facts.Inputs, number: int) -> common.Values:
    norms = write_norms(inputs.lm, inputs.probes.select([number]), inputs.site)
    unit = dose_unit(norms.residual[0].astype(np.float64), norms.write[0].astype(np.float64))
    return (number,), {"dose_activation": norms.activation[0], "dose_unit": unit}


def _dosed(plan: Plan, number: int, layer: int) -> common.Values:
    """Every neuron of a layer at every dose, and at 0."""
    inputs, c, at = plan.inputs, plan.inputs.lm.config, (number, layer)
    # Not read: another process may have measured them. They take one pass.
    _, units = _units(inputs, number)
    activation, unit = (units[name][layer] for name in ("dose_activation", "dose_unit"))
    writes = np.isfinite(unit)
    step = np.where(writes, unit, 0)
    if facts.convention() == "signed":
        step = step * sign(activation)
    shifts = np.concatenate([step[:, None] * plan.doses, -activation[:, None]], axis=1)
    # Layer L leaves a row out: what writes nothing has no dose.
    entered = np.where(writes, layer, c.layers)
    neurons = np.stack([entered, np.arange(c.neurons)], axis=-1)
    run = intervene(
        inputs.lm,
        inputs.probes.select([number]),
        with_baselines(grid_rows(neurons[None], shifts[None]), c.layers),
        "additive",
        inputs.site,
        spread=True,
        budget_bytes=common.budget_bytes(),
    )
    assert run.spread is not None

    def split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[F, X + 1] of the neurons, and the layer's baseline."""
        return values[0, : shifts.size].reshape(shifts.shape), values[0, shifts.size + layer]

    after, before = split(np.exp(run.log_probability, dtype=np.float64))
    change = np.where(writes[:, None], after - before, np.nan)
    entropy, baseline_entropy = split(run.spread.entropy)
    top_token, baseline_top_token = split(run.spread.top_token)
    return at, {
        "dose_change": change[:, :-1],
        "dose_ablation": change[:, -1],
        "dose_kl": split(run.spread.kl)[0][:, :-1],
        "dose_entropy": entropy[:, :-1],
        "dose_top_token": top_token[:, :-1],
        "dose_baseline_entropy": baseline_entropy,
        "dose_baseline_top_token": baseline_top_token,
    }
