"""What shifts do to the next token, by plain NumPy forwards in float64."""

from typing import Any

import numpy as np

from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import tiny_probes
from tests.support.reference import full_forward, softmax


def distribution(
    lm: LanguageModel, probes: Probes, prompt: int, site: str = "", shift: Any = None
) -> np.ndarray:
    """[V], of the next token at the read position."""
    tokens = probes.tokens[prompt, probes.mask[prompt]]
    read = int(probes.mask[prompt, : probes.read[prompt]].sum())
    return softmax(full_forward(lm, tokens, site=site, shift=shift, read=read)[0][read])


def divergence(before: np.ndarray, after: np.ndarray) -> float:
    return float(before @ np.log(before / after))


def one_target(lm: LanguageModel) -> Probes:
    probes = tiny_probes(lm)
    prompts, targets = probes.prompts, [row[0] for row in probes.targets]
    return encode(lm, prompts, targets)
