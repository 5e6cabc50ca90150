"""Ablation to the mean: what a neuron does is what changes when it is held at its average."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from negjax import checks
from negjax.corpus.summaries import CorpusStatistics, check_groups, check_of_model
from negjax.inputs.neurons import NeuronSets, check_neurons, neuron_sets
from negjax.model.language_model import LanguageModel


def mean_sets(
    lm: LanguageModel,
    statistics: CorpusStatistics,
    sets: Sequence[ArrayLike],
    group: str | None = None,
) -> NeuronSets:
    """Sets of neurons held at their means over a corpus, for `joint(…, clamp=True)`.

    Held at 0, a neuron says something that it never says; at its mean it says what it says of any
    text, so that what is lost is what it knew of this one.

    Args:
        statistics: of this model; `joint` must be given their site.
        sets: R sets of neurons, (layer, index) pairs [n, 2] each; of a mask `numpy.argwhere`.
        group: take the means of this group of texts; None: of all texts.

    Raises:
        ArgumentError: statistics of another model, or without such a group.
        ValueError: no sets, an empty one, or a neuron that the model does not have.
    """
    statistics = check_of_model(lm, statistics)
    mean = statistics.mean
    if group is not None:
        statistics, groups = check_groups(statistics, 1)
        mean = groups.mean[groups.number(group, "group")]
    pairs = []
    members: list[Any] = checks.listed(sets, "sets", "a list of sets of neurons [n, 2]")
    for neurons in members:
        layer, index = check_neurons(lm.config, neurons, 1)[0].T
        pairs.append((neurons, mean[layer, index]))
    return neuron_sets(lm.config, pairs)
