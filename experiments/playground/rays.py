"""Probabilities of tokens along a ray of shifts, as Chebyshev series: of one neuron or of several.

A shift x moves neuron n by x · weights[n], along its own sign. Of one neuron it is what
`negjax.response` measures; of several, the same interpolation of exact joint shifts
(`negjax.joint`).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.polynomial import chebyshev

import negjax
from negjax.inputs.probes import Probes
from negjax.measurements.chebyshev import estimated_error, series_through
from negjax.model.language_model import LanguageModel

NODES = 12
"""Replays at once, too: programs are compiled for so many sets."""
SIZES = (4, 16, 32)
"""Neurons of a set, filled up: programs are compiled for these numbers of them."""
TOLERANCE = 1e-2
"""Of a token's range: where the series misses it, there are three times the nodes."""
ROUNDING = 1e-6
"""Of a probability: a series that is better than this needs no more nodes."""


class Ray(NamedTuple):
    """Series of K tokens."""

    tokens: Int[np.ndarray, " K"]
    coefficients: Float[np.ndarray, "K m"]
    baseline: Float[np.ndarray, " K"]
    error: Float[np.ndarray, " K"]
    """Estimated largest error of each series."""
    noise: list[float] | None
    """Standard deviation of each probability from rounding; None: not measured."""
    nodes: int
    """Exact replays that the series are made of."""


def ray_series(
    lm: LanguageModel,
    probes: Probes,
    neurons: Int[np.ndarray, "N 2"],
    weights: Float[np.ndarray, " N"],
    radius: float,
    choose: Callable[[Int[np.ndarray, " R"]], Int[np.ndarray, " K"]],
    *,
    encode: Callable[[Int[np.ndarray, " K"]], Probes],
) -> Ray:
    """Measures the series.

    Args:
        probes: one prompt.
        choose: the tokens to follow, given those that come first somewhere on the ray.
        encode: the same prompt with these tokens as its targets.
    """
    points = chebyshev.chebpts1(NODES)
    look = negjax.joint(
        *(lm, probes, _sets(lm, neurons, weights, radius * points)), spread=True, progress=False
    )
    assert look.top_token is not None
    # From the ends inwards: what a large shift brings up is what one wants to see.
    outwards = look.top_token[0][np.argsort(-np.abs(points), kind="stable")]
    tokens = choose(outwards)
    if len(neurons) == 1 and weights[0] == 1:
        found = negjax.response(lm, probes, neurons, radius, NODES, tokens=tokens, progress=False)
        nodes = int(found.nodes[0, 0])
        return Ray(
            tokens=tokens,
            coefficients=found.coefficients[0, 0, :, :nodes],
            baseline=found.baseline[0],
            error=found.error[0, 0],
            noise=found.noise[0].tolist(),
            nodes=nodes,
        )
    targets = encode(tokens)
    before = negjax.plain_answers(lm, targets, progress=False).probability[0].astype(np.float64)

    def measured(at: Float[np.ndarray, " m"]) -> Float[np.ndarray, "K m"]:
        """Probabilities at `NODES` shares of the radius."""
        sets = _sets(lm, neurons, weights, radius * at)
        every = [
            # The spread is that of the first look, whose program this then is.
            negjax.joint(lm, targets, sets, target=number, spread=True, progress=False)
            for number in range(len(tokens))
        ]
        return np.stack([one.value[0] for one in every]).astype(np.float64)

    def with_error(values: Float[np.ndarray, "K m"]) -> tuple[np.ndarray, np.ndarray]:
        """Series through probabilities, and the estimated error of each."""
        changes = series_through(values - before[:, None])
        error, _ = estimated_error(changes, ROUNDING)
        changes[:, 0] += before
        return changes, error

    values = measured(points)
    series, error = with_error(values)
    if ((error > TOLERANCE * np.ptp(values, axis=1)) & (error > ROUNDING)).any():
        # The points of 3m contain those of m.
        points = chebyshev.chebpts1(3 * NODES)
        finer = np.empty((len(tokens), 3 * NODES))
        for third, known in enumerate((None, values, None)):
            finer[:, third::3] = measured(points[third::3]) if known is None else known
        series, error = with_error(finer)
    return Ray(
        tokens=tokens,
        coefficients=series,
        baseline=before,
        error=error,
        noise=None,
        nodes=len(points),
    )


def _sets(
    lm: LanguageModel, neurons: np.ndarray, weights: np.ndarray, shifts: np.ndarray
) -> negjax.NeuronSets:
    filled, values = filled_up(lm, neurons, weights)
    return negjax.neuron_sets(lm.config, [(filled, values * shift) for shift in shifts])


def filled_up(
    lm: LanguageModel, neurons: Int[np.ndarray, "N 2"], weights: Float[np.ndarray, " N"]
) -> tuple[Int[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """The neurons with others of weight 0 behind them, which stay as they are."""
    size = next(size for size in SIZES if size >= len(neurons))
    size = min(size, lm.config.layers * lm.config.neurons)
    # Of the highest layers, so that no replay begins lower because of them.
    every = negjax.all_neurons(lm.config)[::-1][: size + len(neurons)]
    taken = (every[:, None] == neurons[None]).all(-1).any(1)
    more = every[~taken][: size - len(neurons)]
    return np.concatenate([neurons, more]), np.concatenate([weights, np.zeros(len(more))])
