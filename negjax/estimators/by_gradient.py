"""Estimators that are a gradient of every neuron times a factor of its activation."""

from collections.abc import Callable

import numpy as np

from negjax.inputs.positions import Positions, placed
from negjax.inputs.probes import Probes
from negjax.measurements.gathered_gradients import gathered
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.replay.outputs import AnyOutput

Factor = Callable[[np.ndarray], np.ndarray]


def gradient_products(
    lm: LanguageModel,
    probes: Probes,
    site: Site,
    *,
    output: AnyOutput,
    budget_bytes: int,
    positions: Positions = None,
    factor: Factor | None = None,
    linearised: bool = False,
) -> np.ndarray:
    """Returns ∂output/∂a times a factor, [B, O, L, F], or at several positions [B, O, Q, L, F].

    Args:
        factor: of activations [B, L, F], or [B, Q, L, F]; None is 1.
        linearised: hold norms, attention patterns and gates constant, halve gated products.
    """
    found = gathered(
        lm,
        placed(probes, positions),
        site,
        output=output,
        linearised=linearised,
        budget_bytes=budget_bytes,
    )
    result = found.gradient
    if factor is not None:
        result *= factor(found.states)[:, None]
    return result
