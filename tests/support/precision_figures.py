"""What the rungs of precision do to a model's answers, against float64 with the same weights."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import negjax
from negjax import skills
from negjax.inputs.ranking import top_overlap
from negjax.model.language_model import LanguageModel
from negjax.weights.conversion import abstract_model

TOP = 100


class Questions(NamedTuple):
    """What a model is asked."""

    probes: negjax.Probes
    """Of NeurGrad, ΔP and NEG: one target a prompt."""
    task: negjax.Probes
    """Of a skill probe: two answers a prompt."""
    gold: np.ndarray
    """[B], which of the task's two is right."""
    neurons: np.ndarray
    """[B, N, 2], whose NEG and ΔP are measured."""
    radius: float
    step: float


class Answers(NamedTuple):
    """In one arithmetic."""

    neurgrad: np.ndarray
    """[B, L · F]."""
    change: np.ndarray
    """[B, N, 2], ΔP under the pair of shifts that NEG is read off."""
    slope: np.ndarray
    """[B, N], NEG."""
    pearson: np.ndarray
    """[B], of NEG and NeurGrad over the neurons."""
    right: np.ndarray
    """[test items], whether a skill probe answers rightly."""
    chosen: np.ndarray
    """[test items], its answer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """How far one arithmetic's answers are from float64's."""

    neurgrad: float
    """Norm of the error over the norm, the median over prompts."""
    angle: float
    """One less the cosine, the largest of all prompts."""
    change: float
    """Root mean square of the error in ΔP."""
    slope: float
    """Relative error of NEG, median."""
    pearson: float
    """Largest error of r between NEG and NeurGrad."""
    overlap: float
    """Of the most influential neurons, mean over prompts."""
    accuracy: float
    same: float
    """Share of the skill probe's answers that are float64's."""


def in_float64(lm: LanguageModel) -> LanguageModel:
    """The model with the same weights in float64; JAX must keep 64 bits."""
    return dataclasses.replace(
        lm,
        graphdef=abstract_model(lm.config, jnp.dtype("float64"))[0],
        params=jax.tree.map(lambda leaf: jnp.asarray(leaf, "float64"), lm.params),
    )


def answers(lm: LanguageModel, questions: Questions) -> Answers:
    """Everything that is compared, in the model's arithmetic."""
    q, p = questions, questions.probes
    gradient = negjax.neurgrad(lm, p).neurgrad[:, 0].astype(np.float64)
    shifted = negjax.neg(lm, p, q.neurons, q.radius, q.step)
    rows = np.arange(len(p))[:, None]
    at_neurons = gradient[rows, q.neurons[..., 0], q.neurons[..., 1]]
    pairs = zip(shifted.slope, at_neurons, strict=True)
    scores = negjax.neurgrad(lm, q.task).neurgrad
    half = len(q.gold) // 2
    probe = skills.Polar(k=min(64, scores[0, 0].size)).fit(scores[:half], q.gold[:half])
    chosen = np.asarray(probe.predict(scores[half:]))
    return Answers(
        neurgrad=gradient.reshape(len(p), -1),
        change=shifted.change,
        slope=shifted.slope,
        pearson=np.asarray([np.corrcoef(*pair)[0, 1] for pair in pairs]),
        right=chosen == q.gold[half:],
        chosen=chosen,
    )


def compared(found: Answers, exact: Answers) -> Figures:
    """Figures of an arithmetic."""
    wrong = np.linalg.norm(found.neurgrad - exact.neurgrad, axis=1)
    norms = [np.linalg.norm(values, axis=1) for values in (found.neurgrad, exact.neurgrad)]
    cosine = (found.neurgrad * exact.neurgrad).sum(1) / (norms[0] * norms[1])
    count = min(TOP, exact.neurgrad.shape[1] // 2)
    sizes = zip(np.abs(found.neurgrad), np.abs(exact.neurgrad), strict=True)
    return Figures(
        neurgrad=float(np.median(wrong / norms[1])),
        angle=float((1 - cosine).max()),
        change=float(np.sqrt(np.mean((found.change - exact.change) ** 2))),
        slope=float(np.median(np.abs(found.slope / exact.slope - 1))),
        pearson=float(np.abs(found.pearson - exact.pearson).max()),
        overlap=float(np.mean([top_overlap(ours, best, count) for ours, best in sizes])),
        accuracy=float(found.right.mean()),
        same=float((found.chosen == exact.chosen).mean()),
    )
