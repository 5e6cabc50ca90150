"""The program: its flags, and what it measures of tasks and pairs of them."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.inputs import benchmark_flags
from experiments.running import common
from experiments.running.settings import recorded
from experiments.running.study import Study
from experiments.skill_studies import inputs as skills_inputs
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import rows as skills_rows
from experiments.skill_studies import study as skills_study
from experiments.skill_studies import transfer as skills_transfer
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import Job, Row, TaskResult
from experiments.skill_studies.probes import Voters
from experiments.skills_inclusivity import report as skills_inclusivity_report
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


class Planned(NamedTuple):
    """A task, before it is measured."""

    name: str
    key: str
    prompts: int


class Known:
    """Tasks that were measured in this process: their prompts' files, and R of each rule.

    A task's codes are read when they are asked for and not kept; nor are its items.
    """

    def __init__(self, best: int) -> None:
        self.best = best
        """Neurons of each task that are compared."""
        self._measured: dict[str, tuple[Measured, Votes]] = {}

    def of(self, name: str, lm: LanguageModel) -> tuple[Measured, Votes]:
        """A task's features, measured or read, and its R."""
        if name not in self._measured:
            measured = skills_inputs.measure(lm, skills_inputs.load(name), PARTS)
            train = measured.parts["train"]
            task = dataclasses.replace(
                measured.task, train=(), valid=(), test=(), demonstrations=()
            )
            votes = {rule: train.votes(rule) for rule in RULES}
            self._measured[name] = dataclasses.replace(measured, task=task), votes
        return self._measured[name]


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    common.refuse_unread("skills_inclusivity", ("valid",), "which chooses nothing on valid")
    settings = skills_transfer.FLAGS.read()

    def jobs() -> list[Job]:
        names = sorted(benchmark_flags.tasks(), key=mceval8k.names().index)
        tasks, known = [_planned(name) for name in names], Known(settings.best_neurons)
        return [_job(known, tasks[: n + 1]) for n in range(len(tasks))]

    return skills_study.of_tasks(
        "skills_inclusivity",
        {**recorded(settings), "random": skills_probes.SEEDS},
        jobs,
        skills_inclusivity_report.findings,
    )


def pairs_of(known: Mapping[str, tuple[Measured, Votes]], name: str, k: int) -> TaskResult:
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
    return TaskResult(rows=rows, more=more, about=[measured.about])


def _planned(name: str) -> Planned:
    task = skills_inputs.load(name)
    return Planned(name, task.key, skills_inputs.prompts_of(task, PARTS))


def _job(known: Known, tasks: Sequence[Planned]) -> Job:
    """The last of the tasks, and its pairs with all before it.

    So a pair is measured when its second task is, an interrupted run shows whatever can be said of
    the tasks that it finished, and each task's features are read in the order they were measured.
    """
    *before, task = tasks
    return Job(
        task=task.name,
        key=task.key,
        prompts=task.prompts,
        measure=functools.partial(_measure, known, [planned.name for planned in tasks]),
        others=skills_inputs.joined(planned.key for planned in before),
        without=lambda failed: _job(known, [t for t in tasks if t.name not in failed]),
    )


def _measure(
    known: Known, names: Sequence[str], lm: LanguageModel, folder: RunFolder
) -> TaskResult:
    del folder
    measured = {name: known.of(name, lm) for name in names}
    result = pairs_of(measured, names[-1], known.best)
    per_layer = {
        rule: np.bincount(
            np.asarray(neurons) // lm.config.neurons, minlength=lm.config.layers
        ).tolist()
        for rule, neurons in result.more["neurons"].items()
    }
    return dataclasses.replace(result, more={**result.more, "layers": per_layer})


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
        of_task = votes[rule]
        rankings: dict[str, list[Ranking]] = {
            source: [_ranking(of_task, skills_transfer.best_neurons(chosen[rule], k))]
            for source, chosen in sources.items()
        }
        if draws:
            seeds = range(skills_probes.SEEDS)
            rankings[RANDOM] = [skills.random_ranking(of_task, seed, k) for seed in seeds]
        for source, several in rankings.items():
            trained = len(measured.parts["train"])
            voters = [
                Voters(probe=source, rule=rule, ranking=ranking, counts=[k], trained=trained)
                for ranking in several
            ]
            yield skills_rows.row(
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
