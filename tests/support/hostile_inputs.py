"""Inputs of a run whose prompts, answers and names are hostile text."""

import dataclasses
from collections.abc import Callable

from experiments.inputs import facts
from tests.support.hostile_text import ALL_OF_THEM, SHORT

PROMPTS = (ALL_OF_THEM, " ".join(SHORT))
ANSWERS = ((SHORT[0],), (SHORT[1] + SHORT[2],))


def hostile(load: Callable[..., facts.Inputs]) -> Callable[..., facts.Inputs]:
    """Inputs whose numbers are those that were loaded, and whose texts are not."""

    def loaded(*given: object) -> facts.Inputs:
        inputs = load(*given)
        return dataclasses.replace(
            inputs,
            lm=dataclasses.replace(inputs.lm, name=ALL_OF_THEM),
            probes=dataclasses.replace(inputs.probes, prompts=PROMPTS, targets=ANSWERS),
            source=ALL_OF_THEM,
            skipped=((7, ALL_OF_THEM),),
        )

    return loaded
