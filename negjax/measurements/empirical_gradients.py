"""NEG of many neurons: the slope over a grid of shifts, from one or two pairs of them."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from negjax.checks import finite_in, shifts_within, whole_number
from negjax.errors import Argument, ArgumentError
from negjax.execution.asked_outputs import asked_target, check_output, output_name
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.conventions import Convention, check_convention
from negjax.execution.interventions import grid_rows
from negjax.inputs.directed import asked_neurons
from negjax.inputs.positions import Positions, placed, shown_positions
from negjax.inputs.probes import Probes, check_asked
from negjax.inputs.residual_directions import Directions
from negjax.measurements.gradient_runs import derivatives_along
from negjax.measurements.linearity import fit_changes, paper_grid
from negjax.measurements.quadrature import Rule, radau_rule
from negjax.measurements.rounding import measured_changes
from negjax.model.config import SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.process.bars import with_bar
from negjax.records import readable
from negjax.replay.outputs import AnyOutput
from negjax.tabular import Tabular


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class EmpiricalGradient(Tabular):
    """NEG of N neurons of B prompts over the grid ±step, …, ±radius."""

    column_names: ClassVar[Mapping[str, str | None]] = {"slope": "neg"}

    site: SiteOrPlace
    convention: Convention
    output: str
    """Its name."""
    neurons: Int[np.ndarray, "B N 2"]
    """(layer, index)."""
    radius: float
    step: float
    activation: Float[np.ndarray, "B N"]
    """Unperturbed; of a direction v, x·v / |v|² of the residual x at its place: the one entering
    the layer, between attention and feed-forward (`attention_out`), or leaving."""
    baseline: Float[np.ndarray, " B"]
    """Output without a shift."""
    derivative: Float[np.ndarray, "B N"]
    """Of the output by the shift, at no shift: NeurGrad under the `signed` convention, else CG."""
    shifts: Float[np.ndarray, " X"]
    """That were replayed, ±, ascending."""
    change: Float[np.ndarray, "B N X"]
    """Output with the shift minus output without."""
    slope: Float[np.ndarray, "B N"]
    """NEG: output per unit of activation."""
    error: Float[np.ndarray, "B N"]
    """How far a rule of lower order, without the derivative, is from `slope`: what the curve may do
    between the shifts, rounding aside."""
    noise: Float[np.ndarray, " B"]
    """Standard deviation of the output from rounding, measured."""
    routed: Bool[np.ndarray, "B N"] | None = None
    """Whether the token passes the neuron's expert; where it does not, all is 0. None in models
    without experts."""
    positions: Int[np.ndarray, "B Q"] | None = None
    """Of the neurons among the prompt's own tokens, -1 where it has fewer; at several, a neuron was
    shifted at all of them together, and `activation` is that at the last. None: the read
    position."""
    directions: Directions | None = None
    """Given, they were shifted, and `neurons` are (layer, number) of them, `site` their place."""

    @property
    def polarity(self) -> Float[np.ndarray, "B N"]:
        """Sign of NEG."""
        result: np.ndarray = np.sign(self.slope)
        return result

    @property
    def slope_noise(self) -> Float[np.ndarray, " B"]:
        """Standard deviation of NEG from rounding."""
        rule = _rule(self.radius, self.step, len(self.shifts) // 2)
        # Half the difference of two outputs, each with its own rounding.
        result: np.ndarray = self.noise * np.linalg.norm(rule.weight / rule.shift) / np.sqrt(2)
        return result

    def curve(self, shifts: ArrayLike) -> Float[np.ndarray, "B N X"]:
        """Change of the output at shifts, from the polynomial through what is known of it.

        Of degree 3 with one pair, 5 with two.

        Raises:
            ValueError: a shift outside ±radius.
        """
        x = shifts_within(shifts, self.radius, "neg")
        u, points = x**2, self.shifts[len(self.shifts) // 2 :]
        odd, even = _parts(self.change, points)
        at = np.concatenate([[0.0], points]) ** 2
        slopes = np.concatenate([self.derivative[..., None], odd], axis=-1)
        result: np.ndarray = x * (slopes @ _lagrange(at, u)) + u * (even @ _lagrange(at[1:], u))
        return result

    def linearity(self) -> tuple[Float[np.ndarray, "B N"], Float[np.ndarray, "B N"]]:
        """Pearson r of the grid's points, and the largest |change|, both as `curve` has them."""
        grid = paper_grid(self.radius, self.step)
        changes = self.curve(grid)
        return fit_changes(grid, changes)[1], np.abs(changes).max(-1)


@with_bar
def neg(
    lm: LanguageModel,
    probes: Probes,
    neurons: ArrayLike | Directions,
    radius: float = 2.0,
    step: float = 0.2,
    convention: Convention = "signed",
    site: str | None = None,
    *,
    pairs: int = 1,
    positions: Positions = None,
    output: AnyOutput = "probability",
    target: int | None = None,
    seed: int = 0,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> EmpiricalGradient:
    """NEG over the grid ±step, …, ±radius from exact outputs under `pairs` pairs of shifts.

    The slope is a quadrature of the curve's odd part (`negjax.measurements.quadrature`): with the
    derivative, which one backward pass gives for all neurons, one pair is exact for curves of
    degree 5, two for degree 9. For the whole curve, and Pearson r of it, there is `response`.

    Args:
        neurons: [N, 2] or [B, N, 2], (layer, index); or `directions`, as in `sweep`.
        radius, step: of the grid, in units of the activation.
        pairs: of shifts, no more than the grid has.
        positions: of the neurons, among a prompt's own tokens: None (where it is read), an index
            from either end, one a prompt, a slice, "all", or `tokens_of(probes, text)`. At several
            a neuron is shifted at all of them together, along each one's own s(a) if `signed`.
        output: as in `sweep`, but `kl`, which has no slope at no shift.
        seed: of the neurons that probe the rounding noise.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        slopes and their errors, computed in float64.

    Raises:
        ValueError: as `sweep`; a bad radius or step; more pairs than the grid has.
    """
    check_asked(lm, probes)
    check_convention(convention)
    check_output(lm, probes, output, slope=True)
    rule = _rule(radius, step, pairs)
    finite_in(radius, "radius", lm.compute_dtype)
    seed = whole_number(seed, "seed", 0)
    neurons, chosen, directions = asked_neurons(lm, neurons, len(probes), site, convention)
    probes = placed(probes, positions)
    number = asked_target(probes, output, target)
    shifts = rule.shifts
    b, n, _ = neurons.shape
    main = grid_rows(neurons, np.broadcast_to(shifts, (b, n, shifts.size)))
    at_read, baseline, change, noise = measured_changes(
        lm,
        probes,
        main,
        convention,
        chosen,
        directions=directions,
        output=output,
        target=number,
        seed=seed,
        budget_bytes=budget_bytes,
    )
    assert noise is not None

    def of_neurons(values: np.ndarray) -> np.ndarray:
        return values.reshape(b, n, -1)

    activation = of_neurons(at_read.activation)[..., 0]
    derivative = derivatives_along(
        lm,
        probes if number is None else probes.select_target(number),
        neurons,
        convention,
        chosen,
        directions=directions,
        output=output,
        budget_bytes=budget_bytes,
    )
    changes = of_neurons(change)
    odd, _ = _parts(changes, rule.shift)
    slope = rule.slope(odd, derivative)
    return EmpiricalGradient(
        site=chosen,
        convention=convention,
        output=output_name(output),
        neurons=neurons,
        radius=float(radius),
        step=float(step),
        activation=activation,
        baseline=baseline,
        derivative=derivative,
        shifts=shifts,
        change=changes,
        slope=slope,
        error=np.abs(odd @ rule.without - slope),
        noise=noise,
        positions=shown_positions(probes),
        directions=directions,
        routed=None if at_read.routed is None else of_neurons(at_read.routed)[..., 0],
    )


def rule_shifts(radius: float, step: float, pairs: int) -> Float[np.ndarray, " X"]:
    """The shifts, ±, ascending, that `neg` replays for a grid.

    Raises:
        ValueError: a bad radius or step; more pairs than the grid has.
    """
    return _rule(radius, step, pairs).shifts


def _rule(radius: float, step: float, pairs: int) -> Rule:
    grid = paper_grid(radius, step)
    pairs, most = whole_number(pairs, "pairs", 1), len(grid) // 2
    if pairs > most:
        raise ArgumentError(
            Argument("pairs", pairs), f": the grid has {most}; pass fewer, or a smaller step"
        )
    return radau_rule(grid[most:], pairs)


def _parts(changes: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Odd parts over x, and even parts over x², of changes at ±points, ascending."""
    n = len(points)
    up, down = changes[..., n:], changes[..., :n][..., ::-1]
    return (up - down) / (2 * points), (up + down) / (2 * points**2)


def _lagrange(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """[n, X], which shares values at n points have in the polynomial through them."""
    apart = at - points[:, None]
    return np.stack(
        [
            np.prod(np.delete(apart, i, 0), 0) / np.prod(points[i] - np.delete(points, i))
            for i in range(len(points))
        ]
    )
