"""The program: its flags, what it measures, how it goes on after an interruption."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.inputs import benchmark_flags
from experiments.running import common
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import study as skills_study
from experiments.skill_studies import transfer as skills_transfer
from experiments.skill_studies.inputs import Measured, Progress
from experiments.skill_studies.jobs import Found, Job, Row
from experiments.skill_studies.probes import Voters
from experiments.skills_inclusivity import page as skills_inclusivity_page
from experiments.skills_inclusivity.results import OWN, RANDOM
from negjax import mceval8k, skills
from negjax.model.language_model import LanguageModel
from negjax.skills import Ranking
from negjax.skills.features.feature_files import RULES, RuleName
from negjax.skills.probes.rankings import polarities
from negjax.storage.store import RunFolder

PARTS = ("train", "test")
"""Nothing is chosen on valid."""
Votes = Mapping[RuleName, np.ndarray]
"""R [N] by rule."""


class Asked(NamedTuple):
    """A task, before it is measured."""

    name: str
    key: str
    prompts: int


class Known:
    """Tasks that were measured in this process: their prompts' files, and R of each rule.

    A task's codes are read when they are asked for and not kept; nor are its items.
    """

    def __init__(self) -> None:
        self._measured: dict[str, tuple[Measured, Votes]] = {}

    def of(
        self, name: str, lm: LanguageModel, progress: Progress | None = None
    ) -> tuple[Measured, Votes]:
        """A task's features, measured or read, and its R.

        Args:
            progress: as in `skills_inputs.measure`; None for a task that was counted before.
        """
        if name not in self._measured:
            measured = skills_inputs.measure(lm, skills_inputs.load(name), progress, PARTS)
            train = measured.parts["train"]
            task = dataclasses.replace(
                measured.task, train=(), valid=(), test=(), demonstrations=()
            )
            votes = {rule: train.votes(rule) for rule in RULES}
            self._measured[name] = dataclasses.replace(measured, task=task), votes
        return self._measured[name]


def main() -> int:
    """Measures tasks and pairs of them, and writes accuracies, figures and report."""
    common.refuse_unread("skills_inclusivity", ("valid",), "which chooses nothing on valid")
    settings = {"best_neurons": skills_transfer.compared(), "random": skills_probes.SEEDS}

    def jobs() -> list[Job]:
        names = sorted(benchmark_flags.tasks(), key=mceval8k.names().index)
        tasks, known = [_asked(name) for name in names], Known()
        return [_job(known, tasks[: n + 1]) for n in range(len(tasks))]

    return skills_study.run(
        "skills_inclusivity",
        skills_inclusivity_page.TITLE,
        settings,
        jobs,
        skills_inclusivity_page.show,
    )


def pairs_of(known: Mapping[str, tuple[Measured, Votes]], name: str, k: int) -> Found:
    """A task, and its pairs with all others that are known.

    Args:
        known: measured tasks with their R, `name` among them.
        k: neurons of each task; all of them where there are no more.
    """
    measured, votes = known[name]
    train = measured.parts["train"]
    k = min(k, train.total)
    rows = list(_tested(measured, votes, k, {OWN: votes}, draws=True))
    for other, (its_measured, its_votes) in known.items():
        if other != name:
            rows += _tested(measured, votes, k, {other: its_votes})
            rows += _tested(its_measured, its_votes, k, {name: votes})
    best = {rule: skills_transfer.best_neurons(votes[rule], k) for rule in RULES}
    halves = {
        rule: skills.jaccard(
            *(skills_transfer.best_neurons(v, k) for v in skills_transfer.half_votes(train, rule))
        )
        for rule in RULES
    }
    more = {
        "genre": measured.task.genre,
        "labels": list(measured.task.labels),
        "k": k,
        "total": train.total,
        "neurons": {rule: neurons.tolist() for rule, neurons in best.items()},
        "halves": halves,
    }
    return Found(rows, more, [measured.asked])


def _asked(name: str) -> Asked:
    task = skills_inputs.load(name)
    return Asked(name, task.key, skills_inputs.prompts_of(task, PARTS))


def _job(known: Known, tasks: Sequence[Asked]) -> Job:
    """The last of the tasks, and its pairs with all before it.

    So a pair is measured when its second task is, an interrupted run shows whatever can be said of
    the tasks that it finished, and each task's features are read in the order they were measured.
    """
    *before, task = tasks
    return Job(
        *task,
        functools.partial(_measure, known, [one.name for one in tasks]),
        others=skills_inputs.joined(one.key for one in before),
        without=lambda failed: _job(known, [one for one in tasks if one.name not in failed]),
    )


def _measure(
    known: Known, names: Sequence[str], lm: LanguageModel, folder: RunFolder, progress: Progress
) -> Found:
    del folder
    *before, name = names
    measured = {other: known.of(other, lm) for other in before}
    measured[name] = known.of(name, lm, progress)
    found = pairs_of(measured, name, skills_transfer.compared())
    per_layer = {
        rule: np.bincount(
            np.asarray(neurons) // lm.config.neurons, minlength=lm.config.layers
        ).tolist()
        for rule, neurons in found.more["neurons"].items()
    }
    return found._replace(more={**found.more, "layers": per_layer})


def _tested(
    measured: Measured, votes: Votes, k: int, sources: Mapping[str, Votes], draws: bool = False
) -> Iterator[Row]:
    """Accuracies on a task's test prompts of the k best neurons of sources.

    Args:
        votes: the task's own R: which way each neuron votes.
        sources: by name, R that chooses the neurons.
        draws: random neurons as well.
    """
    test = measured.parts["test"]
    for rule in RULES:
        own = votes[rule]
        rankings: dict[str, list[Ranking]] = {
            source: [_ranking(own, skills_transfer.best_neurons(chosen[rule], k))]
            for source, chosen in sources.items()
        }
        if draws:
            seeds = range(skills_probes.SEEDS)
            rankings[RANDOM] = [skills.random_ranking(own, seed, k) for seed in seeds]
        for source, several in rankings.items():
            trained = len(measured.parts["train"])
            voters = [Voters(source, rule, ranking, [k], trained) for ranking in several]
            yield skills_study.row(
                *(measured, "test", np.concatenate(skills_probes.voted(test, voters))),
                probe=rule,
                neurons=k,
                number=len(several) if source == RANDOM else None,
                source=measured.task.name if source == OWN else source,
                target=measured.task.name,
            )


def _ranking(votes: np.ndarray, neurons: np.ndarray) -> Ranking:
    """Neurons in a given order, with the polarity that R, votes [N], gives them."""
    return Ranking(neurons, polarities(votes, neurons))
