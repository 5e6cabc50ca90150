"""An output's response to one neuron's activation as a Chebyshev series: few replays, any grid.

The output is a smooth function of one activation, so its values at m Chebyshev points of the range
determine it to an error that falls geometrically in m (Trefethen, *Approximation Theory and
Approximation Practice*, ch. 8). The points of 3m contain those of m, so a neuron whose error
estimate is too large gets 2m more replays and none is wasted.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike

from negjax.checks import (
    finite_in,
    real_number,
    real_numbers,
    shifts_within,
    whole_number,
)
from negjax.execution.asked_outputs import check_output, output_name
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.conventions import Convention
from negjax.execution.interventions import Shifted, grid_rows
from negjax.inputs.directed import asked_neurons
from negjax.inputs.positions import Positions, placed, shown_positions
from negjax.inputs.probes import Probes, check_asked
from negjax.inputs.residual_directions import Directions
from negjax.measurements.asked_tokens import token_targets
from negjax.measurements.rounding import Changes, measured_changes
from negjax.model.config import SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.process.bars import with_bar
from negjax.records import readable
from negjax.replay.outputs import AnyOutput
from negjax.tabular import Tabular

# The error is read off how the last coefficients decay.
LEAST_NODES = 4
# Of a function that more nodes do not resolve, further ones tell rounding.
MOST_NODES = 10_000
# Coefficients that hardly fall promise nothing about those left out; this bounds the promise.
SLOWEST_RATE = 0.95


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Response(Tabular):
    """An output as a function of the shift of each of N neurons of B prompts."""

    site: SiteOrPlace
    convention: Convention
    output: str
    """Its name."""
    neurons: Int[np.ndarray, "B N 2"]
    """(layer, index)."""
    radius: float
    """The series hold for shifts in [-radius, radius]."""
    activation: Float[np.ndarray, "B N"]
    """Unperturbed; of a direction v, x·v / |v|² of the residual x at its place: the one entering
    the layer, between attention and feed-forward (`attention_out`), or leaving."""
    baseline: Float[np.ndarray, " B *K"]
    """Output without a shift, measured; the axis K is there where `tokens` were asked for."""
    coefficients: Float[np.ndarray, "B N *K m"]
    """Float64, of Chebyshev polynomials in shift / radius; zeros past `nodes`."""
    nodes: Int[np.ndarray, "B N"]
    """Replays spent on each neuron."""
    error: Float[np.ndarray, "B N *K"]
    """Estimated largest, rounding noise aside; no less than the series misses at no shift."""
    noise: Float[np.ndarray, " B *K"]
    """Standard deviation of the output from rounding, measured."""
    routed: Bool[np.ndarray, "B N"] | None = None
    """Whether the token passes the neuron's expert; where it does not, the activation is 0 and the
    response flat. None in models without experts."""
    positions: Int[np.ndarray, "B Q"] | None = None
    """Of the neurons among the prompt's own tokens, -1 where it has fewer; at several, a neuron was
    shifted at all of them together, and `activation` is that at the last. None: the read
    position."""
    directions: Directions | None = None
    """Given, they were shifted, and `neurons` are (layer, number) of them, `site` their place."""
    tokens: Int[np.ndarray, "B K"] | None = None
    """Ids of the tokens that the output is of, all read from the same replays; None: of the
    target."""

    def __call__(self, shifts: ArrayLike) -> Float[np.ndarray, "B N *K X"]:
        """Output at shifts [X].

        Raises:
            ValueError: a shift outside ±radius.
        """
        x = self._scaled(shifts)
        result: np.ndarray = np.einsum("...m,xm->...x", self.coefficients, self._basis(x))
        return result

    def change(self, shifts: ArrayLike) -> Float[np.ndarray, "B N *K X"]:
        """Output with the shift, of shifts [X], minus output without, both from the series.

        Raises:
            ValueError: a shift outside ±radius.
        """
        x = self._scaled(shifts)
        difference = self._basis(x) - self._basis(np.zeros(1))
        result: np.ndarray = np.einsum("...m,xm->...x", self.coefficients, difference)
        return result

    def derivative(self, shifts: ArrayLike, order: int = 1) -> Float[np.ndarray, "B N *K X"]:
        """Derivative of that order with respect to the shift, at shifts [X].

        Raises:
            ValueError: a shift outside ±radius; an order below 0.
        """
        order = whole_number(order, "order", 0)
        x = self._scaled(shifts)
        # Of the order of the number of coefficients and beyond, the series is 0.
        order = min(order, self.coefficients.shape[-1])
        series = chebyshev.chebder(self.coefficients, order, self.radius**-1.0, axis=-1)
        basis = chebyshev.chebvander(x, series.shape[-1] - 1)
        result: np.ndarray = np.einsum("...m,xm->...x", series, basis)
        return result

    def _scaled(self, shifts: ArrayLike) -> np.ndarray:
        one = not real_numbers(shifts, "shifts").ndim
        return shifts_within([shifts] if one else shifts, self.radius, "response") / self.radius

    def _basis(self, x: np.ndarray) -> np.ndarray:
        return chebyshev.chebvander(x, self.coefficients.shape[-1] - 1)


@with_bar
def response(
    lm: LanguageModel,
    probes: Probes,
    neurons: ArrayLike | Directions,
    radius: float = 10.0,
    nodes: int = 12,
    convention: Convention = "signed",
    site: str | None = None,
    *,
    positions: Positions = None,
    output: AnyOutput = "probability",
    target: int | None = None,
    tokens: ArrayLike | None = None,
    tolerance: float = 1e-2,
    max_nodes: int | None = None,
    seed: int = 0,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Response:
    """Measures each neuron's response within ±radius through a few exact interventions.

    Args:
        neurons: [N, 2] or [B, N, 2], (layer, index); or `directions`, as in `sweep`.
        nodes: replays a neuron to begin with, at least 4.
        positions: of the neurons, among a prompt's own tokens: None (where it is read), an index
            from either end, one a prompt, a slice, "all", or `tokens_of(probes, text)`. At several
            a neuron is shifted at all of them together, along each one's own s(a) if `signed`.
        output: of what, as in `sweep`.
        tokens: ids [K], or [B, K] for each prompt its own, that are measured in the targets' place,
            all in the same replays: one series a token. Or a number K: the tokens likeliest where a
            prompt is read, unperturbed. At most 256; of an output that each token has.
        tolerance: a neuron whose estimated error is larger than this share of its output's range,
            and whose last coefficients, or value at no shift, stand out from the rounding noise,
            gets three times the nodes, up to `max_nodes`. Of several tokens, the worst decides.
        max_nodes: default: 3 · nodes. `nodes` switches refinement off.
        seed: of the neurons that probe the noise.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        the series, callable on any shifts within the radius.

    Raises:
        ValueError: as `sweep`; a radius that is not positive and finite; too few nodes.
    """
    check_asked(lm, probes)
    radius = real_number(radius, "radius", above=0)
    finite_in(radius, "radius", lm.compute_dtype)
    nodes = whole_number(nodes, "nodes", LEAST_NODES, MOST_NODES)
    if max_nodes is not None:
        max_nodes = whole_number(max_nodes, "max_nodes", 1, MOST_NODES)
    tolerance = real_number(tolerance, "tolerance", least=0)
    seed = whole_number(seed, "seed", 0)
    each = tokens is not None
    if tokens is None:
        check_output(lm, probes, output)
    else:
        probes = token_targets(
            lm, probes, tokens, output=output, target=target, budget_bytes=budget_bytes
        )
    neurons, chosen, directions = asked_neurons(lm, neurons, len(probes), site, convention)
    probes = placed(probes, positions)

    def measure(some: Probes, rows: Shifted, seed: int | None = None) -> Changes:
        return measured_changes(
            lm,
            some,
            rows,
            convention,
            chosen,
            directions=directions,
            output=output,
            target=target,
            each=each,
            seed=seed,
            budget_bytes=budget_bytes,
        )

    b, n, _ = neurons.shape
    points = chebyshev.chebpts1(nodes)
    main = grid_rows(neurons, np.broadcast_to(points * radius, (b, n, nodes)))
    at_read, baseline, found, noise = measure(probes, main, seed)
    assert noise is not None
    changes = _by_neuron(found, n)
    coefficients, used = series_through(changes), np.full((b, n), nodes)
    error, missed = estimated_error(coefficients, noise[:, None])
    limit = 3 * nodes if max_nodes is None else max_nodes
    while changes.shape[-1] * 3 <= limit:
        m = changes.shape[-1]
        unmet = (error > tolerance * np.ptp(changes, axis=-1)) & (error > noise[:, None])
        # Rounding alone gives a coefficient a standard deviation of noise · √(2/m): a tail within
        # three of them promises nothing to further nodes.
        tail = np.abs(coefficients[..., m - 2 : m]).max(-1)
        visible = (tail > 3 * noise[:, None] * np.sqrt(2 / m)) | (missed > 0)
        rough = (used == m) & (unmet & visible).reshape(b, n, -1).any(-1)
        if not rough.any():
            break
        changes = _refined(measure, probes, neurons, radius, lm.config.layers, rough, changes)
        finer = series_through(changes)
        more = finer.shape[-1] - coefficients.shape[-1]
        coefficients = np.pad(coefficients, ((0, 0),) * (coefficients.ndim - 1) + ((0, more),))
        coefficients[rough], used[rough] = finer[rough], finer.shape[-1]
        finer_error, missed = estimated_error(finer, noise[:, None])
        error[rough] = finer_error[rough]
    coefficients[..., 0] += baseline[:, None]

    def of_neurons(values: np.ndarray) -> np.ndarray:
        return values.reshape(b, n, nodes)[..., 0]

    return Response(
        site=chosen,
        convention=convention,
        output=output_name(output),
        neurons=neurons,
        radius=float(radius),
        activation=of_neurons(at_read.activation),
        routed=None if at_read.routed is None else of_neurons(at_read.routed),
        baseline=baseline,
        coefficients=coefficients,
        nodes=used,
        error=error,
        noise=noise,
        positions=shown_positions(probes),
        directions=directions,
        tokens=probes.target_ids[..., 0] if each else None,
    )


def _by_neuron(values: Float[np.ndarray, "B *K R"], count: int) -> Float[np.ndarray, "B N *K m"]:
    """Values of rows, m of each of `count` neurons in turn, by neuron."""
    return np.moveaxis(values.reshape(*values.shape[:-1], count, -1), -2, 1)


def _refined(
    measure: Callable[[Probes, Shifted], Changes],
    probes: Probes,
    neurons: np.ndarray,
    radius: float,
    layers: int,
    rough: np.ndarray,
    changes: np.ndarray,
) -> np.ndarray:
    """Changes [B, N, K, 3m] at three times the points, measured where `rough` [B, N], else zero."""
    m = changes.shape[-1]
    points = chebyshev.chebpts1(3 * m)
    fresh = np.arange(3 * m) % 3 != 1
    some = np.flatnonzero(rough.any(1))
    counts = rough[some].sum(1)
    # Rough neurons first, then as many more as make the rows rectangular; layer L leaves those out.
    chosen = np.argsort(~rough[some], axis=1, kind="stable")[:, : counts.max()]
    asked = np.take_along_axis(neurons[some], chosen[..., None], axis=1).copy()
    asked[np.arange(counts.max()) >= counts[:, None], 0] = layers
    shifts = np.broadcast_to(points[fresh] * radius, (*chosen.shape, 2 * m))
    found = measure(probes.select(some), grid_rows(asked, shifts)).change
    result = np.zeros((*changes.shape[:-1], 3 * m))
    result[..., ~fresh] = changes
    measured = _by_neuron(found, chosen.shape[1])
    for i, row in enumerate(some):
        own = result[row, chosen[i, : counts[i]]]
        own[..., fresh] = measured[i, : counts[i]]
        result[row, chosen[i, : counts[i]]] = own
    return result


def series_through(values: Float[np.ndarray, "*axes m"]) -> Float[np.ndarray, "*axes m"]:
    """Chebyshev coefficients of the polynomials through values at `chebpts1`, ascending."""
    m = values.shape[-1]
    basis = chebyshev.chebvander(chebyshev.chebpts1(m), m - 1)
    # Σ_k T_i(x_k) T_j(x_k) = δ_ij m/2, or m for i = j = 0: the points' discrete orthogonality.
    result: np.ndarray = values @ basis * np.where(np.arange(m) == 0, 1 / m, 2 / m)
    return result


def truncation_error(coefficients: Float[np.ndarray, "*axes m"]) -> Float[Any, "*axes"]:
    """Largest error to expect of series cut after m terms; of one alone a number.

    The terms left out are continued from those present, at the geometric rate at which the
    envelope of their sizes falls over the last half. Interpolation folds them onto the others,
    which doubles the error (Trefethen, *Approximation Theory*, theorem 8.2).
    """
    m = coefficients.shape[-1]
    size = np.abs(coefficients)
    # Odd or even functions have zeros in every second place: two neighbours make the envelope.
    last, middle = size[..., -2:].max(-1), size[..., m // 2 - 1 : m // 2 + 1].max(-1)
    steps = m - 1 - m // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(middle > 0, last / middle, 0.0) ** (1 / steps)
    rate = np.clip(rate, 0.0, SLOWEST_RATE)
    result: np.ndarray = 2 * last * rate / (1 - rate)
    return result


def estimated_error(
    coefficients: Float[np.ndarray, "*axes m"], noise: ArrayLike
) -> tuple[Float[Any, "*axes"], Float[Any, "*axes"]]:
    """Largest error to expect of series through changes, and what of it `missed_at_zero` knows."""
    missed = missed_at_zero(coefficients, noise)
    return np.maximum(truncation_error(coefficients), missed), missed


def missed_at_zero(
    coefficients: Float[np.ndarray, "*axes m"], noise: ArrayLike
) -> Float[Any, "*axes"]:
    """What series through changes at `chebpts1` say without a shift, where the change is 0.

    It is an error that is known, where the fall of coefficients only promises one. Nodes of an even
    m leave their largest error there (their polynomial is T_m); those of an odd m contain 0.

    Args:
        noise: standard deviation of an output from rounding, to broadcast against the axes. What
            lies within three deviations of the value without a shift is taken for 0.
    """
    m = coefficients.shape[-1]
    at_zero = chebyshev.chebvander(np.zeros(1), m - 1)[0]
    # Of a sum over the nodes' changes, each of which has the baseline's noise, too.
    spread = np.sqrt(1 + ((series_through(np.eye(m)) @ at_zero) ** 2).sum())
    missed = np.abs(coefficients @ at_zero)
    return np.where(missed > 3 * spread * np.asarray(noise), missed, 0.0)
