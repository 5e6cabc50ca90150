"""How often predictions are right, and how far that can be trusted."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from negjax.checks import as_array, described, real_number, whole_number
from negjax.records import readable

DRAWS = 10_000
MOST_DRAWS = 10**8
"""What fits memory; the error of an edge falls as the root of their number."""


@readable
class Interval(NamedTuple):
    """An accuracy with its bootstrap interval; each a number, or an array of many probes."""

    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def share_right(predicted: ArrayLike, gold: ArrayLike) -> np.ndarray:
    """Share of right predictions [...]: every prompt counts once, whatever its label.

    Args:
        predicted: [..., B], of any number of probes.
        gold: [B].

    Raises:
        ValueError: no prompts, or another number of predictions than of prompts.
    """
    result: np.ndarray = _right(predicted, gold).mean(-1)
    return result


def bootstrap_interval(
    predicted: ArrayLike,
    gold: ArrayLike,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Accuracies [...] with percentile bootstrap intervals over prompts.

    Of B prompts drawn with replacement, those that were answered right are binomially distributed,
    with the accuracy for probability: that is drawn, not the prompts.

    Args:
        predicted: [..., B], of any number of probes; each gets the interval it would get alone.
        gold: [B].
        level: share of the draws within the interval.
        draws: how many accuracies are drawn.

    Raises:
        ValueError: as `share_right`; a level outside (0, 1), no draws.
    """
    level = real_number(level, "level", above=0, below=1)
    draws = whole_number(draws, "draws", 1, MOST_DRAWS)
    seed = whole_number(seed, "seed", 0)
    right = _right(predicted, gold)
    share, prompts = right.mean(-1), right.shape[-1]
    edges = (1 - level) / 2, (1 + level) / 2
    bounds = np.asarray(
        [
            np.quantile(np.random.default_rng(seed).binomial(prompts, p, draws) / prompts, edges)
            for p in share.ravel()
        ]
    ).reshape(*share.shape, 2)
    return Interval(share, bounds[..., 0], bounds[..., 1])


def _right(predicted: ArrayLike, gold: ArrayLike) -> np.ndarray:
    found, wanted = as_array(predicted), as_array(gold)
    whole = found.dtype.kind in "iu" and wanted.dtype.kind in "iu"
    if not whole or wanted.ndim != 1 or not len(wanted) or found.shape[-1:] != wanted.shape:
        raise ValueError(
            f"predicted is {described(predicted)} and gold {described(gold)}, expected the numbers "
            "of labels [..., B] and [B], of one prompt or more"
        )
    result: np.ndarray = found == wanted
    return result
