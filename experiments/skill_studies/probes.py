"""Every probe, fitted to a task's features and asked about its prompts, window by window."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.running import provenance
from experiments.skill_studies.inputs import PARTS, Measured
from negjax import skills
from negjax.skills import Features, Linear, Ranking, Rule
from negjax.skills.features.feature_files import RuleName
from negjax.skills.probes.fitted import FittedProbe

MOST = 2**14
"""Neurons of the largest probe."""
ACT_MOST = 2**10
"""Neurons of a node of the largest Act: their thresholds are kept one by one."""
SEEDS = 10
"""Draws of random neurons."""

RULES: Mapping[RuleName, Rule] = {"polar": skills.POLAR, "magn": skills.MAGN}


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a probe predicts of each part, and the probe."""

    predicted: Mapping[str, np.ndarray]
    """[B], or [n, B] of n probes whose accuracies are averaged."""
    neurons: int | None = None
    """That it asks."""
    fitted: FittedProbe | None = None
    trees: int | None = None


@dataclass(frozen=True, kw_only=True)
class Voters:
    """Neurons in an order, of which the first k vote, for G numbers k."""

    probe: str
    rule: RuleName
    ranking: Ranking
    counts: Sequence[int]
    trained: int
    """Training prompts."""


def fitters(trees: int) -> Mapping[str, Callable[[Measured], Answers]]:
    """What fits each probe that needs nothing but a task's features.

    Args:
        trees: of the forest.
    """
    return {
        "majority": majority_answers,
        "lm_prob": lm_prob_answers,
        "polar": functools.partial(voting_answers, rule="polar"),
        "magn": functools.partial(voting_answers, rule="magn"),
        "act": act_answers,
        "tree": functools.partial(tree_answers, trees=trees),
        "linear": linear_answers,
    }


def neuron_counts(most: int) -> list[int]:
    """2⁰, 2¹, … up to `most`."""
    return [2**n for n in range(most.bit_length()) if 2**n <= most]


def lm_prob_answers(measured: Measured) -> Answers:
    """The model's own answer."""
    probe = skills.LMProb().fit(measured.parts["train"].probability, measured.parts["train"].gold)
    predicted = {p: probe.predict(f.probability) for p, f in measured.parts.items()}
    return Answers(predicted=predicted)


def majority_answers(measured: Measured) -> Answers:
    """The most frequent label."""
    train = measured.parts["train"]
    probe = skills.Majority().fit(train.probability, train.gold, measured.labels)
    predicted = {p: probe.predict(f.probability) for p, f in measured.parts.items()}
    return Answers(predicted=predicted)


def voted(features: Features, voters: Sequence[Voters]) -> list[np.ndarray]:
    """The labels [G, B] that each of them predict, all from one pass over the prompts."""

    def predict(codes: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [
                skills.predict_by_neurons(
                    RULES[some.rule], some.ranking, some.counts, codes, features.labels
                )
                for some in voters
            ]
        )

    ends = np.cumsum([len(some.counts) for some in voters])
    return np.split(over_windows(features, predict), ends[:-1])


def over_windows(features: Features, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Predictions [..., B] of all prompts from those [..., b] of windows' codes [b, N]."""
    return np.concatenate([predict(codes) for codes, _ in features.codes()], axis=-1)


def best(predicted: np.ndarray, gold: np.ndarray) -> int:
    """Which of the probes [G, B] is right most often; of ties, the first."""
    return int((predicted == gold).mean(-1).argmax())


def voting_answers(measured: Measured, rule: RuleName) -> Answers:
    """Polar or Magn, with the number of neurons that does best on valid."""
    train = measured.parts["train"]
    votes = train.votes(rule)
    counts = neuron_counts(min(MOST, len(votes)))
    ranking = skills.rank_neurons(votes, count=counts[-1])
    voters = Voters(probe=rule, rule=rule, ranking=ranking, counts=counts, trained=len(train))
    predicted = {p: voted(f, [voters])[0] for p, f in measured.parts.items()}
    chosen = best(predicted["valid"], measured.parts["valid"].gold)
    k = counts[chosen]
    kind = skills.Polar(k) if rule == "polar" else skills.Magn(k)
    fitted = kind.from_votes(votes, measured.labels)
    return Answers(predicted={p: predicted[p][chosen] for p in PARTS}, neurons=k, fitted=fitted)


def random_answers(measured: Measured, neurons: int) -> Answers:
    """As many random neurons as Polar has, with Polar's polarities: several draws."""
    train = measured.parts["train"]
    votes = train.votes("polar")
    draws = [skills.random_ranking(votes, seed, min(neurons, len(votes))) for seed in range(SEEDS)]
    voters = [
        Voters(probe="random", rule="polar", ranking=draw, counts=[neurons], trained=len(train))
        for draw in draws
    ]
    predicted = {p: np.concatenate(voted(f, voters)) for p, f in measured.parts.items()}
    return Answers(predicted=predicted, neurons=neurons)


def act_answers(measured: Measured) -> Answers:
    """Thresholded activations, with the number of neurons a node that does best on valid."""
    train, valid = measured.parts["train"], measured.parts["valid"]
    most = min(ACT_MOST, train.total)
    whole = skills.Act(most).fit_batches(train.activations, measured.labels)
    counts = neuron_counts(most)
    probes = [whole.first(k) for k in counts]
    chosen = best(act_labels(valid, probes), valid.gold)
    probe = probes[chosen]
    predicted = {p: over_activations(f, probe.predict) for p, f in measured.parts.items()}
    return Answers(predicted=predicted, neurons=counts[chosen], fitted=probe)


def act_labels(features: Features, probes: Sequence[skills.ActProbe]) -> np.ndarray:
    """The labels [G, B] of several probes, from one pass over activations."""
    return over_activations(features, lambda x: np.stack([probe.predict(x) for probe in probes]))


def over_activations(features: Features, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Predictions [..., B] of all prompts from those [..., b] of windows' activations [b, N]."""
    return np.concatenate([predict(values) for values, _ in features.activations()], axis=-1)


def forest_of(trees: int, depth: int | None = None) -> skills.Tree:
    """A forest that grows on all processors."""
    return skills.Tree(trees=trees, depth=depth, jobs=provenance.cpus())


def tree_answers(measured: Measured, trees: int) -> Answers:
    """A random forest over every neuron."""
    features, gold = tree_features(measured.parts["train"])
    probe = forest_of(trees).fit_features(features, gold, measured.labels)
    predicted = {p: over_windows(f, probe.predict_codes) for p, f in measured.parts.items()}
    return Answers(predicted=predicted, neurons=len(probe.neurons), fitted=probe, trees=trees)


def tree_features(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """A forest's features [B, N] and gold [B].

    They are float32, as scikit-learn wants them, and nothing else is held beside them: of 6,000
    prompts of the embedded model they are 1.1 GB.
    """
    made = np.empty((len(features), features.total), np.float32)
    start = 0
    for scores, gold in decoded(features):
        made[start : start + len(gold)] = skills.score_features(scores)
        start += len(gold)
    return made, features.gold


def decoded(
    features: Features, count: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What codes decode to, [b, K, N], int8, and gold [b], window by window, of the first
    `count` prompts."""
    for codes, gold in features.codes(count=count):
        yield np.asarray(skills.decode_scores(codes, features.labels)), gold


def linear_answers(measured: Measured) -> Answers:
    """Multinomial regression on signs, with the penalty that does best on valid."""
    train, valid = measured.parts["train"], measured.parts["valid"]
    path = Linear().path(lambda: decoded(train), measured.labels)
    probe = skills.choose(path, decoded(valid))
    predicted = {p: over_windows(f, probe.predict_codes) for p, f in measured.parts.items()}
    return Answers(predicted=predicted, neurons=len(probe.neurons), fitted=probe)
