"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools

import numpy as np
from absl import flags

import negjax
from experiments.inputs import facts
from experiments.neg_map import page as neg_map_page
from experiments.running import common, flag_lists, terminal
from negjax.storage import store

_PROMPT = flags.DEFINE_string(
    "prompt", None, "A prompt to map, instead of some of the table; needs --answer."
)
_ANSWER = flags.DEFINE_string("answer", None, "The answer to --prompt.")
_SHIFTS = flags.DEFINE_list(
    "shifts", ["-2", "-1", "1", "2"], "Shifts of each neuron, in units of the activation."
)
_EVERY = flags.DEFINE_integer(
    "every", 1, "Map one layer in so many: the first, and so on.", lower_bound=1
)


def main() -> int:
    """Runs the experiment; returns the exit status."""
    shifts, table = flag_lists.numbers(_SHIFTS, least=2), _table()
    inputs = facts.load_inputs(1, table)
    config, prompts = inputs.lm.config, len(inputs.probes)
    layers = list(range(0, config.layers, _EVERY.value))
    settings = {
        "experiment": "neg_map",
        **facts.input_settings(inputs),
        "shifts": shifts.tolist(),
        "every": _EVERY.value,
    }
    attributes = {
        "site": inputs.site,
        "convention": facts.convention(),
        "output": "probability",
    }
    specs = _specs(prompts, config.layers, config.neurons, shifts.size)
    with common.open_folder("neg_map", settings, specs, attributes) as folder:
        work = _work(inputs, layers, shifts)
        complete = common.measure_all(folder, work, "neuron")
        if not complete:
            common.say_interrupted(folder, work)
        maps = [
            neg_map_page.read_map(folder, number, done, shifts)
            for number in range(prompts)
            if (done := [x for x in layers if _name(number, x) in folder.finished])
        ]
        if not maps:
            return 130
        neg_map_page.write(inputs, folder, maps, complete)
    terminal.say(neg_map_page.printed(inputs, folder, maps))
    return 0 if complete else 130


def _table() -> negjax.Facts | None:
    if _PROMPT.value is None and _ANSWER.value is None:
        return None
    if _PROMPT.value is None or _ANSWER.value is None:
        raise ValueError("--prompt and --answer belong together: pass both, or neither")
    return facts.single_fact(_PROMPT.value, _ANSWER.value)


def _specs(prompts: int, layers: int, neurons: int, shifts: int) -> dict[str, store.ArraySpec]:
    sizes = {"prompt": prompts, "layer": layers, "neuron": neurons, "shift": shifts}

    def spec(meaning: str, axes: tuple[str, ...], written: int) -> store.ArraySpec:
        """An array of which groups write one entry of the first `written` axes at a time."""
        shape = tuple(sizes[axis] for axis in axes)
        return store.ArraySpec(
            shape, "float64", axes, meaning, (*(1 for _ in range(written)), *shape[written:])
        )

    neuron = ("prompt", "layer", "neuron")
    return {
        "shifts": spec("units of the activation", ("shift",), 0),
        "activation": spec("activation a, unperturbed", neuron, 1),
        "computed": spec("CG = dP/da, per unit of activation", neuron, 1),
        "baseline": spec("P(answer), unperturbed", ("prompt",), 1),
        "noise": spec("standard deviation of P from rounding", ("prompt",), 1),
        "change": spec("P(answer) under the shift minus P(answer) without", (*neuron, "shift"), 2),
    }


def _work(inputs: facts.Inputs, layers: list[int], shifts: np.ndarray) -> list[common.Work]:
    """The gradients of all neurons, then layer by layer their exact changes, for each prompt."""
    work = [common.Work("shifts", 0, lambda: ((slice(None),), {"shifts": shifts}))]
    for number in range(len(inputs.probes)):
        work.append(
            common.Work(
                f"gradients of prompt {number}",
                0,
                functools.partial(_gradients, inputs, number, float(np.abs(shifts).max())),
            )
        )
        work += [
            common.Work(
                _name(number, layer),
                inputs.lm.config.neurons,
                functools.partial(_changes, inputs, number, layer, shifts),
            )
            for layer in layers
        ]
    return work


def _name(number: int, layer: int) -> str:
    return f"prompt {number}, layer {layer}"


def _gradients(inputs: facts.Inputs, number: int, radius: float) -> common.Values:
    probes = inputs.probes.select([number])
    gradients = negjax.neurgrad(inputs.lm, probes, inputs.site, budget_bytes=common.budget_bytes())
    # For the rounding noise alone: the shortest series of any one neuron measures it.
    series = negjax.response(
        inputs.lm,
        probes,
        np.zeros((1, 2), np.int32),
        radius,
        4,
        facts.convention(),
        inputs.site,
        max_nodes=4,
        seed=common.seed(),
        budget_bytes=common.budget_bytes(),
    )
    return (number,), {
        "activation": gradients.activation[0],
        "computed": gradients.computed[0, 0],
        "baseline": series.baseline[0],
        "noise": series.noise[0],
    }


def _changes(inputs: facts.Inputs, number: int, layer: int, shifts: np.ndarray) -> common.Values:
    index = np.arange(inputs.lm.config.neurons)
    sweep = negjax.sweep(
        inputs.lm,
        inputs.probes.select([number]),
        np.stack([np.full_like(index, layer), index], axis=-1),
        shifts,
        facts.convention(),
        inputs.site,
        budget_bytes=common.budget_bytes(),
    )
    return (number, layer), {"change": sweep.change()[0]}
