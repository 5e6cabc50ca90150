"""Estimators that are a gradient of every neuron times a factor of its activation."""

from collections.abc import Callable

import numpy as np

from negjax.inputs.probes import Probes
from negjax.measurements.gradients import gradient_batches
from negjax.model.language_model import LanguageModel
from negjax.replay.targets import Output

Factor = Callable[[np.ndarray], np.ndarray]


def gradient_products(
    lm: LanguageModel,
    probes: Probes,
    site: str,
    *,
    output: Output,
    budget_bytes: int,
    factor: Factor | None = None,
    linearised: bool = False,
) -> np.ndarray:
    """Returns ∂output/∂a times a factor, [B, K, L, F].

    Args:
        factor: of activations [B, L, F]; None is 1.
        linearised: hold norms, attention patterns and gates constant, halve gated products.
    """
    c = lm.config
    shape = (len(probes), probes.target_count, c.layers, c.neurons)
    result = np.empty(shape, lm.compute_dtype)
    for index, _, activation, gradient in gradient_batches(
        lm, probes, site, output=output, linearised=linearised, budget_bytes=budget_bytes
    ):
        result[index] = gradient
        if factor is not None:
            result[index] *= factor(np.asarray(activation))[:, None]
    return result
