"""What the study of estimators measures, group by group, and the arrays it keeps."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import negjax
from experiments.estimators.doses import both_signs, dose_unit
from experiments.inputs import curves, facts
from experiments.running import common
from negjax.estimators.each_neuron import ablations
from negjax.execution.conventions import sign
from negjax.execution.interventions import grid_rows, intervene, with_baselines
from negjax.inputs.probes import Probes
from negjax.measurements.writes import write_norms
from negjax.storage import store
from negjax.storage.store import RunFolder


@dataclass(frozen=True)
class Asked:
    """What to measure, checked before anything slow begins."""

    plan: curves.Plan
    methods: tuple[str, ...]
    ig_steps: int
    doses: np.ndarray
    """[D], ascending, positive."""
    dosed_prompts: int
    dosed_every: int

    def layers(self, count: int) -> list[int]:
        """The layers whose neurons are dosed, of so many: the middle one of every few."""
        return list(range(min(self.dosed_every, count) // 2, count, self.dosed_every))


@dataclass(frozen=True)
class Group(common.Work):
    """Measurements of the sampled neurons of some prompts."""

    prompts: range


@dataclass(frozen=True)
class DosedLayer(common.Work):
    """Measurements of every neuron of a layer."""

    prompt: int
    layer: int


def array_specs(
    inputs: facts.Inputs, neurons: np.ndarray, group: int, asked: Asked
) -> dict[str, store.ArraySpec]:
    """The arrays of a run; axes that are measured one by one are chunks of one."""
    c, (prompts, each) = inputs.lm.config, neurons.shape[:2]
    b, n = ("prompt", prompts), ("neuron", each)
    e = ("method", len(asked.methods))
    h, layer, f = ("prompt", asked.dosed_prompts), ("layer", c.layers), ("index", c.neurons)
    x = ("dose", 2 * asked.doses.size)
    change, kl = "P(answer) under the dose minus P(answer) without", "KL(P₀‖P) under the dose, nats"
    return {
        **curves.specs(prompts, each, group),
        **curves.series_specs(prompts, each, group, asked.plan),
        "second": curves.array_spec(group, "float64", "second derivative of P by a", b, n),
        "estimates": curves.array_spec(1, "float64", "estimates of the sampled neurons", e, b, n),
        "estimates_everywhere": store.ArraySpec(
            (e[1], prompts, c.layers, c.neurons),
            "float64",
            ("method", "prompt", "layer", "index"),
            "estimates of all neurons of the dosed prompts, ablation aside",
            (1, 1, c.layers, c.neurons),
        ),
        "seconds": curves.array_spec(1, "float64", "seconds a prompt, all neurons", e, b),
        "doses": store.ArraySpec((x[1],), "float64", ("dose",), "residual norm over write norm"),
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
    return store.ArraySpec(shape, dtype, names, meaning, (1, 1, *shape[2:]))


def all_work(
    inputs: facts.Inputs, neurons: np.ndarray, group: int, asked: Asked, folder: RunFolder
) -> list[common.Work]:
    """Group by group the curves and estimates of the sampled neurons, then the doses."""
    prompts, each = neurons.shape[:2]
    work: list[common.Work] = []
    for some in curves.groups(range(prompts), group):
        size, name = len(some) * each, f"prompts {some[0]} to {some[-1]}"
        measure = functools.partial(_curves, inputs, asked, neurons, some)
        work.append(Group(f"curves of {name}", size, measure, some))
        for method in asked.methods:
            measure = functools.partial(_estimates, inputs, asked, neurons, some, method)
            work.append(Group(f"{method} of {name}", size, measure, some))
    doses = both_signs(asked.doses)
    work.append(common.Work("doses", 0, lambda: ((slice(None),), {"doses": doses})))
    for number in range(asked.dosed_prompts):
        units = functools.partial(_units, inputs, number)
        work.append(common.Work(f"dose unit of prompt {number}", 0, units))
        for layer in asked.layers(inputs.lm.config.layers):
            measure = functools.partial(_dosed, inputs, doses, folder, number, layer)
            name = f"doses of prompt {number}, layer {layer}"
            size = inputs.lm.config.neurons
            work.append(DosedLayer(name, size, measure, number, layer))
    return work


def _curves(
    inputs: facts.Inputs, asked: Asked, neurons: np.ndarray, prompts: range
) -> common.Values:
    at = slice(prompts.start, prompts.stop)
    bend = negjax.curvature(
        inputs.lm,
        inputs.probes.select(list(prompts)),
        neurons[at],
        inputs.site,
        budget_bytes=common.budget_bytes(),
    )
    return (at,), {
        "neurons": neurons[at],
        "activation": bend.activation,
        "computed": bend.first,
        "second": bend.second,
        **curves.series(inputs, asked.plan, neurons, prompts),
    }


def _estimates(
    inputs: facts.Inputs, asked: Asked, neurons: np.ndarray, prompts: range, method: str
) -> common.Values:
    """A method's estimates; of the first group also its time, in a second call, once compiled."""
    probes, chosen = inputs.probes.select(list(prompts)), neurons[prompts.start : prompts.stop]
    b, c = len(prompts), inputs.lm.config
    everywhere = np.full((b, c.layers, c.neurons), np.nan)
    seconds = np.full(b, np.nan)
    at = (asked.methods.index(method), slice(prompts.start, prompts.stop))
    if method == "ablation":
        estimates = _ablations(inputs, probes, chosen)
        if prompts.start == 0:
            layer = np.full(c.neurons, c.layers // 2)
            middle = np.stack([layer, np.arange(c.neurons)], axis=-1)[None]
            one = probes.select([0])
            seconds[0] = c.layers * _second_time(lambda: _ablations(inputs, one, middle))
    else:

        def estimate() -> np.ndarray:
            return negjax.estimate(
                inputs.lm,
                probes,
                method,
                inputs.site,
                budget_bytes=common.budget_bytes(),
                steps=asked.ig_steps,
            )[:, 0]

        every = estimate()
        if prompts.start == 0:
            seconds[0] = _time(estimate) / b
        rows = np.arange(b)[:, None]
        estimates = every[rows, chosen[..., 0], chosen[..., 1]]
        dosed = np.asarray(prompts) < asked.dosed_prompts
        everywhere[dosed] = every[dosed]
    found = {"estimates": estimates, "estimates_everywhere": everywhere, "seconds": seconds}
    return at, found


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


def _dosed(
    inputs: facts.Inputs, doses: np.ndarray, folder: RunFolder, number: int, layer: int
) -> common.Values:
    """Every neuron of a layer at every dose, and at 0."""
    c, at = inputs.lm.config, (number, layer)
    activation, unit = folder.read("dose_activation", at), folder.read("dose_unit", at)
    writes = np.isfinite(unit)
    step = np.where(writes, unit, 0)
    if facts.convention() == "signed":
        step = step * sign(activation)
    shifts = np.concatenate([step[:, None] * doses, -activation[:, None]], axis=1)
    # Layer L leaves a row out: what writes nothing has no dose.
    entered = np.where(writes, layer, c.layers)
    neurons = np.stack([entered, np.arange(c.neurons)], axis=-1)
    found = intervene(
        inputs.lm,
        inputs.probes.select([number]),
        with_baselines(grid_rows(neurons[None], shifts[None]), c.layers),
        "additive",
        inputs.site,
        spread=True,
        budget_bytes=common.budget_bytes(),
    )
    assert found.spread is not None

    def split(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[F, X + 1] of the neurons, and the layer's baseline."""
        return values[0, : shifts.size].reshape(shifts.shape), values[0, shifts.size + layer]

    after, before = split(np.exp(found.log_probability, dtype=np.float64))
    change = np.where(writes[:, None], after - before, np.nan)
    entropy, baseline_entropy = split(found.spread.entropy)
    top_token, baseline_top_token = split(found.spread.top_token)
    return at, {
        "dose_change": change[:, :-1],
        "dose_ablation": change[:, -1],
        "dose_kl": split(found.spread.kl)[0][:, :-1],
        "dose_entropy": entropy[:, :-1],
        "dose_top_token": top_token[:, :-1],
        "dose_baseline_entropy": baseline_entropy,
        "dose_baseline_top_token": baseline_top_token,
    }
