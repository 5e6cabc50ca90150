"""What sweeps and joint interventions have in common: outputs with and without a shift."""

from typing import get_args

import numpy as np
from jaxtyping import Float

from negjax.checks import one_of
from negjax.errors import Argument, ArgumentError
from negjax.execution.asked_outputs import NAMED
from negjax.replay.targets import Output, output_of
from negjax.tabular import Tabular


class ShiftedOutputs(Tabular):
    """Outputs of B prompts under interventions; the first of the further axes counts the
    interventions that have a baseline of their own."""

    output: str
    value: Float[np.ndarray, " B *rest"]
    baseline_value: Float[np.ndarray, "B R"]
    log_probability: Float[np.ndarray, " B *rest"]
    logit: Float[np.ndarray, " B *rest"]
    baseline_log_probability: Float[np.ndarray, "B R"]
    baseline_logit: Float[np.ndarray, "B R"]

    @property
    def probability(self) -> Float[np.ndarray, " B *rest"]:
        """Of the target, with the shift."""
        result: np.ndarray = np.exp(self.log_probability)
        return result

    @property
    def baseline(self) -> Float[np.ndarray, " B"]:
        """Probability without a shift."""
        result: np.ndarray = np.exp(self.baseline_log_probability[:, 0])
        return result

    def values(self, output: str | None = None) -> Float[np.ndarray, " B *rest"]:
        """An output with the shift: the one that was asked for, or the target's probability,
        log-probability or logit.

        Raises:
            ArgumentError: another one, which was not measured.
        """
        return self._both(output)[0]

    def change(self, output: str | None = None) -> Float[np.ndarray, " B *rest"]:
        """Output with the shift minus output without, as `values` has it.

        The baseline entered the network at the same layer and in the same batch as the shifted
        rows, so rounding that they share cancels.

        Raises:
            ArgumentError: as `values`.
        """
        after, before = self._both(output)
        result: np.ndarray = after - before.reshape(
            before.shape + (1,) * (after.ndim - before.ndim)
        )
        return result

    def _both(self, output: str | None) -> tuple[np.ndarray, np.ndarray]:
        """With the shift and without."""
        if output is not None:
            one_of(output, "output", (*NAMED, self.output))
        if output in (None, self.output):
            return self.value, self.baseline_value
        names: tuple[Output, ...] = get_args(Output)
        for name in names:
            if output == name:
                return (
                    output_of(name, self.log_probability, self.logit),
                    output_of(name, self.baseline_log_probability, self.baseline_logit),
                )
        raise ArgumentError(
            *(Argument("output", output), f" was not measured, but {self.output!r}; pass it to "),
            "sweep or joint",
        )
