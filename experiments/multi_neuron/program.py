"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
from dataclasses import dataclass

import numpy as np
from absl import flags

import negjax
from experiments.inputs import facts
from experiments.multi_neuron import page as multi_neuron_page
from experiments.multi_neuron import results as multi_neuron_results
from experiments.multi_neuron.sets import CHOICES, SIGNS, Design, design, pool, shifts_of
from experiments.running import common, flag_lists, terminal
from negjax.execution.conventions import sign
from negjax.model.config import ModelConfig
from negjax.storage import store

_CHOICES = flags.DEFINE_list(
    "choices", list(CHOICES), f"How neurons are chosen: some of {', '.join(CHOICES)}."
)
_LARGEST = flags.DEFINE_integer(
    "largest", 4096, "Sets have 1, 2, 4, … neurons, up to this many.", lower_bound=1
)
_MAGNITUDES = flags.DEFINE_list(
    "magnitudes", ["0.5", "1", "2"], "Sizes of the shifts, each in both directions."
)
_SIGNS = flags.DEFINE_list(
    "signs",
    list(SIGNS),
    "Signs within a set: `same`, all shifts alike; `random`, each neuron's own; or both.",
)
_DRAWS = flags.DEFINE_integer(
    "draws", 2, "Sets of each size that are drawn for a prompt.", lower_bound=1
)
_NEG_SHIFTS = flags.DEFINE_list(
    "neg_shifts", ["-2", "-1", "1", "2"], "Shifts of a single neuron that its NEG is fitted to."
)

VARIANTS = multi_neuron_results.VARIANTS


@dataclass(frozen=True)
class Plan:
    """What to measure, checked before anything slow begins."""

    choices: list[str]
    largest: int
    magnitudes: np.ndarray
    signs: list[str]
    draws: int
    neg_shifts: np.ndarray

    def largest_of(self, choice: str, config: ModelConfig) -> int:
        """Neurons of the largest sets: one layer may not have as many."""
        return min(self.largest, config.neurons) if choice == "layer" else self.largest

    def sets(self, choice: str, config: ModelConfig) -> Design:
        """What is shifted together, of every prompt."""
        largest = self.largest_of(choice, config)
        return design(choice, largest, self.draws, self.signs, self.magnitudes)

    def pool_size(self, choice: str, config: ModelConfig) -> int:
        """Neurons whose NEG is measured."""
        return self.largest_of(choice, config) * (self.draws if choice == "layer" else 1)


def main() -> int:
    """Runs the experiment; returns the exit status."""
    plan = _plan()
    inputs = facts.load_inputs(8)
    config = inputs.lm.config
    if plan.largest > config.layers * config.neurons:
        raise ValueError(
            f"--largest={plan.largest}: {inputs.lm.name} has {config.layers * config.neurons} "
            "neurons"
        )
    settings = {
        "experiment": "multi_neuron",
        **facts.input_settings(inputs),
        "choices": plan.choices,
        "largest": plan.largest,
        "magnitudes": plan.magnitudes.tolist(),
        "signs": plan.signs,
        "draws": plan.draws,
        "neg_shifts": plan.neg_shifts.tolist(),
    }
    attributes = {
        "site": inputs.site,
        "convention": facts.convention(),
        "output": "probability",
        "choices": plan.choices,
        "variants": list(VARIANTS),
    }
    specs = _specs(plan, config, len(inputs.probes))
    with common.open_folder("multi_neuron", settings, specs, attributes) as folder:
        work = _work(inputs, plan)
        complete = common.measure_all(folder, work, "row")
        if not complete:
            common.say_interrupted(folder, work)
        done = [(i.prompt, i.choice) for i in work if i.name in folder.finished and i.choice]
        if not done:
            return 130
        designs = {choice: plan.sets(choice, config) for choice in plan.choices}
        results = multi_neuron_results.analyse(folder, done, designs)
        multi_neuron_page.write(inputs, folder, results, done, complete)
    terminal.say(multi_neuron_page.printed(inputs, folder, results))
    return 0 if complete else 130


def _plan() -> Plan:
    magnitudes = flag_lists.numbers(_MAGNITUDES)
    if (magnitudes < 0).any():
        raise ValueError(
            f"--magnitudes={','.join(_MAGNITUDES.value)}: expected positive numbers; each is used "
            "in both directions"
        )
    return Plan(
        flag_lists.names(_CHOICES, CHOICES),
        _LARGEST.value,
        magnitudes,
        flag_lists.names(_SIGNS, SIGNS),
        _DRAWS.value,
        flag_lists.numbers(_NEG_SHIFTS, least=2),
    )


def _specs(plan: Plan, config: ModelConfig, prompts: int) -> dict[str, store.ArraySpec]:
    sizes = {
        "prompt": prompts,
        "choice": len(plan.choices),
        "member": max(plan.pool_size(choice, config) for choice in plan.choices),
        "set": max(len(plan.sets(choice, config)) for choice in plan.choices),
        "variant": len(VARIANTS),
        "layer_index": 2,
    }

    def spec(meaning: str, *axes: str, dtype: str = "float64") -> store.ArraySpec:
        """An array of which groups write one prompt and choice at a time."""
        shape = tuple(sizes[axis] for axis in axes)
        written = tuple(1 if axis in ("prompt", "choice") else sizes[axis] for axis in axes)
        return store.ArraySpec(shape, dtype, axes, meaning, written)

    pools, sets = ("prompt", "choice", "member"), ("prompt", "choice", "set")
    slopes = "per unit of activation, along the convention's direction"
    return {
        "baseline": spec("P(answer), unperturbed", "prompt"),
        "noise": spec("standard deviation of P from rounding", "prompt"),
        "neurons": spec(
            "layer and index of a pool's neurons", *pools, "layer_index", dtype="int32"
        ),
        "activation": spec("activation a, unperturbed", *pools),
        "neg": spec(f"NEG, {slopes}", *pools),
        "gradient": spec(f"gradient of P, {slopes}", *pools),
        "predicted_neg": spec("Σ NEG x over the set's neurons", *sets),
        "predicted_gradient": spec("Σ gradient x over the set's neurons", *sets),
        "change": spec("P(answer) under the shifts minus P(answer) without", *sets, "variant"),
        "kl": spec("KL over all tokens, unperturbed from perturbed, nats", *sets, "variant"),
        "entropy": spec("of the next token under the shifts, nats", *sets, "variant"),
        "entropy_before": spec("of the next token, unperturbed, nats", "prompt", "choice"),
        "kept_top": spec("1 where the likeliest token stays so, else 0", *sets, "variant"),
    }


@dataclass(frozen=True)
class _Group(common.Work):
    prompt: int
    choice: str | None
    """None: it measures what does not depend on the choice."""


def _work(inputs: facts.Inputs, plan: Plan) -> list[_Group]:
    config = inputs.lm.config
    work = []
    for number in range(len(inputs.probes)):
        noise = functools.partial(_noise, inputs, number)
        work.append(_Group(f"noise of prompt {number}", 0, noise, number, None))
        for choice in plan.choices:
            rows = plan.pool_size(choice, config) * plan.neg_shifts.size
            rows += len(VARIANTS) * len(plan.sets(choice, config))
            measure = functools.partial(_sets, inputs, plan, number, choice)
            work.append(_Group(f"{choice} of prompt {number}", rows, measure, number, choice))
    return work


def _noise(inputs: facts.Inputs, number: int) -> common.Values:
    # For the rounding noise alone: the shortest series of any one neuron measures it.
    series = negjax.response(
        inputs.lm,
        inputs.probes.select([number]),
        np.zeros((1, 2), np.int32),
        1.0,
        4,
        facts.convention(),
        inputs.site,
        max_nodes=4,
        seed=common.seed(),
        budget_bytes=common.budget_bytes(),
    )
    return (number,), {"baseline": series.baseline[0], "noise": series.noise[0]}


def _sets(inputs: facts.Inputs, plan: Plan, number: int, choice: str) -> common.Values:
    lm, probes, convention = inputs.lm, inputs.probes.select([number]), facts.convention()
    budget = common.budget_bytes()
    found = negjax.neurgrad(lm, probes, inputs.site, budget_bytes=budget)
    largest, sets = plan.largest_of(choice, lm.config), plan.sets(choice, lm.config)
    generator = np.random.default_rng([common.seed(), number, list(CHOICES).index(choice)])
    neurons = pool(choice, found.neurgrad[0, 0], largest, plan.draws, generator)
    at = tuple(neurons.T)
    activation = found.activation[0][at]
    direction = sign(activation) if convention == "signed" else np.ones_like(activation)
    gradient = found.computed[0, 0][at] * direction
    swept = negjax.sweep(
        lm, probes, neurons, plan.neg_shifts, convention, inputs.site, budget_bytes=budget
    )
    neg = negjax.linear_fit(swept).slope[0]
    shifts = shifts_of(choice, sets, largest, generator)
    moved = [(neurons[i], x) for i, x in shifts]
    set_to = [(neurons[i], activation[i] + direction[i] * x) for i, x in shifts]
    measured = [
        negjax.joint(
            lm,
            probes,
            negjax.neuron_sets(lm.config, values),
            convention,
            inputs.site,
            clamp=clamp,
            spread=True,
            budget_bytes=budget,
        )
        for values, clamp in ((moved, False), (set_to, True))
    ]
    kept = [np.asarray(m.top_token)[0] == m.baseline_top_token for m in measured]
    values = {
        "neurons": neurons,
        "activation": activation,
        "neg": neg,
        "gradient": gradient,
        "predicted_neg": np.asarray([neg[i] @ x for i, x in shifts]),
        "predicted_gradient": np.asarray([gradient[i] @ x for i, x in shifts]),
        "change": np.stack([m.change()[0] for m in measured], axis=-1),
        "kl": np.stack([np.asarray(m.kl)[0] for m in measured], axis=-1),
        "entropy": np.stack([np.asarray(m.entropy)[0] for m in measured], axis=-1),
        "kept_top": np.stack(kept, axis=-1).astype(np.float64),
    }
    specs = _specs(plan, lm.config, 1)
    padded = {name: _padded(value, specs[name].shape[2]) for name, value in values.items()}
    before = {"entropy_before": np.asarray(measured[0].baseline_entropy)[0]}
    return (number, plan.choices.index(choice)), padded | before


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """NaN, or 0 of integers, after values [n, …]: [length, …]."""
    fill = 0 if np.issubdtype(values.dtype, np.integer) else np.nan
    missing = [(0, length - len(values)), *((0, 0) for _ in values.shape[1:])]
    return np.pad(values, missing, constant_values=fill)
