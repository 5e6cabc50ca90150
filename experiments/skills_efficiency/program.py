"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from absl import flags

from experiments.running import flag_lists
from experiments.skill_studies import by_task as skills_by_task
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import study as skills_study
from experiments.skill_studies.by_task import LOOKED_AT
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import Found, Row
from experiments.skill_studies.probes import Voters
from experiments.skills_efficiency import page as skills_efficiency_page
from negjax import skills

BY_NEURONS = ("polar", "magn", "random", "act")
BY_PROMPTS = ("polar", "magn", "act", "tree", "linear")
TREES = 100

_FITTED = flags.DEFINE_list(
    "by_prompts",
    ["polar", "magn", "act", "tree"],
    "Probes to fit to fewer training prompts. linear, which is left out, doubles the time.",
)


def main() -> int:
    """Measures, fits, and writes accuracies, figures and report."""
    by_prompts = flag_lists.names(_FITTED, BY_PROMPTS)
    return skills_by_task.run(
        "skills_efficiency",
        skills_efficiency_page.TITLE,
        {"by_prompts": by_prompts},
        functools.partial(measure, by_prompts=by_prompts),
        skills_efficiency_page.show,
    )


def measure(measured: Measured, by_prompts: Sequence[str]) -> Found:
    """Rows by number of neurons, all prompts training, and by number of training prompts.

    `more["chosen"]` is the number of neurons, of each probe, that does best on valid with all
    training prompts; with that number it is fitted to fewer.
    """
    rows = [*skills_by_task.lm_prob(measured), *_by_neurons(measured)]
    chosen = {name: _best_on_valid(rows, name) for name in BY_NEURONS}
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
    return Found(rows, {"chosen": chosen}, [measured.asked])


def _by_neurons(measured: Measured) -> Iterator[Row]:
    train = measured.parts["train"]
    counts = skills_probes.neuron_counts(min(skills_probes.MOST, train.total))
    votes = {rule: train.votes(rule) for rule in skills_probes.RULES}
    voters = [
        Voters(rule, rule, skills.rank_neurons(found, count=counts[-1]), counts, len(train))
        for rule, found in votes.items()
    ]
    draws = [
        skills.random_ranking(votes["polar"], seed, counts[-1])
        for seed in range(skills_probes.SEEDS)
    ]
    random = [Voters("random", "polar", draw, counts, len(train)) for draw in draws]
    for part in LOOKED_AT:
        found = skills_probes.voted(measured.parts[part], [*voters, *random])
        for one, predicted in zip(voters, found[: len(voters)], strict=True):
            for k, labels in zip(counts, predicted, strict=True):
                yield skills_study.row(measured, part, labels, probe=one.probe, neurons=k)
        for g, k in enumerate(counts):
            drawn = np.stack([predicted[g] for predicted in found[len(voters) :]])
            yield skills_study.row(
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
            yield skills_study.row(measured, part, labels, probe="act", neurons=k)


def _best_on_valid(rows: Sequence[Row], probe: str) -> int:
    tried = [row for row in rows if row.probe == probe and row.part == "valid"]
    neurons = skills_by_task.highest(tried).neurons
    assert neurons is not None
    return neurons


def _fewer(measured: Measured) -> tuple[int, ...]:
    """Numbers of training prompts, without all of them."""
    return skills_inputs.training_counts(len(measured.parts["train"]))[:-1]


def _votes_by_prompts(measured: Measured, chosen: Mapping[str, int]) -> Iterator[Row]:
    train = measured.parts["train"]
    voters = [
        Voters(rule, rule, skills.rank_neurons(train.votes(rule, count=n), count=k), [k], n)
        for rule, k in ((rule, chosen[rule]) for rule in skills_probes.RULES if rule in chosen)
        for n in _fewer(measured)
    ]
    if not voters:
        return
    for part in LOOKED_AT:
        found = skills_probes.voted(measured.parts[part], voters)
        for one, predicted in zip(voters, found, strict=True):
            yield skills_study.row(
                *(measured, part, predicted[0]),
                probe=one.probe,
                neurons=one.counts[0],
                trained=one.trained,
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
            yield skills_study.row(measured, part, labels, probe="act", neurons=neurons, trained=n)


def _tree_by_prompts(measured: Measured) -> Iterator[Row]:
    features, gold = skills_probes.tree_features(measured.parts["train"])
    for n in (*_fewer(measured), len(gold)):
        kind = skills_probes.forest_of(TREES)
        probe = kind.fit_features(features[:n], gold[:n], measured.labels)
        for part in LOOKED_AT:
            labels = skills_probes.over_windows(measured.parts[part], probe.predict_codes)
            yield skills_study.row(
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
            yield skills_study.row(
                measured, part, labels, probe="linear", neurons=len(probe.neurons), trained=n
            )
