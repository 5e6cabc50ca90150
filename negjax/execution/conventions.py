"""What a shift x does to an activation, and the one sign rule."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from negjax.checks import one_of

Convention = Literal["signed", "additive"]


def sign(activation: Float[np.ndarray, "*axes"]) -> Float[np.ndarray, "*axes"]:
    """s(a) = +1 if a > 0 else -1: the one sign rule."""
    return np.where(activation > 0, 1.0, -1.0).astype(activation.dtype)


def check_convention(convention: str) -> None:
    """Refuses an unknown shift convention.

    Raises:
        ValueError: it is neither `signed` nor `additive`.
    """
    one_of(convention, "convention", get_args(Convention))
