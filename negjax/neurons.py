"""Which neurons: (layer, index) pairs, checked; random choices, reproducible."""

import numpy as np

from negjax.model.config import ModelConfig


def check_neurons(config: ModelConfig, neurons: np.ndarray, prompts: int) -> np.ndarray:
    """Neurons as [B, N, 2], int32.

    Args:
        neurons: [N, 2], the same for all prompts, or [B, N, 2]; (layer, index) pairs.

    Raises:
        ValueError: no neurons, another shape or type, or a neuron that the model does not have.
    """
    array = np.asarray(neurons)
    if (
        array.ndim not in (2, 3)
        or array.shape[-1] != 2
        or not np.issubdtype(array.dtype, np.integer)
    ):
        raise ValueError(
            f"neurons are {array.dtype}{list(array.shape)}, expected integers [N, 2] or [B, N, 2]: "
            "(layer, index) pairs"
        )
    if array.shape[-2] == 0:
        raise ValueError("no neurons: expected at least one (layer, index) pair")
    if array.ndim == 3 and array.shape[0] != prompts:
        raise ValueError(f"neurons are given for {array.shape[0]} prompts, expected {prompts}")
    sizes = np.asarray([config.layers, config.neurons])
    wrong = np.argwhere(((array < 0) | (array >= sizes)).any(-1))
    if len(wrong):
        layer, index = array[tuple(wrong[0])]
        raise ValueError(
            f"neuron (layer {layer}, index {index}) does not exist: the model has layers "
            f"0…{config.layers - 1} of neurons 0…{config.neurons - 1}"
        )
    if array.ndim == 2:
        array = np.broadcast_to(array, (prompts, *array.shape))
    return array.astype(np.int32)


def all_neurons(config: ModelConfig) -> np.ndarray:
    """[L · F, 2], layer-major."""
    layer, index = np.divmod(np.arange(config.layers * config.neurons), config.neurons)
    return np.stack([layer, index], axis=1).astype(np.int32)


def random_neurons(config: ModelConfig, count: int, prompts: int, seed: int) -> np.ndarray:
    """`count` different neurons for each prompt, uniformly: [B, N, 2], sorted by layer and index.

    A prompt's choice depends on the seed and its number alone, not on how many prompts there are.

    Raises:
        ValueError: more neurons than the model has, or fewer than 1.
    """
    total = config.layers * config.neurons
    if not 1 <= count <= total:
        raise ValueError(f"{count} neurons a prompt: expected 1 to {total}, or all")
    chosen = [
        np.sort(np.random.default_rng([seed, row]).choice(total, count, replace=False))
        for row in range(prompts)
    ]
    return np.stack(np.divmod(np.asarray(chosen), config.neurons), axis=-1).astype(np.int32)
