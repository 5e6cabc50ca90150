"""What sweeps and joint interventions have in common: outputs with and without a shift."""

import numpy as np
from jaxtyping import Float

from negjax.execution.interventions import select_output
from negjax.records import PerPrompt
from negjax.replay.targets import Output


class ShiftedOutputs(PerPrompt):
    """Outputs of B prompts under interventions; the first of the further axes counts the
    interventions that have a baseline of their own."""

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

    def values(self, output: Output = "probability") -> Float[np.ndarray, " B *rest"]:
        """One of the outputs with the shift."""
        return select_output(output, self.log_probability, self.logit)

    def change(self, output: Output = "probability") -> Float[np.ndarray, " B *rest"]:
        """Output with the shift minus output without.

        The baseline entered the network at the same layer and in the same batch as the shifted
        rows, so rounding that they share cancels.
        """
        before = select_output(output, self.baseline_log_probability, self.baseline_logit)
        after = self.values(output)
        result: np.ndarray = after - before.reshape(
            before.shape + (1,) * (after.ndim - before.ndim)
        )
        return result
