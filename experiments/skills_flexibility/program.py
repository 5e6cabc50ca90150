"""The program: its flags, what it measures, how it goes on after an interruption."""

import functools
from collections.abc import Sequence

import numpy as np
from absl import flags

from experiments.running import common
from experiments.skill_studies import by_task as skills_by_task
from experiments.skill_studies import probes as skills_probes
from experiments.skill_studies import study as skills_study
from experiments.skill_studies.by_task import LOOKED_AT
from experiments.skill_studies.inputs import Measured
from experiments.skill_studies.jobs import Found
from experiments.skills_flexibility import page as skills_flexibility_page
from negjax import skills
from negjax.skills import Ranking, Rule

_SIZE = flags.DEFINE_integer("set_size", 64, "Neurons of a set.", lower_bound=1)
_SETS = flags.DEFINE_integer(
    "disjoint_sets",
    256,
    "Sets down the ranking; 0: all that there are. The embedded model has 720 of 64 neurons.",
    lower_bound=0,
)


def main() -> int:
    """Measures, fits, and writes accuracies, figures and report."""
    settings = {"set_size": _SIZE.value, "disjoint_sets": _SETS.value}
    return skills_by_task.run(
        "skills_flexibility",
        skills_flexibility_page.TITLE,
        settings,
        functools.partial(measure, size=_SIZE.value, sets=_SETS.value),
        skills_flexibility_page.show,
    )


def measure(measured: Measured, size: int, sets: int) -> Found:
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
    rows, drawn = skills_by_task.lm_prob(measured), {}
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
                skills_study.row(measured, part, labels, probe=name, neurons=size, number=number)
                for number, labels in enumerate(ranked)
            ]
            rows.append(
                skills_study.row(
                    *(measured, part, random),
                    probe=f"random_{name}",
                    neurons=size,
                    number=len(random),
                )
            )
            if part == "test":
                drawn[name] = sorted(skills.share_right(random, features.gold).tolist())
    return Found(rows, {"random": drawn}, [measured.asked])


def _of_sets(
    rule: Rule, orders: Sequence[Ranking], size: int, labels: int, codes: np.ndarray
) -> np.ndarray:
    """The labels [orders, sets, b] that each set of each order predicts."""
    found = [skills.predict_by_set(rule, order, size, codes, labels) for order in orders]
    return np.stack(found)
