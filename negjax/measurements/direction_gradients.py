"""Derivatives by whatever is written to the residual stream, by the neurons' own pull-back."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from negjax.checks import instance, one_of, whole_number
from negjax.errors import Argument, ArgumentError
from negjax.execution.asked_outputs import check_output, output_name
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.inputs.positions import (
    Positions,
    placed,
    shown_positions,
)
from negjax.inputs.probes import Probes, check_asked
from negjax.inputs.residual_directions import MADE_BY, Directions
from negjax.measurements.gathered_gradients import gathered
from negjax.measurements.gradient_runs import along_layers
from negjax.model.config import PLACES, Place
from negjax.model.language_model import LanguageModel
from negjax.process.bars import with_bar
from negjax.records import readable
from negjax.replay.outputs import AnyOutput
from negjax.tabular import Tabular


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class ResidualGradients(Tabular):
    """Gradients of O outputs by what is written at a place of each layer, at one position or Q.

    The axis Q is there where `positions` was a span, "all" or `tokens_of`.
    """

    row_axes = ("B", "O", "Q", "L", "D")

    place: Place
    output: str
    """Its name."""
    probability: Float[np.ndarray, "B K"]
    residual: Float[np.ndarray, "B *Q L D"]
    """That the writes join: the one entering the layer, between attention and feed-forward
    (`attention_out`), or leaving; 0 where a prompt has fewer positions."""
    gradient: Float[np.ndarray, "B O *Q L D"]
    """Likewise."""
    positions: Int[np.ndarray, "B P"] | None = None
    """Among the prompt's own tokens (P: Q or 1), -1 where it has fewer; None: the read position."""

    def along(self, directions: Directions) -> Float[np.ndarray, "B O *Q N"]:
        """Derivatives by a shift along each direction, at each position alone.

        Raises:
            ArgumentError: directions of another place, width or of layers that are not there.
        """
        return self._products(self.gradient, directions)

    def coefficients(self, directions: Directions) -> Float[np.ndarray, "B *Q N"]:
        """x·v / |v|² of the residual x along each direction v.

        Raises:
            ArgumentError: as `along`.
        """
        found = self._products(self.residual, directions)
        result: np.ndarray = found / np.square(directions.vectors).sum(-1)
        return result

    def _products(self, states: np.ndarray, directions: object) -> np.ndarray:
        directions = instance(directions, "directions", Directions, MADE_BY)
        layers, width = states.shape[-2:]
        fits = directions.vectors.shape[1] == width and (directions.layer < layers).all()
        if directions.place != self.place or not fits:
            raise ArgumentError(
                Argument("directions"),
                f" are of place {directions.place}, width {directions.vectors.shape[1]} and layers "
                f"up to {directions.layer.max()}, expected {self.place}, {width} and "
                f"0…{layers - 1}, where the gradients are",
            )
        return along_layers(states, directions.layer, directions.vectors)


@with_bar
def residual_gradients(
    lm: LanguageModel,
    probes: Probes,
    place: Place = "residual_after",
    *,
    positions: Positions = None,
    output: AnyOutput = "probability",
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> ResidualGradients:
    """Gradients by what is written at a place of every layer: one forward, K backward passes.

    Those along any number of directions are products of them (`.along`).

    Args:
        place: `residual_before`, `attention_out`, `ffn_out` or `residual_after`.
        positions: of the writes, among a prompt's own tokens: None (where it is read), an index
            from either end, one a prompt, a slice, "all", or `tokens_of(probes, text)`.
        output: what is differentiated, as in `neurgrad`.
        budget_bytes: memory for one batch, besides the weights and the result.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        probabilities, residuals and gradients, as numpy arrays.

    Raises:
        ValueError: no encoded probes, an unknown place or output, a budget that holds not even one
            prompt, a gradient that overflows.
    """
    check_asked(lm, probes)
    check_output(lm, probes, output, slope=True)
    whole_number(budget_bytes, "budget_bytes", 1)
    one_of(place, "place", PLACES)
    probes = placed(probes, positions)
    found = gathered(lm, probes, place, output=output, budget_bytes=budget_bytes)
    return ResidualGradients(
        place=place,
        output=output_name(output),
        probability=found.probability,
        residual=found.states,
        gradient=found.gradient,
        positions=shown_positions(probes),
    )
