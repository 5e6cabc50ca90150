"""How many neurons two sets have in common, beside what sets drawn at random have.

Of two sets of k of N neurons, the second drawn at random, the number in common is hypergeometric:

    P(x) = C(k, x) · C(N − k, k − x) / C(N, k)        Jaccard = x / (2k − x)
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from negjax.checks import as_array, described, real_number, whole_number
from negjax.records import readable
from negjax.skills.checks import check_count

MOST_NEURONS = 10**9
"""Of a model: more than any has, and what fits memory."""


@readable
class Chance(NamedTuple):
    """What random sets give."""

    expected: float
    low: float
    """Edges of the band that holds the wanted share of random pairs, or more."""
    high: float


def jaccard(one: ArrayLike, other: ArrayLike) -> float:
    """Neurons in both sets, by those in any: from 0 for none in common to 1 for the same set.

    Args:
        one: [k], neurons, each once.
        other: [m], likewise.

    Raises:
        ValueError: an empty set, or one that names a neuron twice.
    """
    first, second = as_array(one), as_array(other)
    for name, given, neurons in (("one", one, first), ("other", other, second)):
        whole = neurons.dtype.kind in "iu" and neurons.ndim == 1 and neurons.size
        if not whole or np.unique(neurons).size < neurons.size:
            raise ValueError(
                f"{name}: neurons are {described(given)}, expected whole numbers [k], one or more, "
                "each once"
            )
    both = np.isin(first, second, assume_unique=True).sum()
    return float(both / (first.size + second.size - both))


def chance_jaccard(k: int, total: int, level: float = 0.95) -> Chance:
    """The Jaccard index of two random sets of k of `total` neurons.

    Raises:
        ValueError: not 1 to `total` neurons; a level outside (0, 1).
    """
    total = whole_number(total, "total", 1, MOST_NEURONS)
    k = check_count("k", k, total, "neurons")
    level = real_number(level, "level", above=0, below=1)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])

    def log_comb(n: int, x: np.ndarray) -> np.ndarray:
        result: np.ndarray = log_factorial[n] - log_factorial[x] - log_factorial[n - x]
        return result

    both = np.arange(max(0, 2 * k - total), k + 1)
    chances = np.exp(
        log_comb(k, both) + log_comb(total - k, k - both) - log_comb(total, np.asarray(k))
    )
    chances /= chances.sum()
    index = both / (2 * k - both)
    edges = np.searchsorted(chances.cumsum(), [(1 - level) / 2, (1 + level) / 2])
    low, high = index[np.minimum(edges, len(index) - 1)]
    return Chance(float(chances @ index), float(low), float(high))
