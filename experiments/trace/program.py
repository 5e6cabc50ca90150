"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np

import negjax
from experiments.inputs import facts
from experiments.running import common
from experiments.running.settings import define, recorded, setting
from experiments.running.study import Findings, Finished, Study, measured
from experiments.trace import report
from experiments.trace.pairs import Pair, asked, pairs_of, roles
from experiments.trace.results import read_trace
from negjax.inputs.neurons import neuron_sets
from negjax.inputs.positions import read_index
from negjax.storage import store
from negjax.storage.store import RunFolder

OUTPUT: Literal["logit_difference"] = "logit_difference"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is traced."""

    pairs: int = setting(8, "Pairs of prompts to trace, drawn by --seed; 0: all.", least=0)


FLAGS = define(Settings)


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    settings = FLAGS.read()
    inputs = facts.load_inputs(0)
    found = pairs_of(inputs.probes)
    if not found:
        raise ValueError(
            f"no two of the {len(inputs.probes)} prompts of {inputs.source} are alike but for one "
            "run of tokens, with other answers; pass a table with several facts of one form"
        )
    count = settings.pairs or len(found)
    if count > len(found):
        raise ValueError(f"--pairs={count}: there are {len(found)}; pass fewer, or 0 for all")
    order = np.random.default_rng(common.seed()).permutation(len(found))[:count]
    pairs = [found[number] for number in sorted(order.tolist())]
    # Where all that a layer computes from passes: of a gated layer, what its last map reads.
    site = common.FLAGS["site"].value or inputs.lm.config.sites[-1]
    tokens = max(int(inputs.probes.mask[pair.clean].sum()) for pair in pairs)

    def findings(folder: RunFolder, finished: Finished) -> Findings | None:
        numbers = [int(item.name.rpartition(" ")[2]) for item in finished.work]
        traces = [read_trace(inputs, folder, number, pairs[number]) for number in numbers]
        return report.findings(inputs, site, folder, traces, finished) if traces else None

    return Study(
        name="trace",
        settings={
            **facts.input_settings(inputs),
            **recorded(settings),
            "traced": [list(pair) for pair in pairs],
            "traced_site": site,
        },
        arrays=_specs(len(pairs), tokens, inputs.lm.config.layers),
        attributes={"site": site, "output": OUTPUT},
        measure=measured(lambda _: _work(inputs, pairs, site, tokens), "token", divisible=True),
        results=findings,
    )


def _specs(pairs: int, tokens: int, layers: int) -> dict[str, store.ArraySpec]:
    sizes = {"pair": pairs, "token": tokens, "layer": layers, "prompt": 2}

    def spec(meaning: str, *axes: str, dtype: str = "float64") -> store.ArraySpec:
        shape = tuple(sizes[axis] for axis in axes)
        return store.ArraySpec(
            shape=shape, dtype=dtype, axes=axes, meaning=meaning, chunks=(1, *shape[1:])
        )

    place = ("pair", "token", "layer")
    return {
        "difference": spec("of the two answers' logits, of clean and corrupted", "pair", "prompt"),
        "effect": spec("change of the corrupted one's by one layer's clean activations", *place),
        "attribution": spec("the same to first order: gradient times difference", *place),
        "role": spec("of a token; -1: there is none", "pair", "token", dtype="int32"),
    }


def _work(inputs: facts.Inputs, pairs: list[Pair], site: str, tokens: int) -> list[common.Work]:
    return [
        common.Work(
            f"pair {number}",
            int(inputs.probes.mask[pair.clean].sum()) - pair.start,
            functools.partial(_trace, inputs, number, pair, site, tokens),
        )
        for number, pair in enumerate(pairs)
    ]


def _trace(inputs: facts.Inputs, number: int, pair: Pair, site: str, tokens: int) -> common.Values:
    lm, probes, budget = inputs.lm, asked(inputs.probes, pair), common.budget_bytes()
    gradients = negjax.neurgrad(
        lm, probes, site, positions="all", output=OUTPUT, budget_bytes=budget
    )
    clean, corrupted = gradients.activation  # [T, L, F]
    attribution = (gradients.computed[1, 0] * (clean - corrupted)).sum(-1)
    length, layers = attribution.shape
    every = np.arange(lm.config.neurons)
    of_layer = [np.stack([np.full_like(every, layer), every], -1) for layer in range(layers)]
    effect = np.zeros_like(attribution)
    # Before the subject, both prompts are the same.
    for token in range(pair.start, length) if lm.config.causal else range(length):
        sets = neuron_sets(lm.config, list(zip(of_layer, clean[token], strict=True)))
        found = negjax.joint(
            lm,
            probes[1],
            sets,
            site=site,
            clamp=True,
            positions=token,
            output=OUTPUT,
            budget_bytes=budget,
        )
        effect[token] = found.change()[0]
    unshifted = negjax.sweep(lm, probes, [(0, 0)], [0.0], site=site, output=OUTPUT)

    def filled(values: np.ndarray, value: float) -> np.ndarray:
        fill = ((0, tokens - length), *[(0, 0)] * (values.ndim - 1))
        return np.pad(values, fill, constant_values=value)

    return (number,), {
        "difference": unshifted.baseline_value[:, 0],
        "effect": filled(effect, np.nan),
        "attribution": filled(attribution, np.nan),
        "role": filled(roles(pair, length, int(read_index(probes)[0])), -1),
    }
