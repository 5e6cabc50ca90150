"""Doses: shifts in units of what a neuron writes beside what the residual stream holds."""

import numpy as np


def dose_unit(residual_norm: np.ndarray, write_norm: np.ndarray) -> np.ndarray:
    """Shift [L, F] that dose 1 is: |shift| · write_norm [L, F] = residual_norm [L]."""
    nothing = np.full(write_norm.shape, np.inf)
    return np.divide(residual_norm[:, None], write_norm, out=nothing, where=write_norm > 0)


def first_dose(doses: np.ndarray, happened: np.ndarray) -> np.ndarray:
    """Smallest dose [...] at which something happened, of [..., D] at ascending doses [D].

    Infinite where it has at none.
    """
    first = np.where(happened.any(-1), happened.argmax(-1), len(doses))
    return np.concatenate([doses, [np.inf]])[first]
