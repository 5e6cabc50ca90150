"""Estimators of NEG: seven ways to say what a neuron does to an output, with one signature.

    negjax.estimate(lm, probes, "ig")        # [B, K, L, F]

They differ in what they measure: `METHODS` says it of each, with its unit, its sign and its source.
Of the same neuron at the same output, "cgxa", "relp" and "ig" estimate what its activation gives,
output(a) − output(0); "ablation" measures the opposite, output(0) − output(a).
"""

import dataclasses
from typing import get_args

import numpy as np

from negjax.checks import one_of, whole_number
from negjax.estimators.each_neuron import ablations, log_probability_increases
from negjax.estimators.integrated import MOST_STEPS, integrated_gradients
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.conventions import sign
from negjax.inputs.probes import Probes, check_asked
from negjax.measurements.gradients import gradient_batches
from negjax.model.language_model import LanguageModel
from negjax.records import readable
from negjax.replay.targets import Output


@readable
@dataclasses.dataclass(frozen=True)
class Method:
    """An estimator, in words."""

    name: str
    meaning: str
    """With a the activation, f(a) the output, s(a) its sign."""
    unit: str
    citation: str


METHODS = {
    "cg": Method(
        "computed gradient",
        "∂f/∂a",
        "output per unit of activation",
        "Zhao, Jiang, Yoshinaga, Neuron Empirical Gradient, ACL 2025, arXiv 2412.18053",
    ),
    "neurgrad": Method(
        "NeurGrad",
        "∂f/∂a · s(a)",
        "output per unit of activation, away from 0",
        "Zhao, Jiang, Yoshinaga, Neuron Empirical Gradient, ACL 2025, arXiv 2412.18053",
    ),
    "ig": Method(
        "integrated gradients",
        "a · mean of ∂f/∂a while its layer is scaled from 0 to 1; a layer sums to f(a) − f(0)",
        "output",
        "Dai et al., Knowledge Neurons in Pretrained Transformers, ACL 2022, arXiv 2104.08696",
    ),
    "lpi": Method(
        "log-probability increase",
        "log p(target | residual + own write) − log p(target | residual), read at once by the head",
        "log-probability",
        "Yu, Ananiadou, Neuron-Level Knowledge Attribution in Large Language Models, EMNLP 2024, "
        "arXiv 2312.12141",
    ),
    "relp": Method(
        "relevance patching to zero",
        "a · ∂f/∂a with norms, attention patterns and gates held constant, gated products halved",
        "output",
        "Jafari, Eberle, Khakzar, Nanda, RelP, 2025, arXiv 2508.21258",
    ),
    "cgxa": Method(
        "computed gradient × activation (attribution patching to zero)",
        "a · ∂f/∂a",
        "output",
        "Nanda, Attribution Patching, 2023; Syed, Rager, Conmy, 2023, arXiv 2310.10348",
    ),
    "ablation": Method(
        "ablation",
        "f(0) − f(a), or f(mean of a) − f(a), by intervention",
        "output",
        "exact; Meng et al., ROME, NeurIPS 2022, arXiv 2202.05262, for the practice",
    ),
}
"""By the name that `estimate` takes."""


def estimate(
    lm: LanguageModel,
    probes: Probes,
    method: str,
    site: str | None = None,
    *,
    output: Output | None = None,
    steps: int = 20,
    reference: Probes | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> np.ndarray:
    """One estimate of every neuron for all targets.

    Args:
        method: a key of `METHODS`.
        site: `act`, `up` or `product`; None is the model's default. IG and LPI are the same at
            every site; RelP is half at `up` what it is at `product`.
        output: f. None is the method's own: the log-probability for "lpi", which has no other, the
            probability for all others.
        steps: of "ig".
        reference: for "ablation": a neuron is set to its mean over these probes, not to 0.
        budget_bytes: memory for one batch, besides the weights and the result.

    Returns:
        [B, K, L, F]; unit and sign depend on the method, see `METHODS`.

    Raises:
        ValueError: unknown method, site or output, probes or a reference that are not encoded, an
            argument that is another method's, "lpi" of targets of several tokens, steps that are no
            whole number, 1 or more.
    """
    check_asked(lm, probes)
    one_of(method, "method", METHODS)
    chosen = lm.config.site(site)
    if output is not None:
        one_of(output, "output", get_args(Output))
    steps = whole_number(steps, "steps", 1, MOST_STEPS)
    whole_number(budget_bytes, "budget_bytes", 1)
    if reference is not None:
        check_asked(lm, reference, "reference")
    if reference is not None and method != "ablation":
        raise ValueError(f'method {method!r} has no reference; only "ablation" has')
    if method == "lpi":
        if output not in (None, "log_probability"):
            raise ValueError(f'method "lpi" is of the log_probability, not of the {output}')
        return log_probability_increases(lm, probes, budget_bytes=budget_bytes)
    output = output or "probability"
    if method == "ig":
        return integrated_gradients(
            lm, probes, output=output, steps=steps, budget_bytes=budget_bytes
        )
    if method == "ablation":
        return ablations(
            lm, probes, chosen, output=output, reference=reference, budget_bytes=budget_bytes
        )
    c = lm.config
    shape = (len(probes), probes.target_count, c.layers, c.neurons)
    result = np.empty(shape, lm.compute_dtype)
    for index, _, activation, gradient in gradient_batches(
        lm,
        probes,
        chosen,
        output=output,
        linearised=method == "relp",
        budget_bytes=budget_bytes,
    ):
        result[index] = gradient
        if method != "cg":
            activation_blf = np.asarray(activation)
            factor = sign(activation_blf) if method == "neurgrad" else activation_blf
            result[index] *= factor[:, None]
    return result
