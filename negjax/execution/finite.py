"""Results that are no numbers are errors: no public function returns one without a word.

Weights are checked when they are loaded (`negjax.weights.conversion`); what is left is a pass
that overflows, because weights are finite but huge, or a shift is.
"""

import jax
import numpy as np
from jaxtyping import Int, Shaped

from negjax.model.language_model import LanguageModel
from negjax.model.meshes import to_host


def check_finite(
    lm: LanguageModel,
    what: str,
    values: Shaped[np.ndarray | jax.Array, " B *rest"],
    prompts: Int[np.ndarray, " B"] | None = None,
) -> None:
    """Refuses results that are not finite.

    Args:
        what: the result, for the error.
        prompts: numbers of the prompts; default: 0 to B − 1.

    Raises:
        ValueError: naming the result, the first prompt and how many numbers are affected.
    """
    array = to_host(values)
    finite = np.isfinite(array)
    if finite.all():
        return
    at = np.argwhere(~finite)[0]
    prompt = at[0] if prompts is None else prompts[at[0]]
    place = f" at {[int(i) for i in at[1:]]}" if len(at) > 1 else ""
    raise ValueError(
        f"{what} of prompt {prompt}{place} is {array[tuple(at)]} ({(~finite).sum():,} of "
        f"{array.size:,} are no finite numbers): the model overflows in {lm.compute_dtype.name}; "
        "pass smaller shifts, leave the prompt out, or load the model with dtype float64; if plain "
        "prompts do so too, its weights are damaged"
    )
