"""Many neurons at once: exact outputs under sets of shifts, in one layer or in several.

A set's neurons are shifted in one replay. What that means for neurons in several layers: a shift
below changes the activations above it, and a shift above adds to whatever its activation has become
by then; the sign s(a) of the `signed` convention stays that of the unperturbed activation. Clamped,
activations are set to values instead, whatever the layers below did to them.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from negjax.checks import flag
from negjax.execution.asked_outputs import (
    DIFFERENCE,
    asked_target,
    asked_value,
    check_output,
    output_name,
    whole_output,
)
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.conventions import Convention, check_convention
from negjax.execution.interventions import check_reroute
from negjax.inputs.neurons import NeuronSets
from negjax.inputs.positions import Positions, placed, shown_positions
from negjax.inputs.probes import Probes, check_asked
from negjax.measurements.set_replays import (
    Both,
    How,
    Measured,
    checked_sets,
    measured_sets,
    set_site,
)
from negjax.measurements.shifted_outputs import ShiftedOutputs
from negjax.model.config import SiteOrPlace
from negjax.model.language_model import LanguageModel
from negjax.process.bars import with_bar
from negjax.records import readable
from negjax.replay.outputs import AnyOutput


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class Joint(ShiftedOutputs):
    """Outputs under R sets of shifts, of B prompts.

    The spread, where it was asked for, is that of the next token over the whole vocabulary, at the
    read position; of several-token targets too.
    """

    row_axes = ("B", "R")

    site: SiteOrPlace
    convention: Convention
    output: str
    """Name of what was asked for."""
    clamp: bool
    """True: activations were set to the sets' values, and the convention means nothing."""
    sets: NeuronSets
    value: Float[np.ndarray, "B R"]
    """Of the output that was asked for."""
    baseline_value: Float[np.ndarray, "B R"]
    """Without a shift, computed beside the set's row."""
    log_probability: Float[np.ndarray, "B R"]
    """Of the target; of a difference of two, of the first; so is `logit`."""
    logit: Float[np.ndarray, "B R"]
    baseline_log_probability: Float[np.ndarray, "B R"]
    baseline_logit: Float[np.ndarray, "B R"]
    kl: Float[np.ndarray, "B R"] | None = None
    """KL(P₀‖P) in nats of the unperturbed distribution P₀ from the shifted P: what the
    unperturbed model's own tokens lose in log-probability, on average."""
    entropy: Float[np.ndarray, "B R"] | None = None
    """Of P, in nats."""
    top_token: Int[np.ndarray, "B R"] | None = None
    """Token id of highest probability."""
    baseline_entropy: Float[np.ndarray, " B"] | None = None
    """Without a shift."""
    baseline_top_token: Int[np.ndarray, " B"] | None = None
    reroute: bool = False
    """Whether routers chose again under the shifts."""
    positions: Int[np.ndarray, "B Q"] | None = None
    """Of the neurons among the prompt's own tokens, -1 where it has fewer; at several, sets were
    shifted at all of them together. None: the read position."""


@with_bar
def joint(
    lm: LanguageModel,
    probes: Probes,
    sets: NeuronSets | np.ndarray,
    convention: Convention = "signed",
    site: str | None = None,
    *,
    clamp: bool = False,
    positions: Positions = None,
    output: AnyOutput = "probability",
    target: int | None = None,
    spread: bool = False,
    reroute: bool = False,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> Joint:
    """Shifts all neurons of a set together, set by set, and measures the target's output exactly.

    Args:
        sets: R sets, made by `neuron_sets`; or shifts [R, L, F]; or sets of directions, made by
            `direction_sets`, which are neither signed nor clamped. The same for all prompts.
        convention: `signed`: a → a + x·s(a), with s of the unperturbed activation; `additive`:
            a → a + x. In both, a is what the activation has become because of shifts below.
        site: `act`, `up` or `product`; None is the model's default.
        clamp: the values are what the activations are set to, whatever the layers below did; the
            convention plays no part. A neuron that a set names more than once counts once, and must
            have the same value each time.
        positions: of the neurons, among a prompt's own tokens: None (where it is read), an index
            from either end, one a prompt, a slice, "all", or `tokens_of(probes, text)`. At several
            a set is shifted, or clamped, at all of them together.
        output: what `values` and `change` are of, as in `sweep`.
        target: which of the K targets; may be left out if there is one.
        spread: also measure KL, entropy and top token of the next token's distribution.
        reroute: in layers above a set's lowest neuron, routers choose experts again under the
            shifts. Otherwise tokens keep the experts that they pass without, and neurons of others
            change nothing.
        budget_bytes: memory for one batch, besides the weights, the sets and the result.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        outputs and baselines, as numpy arrays.

    Raises:
        ValueError: sets of another model, dense shifts or different values of one neuron to clamp
            to, bad shifts, convention, site or target, by name; a budget that holds not even one
            prompt or two rows.
    """
    check_asked(lm, probes)
    check_output(lm, probes, output)
    check_convention(convention)
    flag(clamp, "clamp")
    flag(spread, "spread")
    check_reroute(lm.config, reroute)
    probes = placed(probes, positions)
    number = asked_target(probes, output, target)
    sets = checked_sets(lm, sets, clamp)
    chosen = set_site(lm, sets, site, convention)
    how: How = "clamp" if clamp else convention
    with_spread = spread or output == "kl"

    def measured(number: int | None) -> Measured:
        return measured_sets(
            lm,
            probes,
            sets,
            how,
            chosen,
            target=number,
            spread=with_spread,
            reroute=reroute,
            output=DIFFERENCE if number is None else whole_output(output),
            budget_bytes=budget_bytes,
        )

    if number is None and probes.target_ids.shape[2] > 1:
        # Answers of several tokens are a suffix each.
        found, other = measured(0), measured(1)
        both = Both(*(mine - its for mine, its in zip(found.logit, other.logit, strict=True)))
    else:
        found = measured(number)
        both = Both(
            *(
                asked_value(
                    output,
                    found.log_probability[i],
                    found.logit[i],
                    None if found.kl is None else found.kl[i],
                    None if found.value is None else found.value[i],
                )
                for i in (0, 1)
            )
        )
    result = Joint(
        site=chosen,
        convention=convention,
        clamp=clamp,
        reroute=reroute,
        positions=shown_positions(probes),
        sets=sets,
        output=output_name(output),
        value=both.after,
        baseline_value=both.before,
        log_probability=found.log_probability.after,
        logit=found.logit.after,
        baseline_log_probability=found.log_probability.before,
        baseline_logit=found.logit.before,
    )
    if not spread or found.kl is None or found.entropy is None or found.top_token is None:
        return result
    return dataclasses.replace(
        result,
        kl=found.kl.after,
        entropy=found.entropy.after,
        top_token=found.top_token.after,
        baseline_entropy=found.entropy.before[:, 0],
        baseline_top_token=found.top_token.before[:, 0],
    )
