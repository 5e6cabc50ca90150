"""Polar's and Magn's neurons: ranked by R, and what a ranked neuron votes for."""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import numpy as np

from negjax.checks import as_array, instance, one_of, shown, whole_number
from negjax.inputs.ranking import top
from negjax.records import readable
from negjax.skills.checks import check_count, check_trained
from negjax.skills.probes.votes import magn_votes, polar_votes

Variant = Literal["both", "positive"]


@readable
class Ranking(NamedTuple):
    """Neurons in an order, the most telling first."""

    neurons: np.ndarray
    """[M], flat, layer-major."""
    polarity: np.ndarray
    """[M], int8: +1, −1, or 0 for a neuron that does not vote."""


def rank_neurons(votes: np.ndarray, variant: Variant = "both", count: int | None = None) -> Ranking:
    """Neurons by R, ties to the lowest index.

    Args:
        votes: [N], integers, R.
        variant: `both`: by |R|, polarity the sign of R. `positive`: by R, polarity +1; neurons
            with R ≤ 0, which come after all others, do not vote.
        count: how many are wanted. Default: all.

    Raises:
        ValueError: votes of another shape or type, an unknown variant, more neurons than there are.
    """
    array = check_trained(votes)
    one_of(variant, "variant", get_args(Variant))
    wanted = check_count("count", len(array) if count is None else count, len(array), "neurons")
    neurons = top(np.abs(array) if variant == "both" else array, wanted)
    return Ranking(neurons, polarities(array, neurons, variant))


def polarities(votes: np.ndarray, neurons: np.ndarray, variant: Variant = "both") -> np.ndarray:
    """The polarity [k] that R, votes [N], gives to any neurons [k]."""
    sign = np.sign(votes[neurons]).astype(np.int8)
    result: np.ndarray = np.maximum(sign, 0) if variant == "positive" else sign
    return result


def random_ranking(votes: np.ndarray, seed: int, count: int | None = None) -> Ranking:
    """Neurons in a random order, with the polarity that R, votes [N], gives them.

    The first of a longer order are those of a shorter one with the same seed.

    Raises:
        ValueError: votes of another shape or type, a seed below 0, more neurons than there are.
    """
    array = check_trained(votes)
    wanted = check_count("count", len(array) if count is None else count, len(array), "neurons")
    generator = np.random.default_rng(whole_number(seed, "seed", 0))
    order = generator.permutation(len(array))[:wanted]
    return Ranking(order, polarities(array, order))


def polar_label_votes(scores: np.ndarray, polarity: np.ndarray) -> np.ndarray:
    """Polar's votes [B, K, M], int8: polarity · sign(g), of scores [B, K, M], polarity [M]."""
    result: np.ndarray = np.sign(scores).astype(np.int8) * polarity
    return result


def magn_label_votes(scores: np.ndarray, polarity: np.ndarray) -> np.ndarray:
    """Magn's votes [B, K, M], int8: 1 for every label tied at the maximum of polarity · g."""
    best = np.where(polarity > 0, scores.max(1), scores.min(1))[:, None]
    result: np.ndarray = ((scores == best) & (polarity != 0)).astype(np.int8)
    return result


@readable
class Rule(NamedTuple):
    """How a kind of probe ranks neurons and lets them vote."""

    votes: Callable[..., jax.Array]
    """R [N] of scores [B, K, N] and gold [B]."""
    label_votes: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """[B, K, M], of scores [B, K, M] and polarity [M]."""


def check_rule(rule: object) -> Rule:
    """Refuses what is no rule.

    Raises:
        ValueError: naming the argument.
    """
    return instance(rule, "rule", Rule, "POLAR or MAGN")


def check_ranking(ranking: object) -> Ranking:
    """Refuses what is no ranking of neurons.

    Raises:
        ValueError: naming the argument.
    """
    found = instance(ranking, "ranking", Ranking, "what rank_neurons returns")
    neurons, polarity = map(as_array, found)
    whole = neurons.dtype.kind in "iu" and polarity.dtype.kind == "i" and neurons.size
    if not whole or neurons.ndim != 1 or polarity.shape != neurons.shape or neurons.min() < 0:
        raise ValueError(
            f"ranking is {shown(ranking)}, expected neurons [M] and polarity [M], whole numbers"
        )
    return found


POLAR = Rule(polar_votes, polar_label_votes)
MAGN = Rule(magn_votes, magn_label_votes)
