"""Derivatives by every neuron, CG and NeurGrad, by vjp."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, get_args

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from negjax.checks import flag, one_of, whole_number
from negjax.errors import Argument, ArgumentError
from negjax.execution.asked_outputs import check_output, output_name
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.execution.common_heads import HeadGroup, run_groups
from negjax.execution.conventions import sign
from negjax.inputs.positions import (
    Positions,
    placed,
    shown_positions,
    tokens_apart,
)
from negjax.inputs.probes import Probes, check_asked
from negjax.measurements.gathered_gradients import gathered
from negjax.measurements.gradient_runs import Over, device_batches
from negjax.model.config import Site
from negjax.model.language_model import LanguageModel
from negjax.process.bars import with_bar
from negjax.records import array_axes, readable
from negjax.replay.outputs import AnyOutput
from negjax.replay.suffixes import CommonHead
from negjax.tabular import Tabular


@readable
@dataclasses.dataclass(frozen=True, kw_only=True)
class NeurGrad(Tabular):
    """Gradients of O outputs (one of each of K targets, or one) with respect to every neuron.

    They are at one position, or at each of Q.

    The axis Q is there where `positions` was a span, "all" or `tokens_of`.
    """

    row_axes = ("B", "O", "Q", "L", "F")
    column_names: ClassVar[Mapping[str, str | None]] = {"computed": "cg", "signed": None}

    site: Site
    output: str
    """Its name."""
    probability: Float[np.ndarray, "B K"]
    activation: Float[np.ndarray, "B *Q L F"]
    """At `site`; 0 where a prompt has fewer positions."""
    computed: Float[np.ndarray, "B O *Q L F"]
    """CG = ∂output/∂a; likewise."""
    routed: Bool[np.ndarray, "B *Q L F"] | None = None
    """Whether the token passes the neuron's expert; where it does not, activation and gradient are
    0. None in models without experts."""
    positions: Int[np.ndarray, "B P"] | None = None
    """Of the neurons among the prompt's own tokens (P: Q or 1), -1 where it has fewer; None: at the
    read position."""
    over: Over | None = dataclasses.field(default=None, repr=False)
    """What was kept of several positions' gradients; activations are then their mean."""
    signed: Float[np.ndarray, "B O L F"] | None = None
    """NeurGrad over positions, of which each has its own sign; None where there is one sign."""

    @property
    def neurgrad(self) -> Float[np.ndarray, "B O *Q L F"]:
        """CG · s(a), with s(a) = +1 if a > 0 else -1."""
        if self.signed is not None:
            return self.signed
        result: np.ndarray = self.computed * sign(self.activation)[:, None]
        return result

    def _derived(self) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
        return {"neurgrad": (self.neurgrad, array_axes(self)["computed"][1])}


@with_bar
def neurgrad(
    lm: LanguageModel,
    probes: Probes,
    site: str | None = None,
    *,
    positions: Positions = None,
    over: Over | None = None,
    output: AnyOutput = "probability",
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> NeurGrad:
    """CG and NeurGrad of every neuron for all targets: one forward, K backward passes of S tokens.

    Prompts that begin with the same tokens share the pass over them (`execution.common_heads`).

    Args:
        site: `act`, `up` or `product`; None is the model's default.
        positions: of the neurons, among a prompt's own tokens: None (where it is read), an index
            from either end, one a prompt, a slice, "all", or `tokens_of(probes, text)`. S reaches
            from the first of them to the read position.
        over: what is kept of several positions, of which no more is held at a time than a layer's:
            `sum` (the derivative by a shift at all of them together), `mean`, or `largest` (the one
            of largest size). Default: all are, along an axis Q.
        output: what is differentiated: of each target `probability`, `log_probability`, `logit` or
            `log_odds`; or one number in all: `logit_difference` of two targets, `entropy`, or a
            function of log-probabilities [V] (keep one, as each new one is compiled anew).
        budget_bytes: memory for one batch, besides the weights and the result.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        probabilities, activations and gradients, as numpy arrays.

    Raises:
        ValueError: no encoded probes, an unknown site or output, a budget that holds not even one
            prompt, a gradient that overflows.
    """
    check_asked(lm, probes)
    check_output(lm, probes, output, slope=True)
    whole_number(budget_bytes, "budget_bytes", 1)
    chosen = lm.config.site(site)
    probes = placed(probes, positions)
    if over is not None:
        one_of(over, "over", get_args(Over))
        if not tokens_apart(probes):
            raise ArgumentError(
                *(Argument("over", over), " is of several positions; pass "),
                Argument("positions", "all"),
            )
    found = gathered(lm, probes, chosen, output=output, over=over, budget_bytes=budget_bytes)
    return NeurGrad(
        site=chosen,
        output=output_name(output),
        probability=found.probability,
        activation=found.states,
        computed=found.gradient,
        routed=found.routed,
        positions=shown_positions(probes),
        over=over,
        signed=found.signed,
    )


def gradient_batches(
    lm: LanguageModel,
    probes: Probes,
    site: str | None = None,
    *,
    output: AnyOutput = "probability",
    linearised: bool = False,
    groups: Iterable[tuple[HeadGroup, CommonHead | None]] | None = None,
    few_shapes: bool = False,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
) -> Iterator[
    tuple[
        Int[np.ndarray, " n"],
        Float[jax.Array, "b K"],
        Float[jax.Array, "b L F"],
        Float[jax.Array, "b O L F"],
    ]
]:
    """The streaming form of `neurgrad`: batches on the device, in an order of their own.

    Args:
        linearised: differentiate by RelP's rules (`negjax.model.transformer.linearise`).
        groups: the probes to take, by what they begin with. Default: all (`head_groups`).
        few_shapes: pad more, so that few programs need compiling, and keep the rows that only fill
            a batch up: b may then be more than n.

    Returns:
        an iterator over indices of the batch's probes, probabilities, activations and computed
        gradients.

    Raises:
        ValueError: as `neurgrad`.
    """
    check_asked(lm, probes)
    check_output(lm, probes, output, slope=True)
    flag(linearised, "linearised")
    flag(few_shapes, "few_shapes")
    whole_number(budget_bytes, "budget_bytes", 1)
    chosen = lm.config.site(site)
    pairs = run_groups(lm, probes, groups)
    batches = device_batches(
        lm,
        probes,
        pairs,
        site=chosen,
        output=output,
        linearised=linearised,
        few_shapes=few_shapes,
        budget_bytes=budget_bytes,
    )
    return (
        (index, found.probability, found.activation[:, 0], found.gradient[:, :, 0])
        for index, found in batches
    )
