"""What every way through the layers gives, for models that must not differ."""

from collections.abc import Iterator

import numpy as np

import negjax
from negjax.measurements.writes import write_norms
from negjax.model.language_model import LanguageModel
from tests.support.made_probes import asked

SHIFTS = np.asarray([-1.5, 2.0])


def answers(lm: LanguageModel) -> Iterator[np.ndarray]:
    """Of two prompts and a neuron a layer; effects on tokens are not of experts."""
    probes = asked(lm)
    c, first = lm.config, probes.select_target(0)
    neurons = np.asarray([(layer, 7 * layer + 5) for layer in range(c.layers)])
    yield negjax.activations(lm, probes)
    yield negjax.neurgrad(lm, probes).computed
    yield negjax.neurgrad(lm, probes, output="log_probability").computed
    yield negjax.sweep(lm, probes, neurons, SHIFTS).log_probability
    yield negjax.sweep(lm, first, neurons, SHIFTS, spread=True).log_probability
    yield negjax.response(lm, first, neurons, 2.0).coefficients
    yield negjax.neg(lm, first, neurons, 2.0, 0.2).slope
    dense = np.random.default_rng(0).normal(size=(3, c.layers, c.neurons))
    yield negjax.joint(lm, first, dense).log_probability
    if not c.experts:
        yield negjax.effects(lm, first, neurons)
    yield negjax.estimate(lm, first, "ig")
    if c.causal:
        sets = negjax.neuron_sets(c, [(neurons, 1.5)])
        move = negjax.Intervention(sets)
        prompts = [[3, 4, 5], [6, 7]]
        yield negjax.generate(lm, prompts, move, max_tokens=3).log_probability
    yield write_norms(lm, first).write


def answers_along_directions(lm: LanguageModel) -> Iterator[np.ndarray]:
    """Of two prompts, and a direction in the lowest layer and one in the highest."""
    first = asked(lm).select_target(0)
    vectors = np.random.default_rng(1).normal(size=(2, lm.config.width))
    along = negjax.directions([0, lm.config.layers - 1], vectors, "attention_out")
    yield negjax.sweep(lm, first, along, SHIFTS, "additive").log_probability
    sets = negjax.direction_sets(along, [([0, 1], 1.5), ([1], -0.5)])
    yield negjax.joint(lm, first, sets, "additive").log_probability
    yield negjax.residual_gradients(lm, first, "attention_out").gradient
