"""The program: its flags, what it measures, how it continues after an interruption."""

import functools
from dataclasses import dataclass

import numpy as np

import negjax
from experiments.inputs import facts, slopes
from experiments.multi_neuron import report as multi_neuron_report
from experiments.multi_neuron.results import VARIANTS, analyse
from experiments.multi_neuron.sets import CHOICES, SIGNS, Design, design, pool, shifts_of
from experiments.running import common
from experiments.running.settings import define, recorded, setting
from experiments.running.study import Findings, Finished, Study, measured
from negjax.execution.conventions import sign
from negjax.model.config import ModelConfig
from negjax.storage import store
from negjax.storage.store import RunFolder


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is asked of this study alone."""

    choices: list[str] = setting(
        list(CHOICES), f"How neurons are chosen: some of {', '.join(CHOICES)}.", choices=CHOICES
    )
    largest: int = setting(4096, "Sets have 1, 2, 4, … neurons, up to this many.", least=1)
    magnitudes: list[float] = setting(
        [0.5, 1, 2], "Sizes of the shifts, each in both directions.", above=0
    )
    signs: list[str] = setting(
        list(SIGNS),
        "Signs within a set: `same`, all shifts alike; `random`, each neuron's own; or both.",
        choices=SIGNS,
    )
    draws: int = setting(2, "Sets of each size that are drawn for a prompt.", least=1)

    def largest_of(self, choice: str, config: ModelConfig) -> int:
        """Neurons of the largest sets: one layer may not have as many."""
        return min(self.largest, config.neurons) if choice == "layer" else self.largest

    def sets(self, choice: str, config: ModelConfig) -> Design:
        """What is shifted together, of every prompt."""
        largest, magnitudes = self.largest_of(choice, config), np.asarray(self.magnitudes)
        return design(choice, largest, self.draws, self.signs, magnitudes)

    def pool_size(self, choice: str, config: ModelConfig) -> int:
        """Neurons whose NEG is measured."""
        return self.largest_of(choice, config) * (self.draws if choice == "layer" else 1)


FLAGS = define(Settings)


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    settings, rule, inputs = FLAGS.read(), slopes.read(), facts.load_inputs(8)
    config = inputs.lm.config
    neurons = config.layers * config.neurons
    if settings.largest > neurons:
        raise ValueError(f"--largest={settings.largest}: {inputs.lm.name} has {neurons} neurons")

    def results(folder: RunFolder, finished: Finished) -> Findings | None:
        done = [(item.prompt, item.choice) for item in finished.work if item.choice]
        if not done:
            return None
        designs = {choice: settings.sets(choice, config) for choice in settings.choices}
        found = analyse(folder, done, designs)
        return multi_neuron_report.findings(inputs, folder, found, done, finished)

    return Study(
        name="multi_neuron",
        settings={**facts.input_settings(inputs), **recorded(settings), **recorded(rule)},
        arrays=_specs(settings, config, len(inputs.probes)),
        attributes={
            "site": inputs.site,
            "convention": facts.convention(),
            "output": "probability",
            "choices": settings.choices,
            "variants": list(VARIANTS),
        },
        measure=measured(lambda _: _work(inputs, settings, rule), "row", divisible=True),
        results=results,
    )


def _specs(settings: Settings, config: ModelConfig, prompts: int) -> dict[str, store.ArraySpec]:
    sizes = {
        "prompt": prompts,
        "choice": len(settings.choices),
        "member": max(settings.pool_size(choice, config) for choice in settings.choices),
        "set": max(len(settings.sets(choice, config)) for choice in settings.choices),
        "variant": len(VARIANTS),
        "layer_index": 2,
    }

    def spec(meaning: str, *axes: str, dtype: str = "float64") -> store.ArraySpec:
        """An array of which groups write one prompt and choice at a time."""
        shape = tuple(sizes[axis] for axis in axes)
        written = tuple(1 if axis in ("prompt", "choice") else sizes[axis] for axis in axes)
        return store.ArraySpec(shape=shape, dtype=dtype, axes=axes, meaning=meaning, chunks=written)

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


def _work(inputs: facts.Inputs, settings: Settings, rule: slopes.Settings) -> list[_Group]:
    config = inputs.lm.config
    work = []
    for number in range(len(inputs.probes)):
        noise = functools.partial(_noise, inputs, number)
        name = f"noise of prompt {number}"
        work.append(_Group(name=name, units=0, measure=noise, prompt=number, choice=None))
        for choice in settings.choices:
            rows = settings.pool_size(choice, config) * len(rule.shifts)
            rows += len(VARIANTS) * len(settings.sets(choice, config))
            measure = functools.partial(_sets, inputs, settings, rule, number, choice)
            name = f"{choice} of prompt {number}"
            work.append(
                _Group(name=name, units=rows, measure=measure, prompt=number, choice=choice)
            )
    return work


def _noise(inputs: facts.Inputs, number: int) -> common.Values:
    return (number,), slopes.unperturbed(inputs, number)


def _sets(
    inputs: facts.Inputs, settings: Settings, rule: slopes.Settings, number: int, choice: str
) -> common.Values:
    lm, probes, convention = inputs.lm, inputs.probes.select([number]), facts.convention()
    budget = common.budget_bytes()
    gradients = negjax.neurgrad(lm, probes, inputs.site, budget_bytes=budget)
    largest, sets = settings.largest_of(choice, lm.config), settings.sets(choice, lm.config)
    generator = np.random.default_rng([common.seed(), number, list(CHOICES).index(choice)])
    neurons = pool(choice, gradients.neurgrad[0, 0], largest, settings.draws, generator)
    at = tuple(neurons.T)
    activation = gradients.activation[0][at]
    direction = sign(activation) if convention == "signed" else np.ones_like(activation)
    gradient = gradients.computed[0, 0][at] * direction
    neg = slopes.measure(inputs, rule, number, neurons).slope[0]
    shifts = shifts_of(choice, sets, largest, generator)
    added = [(neurons[i], x) for i, x in shifts]
    clamped = [(neurons[i], activation[i] + direction[i] * x) for i, x in shifts]
    joint = [
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
        for values, clamp in ((added, False), (clamped, True))
    ]
    kept = [np.asarray(m.top_token)[0] == m.baseline_top_token for m in joint]
    values = {
        "neurons": neurons,
        "activation": activation,
        "neg": neg,
        "gradient": gradient,
        "predicted_neg": np.asarray([neg[i] @ x for i, x in shifts]),
        "predicted_gradient": np.asarray([gradient[i] @ x for i, x in shifts]),
        "change": np.stack([m.change()[0] for m in joint], axis=-1),
        "kl": np.stack([np.asarray(m.kl)[0] for m in joint], axis=-1),
        "entropy": np.stack([np.asarray(m.entropy)[0] for m in joint], axis=-1),
        "kept_top": np.stack(kept, axis=-1).astype(np.float64),
    }
    specs = _specs(settings, lm.config, 1)
    padded = {name: _padded(value, specs[name].shape[2]) for name, value in values.items()}
    before = {"entropy_before": np.asarray(joint[0].baseline_entropy)[0]}
    return (number, settings.choices.index(choice)), padded | before


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """NaN, or 0 of integers, after values [n, …]: [length, …]."""
    fill = 0 if np.issubdtype(values.dtype, np.integer) else np.nan
    missing = [(0, length - len(values)), *((0, 0) for _ in values.shape[1:])]
    return np.pad(values, missing, constant_values=fill)
