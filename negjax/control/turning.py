"""Turning a prompt's strongest neurons up or down: `enhance`, `suppress`, `turn`."""

import dataclasses
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np

from negjax.checks import finite_in, instance, is_whole, one_of, real_numbers, shown
from negjax.control.outcome import Outcome, shifted_outcomes
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.conventions import sign
from negjax.inputs.neurons import check_neurons, neuron_sets
from negjax.inputs.probes import Probes, check_asked, check_target
from negjax.measurements.gradients import NeurGrad, neurgrad
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.process.bars import with_bar
from negjax.records import readable

Polarity = Literal["both", "positive", "negative"]


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Turned:
    """What shifting N neurons of each of B prompts, all at once, did to the next token."""

    site: Site
    neurons: np.ndarray
    """[B, N, 2], (layer, index)."""
    shifts: np.ndarray
    """[B, N], added to the activations (the additive convention)."""
    activation: np.ndarray
    """[B, N], unperturbed."""
    neurgrad: np.ndarray
    """[B, N], of the target's probability."""
    before: Outcome
    after: Outcome
    kl: np.ndarray
    """[B], KL(before ‖ after) of the next-token distribution, in nats."""


@with_bar
def enhance(
    lm: LanguageModel,
    probes: Probes,
    k: int,
    *,
    volume: float | np.ndarray | None = None,
    ratio: float | np.ndarray | None = None,
    polarity: Polarity = "both",
    site: str | None = None,
    target: int | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Turned:
    """Turns the top-k neurons of each prompt so that the target's probability should rise.

    Positive neurons (NeurGrad > 0) are strengthened, a → a + x·s(a), negative ones weakened by as
    much, a → a − x·s(a); a weakened activation may pass through 0.

    Args:
        k: neurons of each polarity, those of largest |NeurGrad|; among equals the lowest flat index
            (layer-major) goes first.
        volume: x itself, in units of the activation.
        ratio: instead, x as a multiple of |a|. Either is one number, or one for each neuron: [N],
            in order of rank, with "both" the k positive ones first.
        polarity: which neurons are turned.
        site: `act`, `up` or `product`; None is the model's default.
        target: which of the K targets; may be left out if there is one.
        budget_bytes: memory for one batch, besides the weights and the result.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: a k that is not positive or exceeds a prompt's neurons of the polarity, neither
            or both of volume and ratio, another number of them than of neurons, or one that is
            negative or not finite; bad site or target; by name.
    """
    check_asked(lm, probes)
    _check_plan(k, lm.config.layers * lm.config.neurons, lm.compute_dtype, volume, ratio, polarity)
    one, gradients = _gradients(lm, probes, site, target, budget_bytes)
    plan = strongest_shifts(gradients, k, volume=volume, ratio=ratio, polarity=polarity)
    return _turned(lm, one, gradients, *plan, budget_bytes)


@with_bar
def suppress(
    lm: LanguageModel,
    probes: Probes,
    k: int,
    *,
    volume: float | np.ndarray | None = None,
    ratio: float | np.ndarray | None = None,
    polarity: Polarity = "both",
    site: str | None = None,
    target: int | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Turned:
    """Turns the top-k neurons of each prompt so that the target's probability should fall.

    The opposite of `enhance`, with the same arguments: positive neurons are weakened, negative ones
    strengthened.

    Args:
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: as `enhance`.
    """
    check_asked(lm, probes)
    _check_plan(k, lm.config.layers * lm.config.neurons, lm.compute_dtype, volume, ratio, polarity)
    one, gradients = _gradients(lm, probes, site, target, budget_bytes)
    plan = strongest_shifts(gradients, k, volume=volume, ratio=ratio, polarity=polarity)
    return _turned(lm, one, gradients, plan[0], -plan[1], budget_bytes)


@with_bar
def turn(
    lm: LanguageModel,
    probes: Probes,
    neurons: np.ndarray,
    shifts: np.ndarray,
    *,
    site: str | None = None,
    target: int | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Turned:
    """Shifts neurons by amounts of one's own choice, all at once.

    Args:
        neurons: [N, 2], or [B, N, 2] for each prompt its own; (layer, index). The shifts of a
            neuron that is named several times are added up.
        shifts: [N] or [B, N], added to the activations (the additive convention).
        site: `act`, `up` or `product`; None is the model's default.
        target: which of the K targets; may be left out if there is one.
        budget_bytes: memory for one batch, besides the weights and the result.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Raises:
        ValueError: bad neurons, more of them than the model has, bad shifts, site or target, by
            name.
    """
    check_asked(lm, probes)
    neurons = check_neurons(lm.config, neurons, len(probes))
    amounts = real_numbers(shifts, "shifts")
    if amounts.shape not in (neurons.shape[1:2], neurons.shape[:2]):
        raise ValueError(
            f"shifts have shape {list(amounts.shape)}, expected one for each of "
            f"{neurons.shape[1]} neurons: [N] or [B, N]"
        )
    amounts = np.broadcast_to(amounts, neurons.shape[:2])
    # Refuses what cannot be shifted before anything is computed.
    neuron_sets(lm.config, list(zip(neurons, amounts, strict=True)))
    finite_in(amounts, "shifts", lm.compute_dtype)
    one, gradients = _gradients(lm, probes, site, target, budget_bytes)
    return _turned(lm, one, gradients, neurons, amounts, budget_bytes)


def strongest_shifts(
    gradients: NeurGrad,
    k: int,
    *,
    volume: float | np.ndarray | None = None,
    ratio: float | np.ndarray | None = None,
    polarity: Polarity = "both",
) -> tuple[np.ndarray, np.ndarray]:
    """Neurons [B, N, 2] and the shifts [B, N], additive, by which `enhance` turns them.

    Args:
        gradients: of one target's probability.
        k, volume, ratio, polarity: as for `enhance`.

    Raises:
        ValueError: as `enhance`.
    """
    gradients = instance(gradients, "gradients", NeurGrad, "neurgrad(lm, probes)")
    one_of(polarity, "polarity", get_args(Polarity))
    sides = [1.0, -1.0] if polarity == "both" else [1.0 if polarity == "positive" else -1.0]
    b, width = len(gradients.computed), gradients.computed.shape[-1]
    flat = gradients.neurgrad[:, 0].reshape(b, -1).astype(np.float64)
    dtype = gradients.computed.dtype
    amounts = _check_plan(k, flat.shape[1], dtype, volume, ratio, polarity)
    order = np.concatenate([_strongest(side * flat, k, side) for side in sides], axis=1)
    activation = np.take_along_axis(gradients.activation.reshape(b, -1), order, axis=1)
    size = amounts if ratio is None else amounts * np.abs(activation)
    finite_in(size, "volume" if ratio is None else "ratio times an activation", dtype)
    towards = np.repeat(sides, k) * sign(activation)
    neurons = np.stack(np.divmod(order, width), axis=-1).astype(np.int32)
    return neurons, np.broadcast_to(size, order.shape) * towards


def _check_plan(
    k: int,
    neurons: int,
    dtype: jnp.dtype,
    volume: float | np.ndarray | None,
    ratio: float | np.ndarray | None,
    polarity: Polarity,
) -> np.ndarray:
    """The amounts, one or [N], of whichever of volume and ratio is given.

    Args:
        neurons: of the model, in all.
        dtype: what shifts are computed in.

    Raises:
        ValueError: as `enhance`, of what can be told without gradients.
    """
    one_of(polarity, "polarity", get_args(Polarity))
    if (volume is None) == (ratio is None):
        raise ValueError(f"volume is {shown(volume)} and ratio {shown(ratio)}: pass one of them")
    if not is_whole(k) or not 1 <= k <= neurons:
        raise ValueError(f"k is {shown(k)}: expected 1 to {neurons}, the model's neurons")
    given, name = (volume, "volume") if ratio is None else (ratio, "ratio")
    amounts, count = real_numbers(given, name), k * (2 if polarity == "both" else 1)
    if amounts.shape not in ((), (count,)):
        raise ValueError(
            f"{name} has shape {list(amounts.shape)}, expected one number or one for each of "
            f"{count} neurons"
        )
    wrong = amounts[~(np.isfinite(amounts) & (amounts >= 0))]
    if wrong.size:
        raise ValueError(f"{name} is {wrong.flat[0]}, expected a finite number, 0 or more")
    finite_in(amounts, name, dtype)
    return amounts


def _strongest(gradient: np.ndarray, k: int, side: float) -> np.ndarray:
    """Flat indices [B, k] of the largest positive entries of [B, L · F], ties by index."""
    found = (gradient > 0).sum(1)
    if found.min() < k:
        prompt = int(found.argmin())
        raise ValueError(
            f"prompt {prompt} has {found[prompt]} neurons with NeurGrad "
            f"{'>' if side > 0 else '<'} 0, fewer than k = {k}"
        )
    return np.argsort(-gradient, axis=1, kind="stable")[:, :k]


def _gradients(
    lm: LanguageModel, probes: Probes, site: str | None, target: int | None, budget_bytes: int
) -> tuple[Probes, NeurGrad]:
    """The probes with the one target that is read, and its gradients."""
    check_asked(lm, probes)
    number = check_target(probes, target)
    one = probes.select_target(number)
    return one, neurgrad(lm, one, site, budget_bytes=budget_bytes)


def _turned(
    lm: LanguageModel,
    probes: Probes,
    gradients: NeurGrad,
    neurons: np.ndarray,
    shifts: np.ndarray,
    budget_bytes: int,
) -> Turned:
    # Shifts of a neuron that is named twice are added up here.
    sets = neuron_sets(lm.config, list(zip(neurons, shifts, strict=True)))
    before, after, kl = shifted_outcomes(
        lm, probes, sets.dense(), gradients.site, budget_bytes=budget_bytes
    )
    at = np.arange(len(probes))[:, None], neurons[..., 0], neurons[..., 1]
    return Turned(
        site=gradients.site,
        neurons=neurons,
        shifts=shifts,
        activation=gradients.activation[at],
        neurgrad=gradients.neurgrad[:, 0][at],
        before=before,
        after=after,
        kl=kl,
    )
