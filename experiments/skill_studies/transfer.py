"""Probes fitted to one thing and asked about another: a template, a language, a task."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.running.settings import define, setting
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies.inputs import Measured
from negjax import skills
from negjax.skills import Features
from negjax.skills.features.feature_files import RULES, RuleName
from negjax.skills.probes.fitted import FittedProbe


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How rankings of neurons are compared."""

    best_neurons: int = setting(
        256,
        "Best neurons of each ranking, which are compared with another ranking's.",
        least=1,
    )


FLAGS = define(Settings)

DRAWS = 2000
"""Samples of prompts, of which an interval of a mean is read."""


def ask(probe: FittedProbe, features: Features) -> np.ndarray:
    """What a probe predicts [B] of any prompts, from what it reads.

    Raises:
        ValueError: the prompts are of another number of labels than the probe.
    """
    if probe.labels != features.labels:
        raise ValueError(
            f"{features.path} holds prompts of {features.labels} labels, the probe was fitted to "
            f"{probe.labels}: only ways of asking with the same labels can be compared"
        )
    if isinstance(probe, skills.LMProbProbe | skills.MajorityProbe):
        return probe.predict(features.probability)
    if isinstance(probe, skills.ActProbe):
        return skills_probes.over_activations(features, probe.predict)
    assert isinstance(probe, skills.ScoreProbe | skills.ForestProbe)
    return skills_probes.over_windows(features, probe.predict_codes)


def best_neurons(votes: np.ndarray, k: int) -> np.ndarray:
    """The k best of R, votes [N], or all of them where there are no more."""
    return skills.rank_neurons(votes, count=min(k, len(votes))).neurons


def half_votes(train: Features, rule: RuleName) -> tuple[np.ndarray, np.ndarray]:
    """R [N] of the first and of the other half of the training prompts.

    The halves are as equal as the counts allow, of which votes were kept.
    """
    ends = [piece.stop for piece in train.cut.pieces if piece.stop < len(train)]
    if not ends:
        raise ValueError(
            f"{train.path} keeps the votes of {len(train)} prompts in one piece; ask more training "
            "prompts: 9 or more"
        )
    first = train.votes(rule, count=min(ends, key=lambda stop: abs(2 * stop - len(train))))
    return first, train.votes(rule) - first


def shared(ways: Sequence[Measured], k: int) -> dict[str, dict[str, list[list[float]]]]:
    """Jaccard indices of the k best neurons of each two ways, by rule.

    `all`: of all training prompts. `halves`: of one way's first half of them and the other way's
    other half, so that the diagonal is not 1: it is what other prompts change.
    """
    indices: dict[str, dict[str, list[list[float]]]] = {}
    for rule in RULES:
        trains = [way.parts["train"] for way in ways]
        every = [best_neurons(train.votes(rule), k) for train in trains]
        halves = [[best_neurons(votes, k) for votes in half_votes(t, rule)] for t in trains]
        indices[rule] = {
            "all": [[skills.jaccard(s, t) for t in every] for s in every],
            "halves": [[skills.jaccard(s[0], t[1]) for t in halves] for s in halves],
        }
    return indices


def mean_interval(values: Sequence[np.ndarray], seed: int) -> tuple[float, float, float]:
    """The mean of groups' means, with its 95% bootstrap interval over each group's prompts.

    Args:
        values: of each group [B], a number a prompt. Groups are drawn from one by one; numbers that
            belong to one prompt are to be averaged before.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros(DRAWS)
    for group in values:
        prompts = len(group)
        times = generator.multinomial(prompts, np.full(prompts, 1 / prompts), DRAWS)
        drawn += times @ group / prompts / len(values)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.mean([group.mean() for group in values])), float(low), float(high)
