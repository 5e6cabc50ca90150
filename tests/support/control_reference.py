"""What shifts do to the next token, by plain NumPy forwards in float64."""

from typing import Any, cast

import numpy as np

from negjax.control import target_probabilities
from negjax.control.odds import to_log_odds, to_probability
from negjax.inputs.encoding import encode
from negjax.inputs.probes import Probes
from negjax.model.language_model import LanguageModel
from tests.support.block_shapes import SHAPES, tiny_probes
from tests.support.reference import full_forward, softmax

EVERYWHERE = cast(Any, slice(None))


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


def folded_site(shape: str) -> str:
    return SHAPES[shape].sites[-1]


def some_shift(scale: float = 0.3) -> np.ndarray:
    return scale * np.random.default_rng(8).normal(size=(3, 20))


def facts_of(lm: LanguageModel) -> Probes:
    probes = tiny_probes(lm)
    return encode(lm, probes.prompts, [row[1] for row in probes.targets])


def mean_odds(lm: LanguageModel, probes: Probes, site: str, shift: np.ndarray | None) -> float:
    """Mean log-odds of the targets with a shift at every position."""
    found = []
    for b in range(len(probes)):
        tokens = probes.tokens[b, probes.mask[b]]
        all_logits, _ = full_forward(lm, tokens, site=site, shift=shift, read=EVERYWHERE)
        found.append(softmax(all_logits[probes.read[b]])[probes.target_ids[b, 0, 0]])
    return float(to_log_odds(np.asarray(found)).mean())


def raised(lm: LanguageModel, facts: Probes, by: float) -> float:
    """The probability whose log-odds are so much above the targets' mean."""
    mean = to_log_odds(target_probabilities(lm, facts)[:, 0]).mean()
    return float(to_probability(mean + by))
