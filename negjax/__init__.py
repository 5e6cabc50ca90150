"""negjax: what happens to the probability of an answer when a neuron is turned up.

Neuron empirical gradients (NEG) and NeurGrad of language models (Zhao, Jiang, Yoshinaga; ACL 2025;
arXiv 2412.18053) in JAX: exact interventions and gradients for every neuron.

    lm = negjax.load("smollm2-135m-instruct")
    probes = negjax.encode(lm, ["The capital of France is"], ["Paris"])
    gradients = negjax.neurgrad(lm, probes)                      # every neuron, one pass
    curve = negjax.response(lm, probes, neurons, radius=10.0)    # P as a function of the shift
    fit = negjax.linear_fit(curve, negjax.paper_grid(2.0, 0.2))  # NEG and linearity
"""

from negjax import mceval8k, skills
from negjax.chebyshev import Response, response
from negjax.control import Edited, Steered, Turned, edit, enhance, steer, suppress
from negjax.encoding import encode
from negjax.estimators import estimate
from negjax.gradients import NeurGrad, effects, gradient_batches, neurgrad
from negjax.joint_interventions import Joint, joint
from negjax.language_model import LanguageModel
from negjax.linearity import LinearFit, linear_fit, paper_grid
from negjax.loading import load
from negjax.neurons import NeuronSets, all_neurons, neuron_sets, random_neurons
from negjax.notices import Notice
from negjax.probes import Probes
from negjax.second_order import Curvature, curvature, linear_range
from negjax.sweeps import Sweep, sweep
from negjax.tables import Facts, read_facts

__version__ = "0.1.0"

__all__ = [
    "Curvature",
    "Edited",
    "Facts",
    "Joint",
    "LanguageModel",
    "LinearFit",
    "NeurGrad",
    "NeuronSets",
    "Notice",
    "Probes",
    "Response",
    "Steered",
    "Sweep",
    "Turned",
    "all_neurons",
    "curvature",
    "edit",
    "effects",
    "encode",
    "enhance",
    "estimate",
    "gradient_batches",
    "joint",
    "linear_fit",
    "linear_range",
    "load",
    "mceval8k",
    "neurgrad",
    "neuron_sets",
    "paper_grid",
    "random_neurons",
    "read_facts",
    "response",
    "skills",
    "steer",
    "suppress",
    "sweep",
]
