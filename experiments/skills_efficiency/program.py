"""The program: its flags, and what it measures of a task."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.running.settings import define, recorded, setting
from experiments.running.study import Study
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import rows as skills_rows
from experiments.skill_studies import study as skills_study
from experiments.skill_studies.accuracies import highest
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import Row, TaskResult
from experiments.skill_studies.probes import Voters
from experiments.skill_studies.rows import LOOKED_AT
from experiments.skills_efficiency import report as skills_efficiency_report
from experiments.skills_efficiency.results import NEURONS, PROMPTS
from negjax import skills
from negjax.skills import Ranking
from negjax.skills.features.feature_files import RuleName

TREES = 100


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of this study alone."""

    by_prompts: list[str] = setting(
        ["polar", "magn", "act", "tree"],
        "Probes to fit to fewer training prompts. linear, which is left out, doubles the time.",
        choices=PROMPTS.probes,
    )


FLAGS = define(Settings)


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    settings = FLAGS.read()
    return skills_study.by_task(
        "skills_efficiency",
        recorded(settings),
        functools.partial(measure, by_prompts=settings.by_prompts),
        skills_efficiency_report.findings,
    )


def measure(measured: Measured, by_prompts: Sequence[str]) -> TaskResult:
    """Rows by number of neurons, all prompts training, and by number of training prompts.

    `more["chosen"]` is the number of neurons, of each probe, that does best on valid with all
    training prompts; with that number it is fitted to fewer.
    """
    rows = [*skills_rows.lm_prob(measured), *_by_neurons(measured)]
    chosen = {name: _best_on_valid(rows, name) for name in NEURONS.probes}
    voting = [name for name in skills_probes.RULES if name in by_prompts]
    rows += _votes_by_prompts(measured, {name: chosen[name] for name in voting})
    others: Mapping[str, Callable[[Measured], Iterator[Row]]] = {
        "act": functools.partial(_act_by_prompts, neurons=chosen["act"]),
        "tree": _tree_by_prompts,
        "linear": _linear_by_prompts,
    }
    for name, fit in others.items():
        if name in by_prompts:
            rows += fit(measured)
    return TaskResult(rows=rows, more={"chosen": chosen}, about=[measured.about])


def _by_neurons(measured: Measured) -> Iterator[Row]:
    train = measured.parts["train"]
    counts = skills_probes.neuron_counts(min(skills_probes.MOST, train.total))
    votes = {rule: train.votes(rule) for rule in skills_probes.RULES}
    rankings: list[tuple[str, RuleName, Ranking]] = [
        (rule, rule, skills.rank_neurons(r, count=counts[-1])) for rule, r in votes.items()
    ]
    rankings += [
        ("random", "polar", skills.random_ranking(votes["polar"], seed, counts[-1]))
        for seed in range(skills_probes.SEEDS)
    ]
    voters = [
        Voters(probe=probe, rule=rule, ranking=ranking, counts=counts, trained=len(train))
        for probe, rule, ranking in rankings
    ]
    for part in LOOKED_AT:
        predicted = skills_probes.voted(measured.parts[part], voters)
        for rule, by_count in zip(votes, predicted, strict=False):
            for k, labels in zip(counts, by_count, strict=True):
                yield skills_rows.row(measured, part, labels, probe=rule, neurons=k)
        for g, k in enumerate(counts):
            drawn = np.stack([by_count[g] for by_count in predicted[len(votes) :]])
            yield skills_rows.row(
                measured, part, drawn, probe="random", neurons=k, number=len(drawn)
            )
    most = min(skills_probes.ACT_MOST, train.total)
    whole = skills.Act(most).fit_batches(train.activations, measured.labels)
    counts = skills_probes.neuron_counts(most)
    probes = [whole.first(k) for k in counts]
    for part in LOOKED_AT:
        for k, labels in zip(
            counts, skills_probes.act_labels(measured.parts[part], probes), strict=True
        ):
            yield skills_rows.row(measured, part, labels, probe="act", neurons=k)


def _best_on_valid(rows: Sequence[Row], probe: str) -> int:
    tried = [row for row in rows if row.probe == probe and row.part == "valid"]
    neurons = highest(tried).neurons
    assert neurons is not None
    return neurons


def _fewer(measured: Measured) -> tuple[int, ...]:
    """Numbers of training prompts, without all of them."""
    return skills_inputs.training_counts(len(measured.parts["train"]))[:-1]


def _votes_by_prompts(measured: Measured, chosen: Mapping[str, int]) -> Iterator[Row]:
    train = measured.parts["train"]
    voters = [
        Voters(
            probe=rule,
            rule=rule,
            ranking=skills.rank_neurons(train.votes(rule, count=n), count=chosen[rule]),
            counts=[chosen[rule]],
            trained=n,
        )
        for rule in skills_probes.RULES
        if rule in chosen
        for n in _fewer(measured)
    ]
    if not voters:
        return
    for part in LOOKED_AT:
        predicted = skills_probes.voted(measured.parts[part], voters)
        for some, [labels] in zip(voters, predicted, strict=True):
            yield skills_rows.row(
                *(measured, part, labels),
                probe=some.probe,
                neurons=some.counts[0],
                trained=some.trained,
            )


def _act_by_prompts(measured: Measured, neurons: int) -> Iterator[Row]:
    train, fewer = measured.parts["train"], _fewer(measured)
    kind = skills.Act(neurons)
    probes = [
        kind.fit_batches(functools.partial(train.activations, n), measured.labels) for n in fewer
    ]
    for part in LOOKED_AT:
        for n, labels in zip(
            fewer, skills_probes.act_labels(measured.parts[part], probes), strict=True
        ):
            yield skills_rows.row(measured, part, labels, probe="act", neurons=neurons, trained=n)


def _tree_by_prompts(measured: Measured) -> Iterator[Row]:
    features, gold = skills_probes.tree_features(measured.parts["train"])
    for n in (*_fewer(measured), len(gold)):
        kind = skills_probes.forest_of(TREES)
        probe = kind.fit_features(features[:n], gold[:n], measured.labels)
        for part in LOOKED_AT:
            labels = skills_probes.over_windows(measured.parts[part], probe.predict_codes)
            yield skills_rows.row(
                *(measured, part, labels),
                probe="tree",
                neurons=len(probe.neurons),
                trained=n,
                trees=TREES,
            )


def _linear_by_prompts(measured: Measured) -> Iterator[Row]:
    train, valid = (measured.parts[part] for part in ("train", "valid"))
    for n in (*_fewer(measured), len(train)):
        batches = functools.partial(skills_probes.decoded, train, n)
        path = skills.Linear().path(batches, measured.labels)
        probe = skills.choose(path, skills_probes.decoded(valid))
        for part in LOOKED_AT:
            labels = skills_probes.over_windows(measured.parts[part], probe.predict_codes)
            yield skills_rows.row(
                measured, part, labels, probe="linear", neurons=len(probe.neurons), trained=n
            )
