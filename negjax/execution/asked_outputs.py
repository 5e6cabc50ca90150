"""Which output is asked for: refused where it cannot be, told apart where ways part."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from negjax.checks import one_of
from negjax.errors import Argument, ArgumentError
from negjax.inputs.probes import Probes, check_target
from negjax.model.language_model import LanguageModel
from negjax.replay.outputs import AnyOutput, WholeOutput
from negjax.replay.targets import Output, output_of

NAMED: tuple[str, ...] = get_args(get_args(AnyOutput)[0])
TARGET_OUTPUTS = ("probability", "log_probability", "logit", "log_odds")
"""Those of which there is one a target."""
DIFFERENCE: Literal["logit_difference"] = "logit_difference"


def check_output(lm: LanguageModel, probes: Probes, output: object, *, slope: bool = False) -> None:
    """Refuses what is no output of these probes.

    Args:
        slope: it is to be differentiated where nothing is shifted.

    Raises:
        ArgumentError: an unknown name; a difference of other than two targets; a KL's slope; a
            function that does not make one finite real number of log-probabilities [V].
    """
    if callable(output):
        _check_function(lm, output)
        return
    one_of(output, "output", NAMED)
    if output == DIFFERENCE and probes.target_count != 2:
        raise ArgumentError(
            *(Argument("output", output), " is of two targets a prompt, and each has "),
            f"{probes.target_count}; encode pairs of them",
        )
    if output == "kl" and slope:
        raise ArgumentError(
            *(
                Argument("output", output),
                " has no slope where nothing is shifted: it is smallest ",
            ),
            'there; pass it to sweep or response, or another one, such as "entropy"',
        )


def _check_function(lm: LanguageModel, output: Any) -> None:
    size = lm.config.vocab_size
    expected = f"one real number of log-probabilities [{size}], made by jax.numpy"
    even = jnp.full(size, -np.log(size), lm.compute_dtype)
    try:
        found = jax.eval_shape(output, even)
    except Exception as error:  # whatever a user's function raises
        raise ArgumentError(
            Argument("output"), f" is a function that fails: {error}; expected {expected}"
        ) from error
    shape, dtype = getattr(found, "shape", None), getattr(found, "dtype", np.dtype(object))
    if shape != () or not jnp.issubdtype(dtype, jnp.floating):
        what = f"{dtype}{list(shape)}" if shape is not None else type(found).__name__
        raise ArgumentError(
            Argument("output"), f" is a function that makes {what}, expected {expected}"
        )
    value = float(output(even))
    if not np.isfinite(value):
        raise ArgumentError(
            *(Argument("output"), f" is a function that makes {value} of the even distribution, "),
            f"expected {expected}",
        )


def output_name(output: AnyOutput) -> str:
    """For records: what a function is called."""
    return output if isinstance(output, str) else getattr(output, "__name__", "function")


def whole_output(output: AnyOutput) -> WholeOutput | None:
    """The output, if it is made of a whole distribution at once."""
    return output if callable(output) or output in ("log_odds", "entropy") else None


def base_output(output: AnyOutput) -> Output | None:
    """The output, if it is a target's probability, its logarithm, or its logit."""
    names: tuple[Output, ...] = get_args(Output)
    return next((name for name in names if output == name), None)


def asked_value(
    output: AnyOutput,
    log_probability: Shaped[np.ndarray, "*axes"],
    logit: Shaped[np.ndarray, "*axes"],
    kl: Shaped[np.ndarray, "*axes"] | None,
    whole: Shaped[np.ndarray, "*axes"] | None,
) -> Shaped[np.ndarray, "*axes"]:
    """Values of an output, from what was measured.

    Args:
        whole: values of an output that is made of a whole distribution, or of two targets.
    """
    if whole is not None:
        return whole
    if output == "kl":
        assert kl is not None
        return kl
    base = base_output(output)
    assert base is not None
    return output_of(base, log_probability, logit)


def asked_target(probes: Probes, output: AnyOutput, target: int | None) -> int | None:
    """The number of the target to measure; None: both, of which the difference is asked for.

    Raises:
        ArgumentError: as `check_target`; a target beside a difference of both.
    """
    if output != DIFFERENCE:
        return check_target(probes, target)
    if target is not None:
        raise ArgumentError(
            *(Argument("target", target), " names one target, and ", Argument("output", output)),
            " is of both; leave it out",
        )
    return None
