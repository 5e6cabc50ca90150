"""Changes of an output under shifts, and how much of them rounding makes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from negjax.execution.conventions import Convention
from negjax.execution.interventions import (
    AtRead,
    Shifted,
    grid_rows,
    intervene,
    with_baselines,
)
from negjax.execution.passes import activations
from negjax.inputs.probes import Probes
from negjax.inputs.residual_directions import Directions
from negjax.model.language_model import LanguageModel
from negjax.replay.outputs import AnyOutput

# Neurons whose tiny shifts measure the rounding noise of a prompt, spread evenly over the layers.
NOISE_NEURONS = 6
# In float32, a shift whose fifth power is far below rounding, and that still changes roundings.
NOISE_SHIFT = 1e-2
# Multiples of it, and the degree of the polynomial through them that is the response's own.
NOISE_STEPS = np.arange(-4, 5)
NOISE_DEGREE = 4


class Changes(NamedTuple):
    """Of an output, under R interventions of each of B prompts, in float64."""

    at_read: AtRead
    """The rows' neurons, unperturbed."""
    baseline: Float[np.ndarray, " B *K"]
    """The output without a shift."""
    change: Float[np.ndarray, "B *K R"]
    """Output with the shift minus output without, as computed in the row's layer."""
    noise: Float[np.ndarray, " B *K"] | None
    """Standard deviation of the output from rounding, where it was asked for."""


def measured_changes(
    lm: LanguageModel,
    probes: Probes,
    rows: Shifted,
    convention: Convention,
    site: str | None,
    *,
    directions: Directions | None = None,
    output: AnyOutput,
    target: int | None,
    each: bool = False,
    seed: int | None = None,
    budget_bytes: int,
) -> Changes:
    """Exact changes of one output under each row's intervention.

    Args:
        each: of all targets, along an axis K.
        directions: that rows are of, instead of neurons. The noise is still that under shifts of
            neurons: rounding does not ask what was shifted.
        seed: of the neurons that probe the rounding noise; None: it is not measured.

    Raises:
        ValueError: as `intervene`.
    """
    layers, count = lm.config.layers, rows.layer.shape[1]
    noise = None
    if seed is not None and directions is not None:
        noise = measured_changes(
            lm,
            probes,
            noise_rows(lm, probes, seed, budget_bytes=budget_bytes),
            "additive",
            None,
            output=output,
            target=target,
            each=each,
            budget_bytes=budget_bytes,
        ).change
    elif seed is not None:
        more = noise_rows(lm, probes, seed, budget_bytes=budget_bytes)
        rows = Shifted(*(np.concatenate(pair, axis=1) for pair in zip(rows, more, strict=True)))
    found = intervene(
        lm,
        probes,
        with_baselines(rows, layers),
        convention,
        site,
        directions=directions,
        output=output,
        target=target,
        each=each,
        budget_bytes=budget_bytes,
    )
    values = np.moveaxis(found.value, 1, -1).astype(np.float64)
    entered = np.minimum(rows.layer, layers - 1)
    entered = entered[:, None] if each else entered
    before = np.take_along_axis(values[..., -layers:], entered, axis=-1)
    change = values[..., :-layers] - before
    if noise is None and seed is not None:
        noise = change[..., count:]
    routed = found.at_read.routed
    return Changes(
        at_read=AtRead(
            activation=found.at_read.activation[:, :count],
            routed=None if routed is None else routed[:, :count],
        ),
        baseline=values[..., -layers],
        change=change[..., :count],
        noise=None if noise is None else rounding_noise(noise),
    )


def noise_rows(lm: LanguageModel, probes: Probes, seed: int, *, budget_bytes: int) -> Shifted:
    """Rows [B, neurons · steps] that show rounding: multiples of a tiny shift, neuron by neuron.

    Args:
        seed: of the choice of neurons, the same for all prompts; of experts, among those to which a
            prompt's token is routed, as a shift of others changes no rounding.
    """
    b, c = len(probes), lm.config
    layers = np.linspace(0, c.layers - 1, NOISE_NEURONS).round().astype(np.int32)
    generator = np.random.default_rng(seed)
    if c.experts:
        found = activations(lm, probes, budget_bytes=budget_bytes)[:, layers] != 0
        # The first of each prompt's in an order that all have in common.
        order = generator.permutation(c.neurons)
        index = order[found[..., order].argmax(-1)]
    else:
        index = np.tile(generator.integers(0, c.neurons, NOISE_NEURONS), (b, 1))
    neurons = np.stack([np.broadcast_to(layers, index.shape), index], axis=-1).astype(np.int32)
    finer = np.finfo(lm.compute_dtype).eps / np.finfo(np.float32).eps
    shifts = NOISE_STEPS * NOISE_SHIFT * finer**0.2
    return grid_rows(neurons, np.broadcast_to(shifts, (b, NOISE_NEURONS, shifts.size)))


def rounding_noise(changes: Float[np.ndarray, "*axes R"]) -> Float[np.ndarray, "*axes"]:
    """Standard deviation of an output from rounding, from its changes at `noise_rows`.

    Over so short a range an exact response is a polynomial of degree 4 to below rounding, so what
    a least-squares fit of one leaves is rounding alone. Of X independent roundings of variance σ²
    it leaves a sum of squares of (X - 5) σ² in the mean.
    """
    values = changes.reshape(*changes.shape[:-1], -1, NOISE_STEPS.size)
    # The first columns of Q span the polynomials, the others what is orthogonal to them.
    basis = np.vander(NOISE_STEPS, NOISE_DEGREE + 1)
    rest = np.linalg.qr(basis, mode="complete").Q[:, NOISE_DEGREE + 1 :]
    result: np.ndarray = np.sqrt(np.mean(np.square(values @ rest), axis=(-2, -1)))
    return result
