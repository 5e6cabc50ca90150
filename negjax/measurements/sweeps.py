"""Sweeps: the target's output while each of many neurons is shifted, alone, by many amounts."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from negjax.checks import flag, shift_list
from negjax.execution.asked_outputs import check_output, output_name
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.conventions import Convention
from negjax.execution.interventions import check_reroute, grid_rows, intervene, with_baselines
from negjax.inputs.directed import asked_neurons
from negjax.inputs.positions import Positions, placed, shown_positions
from negjax.inputs.probes import Probes, check_asked
from negjax.inputs.residual_directions import Directions
from negjax.measurements.shifted_outputs import ShiftedOutputs
from negjax.model.config import SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.process.bars import with_bar
from negjax.records import readable
from negjax.replay.outputs import AnyOutput


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep(ShiftedOutputs):
    """Outputs under N interventions with X shifts each, of B prompts.

    The spread, where it was asked for, is that of the next token over the whole vocabulary, at the
    read position; of several-token targets too.
    """

    row_axes = ("B", "N", "X")
    column_names: ClassVar[Mapping[str, str | None]] = {"shifts": "shift"}

    site: SiteOrPlace
    convention: Convention
    output: str
    """Name of what was asked for."""
    neurons: Int[np.ndarray, "B N 2"]
    """(layer, index)."""
    shifts: Float[np.ndarray, " X"]
    """In units of the activation."""
    activation: Float[np.ndarray, "B N"]
    """Unperturbed; of a direction v, x·v / |v|² of the residual x at its place: the one entering
    the layer, between attention and feed-forward (`attention_out`), or leaving."""
    value: Float[np.ndarray, "B N X"]
    """Of the output that was asked for."""
    baseline_value: Float[np.ndarray, "B N"]
    """Without a shift, computed as the shifted rows of the neuron's layer are."""
    log_probability: Float[np.ndarray, "B N X"]
    """Of the target; of a difference of two, of the first; so is `logit`."""
    logit: Float[np.ndarray, "B N X"]
    baseline_log_probability: Float[np.ndarray, "B N"]
    baseline_logit: Float[np.ndarray, "B N"]
    kl: Float[np.ndarray, "B N X"] | None = None
    """KL(P₀‖P) in nats of the unperturbed distribution P₀ from the shifted P: what the
    unperturbed model's own tokens lose in log-probability, on average."""
    entropy: Float[np.ndarray, "B N X"] | None = None
    """Of P, in nats."""
    top_token: Int[np.ndarray, "B N X"] | None = None
    """Token id of highest probability."""
    baseline_entropy: Float[np.ndarray, " B"] | None = None
    """Without a shift."""
    baseline_top_token: Int[np.ndarray, " B"] | None = None
    routed: Bool[np.ndarray, "B N"] | None = None
    """Whether the token passes the neuron's expert; where it does not, the activation is 0 and a
    shift changes nothing. None in models without experts."""
    reroute: bool = False
    """Whether routers above chose again under the shift."""
    positions: Int[np.ndarray, "B Q"] | None = None
    """Of the neurons among the prompt's own tokens, -1 where it has fewer; at several, a neuron was
    shifted at all of them together, and `activation` is that at the last. None: the read
    position."""
    directions: Directions | None = None
    """Given, they were shifted, and `neurons` are (layer, number) of them, `site` their place."""


@with_bar
def sweep(
    lm: LanguageModel,
    probes: Probes,
    neurons: ArrayLike | Directions,
    shifts: ArrayLike,
    convention: Convention = "signed",
    site: str | None = None,
    *,
    positions: Positions = None,
    output: AnyOutput = "probability",
    target: int | None = None,
    spread: bool = False,
    reroute: bool = False,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Sweep:
    """Shifts each neuron by each amount, one at a time, and measures the target's output exactly.

    Args:
        neurons: [N, 2], or [B, N, 2] for each prompt its own; (layer, index). Or `directions`,
            which have neither site nor sign: pass `convention="additive"`.
        shifts: [X], finite.
        convention: `signed`: a → a + x·s(a), x > 0 strengthens what the neuron does; `additive`:
            a → a + x.
        site: `act`, `up` or `product`; None is the model's default.
        positions: of the neurons, among a prompt's own tokens: None (where it is read), an index
            from either end, one a prompt, a slice, "all", or `tokens_of(probes, text)`. At several
            a neuron is shifted at all of them together, along each one's own s(a) if `signed`.
        output: what `values`, `change` and `linear_fit` are of: of a target its `probability`,
            `log_probability`, `logit` or `log_odds`; `logit_difference` of two targets; `entropy`,
            or `kl` of the unperturbed distribution from the shifted; or a function of
            log-probabilities [V] that makes one number (keep one, as each is compiled anew).
        target: which of the K targets; may be left out if there is one.
        spread: also measure KL, entropy and top token of the next token's distribution.
        reroute: in layers above the neuron's, routers choose experts again under the shift.
            Otherwise tokens keep the experts that they pass without it, and the weights that
            routers give these follow.
        budget_bytes: memory for one batch, besides the weights and the result.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        outputs and baselines, as numpy arrays.

    Raises:
        ValueError: bad neurons, shifts, convention, site or target, by name; routers that are to
            choose again in a model that has none.
    """
    check_asked(lm, probes)
    check_output(lm, probes, output)
    flag(spread, "spread")
    check_reroute(lm.config, reroute)
    shifts = shift_list(shifts, "shifts", lm.compute_dtype)
    neurons, chosen, directions = asked_neurons(lm, neurons, len(probes), site, convention)
    probes = placed(probes, positions)
    rows = grid_rows(neurons, np.broadcast_to(shifts, (*neurons.shape[:2], shifts.size)))
    found = intervene(
        lm,
        probes,
        with_baselines(rows, lm.config.layers),
        convention,
        chosen,
        directions=directions,
        output=output,
        target=target,
        spread=spread,
        reroute=reroute,
        budget_bytes=budget_bytes,
    )
    b, n, _ = neurons.shape
    size = n * shifts.size

    def shifted(values: np.ndarray) -> np.ndarray:
        return values[:, :size].reshape(b, n, -1)

    def baseline(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values[:, size:], neurons[..., 0], axis=1)

    measured = Sweep(
        site=chosen,
        convention=convention,
        neurons=neurons,
        shifts=shifts,
        activation=shifted(found.at_read.activation)[..., 0],
        routed=None if found.at_read.routed is None else shifted(found.at_read.routed)[..., 0],
        reroute=reroute,
        positions=shown_positions(probes),
        directions=directions,
        output=output_name(output),
        value=shifted(found.value),
        baseline_value=baseline(found.value),
        log_probability=shifted(found.log_probability),
        logit=shifted(found.logit),
        baseline_log_probability=baseline(found.log_probability),
        baseline_logit=baseline(found.logit),
    )
    if not spread or found.spread is None:
        return measured
    return dataclasses.replace(
        measured,
        kl=shifted(found.spread.kl),
        entropy=shifted(found.spread.entropy),
        top_token=shifted(found.spread.top_token),
        baseline_entropy=baseline(found.spread.entropy)[:, 0],
        baseline_top_token=baseline(found.spread.top_token)[:, 0],
    )
