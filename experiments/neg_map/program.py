"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
from dataclasses import dataclass

import numpy as np

import negjax
from experiments.inputs import facts, slopes
from experiments.neg_map import report
from experiments.neg_map.results import Grid, read_map
from experiments.running import common
from experiments.running.settings import define, recorded, setting
from experiments.running.study import Findings, Finished, Study, measured
from negjax.storage import store
from negjax.storage.store import RunFolder


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is mapped."""

    prompt: str | None = setting(
        None, "A prompt to map, instead of some of the table; needs --answer.", recorded=False
    )
    answer: str | None = setting(None, "The answer to --prompt.", recorded=False)
    every: int = setting(
        1, "Distance between layers that are mapped, from the first: 1 maps all.", least=1
    )

    @property
    def table(self) -> negjax.Facts | None:
        """The prompt that was typed in, if one was."""
        if self.prompt is None and self.answer is None:
            return None
        if self.prompt is None or self.answer is None:
            raise ValueError("--prompt and --answer belong together: pass both, or neither")
        return facts.single_fact(self.prompt, self.answer)


FLAGS = define(Settings)

TOGETHER = 2
"""Layers of a group: what every call fetches, the vocabulary above all, is shared among them."""


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    settings, rule = FLAGS.read(), slopes.read()
    inputs = facts.load_inputs(1, settings.table)
    config, prompts = inputs.lm.config, len(inputs.probes)
    layers = list(range(0, config.layers, settings.every))
    groups = [layers[i : i + TOGETHER] for i in range(0, len(layers), TOGETHER)]

    def findings(folder: RunFolder, finished: Finished) -> Findings | None:
        names = {item.name for item in finished.work}
        done = {
            b: [x for group in groups if _name(b, group) in names for x in group]
            for b in range(prompts)
        }
        grid = Grid(rule.neg_radius, rule.neg_step, folder.read("shifts"))
        maps = [read_map(inputs, folder, b, some, grid) for b, some in done.items() if some]
        return report.findings(inputs, folder, maps, grid, finished) if maps else None

    return Study(
        name="neg_map",
        settings={**facts.input_settings(inputs), **recorded(settings), **recorded(rule)},
        arrays=_specs(prompts, config.layers, config.neurons, len(rule.shifts)),
        attributes={"site": inputs.site, "convention": facts.convention(), "output": "probability"},
        measure=measured(
            lambda _: _work(inputs, groups, settings.every, rule), "neuron", divisible=True
        ),
        results=findings,
    )


def _specs(prompts: int, layers: int, neurons: int, shifts: int) -> dict[str, store.ArraySpec]:
    sizes = {"prompt": prompts, "layer": layers, "neuron": neurons, "shift": shifts}

    def spec(meaning: str, axes: tuple[str, ...], written: int) -> store.ArraySpec:
        """An array of which groups write one entry of the first `written` axes at a time."""
        shape = tuple(sizes[axis] for axis in axes)
        return store.ArraySpec(
            shape=shape,
            dtype="float64",
            axes=axes,
            meaning=meaning,
            chunks=(*(1 for _ in range(written)), *shape[written:]),
        )

    neuron = ("prompt", "layer", "neuron")
    return {
        "shifts": spec("replayed, in units of the activation", ("shift",), 0),
        "activation": spec("activation a, unperturbed", neuron, 1),
        "computed": spec("CG = dP/da, per unit of activation", neuron, 1),
        "baseline": spec("P(answer), unperturbed", ("prompt",), 1),
        "noise": spec("standard deviation of P from rounding", ("prompt",), 1),
        "change": spec("P(answer) under the shift minus P(answer) without", (*neuron, "shift"), 2),
        "neg": spec("slope over the grid, P per unit of activation", neuron, 2),
        "error": spec("of NEG, by a rule of lower order", neuron, 2),
        "pearson": spec("of the grid's points, by the polynomial through what is known", neuron, 2),
    }


def _work(
    inputs: facts.Inputs, groups: list[list[int]], every: int, rule: slopes.Settings
) -> list[common.Work]:
    """The gradients of all neurons, then by groups of layers their NEG, for each prompt."""
    work = [common.Work("shifts", 0, lambda: ((slice(None),), {"shifts": rule.shifts}))]
    for number in range(len(inputs.probes)):
        differentiate = functools.partial(_gradients, inputs, number)
        work.append(common.Work(f"gradients of prompt {number}", 0, differentiate))
        work += [
            common.Work(
                _name(number, layers),
                len(layers) * inputs.lm.config.neurons,
                functools.partial(_slopes, inputs, number, layers, every, rule),
            )
            for layers in groups
        ]
    return work


def _name(number: int, layers: list[int]) -> str:
    return f"prompt {number}, layers {' and '.join(map(str, layers))}"


def _gradients(inputs: facts.Inputs, number: int) -> common.Values:
    probes = inputs.probes.select([number])
    gradients = negjax.neurgrad(inputs.lm, probes, inputs.site, budget_bytes=common.budget_bytes())
    return (number,), {
        "activation": gradients.activation[0],
        "computed": gradients.computed[0, 0],
        **slopes.unperturbed(inputs, number),
    }


def _slopes(
    inputs: facts.Inputs, number: int, layers: list[int], every: int, rule: slopes.Settings
) -> common.Values:
    count = inputs.lm.config.neurons
    index = np.tile(np.arange(count), len(layers))
    neurons = np.stack([np.repeat(layers, count), index], axis=-1)
    found = slopes.measure(inputs, rule, number, neurons)

    def by_layer(values: np.ndarray) -> np.ndarray:
        return values[0].reshape(len(layers), count, *values.shape[2:])

    return (number, slice(layers[0], layers[-1] + 1, every)), {
        "change": by_layer(found.change),
        "neg": by_layer(found.slope),
        "error": by_layer(found.error),
        "pearson": by_layer(found.linearity()[0]),
    }
