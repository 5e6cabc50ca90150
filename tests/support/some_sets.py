"""Sets of neurons of a tiny model, of one to all of them."""

import numpy as np

from negjax.inputs.neurons import NeuronSets, all_neurons, neuron_sets
from negjax.model.language_model import LanguageModel


def some_sets(lm: LanguageModel, largest: float = 2.0) -> NeuronSets:
    """One neuron, some of one layer, some of all layers, all there are; random values."""
    generator = np.random.default_rng(3)
    every = all_neurons(lm.config)
    chosen = [every[[37]], every[every[:, 0] == 1][::3], every[2::5], every]
    return neuron_sets(
        lm.config, [(some, generator.uniform(-largest, largest, len(some))) for some in chosen]
    )
