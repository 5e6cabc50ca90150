"""Gradients of all prompts as arrays of the host, whatever they are by: neurons or residuals."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from negjax.execution.asked_outputs import TARGET_OUTPUTS
from negjax.execution.common_heads import run_groups
from negjax.inputs.positions import NONE, neuron_index, tokens_apart
from negjax.inputs.probes import Probes
from negjax.measurements.gradient_runs import Over, device_batches
from negjax.model.config import PLACES, SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host
from negjax.process import bars
from negjax.replay.outputs import AnyOutput


class Gathered(NamedTuple):
    """Of B prompts; the axis Q is there where results tell positions apart."""

    probability: Float[np.ndarray, "B K"]
    states: Float[np.ndarray, "B *Q L entries"]
    """What is differentiated by: activations of a site, residuals of a place; 0 where a prompt has
    fewer positions, and so is the gradient."""
    gradient: Float[np.ndarray, "B O *Q L entries"]
    signed: Float[np.ndarray, "B O L entries"] | None
    """Over positions, by s(a) of each."""
    routed: Bool[np.ndarray, "B *Q L entries"] | None
    """Whether tokens pass the neurons' experts; None of places, and without experts."""


def gathered(
    lm: LanguageModel,
    probes: Probes,
    site: SiteOrPlace,
    *,
    output: AnyOutput,
    over: Over | None = None,
    linearised: bool = False,
    budget_bytes: int,
) -> Gathered:
    """Runs all prompts, in batches, and brings what is found into their order.

    Args:
        site: of neurons, or a place of residuals.
        over: what is kept of several positions.
        linearised: by RelP's rules.
    """
    c, at = lm.config, neuron_index(probes)
    by_place = site in PLACES
    b, count = len(probes), at.shape[1] if over is None else 1
    outputs = probes.target_count if output in TARGET_OUTPUTS else 1
    shape = (count, c.layers, c.width if by_place else c.neurons)
    dtype = np.dtype(lm.compute_dtype)
    probability = np.empty((b, probes.target_count), dtype)
    states, gradient = np.empty((b, *shape), dtype), np.empty((b, outputs, *shape), dtype)
    signed = None if over is None else np.empty_like(gradient)
    routed = np.zeros((b, *shape), bool) if c.experts and not by_place else None
    with bars.counted(b):
        for index, found in device_batches(
            lm,
            probes,
            run_groups(lm, probes, None),
            site=site,
            output=output,
            over=over,
            linearised=linearised,
            budget_bytes=budget_bytes,
        ):
            probability[index] = to_host(found.probability)
            states[index] = to_host(found.activation)
            gradient[index] = to_host(found.gradient)
            if signed is not None and found.signed is not None:
                signed[index] = to_host(found.signed)
            if routed is not None and found.experts is not None:
                _mark(routed, at, index, to_host(found.experts), c.expert_neurons)
    if over is None:
        states[at == NONE] = 0
        gradient[np.broadcast_to((at == NONE)[:, None], (b, outputs, count))] = 0
    if over is not None or not tokens_apart(probes):
        states, gradient = states[:, 0], gradient[:, :, 0]
        routed = None if routed is None else routed[:, 0]
    return Gathered(
        probability=probability,
        states=states,
        gradient=gradient,
        signed=None if signed is None else signed[:, :, 0],
        routed=routed,
    )


def _mark(
    routed: Bool[np.ndarray, "B Q L F"],
    at: Int[np.ndarray, "B P"],
    index: Int[np.ndarray, " n"],
    experts: Int[np.ndarray, "n P L k"],
    each: int,
) -> None:
    """Marks the neurons, `each` an expert, that tokens pass at P positions; Q is P, or 1."""
    _, count, layers, _ = routed.shape
    for number in range(at.shape[1]):
        there = at[index, number] != NONE
        rows, chosen = index[there], experts[there, number]
        by_expert = routed[:, min(number, count - 1)].reshape(len(routed), layers, -1, each)
        by_expert[rows[:, None, None], np.arange(layers)[:, None], chosen] = True
