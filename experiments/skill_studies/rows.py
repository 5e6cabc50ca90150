"""Rows of accuracies, made of what probes predict."""

from typing import Any

import numpy as np

from experiments.running import common
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import Row
from negjax import skills

LOOKED_AT = ("valid", "test")
"""Parts whose accuracies are kept: valid chooses, test is reported."""


def row(measured: Measured, part: str, predicted: np.ndarray, **what: Any) -> Row:
    """The row of a part's predictions [B], or of several probes' [n, B]: then of their mean.

    The interval of a mean is the mean interval: that of one of them, not of their mean.

    Args:
        what: further fields; `trained` is otherwise the number of its training prompts.
    """
    gold = measured.parts[part].gold
    shares = skills.bootstrap_interval(predicted, gold, seed=common.seed())
    accuracy, low, high = (float(np.mean(share)) for share in shares)
    return Row(
        task=measured.task.name,
        split=measured.task.split,
        part=part,
        tested=len(gold),
        accuracy=accuracy,
        low=low,
        high=high,
        **{"trained": len(measured.parts["train"]), **what},
    )


def lm_prob(measured: Measured) -> list[Row]:
    """The model's own answers."""
    predicted = skills_probes.lm_prob_answers(measured).predicted
    return [row(measured, part, predicted[part], probe="lm_prob") for part in LOOKED_AT]
