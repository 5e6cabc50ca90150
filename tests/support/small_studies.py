"""Studies of facts, and flags with which each is done in seconds on a tiny model."""

import functools
from collections.abc import Callable

from experiments.atlas import program as atlas
from experiments.control import program as control
from experiments.estimators import program as estimators
from experiments.linearity import program as linearity
from experiments.multi_neuron import program as multi_neuron
from experiments.neg_map import program as neg_map
from experiments.running import study

STUDIES: dict[str, tuple[Callable[[], int], list[str]]] = {
    "linearity": (functools.partial(study.run, linearity.prepare), ["--neurons=4", "--range=2"]),
    "neg_map": (functools.partial(study.run, neg_map.prepare), ["--neg_radius=1"]),
    "estimators": (
        functools.partial(study.run, estimators.prepare),
        ["--neurons=4", "--range=2", "--doses=1", "--methods=cg,neurgrad", "--top=3"],
    ),
    "multi_neuron": (
        functools.partial(study.run, multi_neuron.prepare),
        ["--largest=4", "--magnitudes=1,2", "--choices=random,top", "--draws=1"],
    ),
    "control": (
        functools.partial(study.run, control.prepare),
        ["--parts=turning", "--counts=2", "--volumes=1", "--ratios=1"],
    ),
    "atlas": (
        functools.partial(study.run, atlas.prepare),
        ["--sample_facts=1", "--strong_facts=1", "--curve_range=2", "--layer_step=2"],
    ),
}
