"""All estimators: what each is, for readers, and what runs it. Another one is an entry here."""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np

from negjax.estimators.by_gradient import gradient_products
from negjax.estimators.each_neuron import ablations, log_probability_increases
from negjax.estimators.integrated import integrated_gradients
from negjax.execution.asked_outputs import NAMED
from negjax.execution.conventions import sign
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel
from negjax.records import readable
from negjax.replay.outputs import AnyOutput

SLOPED = tuple(name for name in NAMED if name != "kl")
"""Outputs that have a slope where nothing is shifted."""


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimator:
    """An estimator: in words, and as a function."""

    label: str
    """In tables and figures."""
    title: str
    meaning: str
    """With a the activation, f(a) the output, s(a) its sign."""
    unit: str
    citation: str
    run: Callable[..., np.ndarray]
    """Of model, probes, site, and by keyword `output`, `budget_bytes` and its options: estimates
    [B, O, L, F]."""
    options: tuple[str, ...] = ()
    """Arguments of `estimate` that are passed on to it."""
    outputs: tuple[str, ...] = SLOPED
    """What it estimates changes of; the first where none is asked for. Functions of the whole
    distribution, where the entropy is among them."""


def _integrated(
    lm: LanguageModel,
    probes: Probes,
    site: str,
    *,
    output: AnyOutput,
    budget_bytes: int,
    steps: int,
) -> np.ndarray:
    """The same at every site."""
    return integrated_gradients(lm, probes, output=output, steps=steps, budget_bytes=budget_bytes)


def _increases(
    lm: LanguageModel, probes: Probes, site: str, *, output: AnyOutput, budget_bytes: int
) -> np.ndarray:
    """The same at every site, and of one output."""
    return log_probability_increases(lm, probes, budget_bytes=budget_bytes)


def _itself(activation: np.ndarray) -> np.ndarray:
    return activation


ESTIMATORS = {
    "cg": Estimator(
        label="CG",
        title="computed gradient",
        meaning="∂f/∂a",
        unit="output per unit of activation",
        citation="Zhao, Jiang, Yoshinaga, Neuron Empirical Gradient, ACL 2025, arXiv 2412.18053",
        run=gradient_products,
        options=("positions",),
    ),
    "neurgrad": Estimator(
        label="NeurGrad",
        title="NeurGrad",
        meaning="∂f/∂a · s(a)",
        unit="output per unit of activation, away from 0",
        citation="Zhao, Jiang, Yoshinaga, Neuron Empirical Gradient, ACL 2025, arXiv 2412.18053",
        run=partial(gradient_products, factor=sign),
        options=("positions",),
    ),
    "ig": Estimator(
        label="IG",
        title="integrated gradients",
        meaning="a · mean of ∂f/∂a while its layer is scaled from 0 to 1; a layer sums to "
        "f(a) − f(0)",
        unit="output",
        citation="Dai et al., Knowledge Neurons in Pretrained Transformers, ACL 2022, "
        "arXiv 2104.08696",
        run=_integrated,
        options=("steps",),
    ),
    "lpi": Estimator(
        label="LPI",
        title="log-probability increase",
        meaning="log p(target | residual + own write) − log p(target | residual), read at once by "
        "the head",
        unit="log-probability",
        citation="Yu, Ananiadou, Neuron-Level Knowledge Attribution in Large Language Models, "
        "EMNLP 2024, arXiv 2312.12141",
        run=_increases,
        outputs=("log_probability",),
    ),
    "relp": Estimator(
        label="RelP",
        title="relevance patching to zero",
        meaning="a · ∂f/∂a with norms, attention patterns, gates and routers held constant, gated "
        "products halved",
        unit="output",
        citation="Jafari, Eberle, Khakzar, Nanda, RelP, 2025, arXiv 2508.21258",
        run=partial(gradient_products, factor=_itself, linearised=True),
        options=("positions",),
    ),
    "cgxa": Estimator(
        label="CG × a",
        title="computed gradient × activation (attribution patching to zero)",
        meaning="a · ∂f/∂a",
        unit="output",
        citation="Nanda, Attribution Patching, 2023; Syed, Rager, Conmy, 2023, arXiv 2310.10348",
        run=partial(gradient_products, factor=_itself),
        options=("positions",),
    ),
    "ablation": Estimator(
        label="ablation",
        title="ablation",
        meaning="f(0) − f(a), or f(mean of a) − f(a), by intervention",
        unit="output",
        citation="exact; Meng et al., ROME, NeurIPS 2022, arXiv 2202.05262, for the practice",
        run=ablations,
        options=("reference",),
        outputs=NAMED,
    ),
}
"""By the name that `estimate` takes."""
