"""Estimators of NEG: seven ways to say what a neuron does to an output, with one signature.

    negjax.estimate(lm, probes, "ig")        # [B, K, L, F]

They differ in what they measure: `ESTIMATORS` says it of each, with its unit, its sign and its
source. Of the same neuron at the same output, "cgxa", "relp" and "ig" estimate what its activation
gives, output(a) − output(0); "ablation" measures the opposite, output(0) − output(a).
"""

import numpy as np

from negjax.checks import one_of, whole_number
from negjax.errors import Argument, ArgumentError
from negjax.estimators.integrated import MOST_STEPS
from negjax.estimators.registry import ESTIMATORS, Estimator
from negjax.execution.asked_outputs import check_output, output_name
from negjax.execution.batching import DEFAULT_BUDGET_BYTES
from negjax.inputs.positions import Positions
from negjax.inputs.probes import Probes, check_asked
from negjax.model.language_model import LanguageModel
from negjax.process.bars import with_bar
from negjax.replay.outputs import AnyOutput

__all__ = ["ESTIMATORS", "Estimator", "estimate"]


@with_bar
def estimate(
    lm: LanguageModel,
    probes: Probes,
    method: str,
    site: str | None = None,
    *,
    positions: Positions = None,
    output: AnyOutput | None = None,
    steps: int = 20,
    reference: Probes | None = None,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    progress: bool | None = None,
) -> np.ndarray:
    """One estimate of every neuron for all targets.

    Args:
        method: a key of `ESTIMATORS`.
        site: `act`, `up` or `product`; None is the model's default. IG and LPI are the same at
            every site; RelP is half at `up` what it is at `product`.
        positions: of the neurons, as in `neurgrad`, for the methods by one gradient: "cg",
            "neurgrad", "relp", "cgxa". Others are about the read position.
        output: f, as in `neurgrad`; for "ablation" `kl`, too. None is the method's own: the
            log-probability for "lpi", which has no other, the probability for all others.
        steps: of "ig".
        reference: for "ablation": a neuron is set to its mean over these probes, not to 0.
        budget_bytes: memory for one batch, besides the weights and the result.
        progress: whether a bar shows how far it is; None: to people, after two seconds.

    Returns:
        [B, O, L, F]; unit and sign depend on the method, see `ESTIMATORS`. An axis Q comes before L
        where `positions` are a slice, "all" or `tokens_of`.

    Raises:
        ValueError: unknown method, site or output, probes or a reference that are not encoded, an
            argument that is another method's, "lpi" of targets of several tokens, steps that are no
            whole number, 1 or more.
    """
    check_asked(lm, probes)
    one_of(method, "method", ESTIMATORS)
    chosen = lm.config.site(site)
    steps = whole_number(steps, "steps", 1, MOST_STEPS)
    whole_number(budget_bytes, "budget_bytes", 1)
    if reference is not None:
        check_asked(lm, reference, "reference")
    estimator = ESTIMATORS[method]
    if reference is not None and "reference" not in estimator.options:
        having = " and ".join(
            f'"{name}"' for name, e in ESTIMATORS.items() if "reference" in e.options
        )
        raise ValueError(f"method {method!r} has no reference; only {having} has")
    if positions is not None and "positions" not in estimator.options:
        having = ", ".join(name for name, e in ESTIMATORS.items() if "positions" in e.options)
        raise ArgumentError(
            *(Argument("positions"), " are not for ", Argument("method", method)),
            f", which is about the read position; {having} have them",
        )
    if output is not None:
        # A function is of the whole distribution, as the entropy is.
        name = "entropy" if callable(output) else output
        check_output(lm, probes, output, slope="kl" not in estimator.outputs)
        if name not in estimator.outputs:
            named = " or ".join(estimator.outputs)
            raise ValueError(
                f'method "{method}" is of the {named}, not of the {output_name(output)}'
            )
    options = {"steps": steps, "reference": reference, "positions": positions}
    return estimator.run(
        lm,
        probes,
        chosen,
        output=estimator.outputs[0] if output is None else output,
        budget_bytes=budget_bytes,
        **{name: options[name] for name in estimator.options},
    )
