"""Over which shifts NEG is a slope, where a study asks for NEG alone."""

from dataclasses import dataclass

import numpy as np

import negjax
from experiments.inputs import facts
from experiments.running import common
from experiments.running.settings import define, setting
from negjax.measurements.empirical_gradients import rule_shifts


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The grid, and how many pairs of shifts stand for it."""

    neg_radius: float = setting(2.0, "NEG is the slope over shifts within ± this.", above=0)
    neg_step: float = setting(0.2, "Between those shifts, in units of the activation.", above=0)
    neg_pairs: int = setting(
        1, "Pairs of shifts ±x that are replayed for the slope, beside the derivative.", least=1
    )

    @property
    def shifts(self) -> np.ndarray:
        """Replayed, ±, ascending."""
        return rule_shifts(self.neg_radius, self.neg_step, self.neg_pairs)


FLAGS = define(Settings)


def read() -> Settings:
    """What the flags say.

    Raises:
        ValueError: a grid that is none, or has fewer pairs.
    """
    settings = FLAGS.read()
    rule_shifts(settings.neg_radius, settings.neg_step, settings.neg_pairs)
    return settings


def measure(
    inputs: facts.Inputs, settings: Settings, number: int, neurons: np.ndarray
) -> negjax.EmpiricalGradient:
    """NEG of neurons [N, 2] of one prompt."""
    return negjax.neg(
        inputs.lm,
        inputs.probes.select([number]),
        neurons,
        settings.neg_radius,
        settings.neg_step,
        facts.convention(),
        inputs.site,
        pairs=settings.neg_pairs,
        seed=common.seed(),
        budget_bytes=common.budget_bytes(),
    )


def unperturbed(inputs: facts.Inputs, number: int) -> dict[str, np.ndarray]:
    """P of a prompt's answer, and its rounding noise, which the shortest series of any one neuron
    measures."""
    series = negjax.response(
        inputs.lm,
        inputs.probes.select([number]),
        np.zeros((1, 2), np.int32),
        1.0,
        4,
        facts.convention(),
        inputs.site,
        max_nodes=4,
        seed=common.seed(),
        budget_bytes=common.budget_bytes(),
    )
    return {"baseline": series.baseline[0], "noise": series.noise[0]}
