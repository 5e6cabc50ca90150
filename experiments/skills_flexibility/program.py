"""The program: its flags, and what it measures of a task."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.running import common
from experiments.running.settings import define, recorded, setting
from experiments.running.study import Study
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import rows as skills_rows
from experiments.skill_studies import study as skills_study
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import TaskResult
from experiments.skill_studies.rows import LOOKED_AT
from experiments.skills_flexibility import report as skills_flexibility_report
from negjax import skills
from negjax.skills import Ranking, Rule


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of this study alone."""

    set_size: int = setting(64, "Neurons of a set.", least=1)
    disjoint_sets: int = setting(
        256,
        "Sets down the ranking; 0: all that there are. The embedded model has 720 of 64 neurons.",
        least=0,
    )


FLAGS = define(Settings)


def prepare() -> Study:
    """Reads the flags and loads what they name."""
    settings = FLAGS.read()
    return skills_study.by_task(
        "skills_flexibility",
        recorded(settings),
        functools.partial(measure, size=settings.set_size, sets=settings.disjoint_sets),
        skills_flexibility_report.findings,
    )


def measure(measured: Measured, size: int, sets: int) -> TaskResult:
    """A row a set, and one of the mean of random sets, for Polar and Magn.

    `more["random"]` are the test accuracies of random sets, ascending, by probe.

    Args:
        size: neurons of a set.
        sets: how many; 0: all.

    Raises:
        ValueError: more sets than the model's neurons make up.
    """
    train = measured.parts["train"]
    most = train.total // size
    if not most or sets > most:
        raise ValueError(
            f"--disjoint_sets={sets} --set_size={size}: the model's {train.total} neurons make up "
            f"{most} sets"
        )
    count = (sets or most) * size
    rows, drawn = skills_rows.lm_prob(measured), {}
    for name, rule in skills_probes.RULES.items():
        votes = train.votes(name)
        orders = [
            skills.rank_neurons(votes, count=count),
            skills.random_ranking(votes, common.seed(), count),
        ]
        predict = functools.partial(_of_sets, rule, orders, size, measured.labels)
        for part in LOOKED_AT:
            features = measured.parts[part]
            ranked, random = skills_probes.over_windows(features, predict)
            rows += [
                skills_rows.row(measured, part, labels, probe=name, neurons=size, number=number)
                for number, labels in enumerate(ranked)
            ]
            rows.append(
                skills_rows.row(
                    *(measured, part, random),
                    probe=f"random_{name}",
                    neurons=size,
                    number=len(random),
                )
            )
            if part == "test":
                drawn[name] = sorted(skills.share_right(random, features.gold).tolist())
    return TaskResult(rows=rows, more={"random": drawn}, about=[measured.about])


def _of_sets(
    rule: Rule, orders: Sequence[Ranking], size: int, labels: int, codes: np.ndarray
) -> np.ndarray:
    """The labels [orders, sets, b] that each set of each order predicts."""
    return np.stack([skills.predict_by_set(rule, order, size, codes, labels) for order in orders])
