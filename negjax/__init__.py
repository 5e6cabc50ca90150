"""negjax: what happens to the probability of an answer when a neuron is turned up.

Neuron empirical gradients (NEG) and NeurGrad of language models (Zhao, Jiang, Yoshinaga; ACL 2025;
arXiv 2412.18053) in JAX: exact interventions and gradients for every neuron.

    negjax.configure_process()                                   # first, where there is a GPU
    lm = negjax.load("smollm2-135m-instruct")
    probes = negjax.encode(lm, ["The capital of France is"], ["Paris"])
    gradients = negjax.neurgrad(lm, probes)                      # every neuron, one pass
    curve = negjax.response(lm, probes, neurons, radius=10.0)    # P as a function of the shift
    fit = negjax.linear_fit(curve, negjax.paper_grid(2.0, 0.2))  # NEG and linearity
"""

import importlib
from typing import TYPE_CHECKING

from negjax import control, corpus
from negjax.control import (
    Edited,
    Steered,
    Steering,
    Turned,
    edit,
    enhance,
    export_shift,
    read_steering,
    steer,
    suppress,
)
from negjax.corpus import CorpusStatistics, corpus_statistics
from negjax.estimators import estimate
from negjax.execution.head_writes import head_directions
from negjax.execution.passes import activations
from negjax.generation.interventions import Intervention
from negjax.generation.writing import Generated, generate
from negjax.inputs.directed import direction_sets
from negjax.inputs.direction_files import read_directions
from negjax.inputs.encoding import encode
from negjax.inputs.neuron_files import (
    NeuronMask,
    NeuronTable,
    read_mask,
    read_neurons,
    save_mask,
    save_neurons,
)
from negjax.inputs.neurons import NeuronSets, all_neurons, neuron_sets, random_neurons
from negjax.inputs.positions import TokenPositions, tokens_of
from negjax.inputs.probes import Probes
from negjax.inputs.residual_directions import Directions, directions
from negjax.inputs.tables import Facts, read_facts
from negjax.measurements.answers import Answers, logits, plain_answers
from negjax.measurements.chebyshev import Response, response
from negjax.measurements.direction_gradients import ResidualGradients, residual_gradients
from negjax.measurements.empirical_gradients import EmpiricalGradient, neg
from negjax.measurements.gradients import NeurGrad, gradient_batches, neurgrad
from negjax.measurements.joint_interventions import Joint, joint
from negjax.measurements.linearity import LinearFit, linear_fit, paper_grid
from negjax.measurements.ranked_neurons import TopNeurons, top_neurons
from negjax.measurements.second_order import Curvature, curvature, linear_range
from negjax.measurements.sweeps import Sweep, sweep
from negjax.measurements.token_effects import effects
from negjax.model.language_model import LanguageModel
from negjax.process.configuration import configure_process
from negjax.process.notices import Notice
from negjax.storage.record_files import read, save
from negjax.storage.run_results import RunResults, open_run
from negjax.weights.loading import load
from negjax.weights.saving import save_pretrained

__version__ = "0.1.0"

# Imported when they are asked for first: a tenth of the time of importing negjax.
if TYPE_CHECKING:
    from negjax import mceval8k, skills
else:

    def __getattr__(name):
        if name not in ("mceval8k", "skills"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f"{__name__}.{name}")

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "Answers",
    "CorpusStatistics",
    "Curvature",
    "Directions",
    "Edited",
    "EmpiricalGradient",
    "Facts",
    "Generated",
    "Intervention",
    "Joint",
    "LanguageModel",
    "LinearFit",
    "NeurGrad",
    "NeuronMask",
    "NeuronSets",
    "NeuronTable",
    "Notice",
    "Probes",
    "ResidualGradients",
    "Response",
    "RunResults",
    "Steered",
    "Steering",
    "Sweep",
    "TokenPositions",
    "TopNeurons",
    "Turned",
    "activations",
    "all_neurons",
    "configure_process",
    "control",
    "corpus",
    "corpus_statistics",
    "curvature",
    "direction_sets",
    "directions",
    "edit",
    "effects",
    "encode",
    "enhance",
    "estimate",
    "export_shift",
    "generate",
    "gradient_batches",
    "head_directions",
    "joint",
    "linear_fit",
    "linear_range",
    "load",
    "logits",
    "mceval8k",
    "neg",
    "neurgrad",
    "neuron_sets",
    "open_run",
    "paper_grid",
    "plain_answers",
    "random_neurons",
    "read",
    "read_directions",
    "read_facts",
    "read_mask",
    "read_neurons",
    "read_steering",
    "residual_gradients",
    "response",
    "save",
    "save_mask",
    "save_neurons",
    "save_pretrained",
    "skills",
    "steer",
    "suppress",
    "sweep",
    "tokens_of",
    "top_neurons",
]
