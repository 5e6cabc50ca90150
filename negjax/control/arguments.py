"""Arguments that controls share, checked: which neurons may be shifted, wanted probabilities."""

from collections.abc import Callable, Sequence

import numpy as np

from negjax.checks import described, integers, real_numbers
from negjax.inputs.neurons import check_neurons
from negjax.model.config import ModelConfig


def check_probability(probability: float | np.ndarray, count: int) -> np.ndarray:
    """Wanted probabilities [count], of as many or of one for all.

    Raises:
        ValueError: no numbers, another shape, or one that is not between 0 and 1.
    """
    wanted = real_numbers(probability, "probability")
    if wanted.shape not in ((), (count,)):
        raise ValueError(
            f"probability has shape {list(wanted.shape)}, expected one number or [{count}]"
        )
    wrong = wanted[~((wanted > 0) & (wanted < 1))]
    if wrong.size:
        raise ValueError(
            f"probability is {wrong.flat[0]}, expected a number between 0 and 1, both excluded"
        )
    return np.broadcast_to(wanted, count)


def allowed_shifts(
    config: ModelConfig, neurons: np.ndarray | None, layers: Sequence[int] | None
) -> Callable[[np.ndarray], np.ndarray]:
    """The orthogonal projection of [..., L, F] on shifts of the neurons that may be shifted.

    Args:
        neurons: [N, 2], (layer, index); a set: a neuron named twice counts once.
        layers: instead, all neurons of some layers; None for both: all neurons.

    Raises:
        ValueError: both are given, one is empty, or the model has no such neuron or layer.
    """
    if neurons is not None and layers is not None:
        raise ValueError("neurons and layers are both given: pass one of them")
    allowed = np.zeros((config.layers, config.neurons), bool)
    if neurons is not None:
        chosen = check_neurons(config, neurons, 1)[0]
        allowed[chosen[:, 0], chosen[:, 1]] = True
    elif layers is not None:
        allowed[_checked_layers(config, layers)] = True
    else:
        return lambda shift: shift
    return lambda shift: np.where(allowed, shift, 0)


def _checked_layers(config: ModelConfig, layers: Sequence[int]) -> np.ndarray:
    expected = "a list of layer numbers, one or more"
    found = integers(layers, "layers", expected)
    if found.ndim != 1 or not found.size:
        raise ValueError(f"layers are {described(layers)}, expected {expected}")
    wrong = found[(found < 0) | (found >= config.layers)]
    if wrong.size:
        raise ValueError(
            f"layers: layer {wrong[0]} does not exist: the model has 0…{config.layers - 1}"
        )
    return found
